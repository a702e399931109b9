"""The promotion criterion, from recorded runs to the alias in MLflow's registry."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import describe_model
import promote as promote_program
from darkaction.core.paths import Paths
from darkaction.jobs.recognizer.evaluation import PROMOTION
from darkaction.tracking.store import open_store
from tiny_models import call, make_model, record_run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        yield Paths(root=root)


@pytest.fixture(scope="module")
def good(store: Paths, model: Path) -> str:
    """A run with 2 errors on the 40 clips kept for promotions, registered as version 1."""
    run_id = record_run(store, model, wrong=2)
    done = promote(store, run_id, "--alias", "first")
    assert done.returncode == 0, done.stderr
    assert "there is no champion yet" in done.stdout
    assert "models:/darkaction@first is now version 1" in done.stdout
    return run_id


@pytest.fixture(scope="module")
def bad(store: Paths, model: Path) -> str:
    """A run with 25 errors."""
    return record_run(store, model, wrong=25)


@pytest.fixture
def alias(request: pytest.FixtureRequest, store: Paths, good: str) -> str:
    """An alias of the test's own, which the good model has."""
    name = re.sub(r"\W", "-", request.node.name)
    open_store(store).set_registered_model_alias("darkaction", name, "1")
    return name


def promote(store: Paths, *arguments: str) -> CompletedProcess[str]:
    return call(promote_program, *arguments, folder=store.root)


def describe(store: Paths, model_uri: str) -> CompletedProcess[str]:
    return call(describe_model, model_uri, folder=store.root)


def holder(store: Paths, alias: str) -> str:
    """The run whose model has the alias."""
    return str(open_store(store).get_model_version_by_alias("darkaction", alias).run_id)


def test_a_worse_model_is_refused(store: Paths, good: str, bad: str, alias: str) -> None:
    done = promote(store, bad, "--alias", alias)
    assert done.returncode == 1
    assert "it is 2 points worse than the champion, or more: -57.5% [" in done.stdout
    assert f"'{alias}' stays with run {good}; --force REASON" in done.stderr
    assert holder(store, alias) == good


def test_a_model_nobody_can_tell_from_the_champion_is_undecided(store: Paths, model: Path, alias: str) -> None:
    done = promote(store, record_run(store, model, wrong=3), "--alias", alias)
    assert done.returncode == 1
    assert "undecided whether it is 2 points worse than the champion: -2.5% [" in done.stdout
    assert re.search(r"8 scenes; about \d+ scenes would show it of an equal model", done.stdout)


def test_a_better_model_passes_whatever_else_joined_its_training(store: Paths, model: Path, bad: str) -> None:
    assert promote(store, bad, "--alias", "weak").returncode == 0
    better = record_run(store, model, wrong=2, source_domain="demo_lit")
    done = promote(store, better, "--alias", "weak")
    assert done.returncode == 0, done.stderr
    assert holder(store, "weak") == better


def test_a_model_evaluated_on_other_data_is_refused(store: Paths, model: Path, alias: str) -> None:
    done = promote(store, record_run(store, model, wrong=0, digest="d2"), "--alias", alias)
    assert done.returncode == 1
    assert "it was evaluated on other data than the champion: data.demo.digest differ" in done.stdout


def test_without_clips_kept_for_promotions_only_the_first_passes(store: Paths, model: Path, alias: str) -> None:
    done = promote(store, record_run(store, model, wrong=2, promotion=False), "--alias", alias)
    assert done.returncode == 1
    assert "no clips are kept to compare models on: set split.promotion" in done.stdout


def test_a_run_without_evaluation_and_one_that_is_not_there_are_one_line(store: Paths, model: Path) -> None:
    for message, run_id in {
        "was not evaluated": record_run(store, model, wrong=0, tested=False),
        "not in sqlite": "0123456789abcdef",
    }.items():
        done = promote(store, run_id)
        assert done.returncode == 1
        assert message in done.stderr and done.stderr.count("\n") == 1


def test_a_forced_promotion_records_why(store: Paths, bad: str, alias: str) -> None:
    done = promote(store, bad, "--alias", alias, "--force", "the old one fails on rain")
    assert done.returncode == 0, done.stderr
    version = open_store(store).get_model_version_by_alias("darkaction", alias)
    assert version.run_id == bad
    assert version.tags["promotion.forced"] == "the old one fails on rain"
    assert version.tags["promotion.passed"] == "false"
    facts = {"test.accuracy": "37.5% [27.5%, 42.5%]", "data.demo.digest": "d1", "git.commit": "c0ffee"}
    assert facts.items() <= version.tags.items()
    assert all(f"- {name}: {value}" in version.description for name, value in facts.items())
    assert version.description.endswith("# A card\n")
    assert json.loads(version.tags["promotion.comparison"])["n"] == 40


def test_a_registered_model_says_where_it_comes_from(store: Paths, good: str, alias: str) -> None:
    done = describe(store, f"models:/darkaction@{alias}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"run {good}\n")
    for line in ("data.demo.digest             d1", "test.accuracy                0.95", "promotion.passed"):
        assert line in done.stdout


@pytest.mark.parametrize("uri", ["models:/darkaction@nobody", "models:/darkaction/99", "runs:/0123", "darkaction"])
def test_a_model_that_is_not_there_is_one_line(store: Paths, good: str, uri: str) -> None:
    done = describe(store, uri)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: {uri}: " in done.stderr


def test_a_champion_with_a_damaged_record_is_replaced_by_force_only(store: Paths, model: Path, bad: str) -> None:
    champion = record_run(store, model, wrong=2)
    assert promote(store, champion, "--alias", "damaged").returncode == 0
    [gone] = store.root.glob(f"artifacts/{champion}/artifacts/{PROMOTION}")
    gone.unlink()
    done = promote(store, bad, "--alias", "damaged")
    assert done.returncode == 1 and f"its {PROMOTION} cannot be read" in done.stderr
    done = promote(store, bad, "--alias", "damaged", "--force", "the champion's record is damaged")
    assert done.returncode == 0 and "the champion cannot be compared" in done.stdout
