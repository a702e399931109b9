"""dvc.yaml against the code: stages list what they import and the settings they use, and rerun for nothing else."""

import ast
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from darkaction.core import config
from darkaction.core.paths import ROOT
from darkaction.params import Params
from darkaction.serving.registry import NEEDED

SRC = ROOT / "src"
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
SETTINGS = config.flatten(Params.load())

# Settings that a script reads and DVC need not watch, and why.
NO_PARAMETER = {
    "synthesize": {"synthesize.domains": "only checked: the stage's name has the domain"},
    "prepare": {"datasets": "the command names the target; otherwise only checked"},
    "train_enhancer": {"datasets": "the dependencies name the target"},
    "leakage": {},
    "report": {},
    "enhance": {
        "datasets": "only checked: the stage's name has the dataset",
        "enhance.apply": "the stage watches the entry of its own dataset",
    },
    "pretrain": {
        "datasets": "the dependencies name the target",
        "optimizer.max_lr": "pretrain.max_lr takes its place",
        "optimizer.warmup": "pretrain.warmup takes its place",
        "train.epochs": "pretrain.epochs takes its place",
        "train.batch_size": "pretrain.batch_size takes its place",
        "train.init_from": "it begins with fresh weights",
        "train.shots_per_class": "it learns from all drawn clips",
        "train.devices": "it has one device",
        "train.checkpoint": "the last epoch counts",
        "train.num_workers": "how many processes load clips changes no figure",
        "transfer.input_rate": "it begins with fresh weights",
        "transfer.fresh_head": "it begins with fresh weights",
        "mran.target_labels": "there is one domain",
        "mran.weight": "there is one domain",
        "evaluate.batch_size": "how many validation clips go through at once changes no figure",
    },
    "train": {"evaluate.batch_size": "how many validation clips go through at once changes no figure"},
    "evaluate": {"train.num_workers": "how many processes load clips changes no figure"},
}


ASSEMBLERS = {
    SRC / "darkaction/training/recipe.py",
    SRC / "darkaction/evaluation/score.py",
    SRC / "darkaction/pretraining.py",
}
"""The modules of the package that, like the scripts, make parts from `params`."""


# What a stage imports


def script_of(stage: str) -> Path:
    return ROOT / str(STAGES[stage]["cmd"]).split()[1]


