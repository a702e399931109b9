"""A place where one process works at a time."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from darkaction.core import processes
from darkaction.core.errors import UserError
from darkaction.core.processes import only_one

SRC = Path(__file__).resolve().parents[2] / "src"

HOLDER = """
import os, sys, time
from pathlib import Path
from darkaction.core.processes import only_one

with only_one(Path(sys.argv[1]), task="a training"):
    child = os.fork()
    if child == 0:
        time.sleep(60)  # as a process that loads batches
    print(child, flush=True)
    time.sleep(60)
"""

COUNTER = """
import sys
from pathlib import Path
from darkaction.core import processes

processes.RETRY_AFTER = 0.001
count = Path(sys.argv[2])
for _ in range(100):
    with processes.only_one(Path(sys.argv[1]), task="counting", patience=60):
        count.write_text(str(int(count.read_text()) + 1))
"""


def test_the_second_process_is_told_of_the_first_until_that_ends(tmp_path: Path) -> None:
    lock = tmp_path / "states" / "train.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], env={"PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        message = rf"states: a training is at work here \(process {holder.pid} on {socket.gethostname()}\)"
        with pytest.raises(UserError, match=message), only_one(lock, task="a training"):
            pass
        holder.kill()
        holder.wait()
        os.kill(child, 0)  # lives on
        with only_one(lock, task="a training"):
            pass
        os.kill(child, signal.SIGKILL)
    assert list(lock.parent.iterdir()) == []


def test_of_many_processes_one_is_inside(tmp_path: Path) -> None:
    """Also while the file of the lock is removed and made anew."""
    count = tmp_path / "count"
    count.write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path / "lock"), str(count)]
    running = [subprocess.Popen(command, env={"PYTHONPATH": str(SRC)}) for _ in range(4)]
    assert [process.wait(timeout=60) for process in running] == [0] * 4
    assert count.read_text() == "400"


def test_where_there_are_no_locks_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(processes.fcntl, "lockf", refuse)
    with only_one(tmp_path / "lock", task="a training"):
        pass
    assert capsys.readouterr().err == f"{tmp_path}/lock: no locks on this file system; start a training only once\n"


REUSE = """
import resource, sys
import numpy as np
from darkaction.core.processes import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [np.ones(2_000_000, np.uint8) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


def test_freed_memory_is_used_again() -> None:
    command = [sys.executable, "-c", REUSE]
    done = subprocess.run(command, env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < 100 < before
