"""What the benchmarks share, and the arithmetic of costs."""

import subprocess
import sys
from pathlib import Path

import bench
import cost
import pytest
from measure import Rate, Row, in_turns, table

ROOT = Path(__file__).resolve().parents[2]


def test_ways_are_measured_in_turns() -> None:
    called = []
    ways = {name: (lambda name=name: called.append(name) or 3) for name in ("ours", "theirs")}
    rates = in_turns(ways, threads=1, rounds=2)
    assert called == ["ours", "theirs"] * 3
    assert rates["ours"].low <= rates["ours"].median <= rates["ours"].high


def test_table_has_ratio_and_share() -> None:
    ours, theirs = Rate(median=30, low=29, high=31), Rate(median=10, low=9, high=11)
    row = Row(what="input", unit="clips/s", ours=ours, alternative="a loop", theirs=theirs, limit=0.25)
    assert table([row]).splitlines()[-1] == ("| input | clips/s | 30 (29-31) | a loop | 10 (9-11) | 3.00x | 25% |")


def test_one_section_is_measured_anew_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "RESULTS.md"
    results.write_text("# Old\n\n## Index\n\nkept\n\n## Training input\n\nold\n\n## Tried and lost\n\nby hand\n")
    monkeypatch.setattr(bench, "RESULTS", results)
    monkeypatch.setattr(bench, "measured", lambda name, arguments: f"new {name}")
    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "input_speed"])
    bench.main()
    found = bench.sections(results.read_text())
    assert list(found.items()) == [
        ("Training input", "new input_speed"), ("Index", "kept"), ("Tried and lost", "by hand"),
    ]  # fmt: skip


def test_a_benchmark_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no clips here')")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    assert bench.measured("broken", []) == "Not measured: no clips here"


def test_cost_of_the_papers_settings() -> None:
    """R(2+1)D-34 takes 152 billion multiplications with additions for 32 frames of 112x112 (Ghadiyaram et al. 2019,
    table 1): twice as many for 64, and two operations each."""
    assert 4 * 140e9 < cost.flop_of(cost.recognizer(), cost.CLIP) < 4 * 160e9
    done = subprocess.run(
        [sys.executable, "benchmarks/cost.py", "--input-rate", "100"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "train: 300 epochs of 1470 clips | 806" in done.stdout
    assert "2.2 loader processes of 100 clips/s" in done.stdout
