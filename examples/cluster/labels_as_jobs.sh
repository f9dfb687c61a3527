#!/bin/bash
# A small job for the simulation, which submits 8 others that compute its labels, with 4 cores each.
# Submit it in this folder, `sbatch labels_as_jobs.sh`; on a node where programs may run for long, `bash labels_as_jobs.sh`.
# Its jobs end with it. Submitted again, it goes on with what it has learned.
#SBATCH --job-name=labels-as-jobs
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --time=12:00:00

export TF_NUM_INTRAOP_THREADS=2
exec python ethanol.py slurm 8 "${CORES:-4}"
