"""The model in MLflow's form: a pyfunc model built from this file (models from code, nothing is pickled)."""

import base64
import dataclasses
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Map

from darkaction.core.paths import Paths
from darkaction.data.settings import VideoLimits
from darkaction.data.video import write_video
from darkaction.serving.server.worker import FAULT, RefusedError, Row, Workers
from darkaction.serving.settings import Serving, ServingParams

OUTPUTS: dict[str, DataType | Map] = {
    "answer": DataType.string,  # the label, or `unsure`
    "label": DataType.string,
    "probability": DataType.double,
    "probabilities": Map(DataType.double),  # {class: probability}
    "outside_training": DataType.string,  # in what the video is unlike every training clip; empty where in nothing
    "notes": DataType.string,  # what holds for every answer of the model
    "error": DataType.string,  # why the video has no answer; the others are then null
}

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "video")]),
    outputs=Schema([ColSpec(kind, name, required=False) for name, kind in OUTPUTS.items()]),
)
"""One row per video: `base64:` and the bytes of its file -> OUTPUTS."""

BASE64 = "base64:"

VIDEO, SERVING = "video", "serving"
"""Keys of the model's configuration under which these sections of params.yaml stand."""


class VideoModel(PythonModel):
    """The pyfunc model; its artifact is a folder as `Predictor.load` wants it. One bad row does not fail the others."""

    def load_context(self, context: PythonModelContext) -> None:
        """Starts the processes that load the weights. What a video may cost is what params.yaml said when the model was
        registered."""
        video, self._limits = VideoLimits(**context.model_config[VIDEO]), Serving(**context.model_config[SERVING])
        folder, limits = Path(context.artifacts[Paths.MODEL_ARTIFACT]), self._limits
        self._workers = Workers(limits.workers, folder, video, limits.max_memory_mb)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Rows as SIGNATURE says, within `timeout_seconds` for all; of a video that cannot be used, with an error."""
        deadline = time.monotonic() + self._limits.timeout_seconds
        empty = dict.fromkeys(OUTPUTS)
        rows = [empty | self._row(video, number, deadline) for number, video in enumerate(model_input["video"])]
        return pd.DataFrame(rows, columns=list(OUTPUTS), dtype=object)  # else None would be NaN, which is no JSON

    def close(self) -> None:
        """Ends the processes; a call of `predict` in another thread then ends, too."""
        self._workers.close()

    def _row(self, video: object, number: int, deadline: float) -> Row:
        try:
            if number >= self._limits.max_videos:
                raise RefusedError(f"a request may have {self._limits.max_videos} videos")
            if not isinstance(video, str):
                raise RefusedError(EXPECTED)
            if self._limits.root is not None and not video.startswith(BASE64):
                return self._predict(find_in(Path(self._limits.root), video), deadline)
            content = decode(video, self._limits.max_body_mb * 2**20)
            with tempfile.NamedTemporaryFile(suffix=".video") as file:
                file.write(content)
                file.flush()
                return self._predict(Path(file.name), deadline)
        except RefusedError as error:
            return {"error": str(error)}
        except Exception:  # noqa: BLE001 - a full disk, for example; MLflow would show its trace to the client
            traceback.print_exc()
            return {"error": FAULT}

    def _predict(self, video: Path, deadline: float) -> Row:
        with self._workers.one(deadline) as worker:
            return worker.predict(video, deadline)


EXPECTED = f"expected '{BASE64}' and the bytes of a video file in base64"


def decode(text: str, max_bytes: int) -> bytes:
    """The bytes behind BASE64.

    Raises:
        RefusedError: when there are none, or the text is longer than `max_bytes`.
    """
    if not text.startswith(BASE64):
        raise RefusedError(EXPECTED)
    if len(text) > max_bytes:
        raise RefusedError(f"larger than {max_bytes // 2**20} MiB in base64")
    try:
        return base64.b64decode(text.removeprefix(BASE64), validate=True)
    except ValueError:
        raise RefusedError(f"the text after '{BASE64}' is not base64") from None


def find_in(root: Path, name: str) -> Path:
    """The file `name` inside `root`, also after links are followed.

    Raises:
        RefusedError: the same for whatever else there is, or is not.
    """
    try:
        root, path = root.resolve(), (root / name).resolve()
        if path.is_relative_to(root) and path.is_file():
            with path.open("rb"):
                return path
    except (
        OSError,
        ValueError,
        RuntimeError,
    ):  # too long, a zero byte, links in a circle, no right to read
        pass
    raise RefusedError(f"no video of this name; or {EXPECTED}")


def config_of(params: ServingParams) -> dict[str, Any]:
    """The model's configuration: the sections that say what a video and a request may cost."""
    return {VIDEO: dataclasses.asdict(params.video), SERVING: dataclasses.asdict(params.serving)}


def input_example() -> pd.DataFrame:
    """A row that any model can answer: a second of darkness. MLflow tries the model on it before it registers it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dark.mp4"
        write_video(path, (np.zeros((48, 64, 3), np.uint8) for _ in range(30)), fps=30.0, codec="mp4v")
        return pd.DataFrame({"video": [BASE64 + base64.b64encode(path.read_bytes()).decode()]})


mlflow.models.set_model(VideoModel())
