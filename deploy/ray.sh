#!/usr/bin/env bash
# One launcher for a whole Ray cluster:
#
#   OPTUNA_STORAGE=postgresql://me@db/optuna MLFLOW_TRACKING_URI=http://mlflow:5000 deploy/ray.sh HEAD:6379 --trials 64
#
# where the cluster was started with `ray start --head --port 6379` on one machine and `ray start --address HEAD:6379` on
# the others. Run it on a machine of the cluster. The project is at the same path on all of them. Who reaches a port of the
# cluster runs commands there: deploy/README.md says what to close.
#
# From outside, over the head's job server (which needs `pip install "ray[default]"` on the cluster). It keeps the command,
# so no password may stand in it:
#
#   ray job submit --address http://HEAD:8265 -- bash -c 'cd /path/to/project && set -a && . ./search.env && deploy/ray.sh auto --trials 64'
#
# where search.env, of mode 600, has the lines OPTUNA_STORAGE=... and MLFLOW_TRACKING_URI=...
set -euo pipefail
: "${OPTUNA_STORAGE:?an address every machine reaches, such as postgresql://me@db/optuna}"
address="$1"
shift
exec .venv/bin/python src/tune.py --ray-address "$address" "$@"
