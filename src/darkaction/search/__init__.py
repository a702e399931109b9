"""The search as Optuna keeps it: the only package that imports optuna.

The budget is a row of slots in the storage, one for each trial to make. A slot is filled by an enqueued trial, which
one launcher claims (Optuna's change of state from WAITING to RUNNING succeeds once), so any number of launchers share a
budget without a lock of ours. A trial whose worker or launcher died is failed, marked as lost, and its slot filled
again with the same values, once; a trial that Ctrl-C stopped leaves its slot open. Whoever is alive does this for those
who are not: each launcher shows that it lives by counting up an attribute of the study.
"""

from darkaction.search.naming import FREE, arguments_text, chosen, find, name_for
from darkaction.search.space import baseline, check_space, pretrains, with_values
from darkaction.search.storage import RETRY_AFTER, connect, is_storage_away, patiently
from darkaction.search.study import (
    DIED,
    INTERRUPTED,
    LAUNCHER_GONE,
    TRIES,
    Claim,
    Scored,
    Search,
    create,
    join,
    own_code,
)
from darkaction.search.verdict import Verdict, judge

__all__ = [
    "DIED",
    "FREE",
    "INTERRUPTED",
    "LAUNCHER_GONE",
    "RETRY_AFTER",
    "TRIES",
    "Claim",
    "Scored",
    "Search",
    "Verdict",
    "arguments_text",
    "baseline",
    "check_space",
    "chosen",
    "connect",
    "create",
    "find",
    "is_storage_away",
    "join",
    "judge",
    "name_for",
    "own_code",
    "patiently",
    "pretrains",
    "with_values",
]
