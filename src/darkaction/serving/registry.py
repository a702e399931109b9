"""MLflow's registry of models: the promotion criterion, registering, the alias of the model in use, and where a
registered model comes from."""

import dataclasses
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import ROOT, Paths
from darkaction.core.redact import without_credentials
from darkaction.evaluation.comparison import Comparison
from darkaction.evaluation.predictions import compare_predictions, read_predictions, same_clips
from darkaction.evaluation.statistics import with_interval
from darkaction.jobs.recognizer.evaluation import PROMOTION
from darkaction.params import Params
from darkaction.serving import mlflow_model
from darkaction.serving.settings import ServingParams
from darkaction.tracking.records import model_runs
from darkaction.tracking.settings import Registry
from darkaction.tracking.weights import checksum, fetch_model, weights_of

NEEDED = (
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "psutil",
    "pydantic",
    "pyyaml",
    "safetensors",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
    "tqdm",
)
"""Packages a served model imports; requirements.lock has their versions."""

MAX_DESCRIPTION = 5000
"""Characters that MLflow's tables hold of a version's description."""

SAME = ("split.strategy",)
"""Tags that must agree, beside the digest of the target's data, for two evaluations to be comparable."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A run of train with its evaluation."""

    run_id: str
    predictions: pd.DataFrame
    """Of the clips kept for promotions; no row where there are none."""
    comparable: dict[str, str]
    """What must be equal in two runs for their figures to be compared: the tested dataset and its split."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model meets the promotion criterion, and why."""

    run_id: str
    champion: str | None  # the run whose model has the alias now
    passed: bool
    reason: str
    comparison: Comparison | None = None


# The promotion criterion


def examine(client: MlflowClient, params: Params, paths: Paths, *, run: str, alias: str, forced: bool) -> Verdict:
    """Whether the model of a run may take the alias.

    Args:
        run: a run id, or `latest` for the model in models/recognizer.
        forced: a champion whose record is damaged is no error then.

    Raises:
        UserError: when there is no such run, or it was not evaluated.
    """
    run_id = latest_run(client, paths) if run == "latest" else run
    candidate = evaluated_run(client, run_id)
    champion = champion_run(client, params.registry.name, alias)
    try:
        current = None if champion is None else evaluated_run(client, champion)
    except UserError as error:
        if not forced:
            raise
        reason = f"the champion cannot be compared: {error}"
        return Verdict(run_id=run_id, champion=champion, passed=False, reason=reason)
    return judge(candidate, current, params.registry)


def latest_run(client: MlflowClient, paths: Paths) -> str:
    """The run that trained the model in models/recognizer, found by the checksum of its weights.

    Raises:
        UserError: when there is no model, or no record of it.
    """
    weights = weights_of(paths)
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; dvc repro trains a model")
    found = model_runs(client, checksum(weights))
    if not found:
        store = without_credentials(client.tracking_uri)
        raise UserError(f"{weights}: {store} has no run that made it; name one: promote.py RUN_ID")
    return str(found[0].info.run_id)


