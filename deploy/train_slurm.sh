#!/usr/bin/env bash
# One training on several nodes, each with some GPUs:
#
#   sbatch --nodes=2 --gpus-per-node=4 deploy/train_slurm.sh --profile paper
#
# from the project's folder, on a file system that all nodes share. Arguments go to src/train.py. srun starts torchrun
# once on each node, and torchrun one process for each GPU. All share the batch of train.batch_size. Stopped, the same
# command goes on from the last epoch.
#SBATCH --job-name=darkaction-train
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
nodes="${SLURM_NNODES:?run this with sbatch --nodes=N --gpus-per-node=N}"
devices="${SLURM_GPUS_ON_NODE:-1}"
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"

exec srun --kill-on-bad-exit=1 .venv/bin/python -m torch.distributed.run \
  --nnodes "$nodes" --nproc-per-node "$devices" \
  --rdzv-backend c10d --rdzv-endpoint "$first:${MASTER_PORT:-29500}" --rdzv-id "$SLURM_JOB_ID" \
  src/train.py --set "train.nodes=$nodes" --set "train.devices=$devices" "$@"
