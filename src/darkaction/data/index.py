"""The index of a dataset: every clip is decoded once; what cannot be used is set aside with a reason."""

import functools
import hashlib
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.core.explain import suggestion
from darkaction.core.folders import new_folder
from darkaction.data.importers import arid, hmdb51
from darkaction.data.importers.arid import ClipName
from darkaction.data.settings import VideoLimits
from darkaction.data.splits import scene_order
from darkaction.data.video import BT_601, CONTAINERS, Frames, Video, VideoError, iter_frames, unusable

TARGET, AUXILIARY = "the target", "auxiliary"
"""The role of a dataset in `datasets`, which decides its split."""

OK, QUARANTINED, OTHER_CLASS, UNLABELLED = "ok", "quarantined", "other_class", "unlabelled"

COLUMNS = {
    "clip_id": str,  # dataset/Class_scene_take, unique
    "dataset": str,
    "domain": str,  # target | auxiliary: the target's clips are tested, the others only join training
    "path": str,  # relative to data/raw/<dataset>
    "label": str,  # canonical lower-case class
    "scene": str,  # the number, in HMDB-51 the source film; empty where the name does not tell
    "take": int,
    "frames": int,  # decoded, not the container's claim
    "fps": float,
    "width": int,  # pixels
    "height": int,
    "luma": float,  # mean over all pixels and frames, 0 to 255, BT.601
    "duration": float,  # seconds
    "sha256": str,  # of the file
    "phash": str,  # perceptual hashes of HASHED_FRAMES frames, 16 hexadecimal digits each
    "status": str,  # ok | quarantined | other_class | unlabelled (measured, but of no known class: for predict only)
    "reason": str,  # why quarantined
}
"""Columns of index.csv and their types; fold_0 [, fold_1] with train | val | test | none follow."""

CONFLICT = "conflict of labels"
"""How the reason begins of a clip that is quarantined because the same file lies under another class too."""

HASHED_FRAMES = 5
"""Frames of a clip, evenly spaced, that are hashed."""

BACKGROUND = (24, 32)
"""Height and width in pixels of the time-averaged frame that is kept of each clip."""

BACKGROUNDS = "backgrounds.npy"
"""(rows of index.csv, *BACKGROUND, 3) float16: the average of a clip's frames, zeros where it was not decoded."""

SUMMARY = "summary.json"
"""The counts of an index, and the settings it was made with."""

NAMES: dict[str, Callable[[Path], ClipName]] = {"hmdb51": hmdb51.parse_name}
"""Who reads the file names of a dataset; all others are named like ARID's."""

MISSING_RAW = {
    "demo": "dvc repro synthesize",
    "demo_lit": "dvc repro synthesize",
    "arid": "python src/import_dataset.py arid PATH (or dvc pull, where a remote has it)",
    "hmdb51": "python src/import_dataset.py hmdb51 PATH (or dvc pull, where a remote has it)",
}
"""Where the raw clips of a dataset come from."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What decoding told about one file; `reason` is empty for a usable clip."""

    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    luma: float = 0.0
    sha256: str = ""
    phash: str = ""
    reason: str = ""
    background_HWC: NDArray[np.float16] | None = field(default=None, compare=False)


def measure(path: Path, limits: VideoLimits | None = None) -> Measured:
    """Decodes a clip, frame by frame, and hashes its file. An unusable clip is no error: it has a reason."""
    if path.suffix.lower() not in CONTAINERS:
        return Measured(reason=f"not named like a video ({', '.join(CONTAINERS)})")
    try:
        video = Video(path, limits)
        positions = _hashed_positions(video.announced.frames)
        hashes: list[str] = []
        total_HWC = np.zeros((0, 0, 3))
        for number, frame_HWC in enumerate(video.frames()):
            if number in positions:
                hashes += [perceptual_hash(frame_HWC)] * positions.count(number)
            total_HWC = total_HWC if number else np.zeros(frame_HWC.shape)
            cv2.accumulate(frame_HWC, total_HWC)
        found = video.found()
        if not video.as_announced():
            hashes = _hash_frames(path, _hashed_positions(found.frames), limits)
    except VideoError as error:
        return Measured(reason=error.reason)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    average_HWC = total_HWC / found.frames
    height, width = average_HWC.shape[:2]
    hashes += hashes[-1:] * (HASHED_FRAMES - len(hashes))  # a clip a frame or two shorter than announced
    return Measured(
        frames=found.frames,
        fps=found.fps,
        width=width,
        height=height,
        luma=float((average_HWC.mean((0, 1)) * BT_601).sum()),
        sha256=sha256,
        phash="".join(hashes),
        reason=unusable(found),
        background_HWC=cv2.resize(average_HWC, BACKGROUND[::-1], interpolation=cv2.INTER_AREA).astype(np.float16),
    )


