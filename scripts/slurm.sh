#!/bin/bash
# Run one stage on all GPUs of a SLURM job and record it with DVC:
#
#     sbatch --nodes 2 --gpus-per-node 4 scripts/slurm.sh pretrain_simclr
#     sbatch --nodes 1 --gpus-per-node 4 scripts/slurm.sh train_budget@5000
#
# The repository lies on a file system that all nodes see; what the stage reads is there already
# (`dvc repro download`). A job that was cut off continues from its last checkpoint when it is
# submitted again.
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00

set -euo pipefail
stage=$1
argument=${stage#*@} # train_budget@5000 is the script train_budget.py with the argument 5000
[[ $stage == *@* ]] || argument=
source .venv/bin/activate
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# One launcher a node, and from it a rank for each GPU. They meet at the first node, at a port of
# this job's own: another job may have GPUs of the same node. srun takes no cores from the job itself.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" \
    --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --max-restarts 0 \
    --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$head:$((20000 + SLURM_JOB_ID % 10000))" \
    "src/${stage%@*}.py" $argument

# What lies there now are the outs of these dependencies and params.
dvc --wait-for-lock commit --force "$stage"
