"""src/reproduce_tables.py in a copy of the project: stopped and continued, nothing twice, every training a run."""

import csv
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from mlflow import MlflowClient

import programs
from darkaction.core import config
from darkaction.core.model_folder import networks
from darkaction.core.paths import Paths
from darkaction.params import Params
from darkaction.training import weights

pytestmark = pytest.mark.slow

PATIENCE = 450.0
"""Seconds."""


class Tables:
    """Runs of reproduce_tables.py in a project, with the profile smoke."""

    def __init__(self, project: Path) -> None:
        self.project, self.store = project, f"sqlite:///{project}/mlflow.db"
        self.runs_file = project / "reports/tables/runs.csv"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return programs.start(self.project, "reproduce_tables.py", "--workers", "1", *arguments, store=self.store)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        return programs.end(self.start(*arguments), code=code)

    def runs(self) -> list[dict[str, str]]:
        if not self.runs_file.exists():
            return []
        with self.runs_file.open(newline="") as file:
            return list(csv.DictReader(file))

    def table(self, key: str) -> str:
        return (self.project / f"reports/tables/demo-smoke/table_{key}.md").read_text()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    project = tmp_path_factory.mktemp("tables")
    programs.copy_project(project)
    return Tables(project)


@pytest.fixture(scope="module")
def continued(tables: Tables) -> Tables:
    """Two methods at three learning rates, killed after the first run and started again; the rates that validation
    clips chose have two seeds."""
    process = tables.start("--methods", "tgap", "--seeds", "2")
    deadline = time.monotonic() + PATIENCE
    while not tables.runs() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(family, timeout=60)
    first = tables.runs()
    assert 1 <= len(first) < 6
    out = tables("--methods", "tgap", "--seeds", "2")
    assert f"6 runs, {6 - len(first)} of them to train" in out
    assert "8 runs, 2 of them to train: of what sweeps chose" in out
    assert tables.runs()[: len(first)] == first
    return tables


def test_a_killed_run_goes_on_without_computing_a_run_twice(continued: Tables) -> None:
    runs = continued.runs()
    assert len({(run["settings"], run["seed"]) for run in runs}) == len(runs)
    assert Counter((run["method"], run["seed"]) for run in runs) == {
        (method, seed): count for method in ("tgap", "r_bert") for seed, count in (("0", 3), ("1", 1))
    }
    assert "0 of them to train" in continued("--methods", "tgap", "--seeds", "2")


def test_tables_show_what_is_on_record(continued: Tables) -> None:
    text = continued.table("3")
    assert "| R(2+1)D with average pooling over time (max_lr 0" in text
    assert "not run" not in text
    assert "12 test clips of 2 scenes" in text
    assert "sit and stand taken for each other by R(2+1)D-BERT" in text
    folder = continued.project / "reports/tables/demo-smoke"
    assert (folder / "table_3.png").stat().st_size > 5000
    clips = pd.read_csv(folder / "table_3_clips.csv")
    assert list(clips) == ["clip_id", "label", "scene", "fold", "sha256"] and clips["clip_id"].is_monotonic_increasing
    assert len(clips) == len(continued.runs()[0]["predicted"]) == 12
    settings = yaml.safe_load((folder / "table_3_params.yaml").read_text())
    assert settings["model"]["head"] == "bert" and config.build(Params, settings, origin="the table's settings")
    out = continued("--tables", "2", "--report-only", "--seeds", "2")
    assert "| SlowFast network | not run" in out
    assert "| Delta sampling (max_lr 0" in out  # the same method as in table 3, with its runs
    assert "Delta sampling | not run" not in out


def test_every_training_is_a_run_below_one_of_the_tables(continued: Tables) -> None:
    client = MlflowClient(continued.store)
    experiment = client.get_experiment_by_name("darkaction-tables")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if run.data.tags["stage"] == "tables"]
    assert parent.info.status == "FINISHED"
    children = {run.info.run_id: run for run in runs if run.data.tags["stage"] == "run"}
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children.values())
    for recorded in continued.runs():
        run = children[recorded["run_id"]]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["test.accuracy"] == pytest.approx(float(recorded["accuracy"]), abs=1e-4)
        assert run.data.tags["table.method"] == recorded["method"]
    unfinished = [run for run in children.values() if run.info.run_id not in {c["run_id"] for c in continued.runs()}]
    assert {run.info.status for run in unfinished} <= {
        "KILLED",
        "FINISHED",
    }  # finished when nobody was left to record it


def test_other_weights_to_begin_with_are_another_run(continued: Tables, smoke_out: Path) -> None:
    own = continued.project / "start.safetensors"
    wanted = ("--methods", "tgap", "--seeds", "1", "--set", f"train.init_from={own}")
    assert f"{own}: no such file" in continued(*wanted, code=1)
    network, card = weights.load(smoke_out / Paths.RECOGNIZER / "fold_0" / weights.WEIGHTS)
    weights.save(own, network, card)
    assert "6 runs, 6 of them to train" in continued(*wanted)
    assert "6 runs, 0 of them to train" in continued(*wanted)
    network.classifier.bias.data += 1
    weights.save(own, network, card)
    assert "table 3: nothing on record for these settings" in continued(*wanted, "--report-only")


