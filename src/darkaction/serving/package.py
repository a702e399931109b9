"""The weights that come with the project, made from a pretraining: stored in 16 bits, with a model card."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.model_folder import members, place
from darkaction.core.paths import Paths
from darkaction.core.provenance import git_commit
from darkaction.serving.predictor import Predictor
from darkaction.training import weights
from darkaction.training.weights import Card

MOST_CHANGE = 0.02
"""Largest change of a probability that storing in 16 bits may make."""


def package_weights(paths: Paths) -> str:
    """Writes models/synthetic from the pretraining and the enhancer of `paths`; what was measured, in one line.

    Raises:
        UserError: when 16 bits change a probability by more than MOST_CHANGE.
    """
    made = members(paths.read(Paths.PRETRAINING) / place(0, 0) / weights.WEIGHTS)
    card = weights.load(made[0])[1]
    clips = sorted(paths.read(Paths.raw("demo")).glob("*/*_1_1.*"))
    target = Paths().write(Paths.SHIPPED)
    with tempfile.TemporaryDirectory() as whole, new_folder(target) as folder:
        for own in (Path(whole), folder):
            shutil.copyfile(paths.read(Paths.ENHANCER) / "weights.safetensors", own / weights.ENHANCER)
        for member, path in enumerate(made):
            for own in (Path(whole), folder):
                (own / place(0, member)).mkdir()
            shutil.copyfile(path, Path(whole) / place(0, member) / weights.WEIGHTS)
            weights.save(folder / place(0, member) / weights.WEIGHTS, *weights.load(path), half=True)
        change = largest_change(Path(whole), folder, clips)
        (folder / "README.md").write_text(model_card(card, networks=len(made)))
    return f"{Paths.SHIPPED}: in 16 bits the probabilities of {len(clips)} clips change by {change:.4f} at most"


def largest_change(whole: Path, half: Path, clips: list[Path]) -> float:
    """Between the probabilities of two models, over some clips.

    Raises:
        UserError: when it is more than MOST_CHANGE.
    """
    predictors = [Predictor.load(folder) for folder in (whole, half)]
    answers = [np.stack([predictor.predict(clip).probabilities_K for clip in clips]) for predictor in predictors]
    change = float(np.abs(answers[0] - answers[1]).max())
    if change > MOST_CHANGE:
        raise UserError(f"{half}: in 16 bits a probability changes by {change:.3f}, more than {MOST_CHANGE}")
    return change


def model_card(card: Card, *, networks: int) -> str:
    """What a person who uses the weights should know, as Markdown; the figures are of the first of the networks."""
    trained, validation = card.training, card.validation
    if trained is None or validation is None:
        raise UserError("the pretraining has no card of its clips and its validation; train it anew: make weights")
    ensemble = f"| Networks | {networks}, whose probabilities are averaged; the rest is of the first |\n"
    lengths = f"{trained.frames[0]:.0f} to {trained.frames[1]:.0f} frames"
    return f"""# Weights for trying the program: {", ".join(card.classes)}

`{card.model.backbone}` with the head `{card.model.head}`, and Zero-DCE, both trained on **synthetic clips only**:
`python src/predict.py VIDEO` uses them until `dvc repro` has trained others.

| what | value |
|---|---|
| Made by | `make weights` (profiles/weights.yaml) at commit {git_commit(Paths().root) or "unknown"} |
{ensemble if networks > 1 else ""}\
| Training clips | {trained.clips} synthetic clips of {trained.scenes} scenes, digest `{trained.digest}`; {lengths}, \
{trained.width[0]:.0f}x{trained.height[0]:.0f} pixels, mean luma {trained.luma[0]:.0f} to {trained.luma[1]:.0f} of 255 |
| Input | {card.sampling.num_frames} frames of {card.enhance.height}x{card.enhance.width} by {card.sampling.strategy} \
sampling, after {card.enhance.method} |
| Top-1 accuracy | {validation.accuracy:.1%} (95 % interval {validation.low:.1%} to {validation.high:.1%}, chance \
{1 / len(card.classes):.1%}) on {validation.clips} synthetic clips of {validation.scenes} scenes held out |
| Calibration | temperature {validation.temperature:.2f}, fitted to those clips; expected calibration error on \
the same clips {validation.error_before:.1%} before, {validation.error_after:.1%} after |
| Licence | Apache-2.0, as the project; no clip, frame or weight of others is in them |

The generator's light, noise and lengths were fitted to unlabelled clips of ARID. Accuracy on real video is far lower:
docs/synthetic-pretraining.md reports it. Nobody has examined how the weights treat different people. Made for research.
"""
