"""A label is one run of the code: a program that counts stands in for each code that ASE drives through files."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.abinit import Abinit, AbinitProfile
from ase.calculators.aims import Aims, AimsProfile
from ase.calculators.calculator import Calculator, FileIOCalculator, FileIORules, StandardProfile, all_changes
from ase.calculators.emt import EMT
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.calculators.exciting.exciting import ExcitingGroundStateCalculator
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.calculators.mixing import SumCalculator
from ase.calculators.octopus import Octopus, OctopusProfile
from ase.calculators.onetep import Onetep, OnetepProfile
from ase.calculators.orca import ORCA, OrcaProfile
from ase.calculators.socketio import PySocketIOClient, SocketIOCalculator
from ase.units import Bohr, Ry

from ase_bmdal.structures.compute import compute

EVERYTHING = {
    "energy": -7.0,
    "free_energy": -7.5,
    "forces": [[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]],
    "stress": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "magmom": 0.0,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n")
    path.chmod(0o755)
    return str(path)


def runs():
    return Path("runs").read_text().count("run")


def espresso(program):
    profile = EspressoProfile(program, ".")
    return Espresso(profile=profile, pseudopotentials={name: f"{name}.upf" for name in ("Si", "Cu", "H")})


def aims(program):
    Path("14_Si_default").write_text("  species        Si\n")
    return Aims(profile=AimsProfile(program, default_species_directory="."), xc="pbe", k_grid=(1, 1, 1))


def abinit(program):
    Path("14-Si.LDA.fhi").touch()
    return Abinit(profile=AbinitProfile(program, pp_paths=["."]), ecut=100, kpts=(1, 1, 1))


def orca(program):
    return ORCA(profile=OrcaProfile(program))


def octopus(program):
    return Octopus(profile=OctopusProfile(program))


def onetep(program):
    return Onetep(profile=OnetepProfile(program, "."), pseudopotentials={"Si": "Si.usp"})


def exciting(program):
    class Runner:
        def run(self):
            return OctopusProfile(program).run(Path(), None, "exciting.out")

    return ExcitingGroundStateCalculator(
        runner=Runner(), ground_state_input={}, directory=".", species_path=".", title="Si"
    )


def give(calculator, everything):
    """Have its results be all that there is, or what was asked for."""
    template, asked = calculator.template, set()
    write_input = template.write_input

    def note(*, properties, **others):
        asked.update(properties)
        if template.name != "exciting":  # its input is written by a package that is not installed here
            write_input(properties=properties, **others)

    def read(directory):
        return {
            name: value if np.isscalar(value) else np.array(value)
            for name, value in EVERYTHING.items()
            if name in template.implemented_properties and (everything or name in asked)
        }

    template.write_input, template.read_results = note, read


CODES = [espresso, aims, abinit, orca, octopus, onetep, exciting]


@pytest.mark.filterwarnings("ignore:FHI-aims IO is moving:FutureWarning")
@pytest.mark.parametrize("everything", [True, False], ids=["everything", "as-asked"])
@pytest.mark.parametrize("make", CODES)
def test_codes_with_a_template(program, make, everything):
    calculator = make(program)
    give(calculator, everything)
    result = compute(calculator, bulk("Si"), with_stress=True)
    assert runs() == 1
    given = calculator.implemented_properties
    assert result.energy == (-7.5 if "free_energy" in given else -7.0)
    np.testing.assert_array_equal(result.forces, EVERYTHING["forces"])
    if "stress" in given:
        np.testing.assert_array_equal(result.stress, EVERYTHING["stress"])
    else:
        assert result.stress is None


@pytest.mark.parametrize("missing", ["forces", "stress"])
def test_what_a_code_does_not_give_is_not_asked_for_again(program, monkeypatch, missing):
    monkeypatch.delitem(EVERYTHING, missing)
    calculator = espresso(program)
    give(calculator, True)
    assert getattr(compute(calculator, bulk("Si"), with_stress=True), missing) is None
    assert runs() == 1


def test_terms_of_a_sum(program):
    """As a code and a dispersion correction."""
    code = espresso(program)
    give(code, False)
    atoms = bulk("Cu").repeat((2, 1, 1))
    result = compute(SumCalculator([code, EMT()]), atoms, with_stress=True)
    assert runs() == 1
    expected = compute(EMT(), atoms.copy(), with_stress=True)
    assert result.energy == expected.energy - 7.5
    np.testing.assert_array_equal(result.stress, expected.stress + EVERYTHING["stress"])


PWO = """
     Program PWSCF v.7.0 starts
     number of atoms/cell      =            2
     number of atomic types    =            1
     celldm(1)=   7.0 celldm(2)=   0.0 celldm(3)=   0.0
     crystal axes: (cart. coord. in units of alat)
               a(1) = (  -0.5   0.0   0.5 )
               a(2) = (   0.0   0.5   0.5 )
               a(3) = (  -0.5   0.5   0.0 )
     site n.     atom                  positions (alat units)
         1           Si  tau(   1) = (   0.0   0.0   0.0  )
         2           Si  tau(   2) = (   0.25  0.25  0.25  )

