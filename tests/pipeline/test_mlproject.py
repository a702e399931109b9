"""MLproject: every stage of dvc.yaml is an entry point with the same command, and `mlflow run` works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkaction.core.paths import ROOT

PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def pipeline_command(stage: dict[str, Any]) -> str:
    """A stage's command as the shell sees it, `{dataset}` for the item of a foreach."""
    command: str = stage["do"]["cmd"] if "do" in stage else stage["cmd"]
    return command.partition("#")[0].strip().replace("${item}", "{dataset}")


@pytest.mark.parametrize("stage", PIPELINE["stages"])
def test_stage_is_an_entry_point_with_the_same_command(stage: str) -> None:
    assert PROJECT["entry_points"][stage]["command"] == pipeline_command(PIPELINE["stages"][stage])


def test_entry_points_are_the_stages_the_whole_and_three_more() -> None:
    assert set(PROJECT["entry_points"]) == {*PIPELINE["stages"], "main", "configure", "tune", "reproduce_tables"}
    assert PROJECT["entry_points"]["main"]["command"] == "dvc repro"


def test_environment_is_the_lock() -> None:
    environment = yaml.safe_load((ROOT / PROJECT["python_env"]).read_text())
    assert environment["dependencies"] == ["-r requirements.lock"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the cheap entry points need, outside git, with a tracking store of their own."""
    folder = tmp_path_factory.mktemp("mlproject")
    for name in ("MLproject", "python_env.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("src", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def mlflow_run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{project}/mlflow.db"
    environment.pop("MLFLOW_RUN_ID", None)
    command = [sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_entry_point_runs(project: Path) -> None:
    result = mlflow_run(project, "-e", "configure", "-P", "profile=paper")
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load((project / "params.yaml").read_text())["train"]["epochs"] == 300


def test_failing_entry_point_exits_non_zero_and_says_why(project: Path) -> None:
    result = mlflow_run(project, "-e", "prepare", "-P", "dataset=nowhere")
    assert result.returncode != 0
    assert "nowhere" in result.stderr
    assert not (project / "data").exists()
