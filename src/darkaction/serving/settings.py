"""Section `serving` of params.yaml."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Above0, Positive
from darkaction.params import Params


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Serving:
    root: str | None  # folder in which clients may name files
    max_body_mb: Positive
    max_videos: Positive  # of a request
    max_concurrent: Positive  # requests: being read, waiting, or worked on
    workers: Positive
    timeout_seconds: Above0
    max_memory_mb: Positive  # of a worker


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServingParams(Params):
    """The settings of the pipeline and the server."""

    ELSEWHERE: ClassVar[tuple[str, ...]] = ("tune",)

    serving: Serving