def _hashed_positions(frames: int) -> list[int]:
    """Numbers of the frames that are hashed; in short clips some stand twice."""
    return [(2 * k + 1) * frames // (2 * HASHED_FRAMES) for k in range(HASHED_FRAMES)]


def _hash_frames(path: Path, positions: list[int], limits: VideoLimits | None) -> list[str]:
    """A second pass, for a video whose container announced another number of frames than it has."""
    hashes: list[str] = []
    for number, frame_HWC in enumerate(iter_frames(path, limits)):
        if number in positions:
            hashes += [perceptual_hash(frame_HWC)] * positions.count(number)
    return hashes


def perceptual_hash(frame_HWC: Frames) -> str:
    """64 bits as 16 hexadecimal digits: signs of the low frequencies against their median, so neither brightness nor
    a new encoding changes many."""
    grey_HW = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY)
    return str(imagehash.phash(Image.fromarray(grey_HW)))


def build_index(
    raw: Path,
    *,
    dataset: str,
    target: bool,
    classes: Sequence[str],
    max_quarantined: float,
    workers: int,
    limits: VideoLimits | None = None,
) -> tuple[pd.DataFrame, NDArray[np.float16]]:
    """Lists the clips of `raw`, decodes those of `classes` and judges each.

    Args:
        raw: data/raw/<dataset>.
        dataset: its name, the first part of every clip id.
        target: whether its clips are the ones to be tested; written to the column `domain`.
        classes: canonical names; clips of other classes are listed as other_class and not decoded.
        max_quarantined: fraction of the clips of `classes` above which quarantine is an error.
        workers: processes that decode. A file that crashes one is quarantined, the others are not affected.
        limits: what a clip may cost; those that cost more are quarantined.

    Returns:
        The columns of COLUMNS, one row a file, sorted by path; and the time-averaged frame of each, as BACKGROUNDS.

    Raises:
        UserError: when the folder is missing, lacks a class of the target, holds no clip of `classes`, or too many are
            unusable.
    """
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder. To get the dataset '{dataset}': {_how_to_get(dataset)}")
    _require_folders(raw, target=target, classes=classes)
    rows = _list_clips(raw, dataset=dataset, classes=classes)
    pending = [row for row in rows if row["status"] in (OK, UNLABELLED)]
    measure_clip = functools.partial(measure, limits=limits)
    measured = measure_all([raw / row["path"] for row in pending], workers=workers, measure_clip=measure_clip)
    for row in pending:
        found = asdict(measured[raw / row["path"]])
        row |= found | {"duration": found["frames"] / found["fps"] if found["fps"] else 0.0}
        row["status"] = QUARANTINED if row["reason"] else row["status"]
    _quarantine_duplicates(rows, _copies_in_other_classes(raw, rows))
    index = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    index["domain"] = "target" if target else "auxiliary"
    _require_enough(index, raw=raw, classes=classes, max_quarantined=max_quarantined)
    backgrounds_NHWC = np.zeros((len(rows), *BACKGROUND, 3), np.float16)
    for background_HWC, row in zip(backgrounds_NHWC, rows, strict=True):
        if row.get("background_HWC") is not None:
            background_HWC[:] = row["background_HWC"]
    return index, backgrounds_NHWC


def _how_to_get(dataset: str) -> str:
    if dataset in MISSING_RAW:
        return MISSING_RAW[dataset]
    return f"put its class folders there: {arid.EXPECTED}"


