"""Folders that appear whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from darkaction.core.folders import _mark, new_folder

SRC = Path(__file__).resolve().parents[2] / "src"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_takes_the_place_of_the_old_one_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with new_folder(target) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(KeyError), new_folder(target) as folder:  # noqa: PT012
        (folder / "b").write_text("2")
        raise KeyError
    assert names(target) == ["a"] and names(target.parent) == ["out"]
    with new_folder(target) as folder:
        (folder / "b").write_text("2")
    assert names(target) == ["b"] and names(target.parent) == ["out"]


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".out.partial-{_mark()}-{dead.pid}").mkdir()
    elsewhere = tmp_path / f".out.partial-0-{dead.pid}"  # of another machine, where that number may be alive
    elsewhere.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        kept = tmp_path / f".out.partial-{_mark()}-{living.pid}"
        kept.mkdir()
        with new_folder(tmp_path / "out"):
            pass
        assert set(names(tmp_path)) == {elsewhere.name, kept.name, "out"}
        living.kill()


def test_of_several_processes_one_publishes(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", keep=False) as folder:
        (folder / "a").write_text("1")
    assert names(tmp_path) == []


def test_several_that_finish_at_once_do_not_trip_over_each_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from darkaction.core.folders import new_folder\n"
        "for _ in range(300):\n"
        "    with new_folder(Path(sys.argv[1])) as folder: (folder / 'a').write_text('1')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    running = [subprocess.Popen(command, env={"PYTHONPATH": str(SRC)}, stderr=subprocess.PIPE) for _ in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a"]
