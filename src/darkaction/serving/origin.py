"""Where a registered model, or the model of a run, comes from."""

from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from darkaction.core.errors import UserError, reason_of
from darkaction.core.redact import without_credentials

SHOWN = ("mlflow.source.git.", "data.", "dvc.", "split.", "version.", "sha256.", "command", "stage")
"""Beginnings of the tags that a description shows."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the store knows of the run that made a model."""

    run_id: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    version_tags: dict[str, str]
    """What is known of the registered version, and why it was promoted; empty for a run."""


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


def describe(found: Origin) -> str:
    """The run, its origin, figures and settings, and the commands that make the same again, as text."""
    lines = [f"run {found.run_id}"]
    for title, values in (
        ("origin", {name: value for name, value in found.tags.items() if name.startswith(SHOWN)}),
        ("version", found.version_tags),
        ("figures", {name: f"{value:.6g}" for name, value in found.metrics.items() if name.startswith("test.")}),
        ("settings", found.params),
    ):
        lines += ["", title, *(f"  {name:<28} {value}" for name, value in sorted(values.items()))]
    return "\n".join([*lines, "", "the same again", *(f"  {line}" for line in commands(found))])


def commands(found: Origin) -> list[str]:
    """Commands that check out what the model was made from and make it again."""
    if "mlflow.source.git.commit" not in found.tags:
        return ["the run was not made from a git commit, so nothing tells which code it was"]
    lines = [f"git checkout {found.tags['mlflow.source.git.commit']}"]
    if found.tags["mlflow.source.git.dirty"] == "true":
        lines.append("git apply uncommitted.diff    # an artifact of the run: it was made with changes not committed")
    lines += ["dvc checkout || dvc pull      # imported data; what stages made is made again", "dvc repro"]
    if "dvc.stage" not in found.tags:
        lines.append(f"{found.tags['command']}    # not by a stage of dvc repro")
    return lines
