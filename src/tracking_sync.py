"""Delivers what runs could not record while MLflow's store was down: python src/tracking_sync.py

The store is that of MLFLOW_TRACKING_URI, or mlflow.db. The next run does the same; this is for when none follows. Runs
whose process was killed are ended as KILLED.
"""

import argparse

from darkaction import cli, tracking
from darkaction.layout import Layout


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    delivered, others = tracking.deliver_waiting(Layout())
    print(f"{delivered} records delivered" + (f"; {others} wait for another store" if others else ""))


if __name__ == "__main__":
    cli.run(main)
