"""Outputs of codes with electronic smearing, as ASE reads them: the energy is the one forces are the gradient of."""

import numpy as np
import pytest
from ase.io import read
from ase.units import Bohr, Ry

from ase_bmdal.structures.labels import label_of, labels_of, summary

VECTORS = "<v>4 0 0</v><v>0 4 0</v><v>0 0 4</v>"
VASPRUN = f"""<modeling>
<kpoints><varray name="kpointlist"></varray><varray name="weights"></varray></kpoints>
<parameters></parameters>
<atominfo><array name="atoms"><set><rc><c>Al</c><c>1</c></rc></set></array></atominfo>
<structure name="initialpos"><crystal><varray name="basis">{VECTORS}</varray></crystal>
<varray name="positions"><v>0 0 0</v></varray></structure>
<calculation>
<scstep><energy><i name="e_fr_energy">-3.75</i><i name="e_0_energy">-3.70</i></energy></scstep>
<structure><crystal><varray name="basis">{VECTORS}</varray></crystal>
<varray name="positions"><v>0 0 0</v></varray></structure>
<varray name="forces"><v>0.1 0 0</v></varray>
<varray name="stress"><v>10 0 0</v><v>0 10 0</v><v>0 0 10</v></varray>
<energy><i name="e_fr_energy">-3.75</i><i name="e_0_energy">-3.70</i></energy>
</calculation>
</modeling>
"""
OUTCAR = """ vasp.6.3.2
 INCAR:
 POTCAR:    PAW_PBE Al 04Jan2001
 POTCAR:    PAW_PBE Al 04Jan2001
   ions per type =               1
   ISPIN  =      1    spin polarized calculation?
 --------------------------------------- Iteration      1(   1)  ----------------------------------
 direct lattice vectors                 reciprocal lattice vectors
     4.0  0.0  0.0     0.25  0.0  0.0
     0.0  4.0  0.0     0.0  0.25  0.0
     0.0  0.0  4.0     0.0  0.0  0.25

 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.100000      0.000000      0.000000
 -----------------------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =        -3.75000000 eV

  energy  without entropy=       -3.65000000  energy(sigma->0) =       -3.70000000
"""
PWO = """     Program PWSCF v.7.2 starts on  1Jan2024 at 0: 0: 0

     bravais-lattice index     =            0
     lattice parameter (alat)  =       7.5589  a.u.
     celldm(1)=   7.558904  celldm(2)=   0.000000  celldm(3)=   0.000000
     unit-cell volume          =     431.8941 (a.u.)^3
     number of atoms/cell      =            1
     number of atomic types    =            1

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     site n.     atom                  positions (alat units)
         1           Al  tau(   1) = (   0.0000000   0.0000000   0.0000000  )

!    total energy              =     -39.50000000 Ry
     internal energy E=F+TS    =     -39.40000000 Ry

     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.00100000    0.00000000    0.00000000

"""


@pytest.mark.parametrize(
    ("name", "text", "how", "energy", "force"),
    [
        ("vasprun.xml", VASPRUN, "vasp-xml", -3.75, 0.1),
        ("OUTCAR", OUTCAR, "vasp-out", -3.75, 0.1),
        ("scf.pwo", PWO, "espresso-out", -39.5 * Ry, 0.001 * Ry / Bohr),
    ],
)
def test_the_energy_is_the_free_energy(name, text, how, energy, force, tmp_path):
    (tmp_path / name).write_text(text)
    label = label_of(read(tmp_path / name, format=how))
    assert label.energy == pytest.approx(energy, rel=1e-6)
    np.testing.assert_allclose(label.forces, [[force, 0, 0]], rtol=1e-6)
    assert label.found.keys[0] == "free_energy"


def test_frames_of_several_files_are_of_one_kind(tmp_path):
    (tmp_path / "vasprun.xml").write_text(VASPRUN)
    frames = [read(tmp_path / "vasprun.xml")] * 2
    assert summary(labels_of(frames)) == (
        "2 structures: 2 energies, 2 forces, 2 stresses; from free_energy, forces, stress"
    )
