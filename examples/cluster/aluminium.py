"""Aluminium learns a density functional, LDA by Quantum ESPRESSO, each label with many cores.

python aluminium.py local 4 16    4 at a time on this node, with 16 cores each
python aluminium.py mpi 4 16      on the other ranks of this job
python aluminium.py slurm 8 16    by 8 jobs of the queue
"""

import json
import os
import sys

from ase import units
from ase.build import bulk
from ase.md.langevin import Langevin

from ase_bmdal import LabellingSettings, OnTheFlyCalculator

executor, workers, cores = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mpirun = os.environ.get("MPIRUN", "mpirun")  # that of the code: its full path, if there are several
pseudopotentials = os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo")
kpoints = int(os.environ.get("KPOINTS", "4"))


def reference():  # yours: any function that makes an ASE calculator
    from ase.calculators.espresso import Espresso, EspressoProfile

    return Espresso(
        profile=EspressoProfile(f"{mpirun} -n {cores} pw.x", pseudopotentials),
        pseudopotentials={"Al": "Al.pz-vbc.UPF"},
        kpts=(kpoints, kpoints, kpoints),
        input_data={
            "control": {"tprnfor": True, "tstress": True},
            "system": {"ecutwfc": 15, "occupations": "smearing", "degauss": 0.05},
        },
    )


job = {"memory": "32GB", "walltime": "04:00:00"}  # and "queue", "account", if yours wants them
queue = {"jobs": workers, "job": job} if executor == "slurm" else {}
settings = {"background": True, "most_in_flight": workers + 10, "max_labels": 200}
settings |= {"label_timeout": 3600, "max_wall_time": 10 * 3600}  # seconds
settings |= json.loads(os.environ.get("SETTINGS", "{}"))

atoms = bulk("Al", cubic=True)
atoms.calc = OnTheFlyCalculator(
    reference,
    directory="aluminium",
    executor=executor,
    labelling=LabellingSettings(cores=cores, **queue),
    **settings,
)
dynamics = Langevin(atoms, 2 * units.fs, temperature_K=600, friction=0.01 / units.fs, fixcm=False)
if atoms.calc.run(dynamics, int(os.environ.get("STEPS", "20000"))):
    atoms.calc.settle()  # learns what is still on its way