def _list_clips(raw: Path, *, dataset: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row for every file in a folder of one of the classes, for every clip of another class, and for every video
    that lies elsewhere."""
    parse_name = NAMES.get(dataset, arid.parse_name)
    rows: list[dict[str, Any]] = []
    taken: dict[str, str] = {}  # clip id in lower case -> path: file systems may not tell case apart
    for folder in arid.class_folders(raw):
        label = folder.name.lower()
        for file in arid.list_files(folder):
            if arid.holds_files(file):
                continue
            path = file.relative_to(raw).as_posix()
            row = _empty_row() | {"dataset": dataset, "path": path, "label": label}
            row["clip_id"] = f"{dataset}/{file.stem}"
            try:
                name = parse_name(file)
                row |= {"scene": name.scene, "take": name.take}
                first = taken.setdefault(row["clip_id"].lower(), path)
                row["reason"] = f"same clip name as {first}" if first != path else ""
            except UserError as error:
                row["reason"] = str(error).partition(": ")[2]
            if label not in classes:
                if row["scene"]:
                    rows.append(row | {"status": OTHER_CLASS, "reason": ""})
                continue
            if row["reason"]:
                row |= {"status": QUARANTINED, "clip_id": f"{dataset}/{path}"}
            rows.append(row)
    if (raw / arid.UNLABELLED).is_dir():
        for file in arid.list_files(raw / arid.UNLABELLED):
            if arid.holds_files(file):
                continue
            path = file.relative_to(raw).as_posix()
            row = {"dataset": dataset, "path": path, "clip_id": f"{dataset}/{path}", "status": UNLABELLED}
            rows.append(_empty_row() | row)
    rows += _misplaced(raw, dataset=dataset, classes=classes)
    for row in rows:
        path = row["path"].encode(errors="backslashreplace").decode()
        if path != row["path"]:  # no table can hold it
            row |= {"path": path, "clip_id": f"{dataset}/{path}"}
            row |= {"status": QUARANTINED, "reason": "its name is not valid UTF-8"}
    return sorted(rows, key=lambda row: str(row["path"]))


def _misplaced(raw: Path, *, dataset: str, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A quarantined row for every file in a folder within a class folder, and for every video beside the class folders
    or deeper in other folders."""
    for top in arid.list_files(raw):
        label = top.name.lower() if top.is_dir() and top.name.lower() in classes else ""
        for file in arid.files_below(top) if top.is_dir() else [top]:
            if file.parent == top or (not label and file.suffix.lower() not in CONTAINERS):
                continue
            path = file.relative_to(raw).as_posix()
            place = f"lies in the folder {path.rpartition('/')[0]}" if "/" in path else "lies beside the class folders"
            row = {"dataset": dataset, "path": path, "label": label, "clip_id": f"{dataset}/{path}"}
            reason = f"{place}; clips lie directly in the folder of their class"
            yield _empty_row() | row | {"status": QUARANTINED, "reason": reason}


def _empty_row() -> dict[str, Any]:
    return {name: kind() for name, kind in COLUMNS.items()} | {"status": OK}


def _quarantine_duplicates(rows: list[dict[str, Any]], elsewhere: Mapping[str, list[str]]) -> None:
    """Of usable clips with the same bytes the first by name stays, a labelled one before one without a label; under
    two classes none does, since nobody can tell which of them is right.

    Args:
        rows: of the index.
        elsewhere: sha256 -> paths of the same bytes in classes that are not used.
    """
    copies: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: str(row["status"])):  # ok before unlabelled, by name within
        if row["status"] in (OK, UNLABELLED):
            copies.setdefault(row["sha256"], []).append(row)
    for sha256, same in copies.items():
        labelled = [row for row in same if row["status"] == OK]
        others = elsewhere.get(sha256, [])
        if len({row["label"] for row in labelled}) + bool(others) > 1:
            paths = [*(row["path"] for row in labelled), *others]
            reasons = {row["path"]: ", ".join(path for path in paths if path != row["path"]) for row in labelled}
            for row in labelled:
                row |= {"status": QUARANTINED, "reason": f"{CONFLICT}: the same file as {reasons[row['path']]}"}
            same = same[len(labelled) :]
        for row in same[1:]:
            row |= {"status": QUARANTINED, "reason": f"duplicate of {same[0]['path']}"}


def _copies_in_other_classes(raw: Path, rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """sha256 -> paths of clips of classes that are not used, as far as they are as long as a usable clip."""
    sizes = {(raw / row["path"]).stat().st_size for row in rows if row["status"] == OK}
    found: dict[str, list[str]] = {}
    for row in rows:
        path = raw / row["path"]
        if row["status"] != OTHER_CLASS or not path.is_file() or not os.access(path, os.R_OK):
            continue
        if path.stat().st_size in sizes:
            with path.open("rb") as file:
                found.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), []).append(row["path"])
    return found


