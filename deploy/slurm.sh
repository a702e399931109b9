#!/usr/bin/env bash
# One launcher per element of a Slurm array, each with one GPU:
#
#   OPTUNA_STORAGE=postgresql://me@db/optuna MLFLOW_TRACKING_URI=http://mlflow:5000 sbatch --array=0-7 deploy/slurm.sh --trials 64
#
# from the project's folder, on a file system that all nodes share. Arguments go to src/tune.py. An element that is
# preempted, or whose node fails, is requeued and goes on; what it was training is tried again. One that runs out of time
# stops in order a minute before; the others go on without it. sbatch hands the environment on; Slurm keeps a copy of it.
#SBATCH --job-name=darkaction-search
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60
#SBATCH --output=slurm-%A_%a.log
set -euo pipefail
: "${OPTUNA_STORAGE:?an address every node reaches, such as postgresql://me@db/optuna}"
cd "${SLURM_SUBMIT_DIR:-.}"
study="search-${SLURM_ARRAY_JOB_ID:?run this with sbatch --array}"

# The first element makes the study, unless it did before it was requeued; the others wait for it.
search=(.venv/bin/python src/tune.py --study "$study" "$@")
if [ "${SLURM_ARRAY_TASK_ID}" = "${SLURM_ARRAY_TASK_MIN:-0}" ]; then
  "${search[@]}" --exists 2>/dev/null || "${search[@]}" --create
fi
for _ in $(seq 60); do
  "${search[@]}" --exists 2>/dev/null && break
  sleep 10
done
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${search[@]}" --resume --workers 1
