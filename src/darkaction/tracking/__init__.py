"""The record of experiments: with serving.py the only code that imports mlflow.

`start_run` opens a run for a training stage, `attach_run` goes on with it later (evaluate adds to the run of the model
it evaluates). Without MLFLOW_TRACKING_URI the store is mlflow.db in the project's folder with artifacts in mlartifacts,
which is what a plain `mlflow ui` there opens. Under `mlflow run`, which sets MLFLOW_RUN_ID, runs become children of
that run in its experiment.

No call waits for the store. Records go to a spool on disk (spool.py, in checkpoints/spool) and a thread delivers them
in order (delivery.py); while a store is down they wait, and what is left at the end of the process is delivered by the
next run or by `python src/tracking_sync.py`. Delivering a record twice changes nothing, so nothing is lost or doubled.
mlflow takes two seconds to import, so the import stands inside the functions that need it.
"""

from darkaction.tracking.delivery import deliver_waiting, end_killed
from darkaction.tracking.opening import ATTACHED_TO, MAX_TAG_LENGTH, TOKEN
from darkaction.tracking.pages import HOST as PAGES_HOST
from darkaction.tracking.pages import prepare_pages
from darkaction.tracking.runs import (
    RANK_VARIABLES,
    Member,
    Run,
    attach_run,
    family_run,
    is_first_process,
    member_run,
    parameter_text,
    start_run,
)
from darkaction.tracking.store import check_store, open_store, relocate_store, tracking_uri
from darkaction.tracking.weights import fetch_model, find_weights

__all__ = [
    "ATTACHED_TO",
    "MAX_TAG_LENGTH",
    "PAGES_HOST",
    "RANK_VARIABLES",
    "TOKEN",
    "Member",
    "Run",
    "attach_run",
    "check_store",
    "deliver_waiting",
    "end_killed",
    "family_run",
    "fetch_model",
    "find_weights",
    "is_first_process",
    "member_run",
    "open_store",
    "parameter_text",
    "prepare_pages",
    "relocate_store",
    "start_run",
    "tracking_uri",
]
