"""Where a run comes from: code, command, DVC stage, data versions. Nothing here knows MLflow."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from darkaction.core import config
from darkaction.core.paths import Paths
from darkaction.core.redact import scrub, scrub_code

SOURCES = ("src", "params.yaml", "dvc.yaml", "requirements.lock")
"""What `git dirty` is about. dvc.lock and stage outputs change during every run and are left out."""


def origin_tags(*, stage: str, settings: Mapping[str, Any], paths: Paths) -> dict[str, str]:
    """Where a run comes from: code, command, DVC stage, data versions, program versions. No environment dump."""
    script = Path(sys.argv[0])
    tags = {
        "stage": stage,
        "split.strategy": settings["split.strategy"],
        "command": command_line(),
        "mlflow.source.name": os.path.relpath(script, paths.root) if script.exists() else script.name,
        "mlflow.source.type": "PROJECT" if os.environ.get("MLFLOW_RUN_ID") else "LOCAL",
        "version.python": platform.python_version(),
        **_git_tags(paths.root),
        **_data_tags(settings["datasets"], paths),
    }
    for tag, variable in (("dvc.stage", "DVC_STAGE"), ("dvc.experiment", "DVC_EXP_NAME")):
        if variable in os.environ:
            tags[tag] = os.environ[variable]
    if "torch" in sys.modules:
        tags["version.torch"] = str(sys.modules["torch"].__version__)
    return tags


def command_line() -> str:
    """What a person typed to start this process, without passwords."""
    return shlex.join(["python", *map(scrub, sys.argv)])


def _git_tags(root: Path) -> dict[str, str]:
    """Commit and dirty state of the sources; empty where `root` is no git checkout of its own."""
    commit = git_commit(root)
    if not commit:
        return {}
    changed = _git(root, "status", "--porcelain", "--", *SOURCES).strip()
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "true" if changed else "false"}


def git_commit(root: Path) -> str:
    """The commit that is checked out; empty where `root` is no git checkout of its own."""
    top, _, commit = _git(root, "rev-parse", "--show-toplevel", "HEAD").strip().partition("\n")
    return commit if commit and Path(top).resolve() == root.resolve() else ""


def _git(root: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """What git prints; nothing where there is no git, no repository or no commit yet, or it ends with another code."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode in codes else ""


def _data_tags(datasets: list[str], paths: Paths) -> dict[str, str]:
    """Version of each dataset: our digest of its index (content of all clips, labels, split) and DVC's md5s."""
    tags = {}
    recorded = dvc_md5s(paths.root)
    for dataset in datasets:
        index = paths.read(Paths.index(dataset)) / "index.csv"
        if index.exists():
            tags[f"data.{dataset}.digest"] = index_digest(index)
        for kind, path in (("raw", Paths.raw(dataset)), ("index", Paths.index(dataset))):
            if path in recorded and paths.read(path) == paths.root / path:
                tags[f"data.{dataset}.dvc_md5.{kind}"] = recorded[path]
    return tags


def uncommitted(root: Path) -> str:
    """The changes of SOURCES since the last commit, new files among them, as `git apply` takes them; empty where there
    are none. Passwords in addresses are left out, so a line that held one would not apply."""
    if not git_commit(root):
        return ""
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCES).split("\0")
    changes = [_git(root, "diff", "HEAD", "--binary", "--", *SOURCES)]
    changes += [_git(root, "diff", "--no-index", "--", os.devnull, name, codes=(1,)) for name in new if name]
    return scrub_code("".join(changes))


def dataset_sources(datasets: list[str], paths: Paths) -> list[dict[str, Any]]:
    """The indexed datasets a run reads: name, digest (that of the tags), source with DVC's md5, profile (the counts of
    `prepare`) and role, target for the first and source for the others."""
    recorded = dvc_md5s(paths.root)
    found = []
    for position, name in enumerate(datasets):
        index = paths.read(Paths.index(name)) / "index.csv"
        if not index.exists():
            continue
        raw = Paths.raw(name)
        summary = index.with_name("summary.json")
        found.append(
            {
                "name": name,
                "digest": index_digest(index),
                "source": {"path": raw, "dvc_md5": recorded[raw]} if raw in recorded else {"path": raw},
                "profile": summary.read_text() if summary.exists() else None,
                "role": "target" if position == 0 else "source",
            }
        )
    return found


def index_digest(index: Path) -> str:
    """Identifies an index.csv by its content."""
    return hashlib.sha256(index.read_bytes()).hexdigest()[:32]


def dvc_md5s(root: Path) -> dict[str, str]:
    """Path -> md5 of every output in dvc.lock and of every data/raw/*.dvc. DVC writes the lock after each stage."""
    found: dict[str, str] = {}
    for stage in _locked_stages(root).values():
        if "outs" in stage:
            found |= {out["path"]: out["md5"] for out in stage["outs"] if "md5" in out}
    for pointer in sorted((root / "data" / "raw").glob("*.dvc")):
        for out in config.read_yaml(pointer)["outs"]:
            found[f"data/raw/{out['path']}"] = out["md5"]
    return found


def _locked_stages(root: Path) -> dict[str, Any]:
    """The stages in dvc.lock; none where there is no such file."""
    lock = root / "dvc.lock"
    return _read_stages(lock, lock.stat().st_mtime_ns) if lock.exists() else {}


@lru_cache(maxsize=1)
def _read_stages(lock: Path, _changed: int) -> dict[str, Any]:
    return dict(config.read_yaml(lock)["stages"])


def changed_since(stage: str, today: Mapping[str, Any], root: Path) -> list[str]:
    """Settings that dvc.lock has for a stage with other values than `today`'s, so that its outputs are of those; none
    where DVC has not run it."""
    entry = _locked_stages(root).get(stage, {})
    recorded: dict[str, Any] = {}
    for key, value in entry.get("params", {}).get("params.yaml", {}).items():
        recorded |= config.leaves(config.nested(key, value))
    return sorted(key for key, value in recorded.items() if key not in today or today[key] != value)
