"""Says where a model comes from: python src/describe_model.py models:/darkaction@champion

Prints the git commit, data versions, command, settings, figures and checksums of the run that made a registered model
(models:/NAME@ALIAS, models:/NAME/VERSION) or of a run (runs:/RUN_ID), and the commands that make the same again.
"""

import argparse

from darkaction.core import cli
from darkaction.core.paths import Paths
from darkaction.serving import mlflow_model

SHOWN = ("mlflow.source.git.", "data.", "dvc.", "split.", "version.", "sha256.", "command", "stage")
"""Beginnings of the tags that are printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID")
    model = parser.parse_args().model
    found = mlflow_model.find_origin(mlflow_model.connect(Paths()), model)
    print(f"run {found.run_id}")
    for title, values in (
        ("origin", {name: value for name, value in found.tags.items() if name.startswith(SHOWN)}),
        ("version", found.version_tags),
        ("figures", {name: f"{value:.6g}" for name, value in found.metrics.items() if name.startswith("test.")}),
        ("settings", found.params),
    ):
        print(f"\n{title}")
        for name, value in sorted(values.items()):
            print(f"  {name:<28} {value}")
    print(f"\nthe same again\n{again(found)}")


def again(found: mlflow_model.Origin) -> str:
    """Commands that check out what the model was made from and make it again."""
    if "mlflow.source.git.commit" not in found.tags:
        return "  the run was not made from a git commit, so nothing tells which code it was"
    lines = [f"git checkout {found.tags['mlflow.source.git.commit']}"]
    if found.tags["mlflow.source.git.dirty"] == "true":
        lines.append("git apply uncommitted.diff    # an artifact of the run: it was made with changes not committed")
    lines += ["dvc checkout || dvc pull      # imported data; what stages made is made again", "dvc repro"]
    if "dvc.stage" not in found.tags:
        lines.append(f"{found.tags['command']}    # not by a stage of dvc repro")
    return "\n".join(f"  {line}" for line in lines)


if __name__ == "__main__":
    cli.run(main)
