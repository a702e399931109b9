"""src/seeds.py: what it makes of the results of its trainings."""

import sys
from pathlib import Path

import pandas as pd
import pytest

import seeds
from darkaction.core.errors import UserError
from darkaction.params import Params


def make_result(folder: Path, right: list[bool], *, shuffled: int) -> Path:
    """Predictions of clips in scenes of two, and the metrics file beside them."""
    reports = folder / "reports"
    reports.mkdir(parents=True)
    predicted = ["walk" if ok else "run" for ok in right]
    scenes = [number // 2 for number in range(len(right))]
    after_shuffling = ["walk"] * shuffled + ["run"] * (len(right) - shuffled)
    pd.DataFrame(
        {"label": "walk", "predicted": predicted, "predicted_shuffled": after_shuffling, "scene": scenes}
    ).to_csv(reports / "predictions.csv", index=False)
    return folder


def test_summary_pools_seeds_and_keeps_the_one_frame_network_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = [
        make_result(tmp_path / "0", [True] * 6 + [False] * 2, shuffled=4),
        make_result(tmp_path / "1", [True] * 8, shuffled=6),
    ]
    one_frame = make_result(tmp_path / "one", [True, False] * 4, shuffled=4)
    report = seeds.summarize(Params.load(), trained, one_frame)
    assert report["each"] == [0.75, 1.0]
    assert report["test"]["accuracy"] == 0.875
    assert report["test"]["low"] < 0.875 < report["test"]["high"]
    assert (report["test"]["seeds"], report["test"]["n"]) == (2, 16)
    assert report["shuffled"]["accuracy"] == 0.625
    assert report["shuffled"]["low"] < 0.625 < report["shuffled"]["high"]
    assert report["one_frame"]["accuracy"] == 0.5
    seeds.print_table(report)
    assert "2 seeds (75.0%, 100.0%) | 87.5% |" in capsys.readouterr().out


def test_failed_training_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "RUNS", Path("/nowhere"))
    with pytest.raises(UserError, match=r"train\.py focal\.gama=3 failed with exit code 1"):
        seeds.run("x", "focal.gama=3")


def test_no_seeds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["seeds.py", "--seeds", "0"])
    with pytest.raises(UserError, match="--seeds 0"):
        seeds.main()