def _require_folders(raw: Path, *, target: bool, classes: Sequence[str]) -> None:
    """The target needs a folder of each class, an auxiliary dataset one of any. Said before hours of decoding."""
    folders = {path.name.lower(): path.name for path in arid.class_folders(raw)}
    missing = [name for name in classes if name not in folders]
    if missing and (target or len(missing) == len(classes)):
        raise UserError(
            f"{raw}: no clips of the classes {', '.join(missing)} (folders there: "
            f"{', '.join(folders.values()) or 'none'}){suggestion(missing[0], folders)}; expected {arid.EXPECTED}, for "
            "each of data.classes"
        )


def _require_enough(index: pd.DataFrame, *, raw: Path, classes: Sequence[str], max_quarantined: float) -> None:
    considered = index[index["label"].isin(classes)]
    lost = considered[considered["status"] == QUARANTINED]
    if len(considered) == 0:
        found = ", ".join(folder.name for folder in arid.class_folders(raw)) or "none"
        raise UserError(
            f"{raw}: no clips of the classes {', '.join(classes)} (folders there: {found}); expected {arid.EXPECTED}"
        )
    if len(lost) > max_quarantined * len(considered):
        examples = "\n".join(f"  {row.path}: {row.reason}" for row in lost.head(10).itertuples())
        more = f"\n  and {len(lost) - 10} more" if len(lost) > 10 else ""
        raise UserError(
            f"{raw}: {len(lost)} of {len(considered)} clips cannot be used, more than prepare.max_quarantined "
            f"{max_quarantined} allows:\n{examples}{more}"
        )


def measure_all(
    paths: Sequence[Path], *, workers: int, measure_clip: Callable[[Path], Measured] = measure
) -> dict[Path, Measured]:
    """Calls `measure_clip` (a module's function) on every path in worker processes.

    A crash of the decoder takes its process down and, with it, the pool: the few files then in work are measured again
    one at a time, so that only the one that crashes is set aside, and a new pool goes on with the rest.
    """
    results: dict[Path, Measured] = {}
    pending = deque(paths)
    suspects: deque[Path] = deque()
    with tqdm(total=len(paths), desc="index", unit="clip") as bar:
        while pending or suspects:
            alone = bool(suspects)
            if alone:
                found = _measure_in_pool(suspects, workers=1, in_work=1, work=measure_clip)
            else:
                found = _measure_in_pool(pending, workers=workers, in_work=4 * workers, work=measure_clip)
            for path, measured in found:
                if measured is not None:
                    results[path] = measured
                    bar.update()
                elif alone:
                    results[path] = Measured(reason="crashes the decoder")
                    bar.update()
                else:
                    suspects.append(path)
    return results


def _measure_in_pool(
    queue: deque[Path], *, workers: int, in_work: int, work: Callable[[Path], Measured]
) -> Iterator[tuple[Path, Measured | None]]:
    """Takes paths from `queue`, at most `in_work` at a time, and yields results until the queue is empty or a worker
    dies; then those in work come with None and the rest stays in the queue.
    """
    futures: dict[Future[Measured], Path] = {}
    try:
        with _pool(min(workers, len(queue))) as pool:
            while queue or futures:
                while queue and len(futures) < in_work:
                    futures[pool.submit(work, queue[0])] = queue[0]
                    queue.popleft()
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    measured = future.result()
                    yield futures.pop(future), measured
    except BrokenProcessPool:
        yield from ((path, None) for path in futures.values())


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawn: a fork would copy the locks of the parent's threads.
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    )


def summarize(index: pd.DataFrame, *, settings: Mapping[str, Any], strategy: str, validation: str) -> dict[str, Any]:
    """The counts of an index with folds, and the `settings` it was made with, as identity.index_settings gives them:
    equal for equal input, whatever the machine and the time."""
    usable = index[index["status"] == OK]
    others = index[index["status"] == OTHER_CLASS]["label"].value_counts().sort_index()
    return {
        "dataset": str(index["dataset"].iloc[0]),
        "settings": dict(settings),
        "usable": len(usable),
        "quarantined": int((index["status"] == QUARANTINED).sum()),
        "unlabelled": int((index["status"] == UNLABELLED).sum()),
        "other_classes": {str(label): int(n) for label, n in others.items()},
        "frames": int(usable["frames"].sum()),
        "strategy": strategy,
        "validation": validation,
        "folds": {
            column: {str(part): _summarize_part(rows) for part, rows in usable.groupby(column)}
            for column in fold_columns(index)
        },
    }


