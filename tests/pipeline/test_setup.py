"""What `make repro` and `make test` stand on: the lock, the Makefile's install, CI's script and the checks."""

import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from darkaction.core.paths import ROOT

MARKER = r"( ; (sys_platform == \"(linux|darwin)\"|python_version < \"3.14\"))?"
PIN = re.compile(rf"^[a-z0-9-]+==[0-9][0-9a-zA-Z.]*{MARKER}$")


def lines_of(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line]


# The lock


def test_lock_pins_one_version_of_each_and_names_no_place() -> None:
    lines = lines_of("requirements.lock")
    assert [line for line in lines if not PIN.match(line)] == []
    names = [line.partition("==")[0] for line in lines]
    assert len(names) == len(set(names)) > 100
    assert names == sorted(names)


def test_lock_holds_all_that_is_required_directly() -> None:
    locked = {line.partition("==")[0] for line in lines_of("requirements.lock")}
    assert {canonicalize_name(Requirement(line).name) for line in lines_of("requirements.in")} <= locked


def test_lock_is_closed_under_what_its_packages_need() -> None:
    """So the install can go without resolving: whatever a package needs here is in the lock, at a version it takes."""
    pins = {canonicalize_name(pin.name): pin for pin in map(Requirement, lines_of("requirements.lock"))}
    here = {name for name, pin in pins.items() if pin.marker is None or pin.marker.evaluate()}
    problems = []
    for name in here:
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            other = canonicalize_name(needed.name)
            if other == "pip":  # the virtual environment's own
                continue
            version = str(pins[other].specifier).removeprefix("==") if other in here else None
            if version is None or not needed.specifier.contains(version, prereleases=True):
                problems.append(f"{name} needs {needed}, the lock has {version}")
    assert problems == []


def test_installed_is_what_the_lock_says() -> None:
    for pin in map(Requirement, lines_of("requirements.lock")):
        if pin.marker is None or pin.marker.evaluate():
            installed = importlib.metadata.version(pin.name).partition("+")[0]
            assert pin.specifier.contains(installed, prereleases=True), f"{pin}: {installed} is installed"


def test_opencv_needs_no_x_libraries() -> None:
    names = {line.partition("==")[0] for line in lines_of("requirements.lock")}
    assert "opencv-python-headless" in names
    assert "opencv-python" not in names


def test_notes_for_cuda_stay_off_macos() -> None:
    for line in lines_of("requirements.lock"):
        if line.startswith(("nvidia-", "cuda-", "triton")) and not line.startswith("nvidia-ml-py"):
            assert line.endswith('; sys_platform == "linux"'), line


# make install, with a stand-in for Python that notes what it is asked

FAKE_PYTHON = """#!/bin/sh
# `-c` answers the version check, `-m venv` makes a folder whose python is this file, `-m pip` does as told.
echo "$*" >> "$LOG"
case "$*" in
  *version_info*) exit ${TOO_OLD:-0} ;;
  "-V") echo "Python 3.12.1" ;;
  "-m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip --version") exit 0 ;;
  *"-r requirements.lock") exit ${PIP_FAILS:-0} ;;
esac
"""


