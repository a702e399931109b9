"""Registers a trained model and makes it the champion if it passes the gate: python src/promote.py [RUN_ID|latest]

The gate: evaluated on the same data and split as the champion, and not worse by the paired test over scenes
(registry.significance_level of params.yaml). Why it passed or did not is printed, and recorded with the version.

    python src/promote.py                                     the model of the last dvc repro
    python src/promote.py RUN_ID --force "the old one fails on rain"     whatever the gate says; the reason is recorded
"""

import argparse
import re

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.params import Params
from darkaction.serving import mlflow_model

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


def main() -> None:
    arguments = parse_arguments()
    params, paths = Params.load(), Paths()
    client = mlflow_model.connect(paths)
    run_id = mlflow_model.latest_run(paths) if arguments.run == "latest" else arguments.run
    candidate = mlflow_model.evaluated_run(client, run_id)
    name, alias = params.registry.name, arguments.alias
    current = mlflow_model.champion_run(client, name, alias)
    try:
        verdict = mlflow_model.judge(
            candidate,
            None if current is None else mlflow_model.evaluated_run(client, current),
            level=params.registry.significance_level,
            bootstrap_samples=params.evaluate.bootstrap_samples,
            confidence=params.evaluate.confidence,
            seed=params.seed,
        )
    except UserError as error:
        if arguments.force is None:
            raise
        verdict = mlflow_model.Verdict(passed=False, reason=f"the champion cannot be asked: {error}", comparison=None)
    print(f"run {run_id}: {verdict.reason}")
    if not verdict.passed and arguments.force is None:
        raise UserError(f"{name}: '{alias}' stays with run {current}; --force REASON moves it all the same")
    if current == run_id:
        return
    version = mlflow_model.register(client, run_id, name, paths, requirements(), params.video)
    mlflow_model.set_alias(client, name, version, alias, verdict, arguments.force)
    print(f"models:/{name}@{alias} is now version {version}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="latest", help="run id of a training; latest: of models/recognizer")
    parser.add_argument("--alias", default="champion", help="the alias to move (default: champion)")
    parser.add_argument("--force", metavar="REASON", help="move it even if the gate refuses, and record why")
    arguments = parser.parse_args()
    if arguments.force is not None and not arguments.force.strip():
        parser.error("--force needs a reason")
    return arguments


def requirements() -> list[str]:
    """NEEDED with the versions of requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = {match[1]: line for line in lines if (match := re.match(r"([a-z0-9-]+)==", line))}
    return [pins[name] for name in NEEDED]


if __name__ == "__main__":
    cli.run(main)
