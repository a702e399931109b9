"""The search as Optuna keeps it: the only package that imports optuna.

The budget is a row of slots in the storage, one for each trial to make. A slot is filled by an enqueued trial, which
one launcher claims (Optuna's change of state from WAITING to RUNNING succeeds once), so any number of launchers share a
budget without a lock of ours. A trial whose worker or launcher died is failed, marked as lost, and its slot filled
again with the same values, once; a trial that Ctrl-C stopped leaves its slot open. Whoever is alive does this for those
who are not: each launcher has a heartbeat, an attribute of the study.

Nothing is imported here, so that the settings of a search (search/settings.py) are known without Optuna.
"""