class Checkout:
    """A copy of the Makefile and a short lock, and the fake Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        self.log = folder / "log.txt"
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "requirements.lock").write_text("setuptools==1.0\nx==1.0\n")
        self.python = folder / "fake-python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(self.python.stat().st_mode | stat.S_IXUSR)

    def make(self, *arguments: str, **variables: str) -> tuple[int, str, list[str]]:
        """Exit code, output, and what Python was asked."""
        self.log.write_text("")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        environment |= {"LOG": str(self.log), **variables}
        command = ["make", "--no-print-directory", *arguments, f"PYTHON={self.python}"]
        result = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        return result.returncode, result.stdout + result.stderr, self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def installs(asked: list[str]) -> int:
    return sum(line.endswith("-r requirements.lock") for line in asked)


def test_install_happens_once(checkout: Checkout) -> None:
    code, output, asked = checkout.make("install")
    assert code == 0, output
    assert installs(asked) == 1
    assert any("setuptools==1.0" in line for line in asked)
    assert checkout.make("install")[2] == []


def test_touched_lock_does_not_install_again_and_changed_lock_does(checkout: Checkout) -> None:
    checkout.make("install")
    lock = checkout.folder / "requirements.lock"
    later = (checkout.folder / ".venv/.installed").stat().st_mtime + 10
    os.utime(lock, (later, later))
    assert checkout.make("install")[2] == []
    lock.write_text("setuptools==1.0\nx==2.0\n")
    os.utime(lock, (later + 20, later + 20))
    code, output, asked = checkout.make("install")
    assert code == 0, output
    assert installs(asked) == 1
    assert not any("-m venv" in line for line in asked)  # the environment is kept


def test_half_finished_install_does_not_count(checkout: Checkout) -> None:
    code, _, asked = checkout.make("install", PIP_FAILS="1")
    assert code != 0
    assert installs(asked) == 1
    assert not (checkout.folder / ".venv/.installed").exists()
    code, output, asked = checkout.make("install")
    assert code == 0, output
    assert installs(asked) == 1


def test_old_python_is_an_error_that_says_what_to_do(checkout: Checkout) -> None:
    code, output, _ = checkout.make("install", TOO_OLD="1")
    assert code != 0
    assert "no Python 3.11 or later" in output
    assert "make PYTHON=/path/to/python3.12" in output
    assert not (checkout.folder / ".venv").exists()


@pytest.mark.parametrize("target", ["install", "repro", "test"])
def test_a_folder_that_is_no_git_repository_is_told_before_the_installation(checkout: Checkout, target: str) -> None:
    shutil.rmtree(checkout.folder / ".git")
    code, output, asked = checkout.make(target, GIT_CEILING_DIRECTORIES=str(checkout.folder.parent))
    assert code != 0
    assert "git init && git add -A && git commit -m 'As downloaded'" in output
    assert asked == []
    assert not (checkout.folder / ".venv").exists()


def test_a_machine_without_git_is_told_before_the_installation(checkout: Checkout) -> None:
    programs = checkout.folder / "programs"
    programs.mkdir()
    for name in ("bash", "sh", "make", "mkdir", "cp", "mv", "rm", "touch", "grep", "cmp", "cat"):
        (programs / name).symlink_to(str(shutil.which(name)))
    code, output, asked = checkout.make("install", PATH=str(programs))
    assert code != 0
    assert "no git on the PATH; install it" in output
    assert asked == []


def test_a_later_make_checks_git_and_installs_nothing(checkout: Checkout) -> None:
    checkout.make("install")
    shutil.rmtree(checkout.folder / ".git")
    code, output, asked = checkout.make("install", GIT_CEILING_DIRECTORIES=str(checkout.folder.parent))
    assert (code != 0, asked) == (True, [])
    assert "git init" in output


def test_help_lists_every_target() -> None:
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make ([a-z-]+) +\S", result.stdout, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    phony = set(" ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)).split())
    assert listed == phony - {"repository"}  # which only says what is missing
    assert {"repro", "test", "test-long", "seeds", "paper-check", "smoke", "lint", "ui", "clean"} <= listed


# CI and checks


def test_ci_installs_the_system_packages_of_the_quickstart() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
    found = re.search(r"apt-get install (?:-\S+ )*(.+)$", script, re.MULTILINE)
    assert found is not None
    assert found.group(1) in (ROOT / "docs/quickstart.md").read_text()
    assert script.rstrip().endswith("REQUIRE_ALL=1 make test")


@pytest.mark.parametrize(("require_all", "outcome"), [("0", "2 skipped"), ("1", "1 failed, 1 error")])
def test_ci_fails_on_every_skip(tmp_path: Path, require_all: str, outcome: str) -> None:
    (tmp_path / "test_one.py").write_text("import pytest\ndef test_one():\n    pytest.skip('no program')\n")
    (tmp_path / "test_two.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    options = [
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "--continue-on-collection-errors",
    ]
    environment = {**os.environ, "REQUIRE_ALL": require_all, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pytest", "-q", *options, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert outcome in done.stdout, done.stdout + done.stderr
    assert (done.returncode != 0) == (require_all == "1")
    assert ("nothing may be skipped" in done.stdout and "no program" in done.stdout) == (require_all == "1")


def test_tests_are_skipped_for_a_program_alone_and_read_nothing_beside_the_project() -> None:
    own = Path(__file__).name
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("*.py") if path.name != own}
    skipping = {name for name, text in sources.items() if re.search(r"skip\(|skipif|importorskip|xfail", text)}
    assert skipping == {"conftest.py"}
    assert sources["conftest.py"].count("pytest.skip(") == 1
    assert [name for name, text in sources.items() if re.search(r"ROOT\.parent\b|\.\./shared", text)] == []


def test_hooks_are_valid_and_fetch_nothing() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    assert {repo["repo"] for repo in yaml.safe_load(path.read_text())["repos"]} == {"local"}


def test_long_tests_are_left_out_unless_asked_for() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["pytest"]["addopts"][-2:] == ["-m", "not long"]
    assert settings["tool"]["mypy"]["strict"] is True
    assert settings["project"]["requires-python"] == ">=3.11"


# Where imports may stand


def modules_that_import(name: str) -> set[str]:
    pattern = re.compile(rf"^\s*(import|from) {name}\b", re.MULTILINE)
    files = (ROOT / "src").rglob("*.py")
    return {path.relative_to(ROOT / "src").as_posix() for path in files if pattern.search(path.read_text())}


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("mlflow", {"tracking", "serving"}),
        ("optuna", {"search"}),
        ("ray", {"jobs"}),
        ("pytorch_lightning", {"training", "jobs"}),
    ],
)
def test_a_library_is_imported_in_its_own_rooms_only(library: str, rooms: set[str]) -> None:
    modules = modules_that_import(library)
    assert {path.removeprefix("darkaction/").partition("/")[0] for path in modules} <= rooms


def test_videos_are_opened_in_one_room_only() -> None:
    files = (ROOT / "src").rglob("*.py")
    opening = {path.parent.name for path in files if re.search(r"\bVideo(Capture|Writer)\b", path.read_text())}
    assert opening == {"video"}
