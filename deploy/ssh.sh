#!/usr/bin/env bash
# A launcher on each of some machines, by ssh alone:
#
#   STORAGE=postgresql://me@db/optuna MLFLOW_TRACKING_URI=http://mlflow:5000 deploy/ssh.sh "gpu1 gpu2" --trials 64
#
# The project is at the same path on all of them (`make install` and `dvc pull` done). Waits until the search is over.
set -euo pipefail
: "${STORAGE:?an address every machine reaches, such as postgresql://me@db/optuna}"
hosts="$1"
shift
study="search-$(date +%Y%m%d-%H%M%S)"
arguments=$(printf '%q ' --study "$study" --storage "$STORAGE" "$@")
settings=$(printf 'MLFLOW_TRACKING_URI=%q' "${MLFLOW_TRACKING_URI:-}")

.venv/bin/python src/tune.py --create --study "$study" --storage "$STORAGE" "$@"
processes=()
for host in $hosts; do
  ssh "$host" "cd $(printf '%q' "$PWD") && $settings .venv/bin/python src/tune.py --resume $arguments" &
  processes+=($!)
done
failed=0
for process in "${processes[@]}"; do wait "$process" || failed=1; done
exit "$failed"
