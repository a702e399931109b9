"""The page: what it holds, and its HTML (page.html and style.css beside this file)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from darkaction.evaluation.statistics import FEW_SCENES
from darkaction.report.strips import SampledClip
from darkaction.training.weights import SYNTHETIC


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A line of the headline chart, all in [0, 1]; low and high are None where there is no interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    note: str
    kind: str  # own | check | other: how it is coloured


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A line of the table of datasets."""

    name: str
    role: str
    clips: int
    scenes: int
    shortest: int
    longest: int


@dataclass(frozen=True, kw_only=True)
class Enhanced:
    """One frame as one enhancement gives it; luma is its mean, of 255."""

    picture: str
    luma: float


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """A frame in every enhancement, in the order of the sheet's columns."""

    clip_id: str
    frame: int
    cells: list[Enhanced]


@dataclass(frozen=True, kw_only=True)
class Column:
    """An enhancement of the contact sheet."""

    method: str
    name: str
    title: str  # the name with its setting
    published: float | None  # percent, table 1 of the paper, on ARID
    used: bool


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A chart a class, and what is needed to read them."""

    charts: list[Markup]
    heads: int
    layers: int
    steps: int
    clips: int
    strongest: float


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page."""

    target: str
    classes: list[str]
    comparison: str
    split: str
    metrics: dict[str, Any]
    confidence: float
    chance: float
    headline: list[Accuracy]
    datasets: list[Dataset]
    lengths: Markup
    sampled: list[SampledClip]
    sampling: dict[str, Any]
    columns: list[Column]
    sheet: list[SheetRow]
    left_out: list[str]
    confusion: list[list[int]]
    draws: Markup
    luma: Markup
    reliability: Markup
    temperature: float | None  # of the calibration; None where there were no validation clips
    leakage: dict[str, Any]
    leakage_pictures: dict[str, str]
    attention: Attention | None
    folds: int
    commit: str | None
    dirty: bool
    weights: dict[str, str]  # tag and checksum, by which MLflow finds the run of the training
    versions: dict[str, str]
    settings: dict[str, str]


def render(page: Page) -> str:
    """The HTML of the page; it refers to nothing outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template("page.html").render(page=page, few_scenes=FEW_SCENES)


def percent(value: float, digits: int = 1) -> str:
    """0.881 -> 88.1%, as the commands print it."""
    return f"{100 * value:.{digits}f}%"


def comparison(target: str, strategy: str, *, num_frames: int, size: tuple[int, int], blocks: list[int]) -> str:
    """How a number of this run stands to the paper's.

    Args:
        target: the dataset it was measured on.
        strategy: of the split.
        num_frames: T.
        size: height and width of a frame, in pixels.
        blocks: residual blocks of the four stages.
    """
    height, width = size
    scale = (
        f"This run: {num_frames} frames of {width} × {height} pixels, {'-'.join(map(str, blocks))} residual blocks; "
        "the paper: 64 frames of 112 × 112, 3-4-6-3 blocks."
    )
    if target != "arid":
        synthetic = ", synthetic clips" if target in SYNTHETIC else ""
        return (
            f"The paper's number is of another dataset and another scale: ARID, real clips, where this run's is of "
            f"{target}{synthetic}. {scale} The two cannot be compared, and an accuracy on {target} says nothing about "
            "ARID."
        )
    if strategy != "random":
        return (
            "Both were measured on ARID, but not in the same way: the paper's split is random, so that takes of "
            f"one scene are in training and in test; this run's ({strategy}) is another. {scale}"
        )
    return (
        "Both were measured on ARID with a random split, where takes of one scene are in training and in test; which "
        f"clips the paper tested is not published. {scale}"
    )
