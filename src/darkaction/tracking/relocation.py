"""Paths of artifacts in an SQLite store. MLflow stores absolute paths, so a project that was moved or copied would
go on writing into its former folder. `check_locations` finds that, `relocate` corrects the paths."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from darkaction.core.errors import UserError

FOLDERS = ("mlartifacts", "mlruns")
"""Folders beside the store that hold artifacts: of our experiments, and of the one that `mlflow run` uses."""

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps locations."""

REMEDY = "python src/tracking_sync.py --relocate"


@dataclass(frozen=True, kw_only=True)
class Relocated:
    """What `relocate` did."""

    locations: int
    backup: Path | None  # the database as it was; None where nothing was to do
    old: tuple[Path, ...]  # folders the locations were in
    missing: tuple[str, ...]  # ids of runs whose artifacts are not in the new place


def check_locations(database: Path, locations: Mapping[str, str]) -> None:
    """Refuses a store whose artifacts are in the folder of another store.

    Args:
        database: the SQLite file.
        locations: experiment -> folder of its artifacts. Only folders of the form that our experiments get are
            checked; a person chose any other.

    Raises:
        UserError: naming the folder and the remedy.
    """
    for experiment, location in locations.items():
        project = _project_of(location, experiment)
        if project is not None and not _same(project, database.parent):
            raise UserError(
                f"{database}: was moved or copied here: artifacts of {experiment} would be written to {project}. "
                f"{REMEDY} changes their paths to {database.parent}"
            )


def relocate(database: Path) -> Relocated:
    """Changes all paths into the folder of another database to the folder of this one, after a copy of it, all or none.

    Files are not moved: mlartifacts and mlruns must be in the folder of the database, as they are where a whole folder
    was moved or copied.

    Raises:
        UserError: when there is no such store.
    """
    if not database.is_file():
        raise UserError(f"{database}: no such file, so nothing was moved with it")
    root = database.parent.resolve()
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # nobody else writes from here on
        old = _former_projects(connection, root)
        changes = [change for project in old for change in _changes(connection, project, root)]
        if not changes:
            return Relocated(locations=0, backup=None, old=(), missing=())
        backup = _copy(database)
        for table, column, number, location in changes:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (location, number))  # nosec  # of COLUMNS
        connection.execute("COMMIT")
        runs = connection.execute("SELECT run_uuid, artifact_uri FROM runs WHERE lifecycle_stage = 'active'").fetchall()
    paths = {run: _path(uri or "") for run, uri in runs}
    missing = [run for run, path in paths.items() if path and path.is_relative_to(root) and not path.exists()]
    return Relocated(locations=len(changes), backup=backup, old=tuple(old), missing=tuple(missing))


def _former_projects(connection: sqlite3.Connection, root: Path) -> list[Path]:
    """The folders other than `root` that have artifacts of our experiments."""
    rows = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
    found = dict.fromkeys(_project_of(location or "", name) for name, location in rows)
    return [project for project in found if project is not None and not _same(project, root)]


def _changes(connection: sqlite3.Connection, project: Path, root: Path) -> Iterator[tuple[str, str, int, str]]:
    """Table, column, row and new location of everything in one of FOLDERS of `project`."""
    for table, column in COLUMNS:
        query = f"SELECT rowid, {column} FROM {table}"  # nosec  # of COLUMNS
        for number, location in connection.execute(query).fetchall():
            path = _path(location or "")
            if path is None or not any(path.is_relative_to(project / folder) for folder in FOLDERS):
                continue
            moved = root / path.relative_to(project)
            yield table, column, number, moved.as_uri() if location.startswith("file:") else str(moved)


def _project_of(location: str, experiment: str) -> Path | None:
    """The folder PROJECT of artifacts in PROJECT/mlartifacts/EXPERIMENT; None for any other location."""
    path = _path(location)
    if path is None or path.parts[-2:] != ("mlartifacts", experiment):
        return None
    return path.parents[1]


def _path(location: str) -> Path | None:
    """The path of a local location, `file:///a%20b` or `/a b`; None for any other."""
    parts = urlsplit(location)
    path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(location)
    return path if path.is_absolute() else None


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder, by whatever links."""
    return one.resolve() == other.resolve()


def _copy(database: Path) -> Path:
    """A copy of the database beside it; the transaction that is open has changed nothing yet."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = database.with_name(f"{database.name}.before-relocation-{stamp}")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target
