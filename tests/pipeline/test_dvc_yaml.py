"""dvc.yaml against the code: a stage lists the folders it imports and the settings it uses; nothing else runs it."""

import ast
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import networkx
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

PACKAGE = SRC / "darkaction"

JOBS = ("identity.py", "map_tasks.py", "pool.py", "__init__.py")
NO_DEPENDENCY = ("core", "tracking", "params.py", *(f"jobs/{name}" for name in JOBS))
"""Parts of the package that cannot change a result: plumbing, the record, what compares settings, and where work is
done."""

# Settings that a stage's code reads and DVC need not watch, and why.
NO_PARAMETER = {
    "synthesize": {
        "synthesize": "its other settings are listed one by one",
        "synthesize.domains": "only checked: the stage's name has the domain",
    },
    "prepare": {
        "datasets": "the command names the target; otherwise only checked",
        "prepare": "near_duplicate is of leakage alone",
    },
    "train_enhancer": {"datasets": "the dependencies name the target"},
    "leakage": {"evaluate": "batch_size is not used"},
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
        "train.freeze_batchnorm": "the same",
        "train.shots_per_class": "it learns from all synthetic clips",
        "train": "its other settings are listed one by one",
        "train.devices": "it has one device",
        "train.nodes": "it has one device",
        "train.checkpoint": "the last epoch counts",
        "train.early_stopping": "it trains to the end",
        "train.num_workers": "how many processes load clips changes no figure",
        "mran.target_labels": "there is one domain",
        "mran.weight": "there is one domain",
        "evaluate.batch_size": "how many validation clips go through at once changes no figure",
    },
    "train": {"evaluate.batch_size": "how many validation clips go through at once changes no figure"},
    "evaluate": {"train.num_workers": "how many processes load clips changes no figure"},
}


# What a stage imports


def program_of(stage: str) -> Path:
    return ROOT / str(STAGES[stage]["cmd"]).split()[1]


def imported(file: Path, *, without: tuple[str, ...] = ()) -> set[Path]:
    """Every file of src/ that `file` imports, directly or not, also inside functions, and `file` itself.

    Args:
        without: folders and files of the package that are neither listed nor looked into.
    """
    left_out = [PACKAGE / name for name in without]
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file not in found and not any(file == path or path in file.parents for path in left_out):
            found.add(file)
            waiting += filter(None, map(file_of, imported_names(file)))
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


