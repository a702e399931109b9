"""The package: `pip install .` gives the command darkaction, which does what the programs do, anywhere."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from darkaction.core import command, paths
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.data.video import write_video
from programs import clone_project

PROGRAMS = sorted(path.stem for path in (ROOT / "src").glob("*.py"))


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    """What the command runs in place of itself; empty where it runs nothing."""
    ran: list[str] = []
    monkeypatch.setattr(sys, "argv", ["darkaction", *arguments])
    monkeypatch.setattr(os, "execv", lambda program, command: ran.extend(command))
    command._run()
    return ran


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, outside of every project, for a package that brings a project of its own."""
    packaged = tmp_path / "site-packages/darkaction/project"
    (packaged / "src").mkdir(parents=True)
    (packaged / "models").mkdir()
    for name in ("predict", "train"):
        (packaged / f"src/{name}.py").write_text(f'"""Does it: python src/{name}.py\n\nAnd more.\n"""\n')
    for module in (paths, command):
        monkeypatch.setattr(module, "PACKAGED", packaged)
        monkeypatch.setattr(module, "ROOT", packaged)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return packaged


def test_the_command_is_python_and_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = typed(monkeypatch, "train", "--set", "focal.gamma=3")
    assert ran == [sys.executable, str(ROOT / "src/train.py"), "--set", "focal.gamma=3"]


def test_help_lists_every_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "--help") == typed(monkeypatch) == []
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == PROGRAMS * 2
    assert "  predict          Names the action in videos" in lines


def test_an_unknown_program_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"trane: no program of darkaction; there are: compare, .*train"):
        typed(monkeypatch, "trane")


def test_outside_of_a_project_only_some_programs_run(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(monkeypatch, "predict", "a.mp4") == [sys.executable, str(installed / "src/predict.py"), "a.mp4"]
    assert typed(monkeypatch, "train", "--help")[1:] == [str(installed / "src/train.py"), "--help"]
    with pytest.raises(UserError, match=r"train works in a project folder; .*here has no params.yaml and profiles/"):
        typed(monkeypatch, "train")


def test_the_project_is_the_current_folder_where_that_is_one(installed: Path) -> None:
    assert paths._root() == installed
    Path("params.yaml").touch()
    assert paths._root() == installed  # DVC projects have that file, too
    Path("profiles").mkdir()
    assert paths._root() == Path.cwd()


def test_outside_of_a_project_nothing_is_written_into_the_package(installed: Path, tmp_path: Path) -> None:
    found = Paths(root=installed)
    assert found.read("models") == installed / "models"
    assert found.read("own/model") == Path("own/model")
    with pytest.raises(UserError, match="reports: is kept in a project folder"):
        found.write("reports")
    assert Paths(root=installed, out=tmp_path / "out").write("reports") == tmp_path / "out/reports"


COMPLETED = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_darkaction
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., set[str]]:
    """What bash offers in place of the last of some words."""
    assert typed(monkeypatch, "--print-completion", "bash") == []
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", script], check=True)

    def complete(*words: str) -> set[str]:
        command = ["bash", "--norc", "-c", COMPLETED, "bash", script, "darkaction", *words]
        return set(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split())

    return complete


def test_bash_completes_programs_and_their_arguments(completed: Callable[..., set[str]]) -> None:
    assert completed("pre") == {"predict", "prepare", "pretrain"}
    assert set(PROGRAMS) <= completed("")
    assert completed("predict", "--tim") == {"--timeline"}
    assert completed("export", "--format", "") == {"onnx", "torch_export"}
    assert completed("reproduce_tables", "--me") == {"--methods"} and not completed("reproduce_tables", "--ro")
    assert completed("train", "--profile", "sm") == {"smoke"}
    assert completed("predict", "comp") == completed("predict", "--model", "comp") == {"completion.bash"}


def test_zsh_is_told_of_every_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typed(monkeypatch, "--print-completion", "zsh")
    text = capsys.readouterr().out
    assert text.startswith("#compdef darkaction\n") and all(f"\n    {program}:'" in text for program in PROGRAMS)


@pytest.mark.parametrize("shell", [["elvish"], []], ids=["unknown", "none"])
def test_another_shell_is_told_which_there_are(shell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--print-completion: expected bash or zsh, not '(elvish)?'"):
        typed(monkeypatch, "--print-completion", *shell)
    assert ArgumentParser.parse_args.__name__ == "parse_args"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A virtual environment with the wheel in it, and with what this one has beside."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "clone").mkdir()
    clone_project(folder / "clone")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *wheel, str(folder / "clone")], check=True, capture_output=True)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    [site] = environment.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    [made] = folder.glob("darkaction-*.whl")
    python = environment / "bin/python"
    install = [*pip, "--python", str(python), "install", "--no-index", "--no-deps", str(made)]
    subprocess.run(install, check=True, capture_output=True)
    (folder / "empty").mkdir()
    return SimpleNamespace(command=environment / "bin/darkaction", empty=folder / "empty", site=site, wheel=made)


def run(program: list[object], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [str(part) for part in program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_installed_command_predicts_anywhere(package: SimpleNamespace, tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run([package.command, "--version"], package.empty).stdout == f"darkaction {version}\n"
    clip = tmp_path / "clip.avi"
    frames_NHWC = np.random.default_rng(0).integers(0, 60, (50, 120, 160, 3), dtype=np.uint8)
    write_video(clip, frames_NHWC, fps=30, codec="FFV1")
    mine = run([package.command, "predict", clip, "--json"], package.empty)
    assert mine.returncode == 0, mine.stderr
    theirs = run([sys.executable, "src/predict.py", clip, "--json", "--model", Paths.SHIPPED], ROOT)
    assert json.loads(mine.stdout) == json.loads(theirs.stdout)
    assert list(package.empty.iterdir()) == []


@pytest.mark.slow
def test_the_installed_command_says_where_it_works(package: SimpleNamespace, tmp_path: Path) -> None:
    for name in PROGRAMS:
        assert run([package.command, name, "--help"], package.empty).returncode == 0, name
    done = run([package.command, "train"], package.empty)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "works in a project folder" in done.stderr
    (tmp_path / "profiles").mkdir()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = run([package.command, "configure", "--set", "focal.gamma=3"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gamma: 3" in (tmp_path / "params.yaml").read_text()
    top = {path.name for path in package.site.iterdir()}
    assert {name for name in top if name.endswith(".py")} == set() and not {"project", "src"} & top


@pytest.mark.slow
def test_the_package_needs_no_test_tools(package: SimpleNamespace) -> None:
    [metadata] = package.site.glob("darkaction-*.dist-info/METADATA")
    needed = [line.split()[1] for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist: ")]
    assert {"torch", "onnxruntime", "psycopg[binary]"} <= set(needed) and not {"pytest", "ruff"} & set(needed)
