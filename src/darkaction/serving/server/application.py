"""MLflow's scoring server with limits: for a model, or weights, of any origin the code and the settings of today."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import mlflow
import uvicorn
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.pyfunc import scoring_server

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.serving import mlflow_model
from darkaction.serving.server.guard import Guard
from darkaction.serving.server.worker import STARTING
from darkaction.serving.settings import ServingParams

IDLE_CONNECTIONS = 64
"""Connections beyond those of the requests: idle ones, and those of GET /ping. Of more, each is answered 503."""

GRACE = 5
"""Seconds that requests have to end after SIGTERM."""


def serve(model: Path, params: ServingParams, *, host: str, port: int) -> None:
    """Answers until SIGTERM or Ctrl-C.

    Args:
        model: a folder as `Predictor.load` wants it.

    Raises:
        UserError: when the model does not load, or `serving.root` is no folder.
    """
    with application(model, params) as app:
        uvicorn.run(
            app,
            host=host,
            port=port,
            http="h11",
            ws="none",
            lifespan="on",
            limit_concurrency=params.serving.max_concurrent + IDLE_CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
            proxy_headers=False,
            server_header=False,
        )


@contextlib.contextmanager
def application(model: Path, params: ServingParams) -> Iterator[Guard]:
    """The ASGI application. Its processes end with it.

    Raises:
        UserError: as `serve`.
    """
    limits = params.serving
    if limits.root is not None and not Path(limits.root).is_dir():
        raise UserError(f"serving.root: {limits.root} is no folder; give one, or null: clients then send videos only")
    if not model.is_dir():
        raise UserError(f"{model}: no such folder; --model takes one with fold_0, runs:/RUN_ID or models:/NAME@ALIAS")
    # The model keeps the time itself. MLflow's limit ends the answer but not the work.
    longest = limits.timeout_seconds + STARTING
    os.environ[MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.name] = str(int(longest) + 1)
    os.environ[MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.name] = "false"
    with tempfile.TemporaryDirectory(prefix="darkaction-serving-") as folder:
        with warnings.catch_warnings(action="ignore"):  # that there is no example, and no requirement
            mlflow.pyfunc.save_model(
                f"{folder}/model",
                python_model=mlflow_model.__file__,
                artifacts={Paths.MODEL_ARTIFACT: str(model)},
                model_config=mlflow_model.config_of(params),
                signature=mlflow_model.SIGNATURE,
                pip_requirements=[],
            )
        loaded = mlflow.pyfunc.load_model(f"{folder}/model")
        close = loaded.unwrap_python_model().close
        try:
            yield Guard(scoring_server.init(loaded), limits, close)
        finally:
            close()
