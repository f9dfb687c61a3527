"""Start a script on rank 0 of an MPI job: ``mpiexec -n 5 python -m ase_bmdal.labelling.mpi script.py``.

The other ranks label. As ``mpiexec -n 5 python -m mpi4py.futures script.py``, where however a script that reads or
writes files through ASE before it makes its calculator would wait for the other ranks.
"""

import runpy

from ase_bmdal.labelling.backends.mpi import make_ase_serial

if __name__ == "__main__":
    make_ase_serial()
    runpy.run_module("mpi4py.futures", run_name="__main__", alter_sys=True)
