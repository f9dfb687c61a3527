"""Ethanol learns GFN2-xTB while it moves; the job scripts beside this file say where its labels are computed.

python ethanol.py local 16 4    16 workers of this node, each with 4 cores
python ethanol.py mpi 127       the other ranks of this job
python ethanol.py slurm 8 4     8 jobs of the queue, each with 4 cores
"""

import json
import os
import sys

from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin

from ase_bmdal import LabellingSettings, OnTheFlyCalculator


def reference():  # yours: any function that makes an ASE calculator
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


executor, workers = sys.argv[1], int(sys.argv[2])
cores = int(sys.argv[3]) if len(sys.argv) > 3 else None
job = {"memory": "8GB", "walltime": "04:00:00"}  # and "queue", "account", if yours wants them
queue = {"jobs": workers, "job": job} if executor == "slurm" else {}
settings = {
    "background": True,
    "most_in_flight": workers + 10,
    "max_labels": 500,
    "max_wall_time": 11.5 * 3600,
}
settings |= json.loads(os.environ.get("SETTINGS", "{}"))

atoms = molecule("CH3CH2OH")
atoms.calc = OnTheFlyCalculator(
    reference,
    directory="ethanol",
    executor=executor,
    labelling=LabellingSettings(cores=cores, threads=cores, **queue),
    **settings,
)
dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=500, friction=0.02 / units.fs, fixcm=False)
if atoms.calc.run(dynamics, int(os.environ.get("STEPS", "20000"))):
    atoms.calc.settle()  # learns what is still on its way
