#!/bin/bash
# One node: a simulation, and beside it as many labels at a time as there are cores for, each with 4 of its own.
# Submit it in this folder, `sbatch one_node.sh`; without a queue, `bash one_node.sh`.
# Submitted again, it goes on with what it has learned.
#SBATCH --job-name=one-node
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00

export TF_NUM_INTRAOP_THREADS=2  # of the potential
CORES=${CORES:-4}
exec python ethanol.py local $((${SLURM_CPUS_PER_TASK:-$(nproc --all)} / CORES)) "$CORES"
