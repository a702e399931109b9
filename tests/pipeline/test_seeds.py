"""src/seeds.py: what it makes of the results of its trainings, and a whole one."""

import pandas as pd
import pytest

import seeds as program
from darkaction.experiments import seeds
from darkaction.params import Params


def result(right: list[bool], *, shuffled: int) -> pd.DataFrame:
    """Predictions of clips in scenes of two."""
    predicted = ["walk" if ok else "run" for ok in right]
    scenes = [str(number // 2) for number in range(len(right))]
    after_shuffling = ["walk"] * shuffled + ["run"] * (len(right) - shuffled)
    return pd.DataFrame(
        {"label": "walk", "predicted": predicted, "predicted_shuffled": after_shuffling, "scene": scenes}
    )


def test_summary_pools_seeds_and_keeps_the_one_frame_network_apart(capsys: pytest.CaptureFixture[str]) -> None:
    trained = [result([True] * 6 + [False] * 2, shuffled=4), result([True] * 8, shuffled=6)]
    report = seeds.summarize(Params.load(), trained, result([True, False] * 4, shuffled=4))
    assert report["each"] == [0.75, 1.0]
    assert report["test"]["accuracy"] == 0.875
    assert report["test"]["low"] < 0.875 < report["test"]["high"]
    assert (report["test"]["seeds"], report["test"]["n"]) == (2, 16)
    assert report["shuffled"]["accuracy"] == 0.625
    assert report["shuffled"]["low"] < 0.625 < report["shuffled"]["high"]
    assert report["one_frame"]["accuracy"] == 0.5
    seeds.print_table(report)
    assert "2 seeds (75.0%, 100.0%) | 87.5% |" in capsys.readouterr().out


def test_no_seeds_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["seeds.py", "--seeds", "0"])
    with pytest.raises(SystemExit):
        program.main()
    assert "expected a whole number of at least 1" in capsys.readouterr().err
