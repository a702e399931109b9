"""The contact sheet: frames of test clips, from dark to bright, in every enhancement."""

from dataclasses import dataclass
from itertools import islice
from typing import Any, get_args

import numpy as np
import pandas as pd

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.index import MISSING_RAW
from darkaction.data.video import BT_601, Frames, iter_frames
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import Settings, build_enhancer
from darkaction.enhancement.settings import TITLES, Enhance
from darkaction.params import Params
from darkaction.report import pictures, published
from darkaction.report.inputs import records, required
from darkaction.training import weights

SHEET_ROWS = 6
"""Frames on the contact sheet."""

SHEET_WIDTH, SHEET_QUALITY = 280, 78
"""Pixels and JPEG quality of each."""


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


def contact_sheet(test: pd.DataFrame, params: Params, paths: Paths) -> dict[str, Any]:
    """The fields `columns`, `sheet` and `left_out` of the"""
    columns, enhancers, left_out = enhancements(params, paths)
    sheet = [sheet_row(row, enhancers, paths) for row in dark_to_bright(test)]
    return {"columns": columns, "sheet": sheet, "left_out": left_out}


def dark_to_bright(test: pd.DataFrame) -> list[dict[str, Any]]:
    """Clips at equal distances from the darkest to the brightest."""
    ordered = test.sort_values(["luma", "clip_id"])
    places = np.unique(np.linspace(0, len(ordered) - 1, SHEET_ROWS).round().astype(int))
    return records(ordered.iloc[places])


def enhancements(params: Params, paths: Paths) -> tuple[list[Column], list[Enhancer], list[str]]:
    """Every enhancement that `enhance.method` can name and whose weights are here, and sentences on the others."""
    used = params.enhance.method if params.enhance.apply[params.datasets[0]] else "none"
    columns, enhancers, left_out = [], [], []
    for method in get_args(Enhance.__annotations__["method"]):
        name = TITLES[method]
        try:
            enhancers.append(build(method, params, paths))
        except UserError:
            if method == used:
                raise
            left_out.append(f"{name} is not shown: its weights are not in {Paths.ENHANCER}.")
            continue
        columns.append(
            Column(
                method=method,
                name=name,
                title=f"{name} {params.enhance.gamma:g}" if method == "gamma" else name,
                published=published.ENHANCEMENT.get(method),
                used=method == used,
            )
        )
    return columns, enhancers, left_out


def build(method: str, params: Params, paths: Paths) -> Enhancer:
    """An enhancement with the settings of `enhance`; of these few frames on the processor."""
    enhance = params.enhance
    return build_enhancer(
        Settings(
            method=method,
            gamma=enhance.gamma,
            weights=paths.read(Paths.ENHANCER) / weights.WEIGHTS,
            curve_scale=enhance.curve_scale,
            device="cpu",
            height=enhance.height,
            width=enhance.width,
            flow=False,
        )
    )


def sheet_row(row: dict[str, Any], enhancers: list[Enhancer], paths: Paths) -> SheetRow:
    """The middle frame of a raw clip in every enhancement."""
    name, middle = row["dataset"], row["frames"] // 2
    raw = required(paths, f"{Paths.raw(name)}/{row['path']}", MISSING_RAW.get(name, "python src/import_dataset.py"))
    frames = list(islice(iter_frames(raw), middle, middle + 1))
    if not frames:
        raise UserError(f"{raw}: has no frame {middle}; run python src/prepare.py {name} again")
    cells = [sheet_cell(enhancer(frames[0][np.newaxis])[0]) for enhancer in enhancers]
    return SheetRow(clip_id=row["clip_id"], frame=middle, cells=cells)


def sheet_cell(frame_HWC: Frames) -> Enhanced:
    """A frame as JPEG with its mean luma."""
    return Enhanced(
        picture=pictures.jpeg(frame_HWC, width=SHEET_WIDTH, quality=SHEET_QUALITY),
        luma=float((frame_HWC.mean((0, 1)) * BT_601).sum()),
    )
