"""Folders that appear whole or not at all."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from darkaction.core.folders import _mark, new_files, new_folder, write_whole
from darkaction.core.processes import is_alive, started

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


HOLDER = """
import sys
from pathlib import Path
from darkaction.core.folders import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    input()
"""


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    """Also while nobody has taken note of a killed one, which still has a number then."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {"PYTHONPATH": str(SRC)}}
    elsewhere = tmp_path / ".out.partial-0-12345678"  # of another machine
    elsewhere.mkdir()
    with subprocess.Popen(command, **pipes) as killed, subprocess.Popen(command, **pipes) as living:
        left, kept = (Path(process.stdout.readline().strip()) for process in (killed, living))
        assert left.exists() and kept.exists()
        os.kill(killed.pid, signal.SIGKILL)
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
        with new_folder(tmp_path / "out"):
            pass
        assert set(names(tmp_path)) == {elsewhere.name, kept.name, "out"}
        killed.kill()
        living.kill()


def test_a_kill_between_the_two_renamings_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with new_folder(target) as folder:
        (folder / "a").write_text("old")
    replaced = tmp_path / f".out.replaced-{_mark()}-12345678"
    os.replace(target, replaced)
    with pytest.raises(KeyError), new_folder(target):
        raise KeyError
    assert names(tmp_path) == ["out"] and names(target) == ["a"]


def test_a_process_is_its_number_and_its_start() -> None:
    start = started(os.getpid())
    assert start is not None and is_alive(os.getpid(), start) and not is_alive(os.getpid(), start - 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = started(process.pid)
        assert start is not None and is_alive(process.pid, start)
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(process.pid, start)


def test_two_who_write_a_file_at_once_do_not_trip_over_each_other(tmp_path: Path) -> None:
    texts = [f"{number}" * 1000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda text: write_whole(tmp_path / "file", text), texts * 50):
            assert (tmp_path / "file").read_text() in texts
    assert names(tmp_path) == ["file"]


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


def test_files_take_their_places_together_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "other").write_text("stays")
    with pytest.raises(KeyError), new_files(tmp_path) as made:  # noqa: PT012
        (made / "a").write_text("new")
        raise KeyError
    assert (tmp_path / "a").read_text() == "old"
    with new_files(tmp_path) as made:
        (made / "a").write_text("new")
    assert (tmp_path / "a").read_text() == "new" and names(tmp_path) == ["a", "other"]
