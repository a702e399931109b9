"""The model in MLflow's form: a pyfunc model built from this file (models from code, nothing is pickled)."""

import base64
import binascii
import json
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.settings import VideoLimits
from darkaction.data.video import write_video
from darkaction.serving.answers import UNSURE_BELOW
from darkaction.serving.predictor import Predictor

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
"""One row per video: its path on the server, or `base64:` and its bytes -> OUTPUTS; `probabilities` is {class: p}."""

BASE64 = "base64:"

VIDEO = "video"
"""Key of the model's configuration under which the section `video` of params.yaml stands."""


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


mlflow.models.set_model(VideoModel())
