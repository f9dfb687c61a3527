"""Frames of short simulations, as far as their potential can be trusted."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.emt import EMT

from ase_bmdal.calculator.exploration import USELESS, Exploration, explore
from ase_bmdal.common.errors import UntrustedError
from tests.learner.runs import copper

HOW = Exploration(n_frames=7, temperatures=(300.0,), spacing=2, length=3)


class Bounded(EMT):
    """EMT with a bound that grows with each call; refuses structures from one on."""

    calls, last = 0, np.inf

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        type(self).calls += 1
        if self.calls > self.last:
            raise UntrustedError("this is not known")
        self.results["forces_uncertainty"] = np.full(len(self.atoms), 0.1 * self.calls)


def frames_of(calculator=None, how=HOW, starts=None, seed=0, **more):
    rng = np.random.default_rng(seed)
    return explore(calculator or EMT(), starts or [copper(0), copper(1)], how, rng, **more)


def test_frames_carry_what_the_calculator_says():
    frames = frames_of()
    assert len(frames) == 7
    for atoms in frames:
        other = atoms.copy()
        other.calc = EMT()
        np.testing.assert_allclose(atoms.get_forces(), other.get_forces())
        np.testing.assert_allclose(atoms.get_stress(), other.get_stress())
        assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy())


def test_no_two_are_the_same_and_a_seed_gives_the_same_again():
    first, again, other = frames_of(), frames_of(), frames_of(seed=1)
    positions = np.array([atoms.positions for atoms in first])
    assert len({row.tobytes() for row in positions}) == 7
    np.testing.assert_array_equal(positions, [atoms.positions for atoms in again])
    assert not np.array_equal(positions, [atoms.positions for atoms in other])


def test_temperatures():
    def mean(kelvin):
        how = Exploration(n_frames=40, temperatures=(kelvin,), spacing=1, length=2, timestep=0.5)
        return np.mean(
            [atoms.get_temperature() for atoms in frames_of(how=how, starts=[copper(by=0.0, repeat=2)])]
        )

    assert mean(300.0) == pytest.approx(300, rel=0.1)
    assert mean(900.0) == pytest.approx(900, rel=0.1)


def test_that_of_the_frames_is_the_default():
    start = copper(by=0.0, repeat=2)
    start.set_momenta(np.sqrt(700 * units.kB * start.get_masses())[:, None] * np.ones((len(start), 3)))
    found = frames_of(how=Exploration(n_frames=20, spacing=1, length=2, timestep=0.1), starts=[start])
    assert np.mean([atoms.get_temperature() for atoms in found]) == pytest.approx(700, rel=0.1)


def test_without_any_temperature():
    with pytest.raises(ValueError, match="temperatures: expected some"):
        frames_of(how=Exploration(n_frames=1))


def test_no_frame_beyond_the_largest_bound():
    Bounded.calls = 0
    with pytest.raises(UntrustedError, match=f"{USELESS} simulations in a row ended at once.* at 300 K"):
        frames_of(Bounded(), largest_bound=1.0)
    Bounded.calls = 0
    found = frames_of(
        Bounded(), how=Exploration(n_frames=2, temperatures=(300,), spacing=2), largest_bound=1.0
    )
    assert len(found) == 2


def test_the_end_of_a_simulation_is_not_that_of_all():
    class RefusesOnce(Bounded):
        def calculate(self, *args, **kwargs):
            type(self).last = 4 if self.calls == 4 else np.inf
            super().calculate(*args, **kwargs)

    RefusesOnce.calls = 0
    assert len(frames_of(RefusesOnce())) == 7


def test_hydrogen_is_followed_closely():
    water = molecule("H2O")
    how = Exploration(n_frames=1, temperatures=(300.0,), spacing=1)

    def moved(start):
        (frame,) = frames_of(how=how, starts=[start])
        return np.abs(frame.positions - start.positions).max()

    heavy = molecule("H2O")
    heavy.set_masses([16.0] * 3)
    assert moved(water) < 0.05
    assert moved(heavy) > 2 * 0.005
