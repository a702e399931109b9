"""The model in MLflow's form: a pyfunc model built from this file (models from code, nothing is pickled), the registry,
and the gate a model must pass to become the one that is used.

With tracking/ the only code that imports mlflow.
"""

import base64
import binascii
import dataclasses
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema

from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import Paths
from darkaction.core.redact import without_credentials
from darkaction.data.settings import VideoLimits
from darkaction.data.video import write_video
from darkaction.evaluation.statistics import Comparison, compare, with_interval
from darkaction.serving.predictor import UNSURE_BELOW, Predictor
from darkaction.tracking import fetch_model, open_store

PACKAGE = Path(__file__).resolve().parent

OUTPUTS = {
    "answer": DataType.string,  # the label, or `unsure`
    "label": DataType.string,
    "probability": DataType.double,
    "probabilities": DataType.string,
    "outside_training": DataType.string,  # in what the video is unlike every training clip; empty where in nothing
    "notes": DataType.string,  # what holds for every answer of the model
}

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "video")]),
    outputs=Schema([ColSpec(kind, name) for name, kind in OUTPUTS.items()]),
)
"""A row a video: its path on the server, or `base64:` and its bytes -> OUTPUTS; `probabilities` is {class: p}."""

BASE64 = "base64:"

VIDEO = "video"
"""Key of the model's configuration under which the section `video` of params.yaml stands."""

MAX_DESCRIPTION = 5000
"""Characters that MLflow's tables hold of a version's description."""

SAME = ("split.strategy",)
"""Tags that must agree, beside the digest of the target's data, for two evaluations to be comparable."""


class VideoModel(PythonModel):
    """The pyfunc model; its artifact is a folder as `Predictor.load` wants it."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the weights once; what a video may cost is what params.yaml said when the model was registered."""
        limits = VideoLimits(**context.model_config[VIDEO])
        self.predictor = Predictor.load(Path(context.artifacts[Paths.MODEL_ARTIFACT]), limits)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Rows as SIGNATURE says; a video that cannot be used is an error that names it."""
        return pd.DataFrame([self._row(str(video)) for video in model_input["video"]])

    def _row(self, video: str) -> dict[str, Any]:
        if not video.startswith(BASE64):
            return describe(self.predictor, Path(video))
        try:
            content = base64.b64decode(video.removeprefix(BASE64), validate=True)
        except binascii.Error as error:
            raise UserError(f"the text after '{BASE64}' is not base64: {error}") from None
        with tempfile.NamedTemporaryFile(suffix=".video") as file:
            file.write(content)
            file.flush()
            return describe(self.predictor, Path(file.name))


def input_example() -> pd.DataFrame:
    """A row that any model can answer: a second of darkness. MLflow tries the model on it before it registers it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dark.mp4"
        write_video(path, (np.zeros((48, 64, 3), np.uint8) for _ in range(30)), fps=30.0, codec="mp4v")
        return pd.DataFrame({"video": [BASE64 + base64.b64encode(path.read_bytes()).decode()]})


def describe(predictor: Predictor, video: Path) -> dict[str, Any]:
    """The outputs of SIGNATURE for one video."""
    prediction = predictor.predict(video)
    [(label, probability, _)] = prediction.top(1)
    values = dict(zip(prediction.classes, prediction.probabilities_K.tolist(), strict=True))
    return {
        "answer": prediction.answer(UNSURE_BELOW),
        "label": label,
        "probability": probability,
        "probabilities": json.dumps(values),
        "outside_training": "; ".join(prediction.outside),
        "notes": "; ".join(predictor.notes()),
    }


# The registry


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A run of train with its evaluation."""

    run_id: str
    predictions: pd.DataFrame
    comparable: dict[str, str]
    """What must be equal in two runs for their figures to be compared: the tested dataset and its split."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model may take the alias, and why."""

    passed: bool
    reason: str
    comparison: Comparison | None


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
            path = client.download_artifacts(run_id, "predictions.csv", folder)
        except (MlflowException, OSError) as error:
            raise UserError(f"run {run_id}: its predictions.csv cannot be read ({reason_of(error)})") from None
        predictions = pd.read_csv(path)
    target = json.loads(run.data.params["datasets"])[0]  # the others only join training
    tags = {name: value for name, value in run.data.tags.items() if name in (*SAME, f"data.{target}.digest")}
    return Evaluated(run_id=run_id, predictions=predictions, comparable=tags)