def test_enhanced_clips_are_made_once_and_may_be_deleted(continued: Tables) -> None:
    stores = sorted((continued.project / "cache/clips/demo").iterdir())
    assert [path.name for path in stores if (path / "clips.csv").exists()] == [path.name for path in stores]
    assert len(stores) == 1


def test_wrong_names_end_with_the_valid_ones(tables: Tables) -> None:
    assert "no 'slowfats'; did you mean 'slowfast'?" in tables("--methods", "slowfats", code=1)
    assert "no '9'; did you mean" in tables("--tables", "9", code=1)
    assert "run one after the other" in tables("--tables", "1,limited_data", code=1)


def test_a_table_is_not_replaced_by_one_without_a_run(continued: Tables) -> None:
    before = continued.table("3")
    out = continued("--methods", "tgap", "--seeds", "2", "--report-only", "--set", "focal.gamma=4.5")
    assert "table 3: nothing on record for these settings" in out
    assert continued.table("3") == before


def test_what_cannot_be_had_is_said_in_the_table(continued: Tables) -> None:
    own = continued.project / "experiments/own.yaml"
    own.write_text((continued.project / "experiments/tables.yaml").read_text().replace("demo_lit", "hmdb51"))
    out = continued("--experiments", str(own), "--methods", "supervised", "--seeds", "1")
    assert "not run: data/raw/hmdb51: no such dataset; python src/import_dataset.py hmdb51 PATH brings it" in out


def test_the_study_of_limited_data_pretrains_once(continued: Tables) -> None:
    wanted = ("--tables", "limited_data", "--methods", "pretrained_0", "--seeds", "1")
    out = continued(*wanted)
    assert "2 runs, 2 of them to train" in out and "pretrainings to make first: 1" in out
    assert re.search(r"synthetic pretraining, in cache/pretraining/\w+: made in \d+ s", out)
    out = continued(*wanted)
    assert "pretrainings to make first" not in out and "0 of them to train" in out
    assert "| Synthetic clips alone, no target labels | " in out and "not run" not in out
    assert (continued.project / "reports/tables/demo-smoke/table_limited_data_curves.png").stat().st_size > 5000
    client = MlflowClient(continued.store)
    experiment = client.get_experiment_by_name("darkaction-pretraining")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.tags["command"].startswith("python src/reproduce_tables.py --profile smoke")
    assert run.data.tags["mlflow.source.name"] == "src/reproduce_tables.py"
    assert str(run.info.run_name).startswith("pretraining ") and run.info.status == "FINISHED"
    [weights] = (continued.project / "cache/pretraining").glob("*/models/pretraining/fold_*/weights.safetensors")
    assert (weights.parent / "clips.png").stat().st_size > 5000


def test_a_study_learns_from_usual_scenes_and_is_tested_on_others(continued: Tables) -> None:
    out = continued("--experiments", "experiments/claims.yaml", "--tables", "order-4,order-8", "--seeds", "1")
    assert "4 runs, 4 of them to train" in out and "study order: " in out
    folder = continued.project / "reports/tables/shifted-smoke"
    text = (folder / "study_order.md").read_text()
    assert "| Method | 4 | 8 |" in text and "not run" not in text
    assert (folder / "study_order.png").stat().st_size > 5000
    clips = pd.read_csv(folder / "table_order-4_clips.csv")
    assert clips["clip_id"].str.startswith("shifted/").all() and set(clips["label"]) == {"sit", "stand"}
    again = ("--experiments", "experiments/claims.yaml", "--tables", "order", "--report-only", "--seeds", "1")
    assert "| Method | 4 | 8 | 16 |" not in continued(*again)


ENSEMBLE = """
source_domain: {}
common: {pretrain.enabled: true, pretrain.scenes: 3, pretrain.takes: 1, train.init_from: models/pretraining}
tables:
  ensemble:
    title: Networks
    methods:
      one: {name: One, published: null}
      two: {name: Two, published: null, set: {train.members: 2}}
"""


def test_an_ensemble_is_compared_with_one_network(continued: Tables) -> None:
    """Each of its members has a pretraining; the cost is that of both."""
    (continued.project / "experiments/ensemble.yaml").write_text(ENSEMBLE)
    out = continued("--experiments", "experiments/ensemble.yaml", "--seeds", "1")
    assert "2 runs, 2 of them to train" in out and "pretrainings to make first: 2" in out
    runs = {run["method"]: run for run in continued.runs()}
    assert int(runs["two"]["parameters"]) == 2 * int(runs["one"]["parameters"])
    [made] = (continued.project / "cache/pretraining").glob("*-2/models/pretraining")
    first, second = networks(made)
    assert first.read_bytes() != second.read_bytes()
    client = MlflowClient(continued.store)
    run = client.get_run(runs["two"]["run_id"])
    assert {"train_loss", "member_1.train_loss"} <= run.data.metrics.keys()
    assert "0 of them to train" in continued("--experiments", "experiments/ensemble.yaml", "--seeds", "1")