def imported(script: Path) -> set[Path]:
    """The script and every file of src/ that it imports, directly or not, also inside functions."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [path for name in imported_names(file) for path in files_of(name)]
    return found


def imported_names(file: Path) -> Iterable[str]:
    """Dotted names that a file imports: of `from a import b` both a and a.b, as b may be a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not followed here"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(name: str) -> list[Path]:
    """The files of src/ that importing `name` runs: the module and the packages it lies in."""
    parts = name.split(".")
    files = [SRC.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(SRC.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.is_file()]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_every_module_it_imports(stage: str) -> None:
    listed = [ROOT / path for path in STAGES[stage]["deps"] if path.startswith("src/")]
    missing = [
        file.relative_to(ROOT).as_posix()
        for file in sorted(imported(script_of(stage)))
        if not any(file == path or path in file.parents for path in listed)
    ]
    assert not missing, f"stage {stage} of dvc.yaml: add to deps:\n" + "\n".join(
        f"        - {path}" for path in missing
    )


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_no_module_it_does_not_import(stage: str) -> None:
    used = imported(script_of(stage))
    listed = [ROOT / path for path in STAGES[stage]["deps"] if path.startswith("src/")]
    idle = [path for path in listed if not any(file == path or path in file.parents for file in used)]
    assert not idle, f"stage {stage} of dvc.yaml: it does not import {idle}"


def test_imports_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import os, darkaction.cli\n\ndef f():\n    from darkaction import paths as paths\n")
    assert set(imported_names(file)) == {"os", "darkaction.core.cli", "darkaction", "darkaction.core.paths"}
    package = SRC / "darkaction"
    assert files_of("darkaction.core.paths") == [package / "__init__.py", package / "paths.py"]
    assert package / "errors.py" in imported(file)


def test_what_a_served_model_imports_is_in_its_requirements() -> None:
    names = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for file in imported(SRC / "darkaction/serving/mlflow_model.py")
        for node in ast.parse(file.read_text()).body  # what stands in functions is not needed to answer
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    modules = {str(name).partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"darkaction"}
    packages = importlib.metadata.packages_distributions()
    needed = {min(packages[module], key=len).lower() for module in modules}  # of mlflow and its parts, mlflow
    assert needed <= set(NEEDED), needed - set(NEEDED)


# The settings a stage uses


def used_settings(script: Path) -> set[str]:
    """Dotted names under `params` that a script and the assemblers it imports read, down to a setting or to a section
    used as a whole."""
    files = [script, *sorted(ASSEMBLERS & imported(script))]
    return set().union(*map(settings_in, files))


def settings_in(file: Path) -> set[str]:
    """Dotted names under `params` in one file."""
    tree = ast.parse(file.read_text())
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    chains = (dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in inner)
    return {known_prefix(chain.split(".")[1:]) for chain in chains if chain.startswith("params.")}


def test_no_other_module_of_the_package_reads_params() -> None:
    whole = (
        "agreement.py",
        "config.py",
        "provenance.py",
        "tracking/naming.py",
        "tracking/runs.py",
        "serving/registry.py",
        "serving/comparison.py",
        "serving/videos.py",
        "objective.py",
        "search/space.py",
        "search/study.py",
        "tables/plan.py",
        "tables/cell.py",
        "tables/comparisons.py",
        "tables/write.py",
    )
    others = set((SRC / "darkaction").rglob("*.py")) - ASSEMBLERS - {SRC / "darkaction" / name for name in whole}
    assert not [file.name for file in others if settings_in(file)]


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain; empty where it starts at something else than a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def known_prefix(parts: list[str]) -> str:
    """The longest beginning of the chain that is a setting or a section."""
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if any(key == name or key.startswith(f"{name}.") for key in SETTINGS):
            return name
    raise AssertionError(f"params.{'.'.join(parts)} is no setting")


def covers(listed: str, used: str) -> bool:
    return used == listed or used.startswith(f"{listed}.")


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_every_setting_it_uses(stage: str) -> None:
    listed = STAGES[stage]["params"]
    used = used_settings(script_of(stage)) - set(NO_PARAMETER[stage])
    missing = sorted(name for name in used if not any(covers(entry, name) for entry in listed))
    assert not missing, f"stage {stage} of dvc.yaml: add to params: {missing}"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_no_setting_it_does_not_use(stage: str) -> None:
    used = used_settings(script_of(stage))
    idle = [entry for entry in STAGES[stage]["params"] if not any(covers(entry, u) or covers(u, entry) for u in used)]
    assert not idle, f"stage {stage} of dvc.yaml: {script_of(stage).name} does not use {idle}"


@pytest.mark.parametrize("stage", STAGES)
def test_exceptions_are_still_used(stage: str) -> None:
    assert set(NO_PARAMETER[stage]) <= used_settings(script_of(stage))


# What runs again: the real dvc.yaml, with stages that write what they were given instead of working

STUB = """
import json, sys, pathlib, yaml
stage = pathlib.Path(sys.argv[0]).stem
dataset = sys.argv[1] if len(sys.argv) > 1 else ""
outs = {
    "synthesize": [f"data/raw/{dataset}/clip"], "prepare": [f"data/index/{dataset}/index.csv"],
    "train_enhancer": ["models/enhancer/weights"],
    "enhance": [f"data/clips/{dataset}/clips.csv"], "train": ["models/recognizer/weights"],
    "evaluate": ["reports/metrics.json", "reports/details.json", "reports/predictions.csv", "reports/plots/luma.csv"],
    "pretrain": ["models/pretraining/README.md"],
    "report": ["reports/report.html"],
    "leakage": ["reports/leakage.json", "reports/leakage/near_duplicates.csv"],
}
with open("ran.txt", "a") as log:
    log.write(f"{stage}@{dataset}\\n" if dataset else f"{stage}\\n")
ran = len(open("ran.txt").readlines())
for out in map(pathlib.Path, outs[stage]):
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"settings": yaml.safe_load(open("params.yaml")), "run": ran}))
"""


class Project:
    """A folder with dvc.yaml, params.yaml and stubs, which is the working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def repro(self, **changes: Any) -> list[str]:
        """Changes settings (focal__gamma=3), reproduces, and gives the stages that ran."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for name, value in changes.items():
            *sections, key = name.split("__")
            place = values
            for section in sections:
                place = place[section]
            place[key] = value
        path.write_text(yaml.safe_dump(values))
        (self.folder / "ran.txt").unlink(missing_ok=True)
        with Repo() as repo:
            repo.reproduce()
        log = self.folder / "ran.txt"
        return sorted(log.read_text().split()) if log.exists() else []


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(SRC, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for stage in STAGES:
        (folder / "src" / script_of(stage).name).write_text(STUB)
    (folder / "params.yaml").write_text(yaml.safe_dump(yaml.safe_load((ROOT / "params.yaml").read_text())))
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    with (folder / ".dvc/config").open("a") as file:
        file.write("    no_scm = true\n")  # the last section is core
    (folder / "data/raw/arid").mkdir(parents=True)
    (folder / "data/raw/arid/clip").write_text("real")
    with pytest.MonkeyPatch.context() as patch:  # the stages' `python` is this one
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        patch.chdir(folder)
        yield Project(folder)


def test_what_runs_again(project: Project) -> None:
    """One story, as each step is a `dvc repro`; every line says what the change before it may cost."""
    everything = [
        "enhance@demo",
        "evaluate",
        "leakage",
        "prepare@demo",
        "pretrain",
        "report",
        "synthesize@demo",
        "train",
        "train_enhancer",
    ]
    from_train = ["evaluate", "report", "train"]
    from_pretrain = ["evaluate", "pretrain", "report", "train"]
    record = project.folder / "models/recognizer/weights"

    assert project.repro(datasets=["demo"], synthesize__domains=["demo"]) == everything
    assert project.repro() == []
    first = record.read_text()
    figures = project.folder / "reports/metrics.json"
    first_figures = figures.read_text()

    settings = json.loads(first)["settings"]
    gamma, delta_max = settings["focal"]["gamma"], settings["sampling"]["delta_max"]
    assert project.repro(train__epochs=1) == from_train
    assert project.repro(train__epochs=settings["train"]["epochs"]) == []
    assert project.repro(focal__gamma=gamma + 1) == from_pretrain
    assert record.read_text() != first
    assert figures.read_text() != first_figures
    # Taking it back restores the first model and the reports.
    assert project.repro(focal__gamma=gamma) == []
    assert figures.read_text() == first_figures
    assert project.repro(prepare__near_duplicate=0.2) == ["leakage", "report"]
    assert record.read_text() == first
    assert project.repro(sampling__delta_max=delta_max + 1, augmentation__flip=0.125) == from_pretrain

    ran = project.repro(datasets=["demo", "demo_lit"], synthesize__domains=["demo", "demo_lit"])
    assert ran == sorted(["synthesize@demo_lit", "prepare@demo_lit", "enhance@demo_lit", "leakage", *from_train])
    # Whether the auxiliary domain is enhanced is a switch of its own.
    assert project.repro(enhance__apply__demo_lit=False) == sorted(["enhance@demo_lit", *from_pretrain])
    # Another target: other splits, another enhancer.
    ran = project.repro(datasets=["demo_lit", "demo"])
    assert ran == sorted({*everything, "prepare@demo_lit", "enhance@demo_lit"} - {"synthesize@demo"})
    # Real clips alone: nothing is drawn, and no stage of the demo is left.
    ran = project.repro(datasets=["arid"], synthesize__domains=[])
    assert ran == sorted(["enhance@arid", "leakage", "prepare@arid", "train_enhancer", *from_pretrain])
    with Repo() as repo:
        assert not any("demo" in stage.addressing for stage in repo.index.stages)


# What git keeps


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_are_ignored_by_git_or_small_and_in_it(stage: str) -> None:
    """So DVC writes no .gitignore files of its own, and reports can be committed."""
    declared = STAGES[stage]
    for entry in [*declared.get("outs", []), *declared.get("metrics", []), *declared.get("plots", [])]:
        path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        path = path.replace("${item}", "demo")
        command = ["git", "check-ignore", "-q", "--no-index", path]
        ignored = subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
        in_git = options.get("cache") is False
        assert ignored != in_git, f"{path}: {'ignored' if ignored else 'not ignored'} by .gitignore"


def test_git_has_only_what_is_the_same_on_every_machine() -> None:
    """So that a run of the pipeline with the same result leaves no file changed but dvc.lock, which names weights and
    runs."""
    in_git, in_cache, metrics = set(), set(), []
    for declared in STAGES.values():
        metrics += declared.get("metrics", [])
        for entry in [*declared.get("outs", []), *declared.get("metrics", [])]:
            path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
            (in_git if options.get("cache") is False else in_cache).add(path)
    assert in_git == {"reports/metrics.json", "reports/leakage.json"}
    assert metrics == [{"reports/metrics.json": {"cache": False}}]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [Path(name) for name in listed.splitlines()]
    assert not [path for path in tracked if in_cache & {str(part) for part in (path, *path.parents)}]


def test_committed_metrics_are_six_and_rounded() -> None:
    """`dvc metrics show` is a row that fits a screen, and a last digit of another processor does not show."""
    parts = json.loads((ROOT / "reports/metrics.json").read_text())
    figures = [value for part in parts.values() for value in part.values()]
    assert len(figures) == 6
    assert all(value == round(value, 4) for value in figures)
