"""Exported models as files: FILE, and FILE.json, which says what it must be given."""

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.folders import new_files
from darkaction.data.video import Frames
from darkaction.serving.export.check import check
from darkaction.serving.export.model import Exported, Indices, Model, draws_of, inputs_of, load
from darkaction.serving.predictor import SEED, Predictor
from darkaction.training.sampling import BLANK, generator

FORMATS = {"onnx": ".onnx", "torch_export": ".pt2"}
"""Name of a format and ending of its files."""

EXAMPLE = (40, 48, 64)
"""Frames, height and width of the video that the description has as an example."""


def export(folder: Path, target: Path, form: str) -> list[str]:
    """Writes a model and its description, if it answers as this project does; what was measured, a line each.

    Args:
        folder: laid out as models/recognizer.
        form: one of FORMATS.

    Raises:
        UserError: when it cannot be exported or answers otherwise. Nothing is written then.
    """
    if target.suffix != FORMATS[form]:
        raise UserError(f"{target}: files of the format {form} end in {FORMATS[form]}")
    if target.is_dir():
        raise UserError(f"{target}: is a folder; expected the name of a file")
    predictor = Predictor.load(folder)
    model = load(folder)
    with new_files(target.parent) as made:
        path = made / target.name
        _write(model, path, form)
        exported = read(path, form)
        count, size = len(model.networks), path.stat().st_size / 1e6
        lines = [f"{target}: {count} network{'s' * (count > 1)}, {size:.1f} MB"]
        lines += check(exported, model, predictor, name=str(target))
        text = json.dumps(_description(model, exported, form) | {"notes": predictor.notes()}, indent=1)
        (made / f"{target.name}.json").write_text(text + "\n")
    return lines


def _write(model: Model, path: Path, form: str) -> None:
    """Any number of frames of any size; as many draws as the model's card says, since BERT asks for their number."""
    example = inputs_of(model.card, example_frames())
    any_size = torch.export.Dim.DYNAMIC
    shapes = {"frames": {0: any_size, 1: any_size, 2: any_size}, "indices": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about their own code
        program = torch.export.export(
            model.graph(), tuple(torch.from_numpy(array) for array in example), dynamic_shapes=shapes
        )
        if form == "torch_export":
            torch.export.save(program, path)
            return
        onnx = torch.onnx.export(program, verbose=False, output_names=["probabilities", "shown"])
        assert onnx is not None
        onnx.save(path)


def read(path: Path, form: str) -> Exported:
    """The model in a file that `export` wrote."""
    if form == "torch_export":
        program = torch.export.load(path).module()

        def run(frames_MHWC: Frames, indices_DT: Indices) -> tuple[NDArray[np.float64], Frames]:
            with torch.inference_mode():
                answer_K, shown_MhwC = program(torch.from_numpy(frames_MHWC), torch.from_numpy(indices_DT))
            return np.asarray(answer_K, np.float64), shown_MhwC.numpy()

        return run

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def infer(frames_MHWC: Frames, indices_DT: Indices) -> tuple[NDArray[np.float64], Frames]:
        answer_K, shown_MhwC = session.run(None, {"frames": frames_MHWC, "indices": indices_DT})
        return np.asarray(answer_K, np.float64), shown_MhwC

    return infer


def _description(model: Model, exported: Exported, form: str) -> dict[str, Any]:
    """What a person or program needs to use the file, and an example to try that with."""
    card = model.card
    total, num_frames = card.sampling.test_draws, card.sampling.num_frames
    frames_NHWC = example_frames()
    numbers = [generator(seed=SEED, epoch=0, clip_id="", draw=draw).uniform(size=2) for draw in range(total)]
    sampler: Mapping[str, Any] = dataclasses.asdict(card.sampler())
    return {
        "format": form,
        "classes": card.classes,
        "frames": "uint8 RGB (M, H, W, 3): frames of the video as they are, not enhanced, of any number and size",
        "indices": f"int64 ({total}, {num_frames}): for each sampling draw, places in `frames`; {BLANK}: a blank frame",
        "probabilities": f"float32 ({len(card.classes)}): calibrated, averaged over draws and networks",
        "shown": "uint8 (M, height, width, 3): the frames as the networks see them, enhanced and resized",
        "sampling": {**sampler, "uniform": [list(pair) for pair in numbers]},
        "enhance": {"method": card.enhance.method, "height": model.size[0], "width": model.size[1]},
        "training": None if card.training is None else dataclasses.asdict(card.training),
        "example": {
            "video": "frame n, row y, column x, colour c: (7 n + 3 y + 5 x + 11 c) modulo 61",
            "shape": list(frames_NHWC.shape),
            "indices_into_video": draws_of(card, len(frames_NHWC)).tolist(),
            "probabilities": exported(*inputs_of(card, frames_NHWC))[0].tolist(),
        },
    }


def example_frames() -> Frames:
    """frames_NHWC of the example."""
    n, y, x, c = np.ogrid[: EXAMPLE[0], : EXAMPLE[1], : EXAMPLE[2], :3]
    return np.asarray((7 * n + 3 * y + 5 * x + 11 * c) % 61, np.uint8)
