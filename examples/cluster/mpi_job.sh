#!/bin/bash
# One MPI job: its first rank simulates, each of the others computes one label after the other on one core.
# Submit it in this folder, `sbatch mpi_job.sh`. Submitted again, it goes on with what it has learned.
# mpi4py has to be of an MPI that srun can start; `srun --mpi=list` says of which kinds it can.
#SBATCH --job-name=mpi-job
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00

export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1
RANKS=${SLURM_NTASKS:-128}
exec srun --ntasks="$RANKS" python -m ase_bmdal.labelling.mpi ethanol.py mpi $((RANKS - 1))
