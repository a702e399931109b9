"""All notebooks are committed with outputs. The first runs in a fresh clone, the others on stage outputs alone."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
START, *NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

LARGEST = 150_000
"""Bytes of a notebook with its outputs; the first shows more pictures."""
LARGEST_START = 500_000

LOCAL = re.compile(r"/(?:home|root|tmp|usr|mnt|var|Users)/|/tmp\b")
"""How a path of some machine begins."""


def test_there_are_notebooks() -> None:
    assert START.stem == "00_start"
    assert [path.stem for path in NOTEBOOKS] == ["01_data", "02_enhancement", "03_sampling", "04_results"]


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", [START, *NOTEBOOKS], ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_small_outputs(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    pictures = [output for output in outputs if {"image/png", "image/jpeg"} & set(output.get("data", {}))]
    assert len(pictures) >= (5 if path == START else 1)
    assert "error" not in {output.output_type for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}
    assert path.stat().st_size < (LARGEST_START if path == START else LARGEST)


@pytest.mark.parametrize("path", [START, *NOTEBOOKS], ids=lambda path: path.stem)
def test_stored_outputs_name_no_folder_of_a_machine(path: Path) -> None:
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    said = [output.get("text", "") for output in outputs]
    said += [text for output in outputs for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    assert not [text for text in said if LOCAL.search(text) or str(ROOT) in text or "Warning" in text]


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
