"""Delivers what runs could not record while MLflow's store was down: python src/tracking_sync.py

The store is that of MLFLOW_TRACKING_URI, or mlflow.db. The next run does the same; this is for when none follows. Runs
whose process was killed are ended as KILLED.

    python src/tracking_sync.py --relocate      after the project's folder was moved or copied together with mlflow.db

MLflow keeps absolute paths of all artifacts and registered models. --relocate replaces the former folder in them by
this one, where mlartifacts is now, and leaves a copy of the database as it was.
"""

import sys

from darkaction.core import cli
from darkaction.core.paths import Paths
from darkaction.tracking.delivery import deliver_waiting
from darkaction.tracking.store import relocate_store


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--relocate", action="store_true", help="the project was moved or copied to where it is now")
    if parser.parse_args().relocate:
        relocate()
    delivered, others = deliver_waiting(Paths())
    print(f"{delivered} records delivered" + (f"; {others} wait for another store" if others else ""))


def relocate() -> None:
    """Relocates the project's store, and prints what was done."""
    done = relocate_store(Paths())
    if not done.locations:
        print("nothing to relocate: the artifacts lie in this project")
        return
    former = ", ".join(str(folder) for folder in done.old)
    print(f"{done.locations} locations in {former} are here now; the database as it was: {done.backup}")
    if done.missing:
        print(
            f"warning: artifacts of {len(done.missing)} runs are not here; copy mlartifacts from {former} to see them",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run(main)
