#!/bin/bash
# Labels of a code that is an MPI program itself, each on 16 cores: four at a time on a node of 64.
# Submit it in this folder, `sbatch sixteen_cores.sh`; without a queue, `bash sixteen_cores.sh`.
# Over several nodes, where the first of five groups of cores simulates, the last line is
#     exec srun --ntasks=5 --cpus-per-task=16 python -m ase_bmdal.labelling.mpi aluminium.py mpi 4 16
#SBATCH --job-name=sixteen-cores
#SBATCH --nodes=1
#SBATCH --ntasks=64
#SBATCH --time=12:00:00

export TF_NUM_INTRAOP_THREADS=2
CORES=${CORES:-16}
exec python aluminium.py local $((${SLURM_NTASKS:-$(nproc --all)} / CORES)) "$CORES"
