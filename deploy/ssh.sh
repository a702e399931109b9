#!/usr/bin/env bash
# A launcher on each of some machines, by ssh alone:
#
#   OPTUNA_STORAGE=postgresql://me@db/optuna MLFLOW_TRACKING_URI=http://mlflow:5000 deploy/ssh.sh "gpu1 gpu2" --trials 64
#
# The project is at the same path on all of them (`make install` and `dvc pull` done). Waits until the search is over.
# Addresses and passwords go through ssh's input: every user of a machine can read its command lines.
set -euo pipefail
: "${OPTUNA_STORAGE:?an address every machine reaches, such as postgresql://me@db/optuna}"
hosts="$1"
shift
study="search-$(date +%Y%m%d-%H%M%S)"
settings=(OPTUNA_STORAGE PGPASSWORD)
settings+=(MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD MLFLOW_TRACKING_TOKEN)

script() { # what a machine runs
  local name
  for name in "${settings[@]}"; do
    if [ -n "${!name:-}" ]; then printf 'export %s=%q\n' "$name" "${!name}"; fi
  done
  printf 'cd %q && exec .venv/bin/python src/tune.py --resume' "$PWD"
  printf ' %q' --study "$study" "$@"
  echo ' </dev/null'
}

.venv/bin/python src/tune.py --create --study "$study" "$@"
processes=()
for host in $hosts; do
  script "$@" | ssh "$host" bash -s &
  processes+=($!)
done
failed=0
for process in "${processes[@]}"; do wait "$process" || failed=1; done
exit "$failed"
