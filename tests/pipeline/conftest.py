"""A whole pipeline in miniature, for tests that read stage outputs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = (
    ["synthesize.py", "demo"],
    ["prepare.py", "demo"],
    ["leakage.py"],
    ["train_enhancer.py"],
    ["enhance.py", "demo"],
    ["train.py"],
    ["evaluate.py"],
)


@pytest.fixture(scope="session")
def smoke_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline run with --profile smoke --out; every stage ended well."""
    out = tmp_path_factory.mktemp("smoke")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{out}/mlflow.db"}
    for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
        environment.pop(name, None)
    for stage in STAGES:
        command = [sys.executable, f"src/{stage[0]}", *stage[1:], "--profile", "smoke", "--out", str(out)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{stage}: {done.stderr[-3000:]}"
    return out
