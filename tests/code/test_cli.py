"""How commands end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import ROOT

SRC = Path(__file__).resolve().parents[2] / "src"

PROGRAM = """
import sys, time
from pathlib import Path
from darkaction.core import cli
from darkaction.core.folders import new_folder

def main():
    with new_folder(Path(sys.argv[1])) as folder:
        (folder / "half").write_text("made")
        print("working", flush=True)
        time.sleep(60)

cli.run(main)
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["sigterm", "ctrl-c"])
def test_a_stopped_command_leaves_nothing_half_made(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "result")],
        env={"PYTHONPATH": str(SRC), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell, as CI may be, ignores SIGINT, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors == "stopped\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "errors"),
    [("KeyboardInterrupt", 130, "stopped\n"), ("Terminated(143)", 143, "stopped\n"), ("KeyError", 1, "")],
)
def test_a_stop_that_a_training_loop_made_an_exit_is_still_a_stop(raised: str, code: int, errors: str) -> None:
    program = (
        "import sys; from darkaction.core import cli; from darkaction.core.errors import Terminated\n"
        "def main():\n"
        f"    try: raise {raised}\n"
        "    except BaseException: sys.exit(1)\n"
        "cli.run(main)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, errors)


@pytest.mark.parametrize("kind", ["KeyError", "UserError"])
def test_a_traceback_shows_no_password(kind: str) -> None:
    program = (
        "from darkaction.core import cli; from darkaction.core.errors import UserError\n"
        f"def main():\n    raise {kind}('no answer from http://me:' + 'hidden7' + '@host/x')\n"
        "cli.run(main)"
    )
    environment = {"PYTHONPATH": str(SRC), "DARKACTION_TRACEBACK": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "http://host/x" in done.stderr
    assert "hidden7" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "from darkaction.core import cli\ncli.run(lambda: [print('line', k, flush=True) for k in range(100_000)])"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SRC), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_reason_of_an_error_is_one_line_without_passwords() -> None:
    assert reason_of(UserError("params.yaml: no such key\nmore")) == "params.yaml: no such key"
    assert reason_of(ConnectionError("no answer from postgresql://me:pw@host/db")).endswith("postgresql://host/db")
    assert reason_of(KeyError("gone")) == "KeyError: 'gone'"
    assert reason_of(RuntimeError()) == "RuntimeError"
    assert len(reason_of(ValueError("x" * 1000))) == 300


@pytest.mark.parametrize(
    ("text", "shown"), [("DataLoader worker (pid 1) is killed by signal: Killed.", 0), ("other", 1)]
)
def test_what_python_ignores_is_shown_but_for_dead_loaders(text: str, shown: int) -> None:
    program = (
        "import sys; sys.path.insert(0, 'src')\n"
        "from darkaction.core import cli\n"
        "class Thing:\n"
        "    def __del__(self):\n"
        f"        raise RuntimeError({text!r})\n"
        "cli.run(lambda: Thing() and None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Exception ignored")) == (0, shown)
