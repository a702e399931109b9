"""Which files of a dataset are clips, of which class, scene and take; what is set aside whatever is in it."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from darkaction.core.errors import UserError
from darkaction.core.explain import suggestion
from darkaction.data.importers import names
from darkaction.data.index import COLUMNS, MISSING_RAW, OK, OTHER_CLASS, QUARANTINED, UNLABELLED
from darkaction.data.video import CONTAINERS

CONFLICT = "conflict of labels"
"""How the reason begins of a clip that is quarantined because the same file lies under another class too."""


def how_to_get(dataset: str) -> str:
    if dataset in MISSING_RAW:
        return MISSING_RAW[dataset]
    return f"put its class folders there: {names.ARID}"


def list_clips(raw: Path, *, dataset: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row for every file in a folder of one of the classes, for every clip of another class, and for every video
    that lies elsewhere."""
    parse_name = names.parse_hmdb51 if dataset == "hmdb51" else names.parse_arid
    rows: list[dict[str, Any]] = []
    taken: dict[str, str] = {}  # clip id in lower case -> path: file systems may not tell case apart
    for folder in class_folders(raw):
        label = folder.name.lower()
        for file in list_files(folder):
            if holds_files(file):
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
    if (raw / names.UNLABELLED).is_dir():
        for file in list_files(raw / names.UNLABELLED):
            if holds_files(file):
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
    for top in list_files(raw):
        label = top.name.lower() if top.is_dir() and top.name.lower() in classes else ""
        for file in files_below(top) if top.is_dir() else [top]:
            if file.parent == top or (not label and file.suffix.lower() not in CONTAINERS):
                continue
            path = file.relative_to(raw).as_posix()
            place = f"lies in the folder {path.rpartition('/')[0]}" if "/" in path else "lies beside the class folders"
            row = {"dataset": dataset, "path": path, "label": label, "clip_id": f"{dataset}/{path}"}
            reason = f"{place}; clips lie directly in the folder of their class"
            yield _empty_row() | row | {"status": QUARANTINED, "reason": reason}


def _empty_row() -> dict[str, Any]:
    return {name: kind() for name, kind in COLUMNS.items()} | {"status": OK}


def quarantine_duplicates(raw: Path, rows: list[dict[str, Any]]) -> None:
    """Of usable clips with the same bytes the first by name stays, a labelled one before one without a label; under
    two classes none does, since nobody can tell which of them is right. Changes the rows.
    """
    elsewhere = _copies_in_other_classes(raw, rows)
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


def require_folders(raw: Path, *, target: bool, classes: Sequence[str]) -> None:
    """The target needs a folder of each class, a source domain one of any. Said before hours of decoding."""
    folders = {path.name.lower(): path.name for path in class_folders(raw)}
    missing = [name for name in classes if name not in folders]
    if missing and (target or len(missing) == len(classes)):
        raise UserError(
            f"{raw}: no clips of the classes {', '.join(missing)} (folders there: "
            f"{', '.join(folders.values()) or 'none'}){suggestion(missing[0], folders)}; expected {names.ARID}, for "
            "each of data.classes"
        )


def require_enough(index: pd.DataFrame, *, raw: Path, classes: Sequence[str], max_quarantined: float) -> None:
    considered = index[index["label"].isin(classes)]
    unusable = considered[considered["status"] == QUARANTINED]
    if len(considered) == 0:
        found = ", ".join(folder.name for folder in class_folders(raw)) or "none"
        raise UserError(
            f"{raw}: no clips of the classes {', '.join(classes)} (folders there: {found}); expected {names.ARID}"
        )
    if len(unusable) > max_quarantined * len(considered):
        examples = "\n".join(f"  {row.path}: {row.reason}" for row in unusable.head(10).itertuples())
        more = f"\n  and {len(unusable) - 10} more" if len(unusable) > 10 else ""
        raise UserError(
            f"{raw}: {len(unusable)} of {len(considered)} clips cannot be used, more than prepare.max_quarantined "
            f"{max_quarantined} allows:\n{examples}{more}"
        )


def class_folders(root: Path) -> list[Path]:
    """The folders of classes in `root`, sorted by name: all but hidden ones and that of unlabelled clips."""
    return [path for path in list_files(root) if path.is_dir() and path.name != names.UNLABELLED]


def list_files(folder: Path) -> list[Path]:
    """Everything in a folder that is not hidden, sorted by name: folders and broken files too, since what is not a
    clip is to be reported, not overlooked.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None


def holds_files(path: Path) -> bool:
    """Whether a path is a folder with something in it. A link to a folder is not followed."""
    return path.is_dir() and not path.is_symlink() and bool(list_files(path))


def files_below(folder: Path) -> Iterator[Path]:
    """All that `list_files` gives, and that of the folders in it in place of those that hold something."""
    for path in list_files(folder):
        if holds_files(path):
            yield from files_below(path)
        else:
            yield path