def _summarize_part(clips: pd.DataFrame) -> dict[str, Any]:
    counts = clips["label"].value_counts().sort_index()
    return {
        "clips": {str(label): int(count) for label, count in counts.items()},
        "scenes": sorted(set(clips["scene"]), key=scene_order),
    }


def write_index(
    folder: Path, index: pd.DataFrame, backgrounds_NHWC: NDArray[np.float16], summary: dict[str, Any]
) -> None:
    """Writes index.csv, backgrounds.npy, quarantine.csv and summary.json; the folder appears whole or not at all."""
    with new_folder(folder) as partial:
        np.save(partial / BACKGROUNDS, backgrounds_NHWC)
        _to_csv(index, partial / "index.csv")
        _to_csv(index.loc[index["status"] == QUARANTINED, ["path", "reason"]], partial / "quarantine.csv")
        (partial / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def _to_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.3f", lineterminator="\n")


def fold_columns(index: pd.DataFrame) -> list[str]:
    """fold_0 [, fold_1]."""
    return [name for name in index.columns if str(name).startswith("fold_")]


def read_index(folder: Path) -> pd.DataFrame:
    """Reads index.csv with the types of COLUMNS and the fold columns behind them.

    Raises:
        UserError: when it is missing or its columns, values or clip ids are not those of an index.
    """
    path = folder / "index.csv"
    try:
        index = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; dvc repro makes it, or, for settings of its own, python src/prepare.py "
            f"{folder.name} with the same --profile, --set and --out (a dataset that is not drawn is imported first: "
            "data/README.md)"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a table of clips ({error})") from None
    folds = fold_columns(index)
    expected = [*COLUMNS, *(f"fold_{k}" for k in range(max(1, len(folds))))]
    if list(index.columns) != expected:
        raise UserError(f"{path}: has columns {', '.join(index.columns)}; expected {', '.join(expected)}")
    try:
        index = index.astype(COLUMNS)
    except ValueError as error:
        raise UserError(f"{path}: {error}; run python src/prepare.py {folder.name} again") from None
    _require_values(path, index, "status", {OK, QUARANTINED, OTHER_CLASS, UNLABELLED})
    for column in folds:
        _require_values(path, index, column, {"train", "val", "test", "none"})
    if not index["clip_id"].is_unique:
        raise UserError(f"{path}: clip_id {index['clip_id'][index['clip_id'].duplicated()].iloc[0]} stands twice")
    return index


def require_settings(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Refuses an index that was made with other settings.

    Args:
        folder: of the index.
        wanted: those of today, as identity.index_settings gives them.

    Raises:
        UserError: naming the index, the settings with both values, and the command that makes it anew.
    """
    command = f"python src/prepare.py {folder.name}"
    recorded = recorded_in(folder / SUMMARY, section="settings", command=command)
    require_same(recorded, wanted, made=folder, command=command)


def read_backgrounds(folder: Path, index: pd.DataFrame) -> NDArray[np.float16]:
    """The time-averaged frame of each row of `read_index`, (rows, *BACKGROUND, 3).

    Raises:
        UserError: when the file is missing or of another shape.
    """
    path = folder / BACKGROUNDS
    try:
        backgrounds_NHWC: NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run python src/prepare.py {folder.name} again") from None
    if backgrounds_NHWC.shape != (len(index), *BACKGROUND, 3):
        raise UserError(f"{path}: is of shape {backgrounds_NHWC.shape}; run python src/prepare.py {folder.name} again")
    return backgrounds_NHWC


def _require_values(path: Path, index: pd.DataFrame, column: str, valid: set[str]) -> None:
    wrong = set(index[column]) - valid
    if wrong:
        raise UserError(f"{path}: {column} holds {', '.join(sorted(wrong))}; valid are {', '.join(sorted(valid))}")
