"""A recognizer with random weights, laid out as models/recognizer, its recorded run, and programs called on it."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from darkaction.core import cli
from darkaction.core.paths import Paths
from darkaction.enhancement import enlightengan
from darkaction.enhancement.networks import save_weights
from darkaction.enhancement.zero_dce import ZeroDCE
from darkaction.jobs.recognizer.evaluation import PROMOTION
from darkaction.models.build import build_recognizer
from darkaction.params import Params
from darkaction.tracking.store import open_store
from darkaction.training import weights

CLASSES = ["down", "up"]
TRAINING = weights.Training(
    datasets=["demo"],
    digest="0123456789abcdef",
    clips=10,
    scenes=2,
    luma=(20.0, 40.0),
    height=(48.0, 48.0),
    width=(64.0, 64.0),
    frames=(20.0, 60.0),
)
VALIDATION = weights.Validation(
    clips=10, scenes=2, accuracy=0.5, low=0.2, high=0.8, temperature=1.0, error_before=0.1, error_after=0.1
)
TINY = ["model.widths=[8, 8, 8, 8]", "sampling.num_frames=8", "enhance.height=16", "enhance.width=16"]


def make_model(
    folder: Path,
    *overrides: str,
    seed: int = 0,
    folds: int = 1,
    training: weights.Training | None = None,
    temperature: float | None = None,
) -> Path:
    """A model with random weights, laid out as models/recognizer."""
    validation = None if temperature is None else replace(VALIDATION, temperature=temperature)
    params = Params.load(overrides=[*TINY, "sampling.max_rate=2.0", *overrides])
    for fold in range(folds):
        torch.manual_seed(seed + fold)
        recognizer = build_recognizer(
            params.model, params.bert, num_frames=8, height=16, frame_width=16, num_classes=len(CLASSES)
        ).eval()
        card = weights.Card(
            model=params.model,
            bert=params.bert,
            sampling=params.sampling,
            enhance=params.enhance,
            classes=CLASSES,
            min_frames=20,
            max_frames=90,
            training=training,
            validation=validation,
        )
        (folder / f"fold_{fold}").mkdir(parents=True)
        weights.save(folder / f"fold_{fold}" / weights.WEIGHTS, recognizer, card)
    torch.manual_seed(0)
    if params.enhance.method == "enlightengan":
        save_weights(enlightengan.Generator(base_width=4), folder / weights.ENHANCER)
    else:
        save_weights(ZeroDCE(curve_scale=1.0), folder / weights.ENHANCER)
    return folder


def predictions(*, wrong: int) -> pd.DataFrame:
    """40 clips in 8 scenes, of which `wrong`, spread over the scenes, are misnamed."""
    labels = [CLASSES[k % 2] for k in range(40)]
    predicted = [CLASSES[(k + (7 * k % 40 < wrong)) % 2] for k in range(40)]
    table = {"clip_id": [f"x/{k}" for k in range(40)], "scene": [k // 5 for k in range(40)]}
    return pd.DataFrame(table | {"label": labels, "predicted": predicted})


def record_run(
    store: Paths,
    model: Path,
    *,
    wrong: int,
    digest: str = "d1",
    tested: bool = True,
    source_domain: str | None = None,
    promotion: bool = True,
) -> str:
    client = open_store(store)
    found = client.get_experiment_by_name("test")
    place = str(store.root / "artifacts")
    experiment = found.experiment_id if found else client.create_experiment("test", artifact_location=place)
    tags = {"data.demo.digest": digest, "split.strategy": "scene", "mlflow.source.git.commit": "c0ffee"}
    tags |= {"mlflow.source.git.dirty": "false", "command": "python src/train.py"}
    (model / "README.md").write_text("# A card\n")
    if source_domain is not None:
        tags[f"data.{source_domain}.digest"] = "of clips that only join training"
    run_id = str(client.create_run(experiment, tags=tags).info.run_id)
    client.log_param(run_id, "datasets", json.dumps(["demo"] if source_domain is None else ["demo", source_domain]))
    client.log_artifacts(run_id, str(model), "recognizer")
    if tested:
        path = store.root / PROMOTION
        kept = predictions(wrong=wrong)
        (kept if promotion else kept.head(0)).to_csv(path, index=False)
        client.log_artifact(run_id, str(path))
        accuracy = 1 - wrong / 40
        for name, value in {"accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.05}.items():
            client.log_metric(run_id, f"test.{name}", value)
    client.set_terminated(run_id)
    return run_id


def call(program: ModuleType, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program called in this process and in `folder`, since a process of its own takes seconds to import torch."""
    command, code = [f"{program.__name__}.py", *map(str, arguments)], 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        patch.setattr(sys, "argv", command)
        patch.chdir(folder)
        try:
            cli.run(program.main)
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(command, code, out.getvalue(), errors.getvalue())