def judge(
    candidate: Evaluated,
    champion: Evaluated | None,
    *,
    level: float,
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> Verdict:
    """The gate: the first model passes; later ones must be evaluated on the same data and split as the champion, and
    must not be worse by the paired test over scenes at `level`."""
    if champion is None:
        return Verdict(passed=True, reason="there is no champion yet", comparison=None)
    if candidate.run_id == champion.run_id:
        return Verdict(passed=True, reason="it is the champion already", comparison=None)
    different = sorted(
        name
        for name in candidate.comparable | champion.comparable
        if candidate.comparable.get(name) != champion.comparable.get(name)
    )
    if different:
        return Verdict(
            passed=False,
            reason=f"it was evaluated on other data than the champion: {', '.join(different)} differ",
            comparison=None,
        )
    pair = candidate.predictions.merge(champion.predictions, on=["clip_id", "scene", "label"], suffixes=("_a", "_b"))
    if not len(pair) == len(candidate.predictions) == len(champion.predictions):
        return Verdict(passed=False, reason="it was tested on other clips than the champion", comparison=None)
    found = compare(
        (pair["predicted_a"] == pair["label"]).to_numpy(),
        (pair["predicted_b"] == pair["label"]).to_numpy(),
        pair["scene"].to_numpy(),
        bootstrap_samples=bootstrap_samples,
        confidence=confidence,
        seed=seed,
    )
    worse = found.difference < 0 and found.p_value < level
    figures = (
        f"{found.difference:+.1%} [{found.low:+.1%}, {found.high:+.1%}] against the champion, p = {found.p_value:.3f}, "
        f"{found.n} clips of {found.scenes} scenes"
    )
    reason = f"it is worse than the champion: {figures}" if worse else f"it is not worse than the champion: {figures}"
    return Verdict(passed=not worse, reason=reason, comparison=found)


def champion_run(client: MlflowClient, name: str, alias: str) -> str | None:
    """Run of the model version that holds the alias; None where there is none."""
    try:
        return str(client.get_model_version_by_alias(name, alias).run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def register(
    client: MlflowClient, run_id: str, name: str, paths: Paths, requirements: list[str], limits: VideoLimits
) -> int:
    """Registers the model of a run under `name`, with signature and input example; the number of its version."""
    folder = fetch_model(f"runs:/{run_id}", paths)
    mlflow.set_tracking_uri(client.tracking_uri)
    run = client.get_run(run_id)
    before = run.info
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE / "serving.py"),
            artifacts={Paths.MODEL_ARTIFACT: str(folder)},
            code_paths=[str(PACKAGE)],
            model_config={VIDEO: dataclasses.asdict(limits)},
            signature=SIGNATURE,
            input_example=input_example(),
            pip_requirements=requirements,
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


def set_alias(client: MlflowClient, name: str, version: int, alias: str, verdict: Verdict, forced: str | None) -> None:
    """Moves the alias to a version and records why."""
    tags = {"gate": verdict.reason, "gate.passed": str(verdict.passed).lower()}
    if verdict.comparison is not None:
        tags["gate.comparison"] = json.dumps(dataclasses.asdict(verdict.comparison))
    if forced is not None:
        tags["gate.forced"] = forced
    for key, value in tags.items():
        client.set_model_version_tag(name, str(version), key, value)
    client.set_registered_model_alias(name, alias, str(version))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the store knows of the run that made a model."""

    run_id: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    version_tags: dict[str, str]
    """What is known of the registered version, and why the gate let it pass; empty for a run."""


def find_origin(client: MlflowClient, model: str) -> Origin:
    """The run behind `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN_ID`.

    Raises:
        UserError: when there is none.
    """
    kind, _, name = model.partition(":/")
    try:
        if kind == "runs":
            run_id, version_tags = name, {}
        elif kind == "models" and "@" in name:
            version = client.get_model_version_by_alias(*name.split("@", 1))
            run_id, version_tags = str(version.run_id), version.tags
        elif kind == "models" and "/" in name:
            version = client.get_model_version(*name.split("/", 1))
            run_id, version_tags = str(version.run_id), version.tags
        else:
            raise UserError(f"{model}: expected models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID")
        run = client.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"{model}: not in {without_credentials(client.tracking_uri)} ({reason_of(error)})") from None
    return Origin(
        run_id=run_id,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        version_tags=dict(version_tags),
    )


def connect(paths: Paths) -> MlflowClient:
    """A client of the project's store, which leaves standard output and error to the command.

    Raises:
        UserError: when the store cannot be used.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return open_store(paths)


def latest_run(paths: Paths) -> str:
    """The run that trained the model in models/recognizer.

    Raises:
        UserError: when there is no record of it.
    """
    path = paths.read(f"{Paths.RUNS}/train.json")
    try:
        run_id = json.loads(path.read_text())["run_id"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"{path}: names no run; dvc repro writes it") from None
    if not run_id:
        raise UserError(f"{path}: the run was not recorded, the store was down; name one: promote.py RUN_ID")
    return str(run_id)


mlflow.models.set_model(VideoModel())
