"""A cheap method as potentials, simulations and label workers use it."""

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from threadpoolctl import ThreadpoolController

from ase_bmdal.baseline.baseline import Baseline, difference
from ase_bmdal.common.errors import BaselineError, UntrustedError
from ase_bmdal.structures.labels import Label
from tests.baseline.cheap import PAIRS, EnergyOnly, Fails, NotANumber, WithoutStress
from tests.learner.runs import copper


def of(calculator, atoms):
    other = atoms.copy()
    other.calc = calculator
    stress = other.get_stress() if other.pbc.all() else None
    return Label(other.get_potential_energy(), other.get_forces(), stress)


def expect_same(found, expected):
    assert found.energy == pytest.approx(expected.energy, abs=1e-12)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-12)
    np.testing.assert_allclose(found.stress, expected.stress, atol=1e-12)


def test_is_what_the_calculator_says():
    expect_same(Baseline(EMT).label(copper()), of(EMT(), copper()))


def test_two_add():
    expect_same(Baseline([EMT, PAIRS]).label(copper()), of(EMT(), copper()).plus(of(PAIRS(), copper())))


def test_no_stress_of_a_molecule():
    assert Baseline(EMT).label(Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]])).stress is None
    assert Baseline(WithoutStress).label(copper()).stress is None


def test_the_structure_stays_as_it_is():
    atoms = copper()
    Baseline(EMT).label(atoms)
    assert atoms.calc is None
    assert atoms == copper()


def test_the_calculator_is_kept_until_it_fails():
    made = []

    def make():
        made.append(Fails())
        return made[-1]

    baseline = Baseline(make)
    sound, close = bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.0)
    for _ in range(3):
        baseline.label(sound)
    assert len(made) == 1
    with pytest.raises(BaselineError, match="baseline fails: RuntimeError: the iterations did not converge"):
        baseline.label(close)
    expect_same(baseline.label(sound), of(EMT(), sound))
    assert len(made) == 2
    baseline.another().label(sound)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (NotANumber, "expected a finite forces"),
        (EnergyOnly, r"expected forces of shape \(4, 3\), got None"),
        (int, "expected an ASE calculator, got int"),
        (lambda: EMT().no_such_thing, "AttributeError"),
    ],
)
def test_no_result(make, text):
    with pytest.raises(BaselineError, match=text):
        Baseline(make).label(copper())
    assert issubclass(BaselineError, UntrustedError)


def test_elements_it_does_not_know():
    with pytest.raises(BaselineError, match="No EMT-potential for Si"):
        Baseline(EMT).label(bulk("Si"))


@pytest.mark.parametrize("wrong", [EMT(), [EMT, EMT()], 3])
def test_a_calculator_that_is_made_already(wrong):
    with pytest.raises(TypeError, match=r"baseline: expected a function, a class or a functools\.partial"):
        Baseline(wrong)


def test_nothing():
    with pytest.raises(ValueError, match="got an empty list"):
        Baseline([])


def test_travels_without_its_calculator():
    baseline = Baseline(EMT)
    expected = baseline.label(copper())
    expect_same(pickle.loads(pickle.dumps(baseline)).label(copper()), expected)


def test_names():
    assert Baseline(EMT).name == "EMT"
    assert Baseline(PAIRS).name == "LennardJones"
    assert Baseline([EMT, PAIRS]).name == "EMT + LennardJones"


def test_difference():
    label = Label(1.0, np.zeros((2, 3)))
    assert difference(label, Label(1.001, np.full((2, 3), 0.005))) is None
    assert difference(label, Label(1.01, np.zeros((2, 3)))) == (
        "energies differ by 0.005 eV per atom and forces by up to 0 eV/Å"
    )
    assert "forces by up to 0.02" in difference(label, Label(1.0, np.full((2, 3), -0.02)))


class OfThreads(EMT):
    """Notes how many threads of OpenMP there are while it computes."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        found = ThreadpoolController().select(user_api="openmp").info()
        self.results["free_energy"] = self.results["energy"] = float(
            max(each["num_threads"] for each in found)
        )


@pytest.mark.parametrize(("said", "expected"), [(None, 1), ("2", 2)])
def test_one_thread_unless_somebody_says_otherwise(monkeypatch, said, expected):
    pytest.importorskip("tblite.interface")  # brings OpenMP
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    else:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = ThreadpoolController()
    with threads.limit(limits=2, user_api="openmp"):
        assert Baseline(OfThreads).label(copper()).energy == expected
        assert max(each["num_threads"] for each in threads.select(user_api="openmp").info()) == 2
