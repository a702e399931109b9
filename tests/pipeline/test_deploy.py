"""The recipes of deploy/, as far as one machine without a cluster can run them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

import tune as tune_program
from darkaction.core.paths import Paths
from darkaction.training import weights
from searches import Tune, final
from servers import free_port, ray_cluster

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--profile", "smoke", "--trials", "4", "--set", "tune.pruner=none", "--set", "train.epochs=5")
STAND_INS = {
    "srun": 'shift; exec "$@"',
    "ssh": 'echo "$*" >> ssh.txt; shift; exec env -i PATH="$PATH" HOME="$HOME" OMP_NUM_THREADS=1 "$@"',
}
JOBS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))


@pytest.fixture
def tune(search_project: Path, tmp_path: Path) -> Tune:
    return Tune(search_project, tmp_path)


@pytest.fixture
def environment(tune: Tune, tmp_path: Path) -> dict[str, str]:
    """That of a person who starts a recipe, with stand-ins for the programs this machine lacks."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SLURM_"))}
    path = f"{programs}:{os.environ['PATH']}"
    return environment | {
        "PATH": path,
        "OPTUNA_STORAGE": tune.storage,
        "MLFLOW_TRACKING_URI": tune.store,
        "OMP_NUM_THREADS": "1",
    }


def start(tune: Tune, environment: dict[str, str], *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, cwd=tune.project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_slurm_array_of_two(tune: Tune, environment: dict[str, str]) -> None:
    """The commands of its elements are those of kubernetes.yaml, whose pods may write into some folders only."""
    before = files(tune.project)
    elements = [
        start(
            tune,
            environment | {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_MIN": "0"},
            "deploy/slurm.sh",
            *SMALL,
        )
        for number in (1, 0)
    ]
    printed = [element.communicate(timeout=900)[0] for element in elements]
    assert [element.returncode for element in elements] == [0, 0], printed
    assert len(final(tune.trials("search-7"))) == 4
    written = {Path("/project") / path.relative_to(tune.project) for path in files(tune.project) - before}
    assert [path for path in written if not any(path.is_relative_to(folder) for folder in empty_folders(JOBS[1]))] == []


@pytest.mark.slow
def test_two_hosts_by_ssh(tune: Tune, environment: dict[str, str]) -> None:
    launcher = start(tune, environment, "deploy/ssh.sh", "gpu1 gpu2", *SMALL, "--workers", "1")
    printed = launcher.communicate(timeout=900)[0]
    assert launcher.returncode == 0, printed
    assert sorted((tune.project / "ssh.txt").read_text().splitlines()) == ["gpu1 bash -s", "gpu2 bash -s"]
    assert len(tune.runs("trial")) == 4
    assert len(tune.runs("tune")) == 1


TWO_NODES = """#!/usr/bin/env bash
shift
"$@" & first=$!
"$@" & second=$!
wait $first && wait $second
"""
"""Stands in for srun on two nodes: the command twice, on one machine."""


@pytest.mark.slow
def test_one_training_on_two_nodes(search_project: Path, smoke_out: Path, tmp_path: Path) -> None:
    """The first process of both nodes alone prints, records and publishes."""
    programs, out = tmp_path / "bin", tmp_path / "out"
    programs.mkdir()
    for name, text in {"srun": TWO_NODES, "scontrol": "#!/usr/bin/env bash\necho 127.0.0.1\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("data", "models"):
        shutil.copytree(smoke_out / name, out / name)
    shutil.rmtree(out / Paths.RECOGNIZER)
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "2"}
    slurm |= {"MASTER_PORT": str(free_port()), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    done = subprocess.run(
        ["deploy/train_slurm.sh", "--profile", "smoke", "--set", "train.epochs=2", "--out", str(out)],
        cwd=search_project,
        env={**os.environ, **slurm, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    epochs = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert epochs == ["1/2", "2/2"] and done.stdout.count("computing in") == 1
    weights.load(out / Paths.RECOGNIZER / "fold_0" / weights.WEIGHTS)
    assert [path.name for path in (out / "models").glob(".*")] == []
    client = MlflowClient(slurm["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("darkaction-recognizer")
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"]


@pytest.fixture
def cluster() -> Iterator[str]:
    with ray_cluster(os.environ) as address:
        yield address


@pytest.mark.slow
def test_ray_cluster(tune: Tune, environment: dict[str, str], cluster: str) -> None:
    launcher = start(tune, environment, "deploy/ray.sh", cluster, *SMALL)
    printed = launcher.communicate(timeout=900)[0]
    assert launcher.returncode == 0, printed
    assert "2 workers" in printed
    assert len(final(tune.trials())) == 4
    time.sleep(1)
    again = start(tune, environment, "deploy/ray.sh", cluster, *SMALL, "--resume", "--trials", "5")
    printed = again.communicate(timeout=900)[0]
    assert again.returncode == 0, printed  # the cluster has outlived the first launcher
    assert len(final(tune.trials())) == 5


def files(project: Path) -> set[Path]:
    return {path for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def pod(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod(job).get("initContainers", []), *pod(job)["containers"]]


def empty_folders(job: dict[str, Any]) -> list[str]:
    """Where the pods of a job may write."""
    empty = {volume["name"] for volume in pod(job)["volumes"] if "emptyDir" in volume}
    mounts = [mount for container in containers(job) for mount in container["volumeMounts"]]
    return [mount["mountPath"] for mount in mounts if mount["name"] in empty]


@pytest.mark.parametrize("job", JOBS, ids=["create", "search"])
def test_pods_have_no_rights_that_they_do_not_need(job: dict[str, Any]) -> None:
    assert pod(job)["automountServiceAccountToken"] is False
    rights = pod(job)["securityContext"]
    assert rights["runAsNonRoot"] is True and rights["runAsUser"] > 0
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    volumes = {volume["name"] for volume in pod(job)["volumes"]}
    for container in containers(job):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+\.\d+$", container["image"])
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert {mount["name"] for mount in container["volumeMounts"] if mount.get("readOnly")} <= {"clips"}
        assert {"name": "HOME", "value": "/tmp"} in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "darkaction-search"}}]


def test_kubernetes_commands_are_ones_that_tune_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [document["kind"] for document in JOBS] == ["Job", "Job"]
    seen = []
    for container in (container for job in JOBS for container in containers(job)):
        command = container["command"]
        if command[0] == "bash":
            command = shlex.split(command[2].removeprefix("until ").partition(";")[0])
        assert command[:2] == [".venv/bin/python", "src/tune.py"]
        monkeypatch.setattr(sys, "argv", command[1:])
        seen.append(tune_program.parse())
    assert [arguments.create for arguments in seen] == [True, False, False]
    assert [arguments.exists for arguments in seen] == [False, True, False]
    assert [arguments.resume for arguments in seen] == [False, False, True]
    assert {arguments.study for arguments in seen} == {"kubernetes"}