!    total energy              =     -15.0 Ry
     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.01    0.00    0.00
     atom    2 type  1   force =    -0.01    0.00    0.00

     Computing stress (Cartesian axis) and pressure

          total   stress  (Ry/bohr**3)                   (kbar)     P=        0.0
   0.001   0.000   0.000           0.0        0.0        0.0
   0.000   0.001   0.000           0.0        0.0        0.0
   0.000   0.000   0.001           0.0        0.0        0.0
"""


def test_output_as_the_code_writes_it(program):
    """That of Quantum ESPRESSO, read by ASE, with nothing replaced."""
    Path("pwo").write_text(PWO)
    with Path(program).open("a") as script:
        script.write(f"cat {Path('pwo').absolute()}\n")
    result = compute(espresso(program), bulk("Si"), with_stress=True)
    assert runs() == 1
    assert result.energy == pytest.approx(-15 * Ry, rel=1e-6)
    np.testing.assert_allclose(result.forces[:, 0], np.array([0.01, -0.01]) * Ry / Bohr, rtol=1e-6)
    np.testing.assert_allclose(result.stress, -0.001 * Ry / Bohr**3 * np.array([1, 1, 1, 0, 0, 0]), rtol=1e-6)


class OfFiles(FileIOCalculator):
    """Written as ASE's own: reads what it asked for."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")
    fileio_rules = FileIORules()

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        self.asked = properties

    def read_results(self):
        self.results = {name: np.array(EVERYTHING[name]) for name in self.asked}


class Forgetful(Calculator):
    """Never tells ASE which structure its results are of, as many a calculator of a user."""

    implemented_properties = ("energy", "forces", "stress")
    calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        type(self).calls += 1
        self.results = {name: np.array(EVERYTHING[name]) for name in properties}


class TwoPrograms(FileIOCalculator):
    """As Turbomole: accessors of its own, one program for the energy and one for forces."""

    implemented_properties = ("energy", "forces")
    programs: list[str] = []  # noqa: RUF012

    def get_potential_energy(self, atoms=None, force_consistent=False):
        self.programs.append("energy")
        return -7.0

    def get_forces(self, atoms=None):
        self.programs.append("forces")
        return np.array(EVERYTHING["forces"])


def test_a_calculator_of_files(program):
    result = compute(OfFiles(profile=StandardProfile(program)), bulk("Si"), with_stress=True)
    assert runs() == 1
    assert result.energy == -7.5
    np.testing.assert_array_equal(result.stress, EVERYTHING["stress"])


def test_a_calculator_that_forgets_its_atoms():
    Forgetful.calls = 0
    result = compute(Forgetful(), bulk("Si"), with_stress=True)
    assert Forgetful.calls == 1
    np.testing.assert_array_equal(result.forces, EVERYTHING["forces"])


def test_a_calculator_with_accessors_of_its_own():
    TwoPrograms.programs.clear()
    result = compute(TwoPrograms(profile=StandardProfile("none")), bulk("Si"), with_stress=True)
    assert TwoPrograms.programs == ["energy", "forces"]
    assert (result.energy, result.stress) == (-7.0, None)


class Counted(EMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        with Path("runs").open("a") as file:
            file.write("run\n")
        super().calculate(atoms, properties, system_changes)


def test_a_calculator_at_the_other_end_of_a_socket(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    name = f"one-run-{tmp_path.name}"
    atoms = bulk("Cu", cubic=True)
    with SocketIOCalculator(launch_client=PySocketIOClient(Counted), unixsocket=name) as calculator:
        result = compute(calculator, atoms, with_stress=True)
    assert runs() == 1
    np.testing.assert_allclose(result.stress, compute(EMT(), atoms.copy(), True).stress, atol=1e-12)


def test_the_same_calculator_again(program):
    calculator = espresso(program)
    give(calculator, True)
    for expected in (1, 1, 2):
        atoms = bulk("Si", a=5.4 + 0.1 * expected)
        compute(calculator, atoms, with_stress=True)
        assert runs() == expected
    assert isinstance(calculator, GenericFileIOCalculator)
    assert "calculate" not in vars(calculator)


def test_a_molecule_gets_no_stress(program):
    calculator = espresso(program)
    give(calculator, False)
    assert compute(calculator, molecule("H2"), with_stress=False).stress is None
    assert runs() == 1
