"""Where a registered model, or the model of a run, comes from."""

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from darkaction.core.errors import UserError, reason_of
from darkaction.core.redact import without_credentials

SHOWN = ("mlflow.source.git.", "data.", "dvc.", "split.", "version.", "sha256.", "command", "stage")
"""Beginnings of the tags that a description shows."""


def describe_model(client: MlflowClient, model: str) -> str:
    """The run behind `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN_ID`, its origin, figures and settings,
    what is known of the version, and the commands that make the same again, as text.

    Raises:
        UserError: when there is none.
    """
    try:
        run, version = _find(client, model)
    except MlflowException as error:
        raise UserError(f"{model}: not in {without_credentials(client.tracking_uri)} ({reason_of(error)})") from None
    lines = [f"run {run.info.run_id}"]
    for title, values in (
        ("origin", {name: value for name, value in run.data.tags.items() if name.startswith(SHOWN)}),
        ("version", version),
        ("figures", {name: f"{value:.6g}" for name, value in run.data.metrics.items() if name.startswith("test.")}),
        ("settings", run.data.params),
    ):
        lines += ["", title, *(f"  {name:<28} {value}" for name, value in sorted(values.items()))]
    return "\n".join([*lines, "", "the same again", *(f"  {line}" for line in _commands(run.data.tags))])


def _find(client: MlflowClient, model: str) -> tuple[Run, Mapping[str, str]]:
    """The run that made a model, and what is known of the version and why it was promoted; nothing for a run."""
    kind, _, name = model.partition(":/")
    if kind == "runs":
        return client.get_run(name), {}
    if kind == "models" and "@" in name:
        version = client.get_model_version_by_alias(*name.split("@", 1))
    elif kind == "models" and "/" in name:
        version = client.get_model_version(*name.split("/", 1))
    else:
        raise UserError(f"{model}: expected models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID")
    return client.get_run(str(version.run_id)), version.tags


def _commands(tags: Mapping[str, str]) -> list[str]:
    """Commands that check out what the model was made from and make it again."""
    if "mlflow.source.git.commit" not in tags:
        return ["the run was not made from a git commit, so nothing tells which code it was"]
    lines = [f"git checkout {tags['mlflow.source.git.commit']}"]
    if tags["mlflow.source.git.dirty"] == "true":
        lines.append("git apply uncommitted.diff    # an artifact of the run: it was made with changes not committed")
    lines += ["dvc checkout || dvc pull      # imported data; what stages made is made again", "dvc repro"]
    if "dvc.stage" not in tags:
        lines.append(f"{tags['command']}    # not by a stage of dvc repro")
    return lines
