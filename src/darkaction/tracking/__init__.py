"""The record of experiments in MLflow. Only this package and `serving` import mlflow.

A metric reaches the store in three hops: `Run.log_metrics` (runs.py) writes a record to a folder on disk (spool.py), a
thread of the process reads it there (delivery.py) and sends it to MLflow (records.py). So no call waits for the store
or raises its errors. Where the store is down, records wait on disk, and the next run or `python src/tracking_sync.py`
delivers what the process left. A record that is delivered twice changes nothing.

Why not a local store that is always written, and one function that copies it to the server? MLflow's only local store
is SQLite: a call takes some 20 ms, fails while another process holds its lock, and gives a run an id that the server
does not know. Copying runs between two stores would need the same mapping of ids, the same order and the same retries
as the spool, and the server would show a run only after its end. A file per record needs no database.

mlflow takes two seconds to import, so the imports stand inside the functions that need it.
"""