def evaluated_run(client: MlflowClient, run_id: str) -> Evaluated:
    """A run with the predictions that `evaluate` added to it.

    Raises:
        UserError: when there is no such run, or it was not evaluated.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        store = without_credentials(client.tracking_uri)
        raise UserError(f"run {run_id}: not in {store} ({reason_of(error)}); dvc repro makes one") from None
    if "test.accuracy" not in run.data.metrics:
        raise UserError(f"run {run_id}: was not evaluated; dvc repro evaluate (or python src/evaluate.py) does")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run_id, PROMOTION, folder)
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run {run_id}: its {PROMOTION} cannot be read ({reason_of(error)}); dvc repro evaluate writes it"
            ) from None
        predictions = read_predictions(Path(path))
    target = json.loads(run.data.params["datasets"])[0]  # the others only join training
    tags = {name: value for name, value in run.data.tags.items() if name in (*SAME, f"data.{target}.digest")}
    return Evaluated(run_id=run_id, predictions=predictions, comparable=tags)


def judge(candidate: Evaluated, champion: Evaluated | None, criterion: Registry) -> Verdict:
    """The promotion criterion. The first model passes. A later one must be evaluated on the same data and split as the
    champion, and must be shown not to be worse by `margin` or more: a one-sided test over the scenes kept for
    promotions, which neither training nor validation nor the test figures have seen."""
    current = None if champion is None else champion.run_id

    def verdict(passed: bool, reason: str, comparison: Comparison | None = None) -> Verdict:
        return Verdict(run_id=candidate.run_id, champion=current, passed=passed, reason=reason, comparison=comparison)

    if champion is None:
        return verdict(True, "there is no champion yet")
    if candidate.run_id == champion.run_id:
        return verdict(True, "it is the champion already")
    one, other = candidate.comparable, champion.comparable
    different = sorted(name for name in one | other if one.get(name) != other.get(name))
    if different:
        return verdict(False, f"it was evaluated on other data than the champion: {', '.join(different)} differ")
    if candidate.predictions.empty or champion.predictions.empty:
        return verdict(False, "no clips are kept to compare models on: set split.promotion, for example 0.2; dvc repro")
    if not same_clips(candidate.predictions, champion.predictions):
        return verdict(False, "its clips kept for promotions are not the champion's")
    found = compare_predictions(
        candidate.predictions, champion.predictions, confidence=1 - 2 * criterion.significance_level
    )
    passed, reason = judge_comparison(found, criterion)
    return verdict(passed, reason, found)


def judge_comparison(found: Comparison, criterion: Registry) -> tuple[bool, str]:
    """Whether a comparison with the champion shows that a model is not worse by the margin, and the reason.

    Args:
        found: of the candidate and the champion, with confidence 1 - 2 * `significance_level`: the ends of this
            interval are the one-sided tests.
    """
    level, margin = criterion.significance_level, criterion.margin
    p_value = found.p_at_most(-margin)
    points = f"{100 * margin:g} points"
    figures = (
        f"{found.difference:+.1%} [{found.low:+.1%}, {found.high:+.1%}] ({1 - 2 * level:.0%} interval) against the "
        f"champion, p = {p_value:.3f} that it is {points} worse or more, {found.n} clips of {found.scenes} scenes"
    )
    if p_value < level:
        return True, f"it is not {points} worse than the champion: {figures}"
    if found.high <= -margin:
        return False, f"it is {points} worse than the champion, or more: {figures}"
    needed = found.scenes_needed(margin, confidence=1 - 2 * level)
    enough = "no number of scenes decides this margin" if needed is None else f"about {needed} scenes would show it"
    return False, f"undecided whether it is {points} worse than the champion: {figures}; {enough} of an equal model"


def champion_run(client: MlflowClient, name: str, alias: str) -> str | None:
    """Run of the model version that has the alias; None where there is none."""
    try:
        return str(client.get_model_version_by_alias(name, alias).run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


# Registering


def promote(
    client: MlflowClient, params: ServingParams, paths: Paths, verdict: Verdict, *, alias: str, forced: str | None
) -> int:
    """Registers the model of a verdict and moves the alias to it; the number of its version."""
    name = params.registry.name
    version = register(client, verdict.run_id, name, paths, params)
    tags = {"promotion.criterion": verdict.reason, "promotion.passed": str(verdict.passed).lower()}
    if verdict.comparison is not None:
        tags["promotion.comparison"] = json.dumps(dataclasses.asdict(verdict.comparison))
    if forced is not None:
        tags["promotion.forced"] = forced
    for key, value in tags.items():
        client.set_model_version_tag(name, str(version), key, value)
    client.set_registered_model_alias(name, alias, str(version))
    return version


def register(client: MlflowClient, run_id: str, name: str, paths: Paths, params: ServingParams) -> int:
    """Registers the model of a run under `name`, with signature and input example; the number of its version."""
    folder = fetch_model(f"runs:/{run_id}", paths)
    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.set_registry_uri(client.tracking_uri)
    run = client.get_run(run_id)
    before = run.info
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=mlflow_model.__file__,
            artifacts={Paths.MODEL_ARTIFACT: str(folder)},
            code_paths=[str(ROOT / "src" / "darkaction")],
            model_config=mlflow_model.config_of(params),
            signature=mlflow_model.SIGNATURE,
            input_example=mlflow_model.input_example(),
            pip_requirements=requirements(),
            registered_model_name=name,
        )
    client.set_terminated(run_id, before.status, before.end_time)  # when the training ended, not the registering
    version = int(logged.registered_model_version)
    facts = facts_of(run)
    card = folder / "README.md"
    text = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    text += f"\n\n{card.read_text()}" if card.is_file() else ""
    client.update_model_version(name, str(version), text[:MAX_DESCRIPTION])
    for fact, value in facts.items():
        client.set_model_version_tag(name, str(version), fact, value)
    return version


def requirements() -> list[str]:
    """NEEDED with the versions of requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = {match[1]: line for line in lines if (match := re.match(r"([a-z0-9-]+)==", line))}
    return [pins[name] for name in NEEDED]


def facts_of(run: MlflowRun) -> dict[str, str]:
    """What a person asks first of a model: accuracy with its interval, data, code, and the run that made it. What an
    earlier version of this project did not record is left out."""
    figures, tags = run.data.metrics, run.data.tags
    found = {"run": run.info.run_name or run.info.run_id}
    if {"test.accuracy", "test.low", "test.high"} <= figures.keys():
        accuracy, low, high = (figures[f"test.{name}"] for name in ("accuracy", "low", "high"))
        found = {"test.accuracy": with_interval({"accuracy": accuracy, "low": low, "high": high})} | found
    found |= {name: value for name, value in sorted(tags.items()) if name.startswith("data.")}
    if (commit := tags.get("mlflow.source.git.commit")) is not None:
        changed = tags.get("mlflow.source.git.dirty") == "true"
        found["git.commit"] = f"{commit} and changes (uncommitted.diff of the run)" if changed else commit
    return found
