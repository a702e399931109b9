"""The first notebook runs in a fresh clone and is committed with its outputs, the others run on stage outputs alone and
are committed without theirs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
START, *NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

LARGEST = 500_000
"""Bytes of the first one with its outputs."""


def test_there_are_notebooks() -> None:
    assert START.stem == "00_start"
    assert [path.stem for path in NOTEBOOKS] == ["01_data", "02_enhancement", "03_sampling", "04_results"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_the_first_one_is_committed_with_small_outputs() -> None:
    cells = [cell for cell in nbformat.read(START, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert "error" not in kinds and len(pictures) >= 5
    said = " ".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert START.stat().st_size < LARGEST and str(ROOT) not in said and "/tmp" not in said


@pytest.mark.slow
def test_the_first_one_runs_on_the_weights_in_git() -> None:
    notebook = nbformat.read(START, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(START.parent)}}).execute()
    said = [
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text" in output
    ]
    assert any("trained on synthetic clips only" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, smoke_out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKACTION_OUT", str(smoke_out))
    monkeypatch.setenv("DARKACTION_PROFILE", "smoke")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    shown = [output.output_type for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "error" not in shown
    assert len(shown) >= 3