def file_of(name: str) -> Path | None:
    """The file of src/ that is the module or package `name`."""
    place = SRC.joinpath(*name.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def code_of(stage: str) -> set[Path]:
    """The files of the package that can change the result of a stage."""
    files = imported(program_of(stage), without=NO_DEPENDENCY)
    return {file for file in files if PACKAGE in file.parents and not is_settings(file) and file.parent != PACKAGE}


def is_settings(file: Path) -> bool:
    """Whether .dvcignore leaves the file out, as the stage's params hold what it declares."""
    return file.name == "settings.py" and file.parent.parent == PACKAGE


def folders_of(stage: str) -> list[Path]:
    return [ROOT / path for path in STAGES[stage]["deps"] if path.startswith("src/")]


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_on_code_are_folders_of_the_package(stage: str) -> None:
    assert folders_of(stage)
    for folder in folders_of(stage):
        assert folder.is_dir()
        assert PACKAGE in folder.parents
        assert folder.relative_to(PACKAGE).parts[0] not in NO_DEPENDENCY


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_the_folder_of_every_module_it_imports(stage: str) -> None:
    listed = folders_of(stage)
    missing = {file.parent for file in code_of(stage) if not any(path in file.parents for path in listed)}
    assert not missing, f"stage {stage} of dvc.yaml: add to deps:\n" + "\n".join(
        f"        - {path.relative_to(ROOT)}" for path in sorted(missing)
    )


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_no_folder_it_does_not_import(stage: str) -> None:
    used = code_of(stage)
    idle = [path for path in folders_of(stage) if not any(path in file.parents for file in used)]
    assert not idle, f"stage {stage} of dvc.yaml: it does not import {idle}"


def test_dvc_yaml_is_short() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < 200


def test_imports_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import os, darkaction.core.cli\n\ndef f():\n    from darkaction.core import paths as paths\n")
    names = {"os", "darkaction.core.cli", "darkaction.core", "darkaction.core.paths"}
    assert set(imported_names(file)) == names
    assert file_of("darkaction.core.paths") == PACKAGE / "core/paths.py"
    assert file_of("darkaction.core") == PACKAGE / "core/__init__.py"
    assert file_of("os") is None
    assert PACKAGE / "core/errors.py" in imported(file)
    assert imported(file, without=("core",)) == {file}


def test_what_a_served_model_imports_is_in_its_requirements() -> None:
    names = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for file in imported(PACKAGE / "serving/mlflow_model.py", without=("serving/timeline/plot.py",))  # predict's
        for node in ast.parse(file.read_text()).body  # what stands in functions is not needed to answer
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    modules = {str(name).partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"darkaction"}
    packages = importlib.metadata.packages_distributions()
    needed = {min(packages[module], key=len).lower() for module in modules}  # of mlflow and its parts, mlflow
    assert needed <= set(NEEDED), needed - set(NEEDED)


# The settings a stage uses


def used_settings(stage: str) -> set[str]:
    """Dotted names under `params` that the program and the bodies of stages read, down to a setting or to a section
    used as a whole. (Other rooms get plain values.)"""
    files = [file for file in code_of(stage) if file.relative_to(PACKAGE).parts[0] in BODIES]
    return THROUGH_IDENTITY.get(stage, set()).union(*map(settings_in, [program_of(stage), *files]))


THROUGH_IDENTITY = {"leakage": {"datasets"}}
"""What the program reads through jobs/identity.py alone: it measures every dataset that index_settings names."""


BODIES = ("jobs", "report")
"""Rooms where bodies of stages stand."""


def settings_in(file: Path) -> set[str]:
    """Dotted names under `params` in one file."""
    tree = ast.parse(file.read_text())
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    chains = (dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in inner)
    return {known_prefix(chain.split(".")[1:]) for chain in chains if chain.startswith("params.")}


def test_rooms_below_the_jobs_get_plain_values() -> None:
    below = ("data", "synthetic", "enhancement", "models", "training", "evaluation")
    files = [file for room in below for file in (PACKAGE / room).rglob("*.py")]
    assert not [file.name for file in files if settings_in(file)]


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
    used = used_settings(stage) - set(NO_PARAMETER[stage])
    missing = sorted(name for name in used if not any(covers(entry, name) for entry in listed))
    assert not missing, f"stage {stage} of dvc.yaml: add to params: {missing}"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_no_setting_it_does_not_use(stage: str) -> None:
    used = used_settings(stage)
    idle = [entry for entry in STAGES[stage]["params"] if not any(covers(entry, u) or covers(u, entry) for u in used)]
    assert not idle, f"stage {stage} of dvc.yaml: it does not use {idle}"


@pytest.mark.parametrize("stage", STAGES)
def test_exceptions_are_still_used(stage: str) -> None:
    assert set(NO_PARAMETER[stage]) <= used_settings(stage)


# What runs again: the real dvc.yaml, with stages that write what they were given instead of working

STUB = """
import json, sys, pathlib, yaml
stage = pathlib.Path(sys.argv[0]).stem
dataset = sys.argv[1] if len(sys.argv) > 1 else ""
outs = {
    "synthesize": [f"data/raw/{dataset}/clip"], "prepare": [f"data/index/{dataset}/index.csv"],
    "train_enhancer": ["models/enhancer/weights"],
    "enhance": [f"data/clips/{dataset}/clips.csv"], "train": ["models/recognizer/weights"],
    "evaluate": ["reports/metrics.json", "reports/details.json", "reports/predictions.csv",
                 "reports/promotion_predictions.csv", "reports/plots/luma.csv"],
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
        self.params = (folder / "params.yaml").read_text()

    def set(self, **changes: Any) -> None:
        """Writes params.yaml as it was at first, but for some settings (focal__gamma=3)."""
        values = yaml.safe_load(self.params)
        for name, value in changes.items():
            *sections, key = name.split("__")
            place = values
            for section in sections:
                place = place[section]
            place[key] = value
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))

    def repro(self) -> list[str]:
        """Reproduces, and gives the stages that ran."""
        (self.folder / "ran.txt").unlink(missing_ok=True)
        with Repo() as repo:
            repo.reproduce()
        log = self.folder / "ran.txt"
        return sorted(log.read_text().split()) if log.exists() else []

    def would_run(self) -> list[str]:
        """The stages that `dvc status` names, and those after them."""
        with Repo() as repo:
            changed = repo.status()
            graph = repo.index.graph  # an edge from a stage to one before it
            stages = {stage for stage in graph if stage.addressing in changed}
            after = {stage for stage in graph if stages & networkx.descendants(graph, stage)}
            return sorted(stage.addressing for stage in stages | after)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(SRC, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for stage in STAGES:
        (folder / "src" / program_of(stage).name).write_text(STUB)
    settings = {**yaml.safe_load((ROOT / "params.yaml").read_text()), "datasets": ["demo"]}
    settings["synthesize"]["domains"] = ["demo"]
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    with (folder / ".dvc/config").open("a") as file:
        file.write("    no_scm = true\n")  # the last section is core
    (folder / "data/raw/arid").mkdir(parents=True)
    (folder / "data/raw/arid/clip").write_text("real")
    shutil.copy(ROOT / ".dvcignore", folder)
    with pytest.MonkeyPatch.context() as patch:  # the stages' `python` is this one
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        patch.chdir(folder)
        project = Project(folder)
        assert project.repro() == sorted(EVERYTHING)
        yield project


EVERYTHING = {"synthesize@demo", "prepare@demo", "leakage", "train_enhancer", "enhance@demo", "pretrain", "train"}
EVERYTHING |= {"evaluate", "report"}
FROM_TRAIN = {"train", "evaluate", "report"}
FROM_PRETRAIN = {"pretrain", *FROM_TRAIN}
BOTH = {"datasets": ["demo", "demo_lit"], "synthesize__domains": ["demo", "demo_lit"]}


@pytest.fixture(autouse=True)
def first_settings(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "project" in request.fixturenames:
        request.getfixturevalue("project").set()


def test_nothing_runs_again_where_nothing_changed(project: Project) -> None:
    assert project.would_run() == []
    assert project.repro() == []


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"train__epochs": 1}, FROM_TRAIN),
        ({"focal__gamma": 7}, FROM_PRETRAIN),
        ({"prepare__near_duplicate": 0.2}, {"leakage", "report"}),
        ({"sampling__delta_max": 13}, FROM_PRETRAIN),
        ({"augmentation__flip": 0.125}, FROM_PRETRAIN),
        ({"seed": 9}, EVERYTHING),
        (BOTH, {"synthesize@demo_lit", "prepare@demo_lit", "enhance@demo_lit", "leakage", *FROM_TRAIN}),
        (
            {**BOTH, "datasets": ["demo_lit", "demo"]},  # another target: other splits, another enhancer
            {*EVERYTHING, "synthesize@demo_lit", "prepare@demo_lit", "enhance@demo_lit"} - {"synthesize@demo"},
        ),
        (
            {"datasets": ["arid"], "synthesize__domains": []},  # and no stage of the demo is left
            {"prepare@arid", "enhance@arid", "leakage", "train_enhancer", *FROM_PRETRAIN},
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_runs_the_stages_that_use_it(project: Project, changes: dict[str, Any], stages: set[str]) -> None:
    project.set(**changes)
    assert project.would_run() == sorted(stages)


def test_taking_a_setting_back_restores_the_model_its_run_and_the_reports(project: Project) -> None:
    files = [project.folder / "models/recognizer/weights", project.folder / "reports/metrics.json"]
    before = [file.read_text() for file in files]
    project.set(train__epochs=1)
    assert project.repro() == sorted(FROM_TRAIN)
    assert all(file.read_text() != text for file, text in zip(files, before, strict=True))
    project.set()
    assert project.repro() == []
    assert [file.read_text() for file in files] == before


def test_the_switch_of_a_source_domain_enhances_that_domain_alone() -> None:
    switches = {dataset: f"enhance.apply.{dataset}" for dataset in ("demo", "demo_lit")}
    listed = STAGES["enhance"]["params"]
    assert "enhance.apply.${item}" in listed
    assert not any(covers(entry, switch) for entry in listed for switch in switches.values())


# What runs for a line of code


@pytest.fixture
def edited(project: Project) -> Iterator[Callable[[str, str], None]]:
    """Adds lines to the end of a file of src/darkaction, for one test."""
    before: dict[Path, str] = {}

    def add(name: str, lines: str) -> None:
        path = project.folder / "src/darkaction" / name
        before[path] = path.read_text()
        path.write_text(before[path] + lines)

    yield add
    for path, text in before.items():
        path.write_text(text)


def test_a_new_setting_runs_only_the_stages_that_list_its_section(
    project: Project, edited: Callable[[str, str], None]
) -> None:
    """Its dataclass is in a folder on which other stages depend too."""
    edited("evaluation/settings.py", "    smoothing: Fraction\n")
    assert project.would_run() == []
    project.set(evaluate__smoothing=0.5)
    assert project.would_run() == ["evaluate", "report"]


def test_a_new_section_runs_nothing(project: Project, edited: Callable[[str, str], None]) -> None:
    edited("params.py", "    server: Server\n")
    project.set(server={"port": 8000})
    assert project.would_run() == []


def test_comments_and_messages_outside_the_folders_run_nothing(
    project: Project, edited: Callable[[str, str], None]
) -> None:
    for name in ("core/errors.py", "core/cli.py", "params.py", "tracking/runs.py", "../train.py"):
        edited(name, '# why\nMESSAGE = "another message"\n')
    assert project.would_run() == []


def test_a_line_of_a_room_runs_the_stages_that_depend_on_it(
    project: Project, edited: Callable[[str, str], None]
) -> None:
    edited("report/build.py", "# why\n")
    assert project.would_run() == ["report"]


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
