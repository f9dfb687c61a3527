#!/bin/bash
# One node: a simulation, and beside it as many labels at a time as there are cores for, each with 4 of its own.
# Submit it in this folder, `sbatch one_node.sh`; without a queue, `bash one_node.sh`.
# Submitted again, it goes on with what it has learned.
#SBATCH --job-name=one-node
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00

export TF_NUM_INTRAOP_THREADS=2  # of the potential; the other cores are for labels
exec python ethanol.py local "${CORES:-4}"
