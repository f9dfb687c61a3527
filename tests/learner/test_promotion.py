"""A new potential takes the place of its predecessor only if it is no worse."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule

from ase_bmdal.learner.promotion import objection
from ase_bmdal.learner.settings import Promotion
from ase_bmdal.structures.labels import Label
from tests.builders import rattled

K, STILL = 30.0, molecule("H2O").positions


class Springs:
    """Every atom on a spring, with what may be wrong: a constant error, or a hole beside the labels."""

    elements = (1, 8)

    def __init__(self, error=0.0, hole_at=None, depth=50.0, elements=(1, 8)):
        self.error, self.hole_at, self.depth, self.elements = error, hole_at, depth, elements

    def predict(self, structures):
        return [Label(0.0, self.forces(atoms.positions)) for atoms in structures]

    def forces(self, positions):
        forces = -K * (positions - STILL) + self.error
        if self.hole_at is not None:
            away = np.abs(positions - self.hole_at).max()
            forces = forces + self.depth * (0.02 < away < 0.09)
        return forces


def labelled(n):
    structures = [rattled(molecule("H2O"), seed) for seed in range(n)]
    return [Label(0.0, Springs().forces(atoms.positions)).attach(atoms) for atoms in structures]


def objection_to(new, old, labels=None, frames=(), **settings):
    labels = labelled(5) if labels is None else labels
    return objection(new, old, labels, frames, replace(Promotion(), **settings), np.random.default_rng(0))


def test_one_as_good_is_promoted():
    assert objection_to(Springs(), Springs()) is None
    assert objection_to(Springs(error=0.1), Springs(error=0.06)) is None


def test_larger_errors_on_labels_that_both_know_are_worse():
    found = objection_to(Springs(error=1.0), Springs(error=0.3))
    assert found == "rmse 1 eV/Å, 0.3 before"
    assert objection_to(Springs(error=1.0), Springs(error=0.3), margin=4.0) is None


def test_errors_that_do_not_count_are_not_worse():
    assert objection_to(Springs(error=0.05), Springs()) is None
    assert objection_to(Springs(error=0.05), Springs(), negligible=0.0) == "rmse 0.05 eV/Å, 0 before"


def test_one_structure_is_enough_to_be_worse():
    labels = labelled(60)
    broken = Springs(hole_at=labels[7].positions + 0.06, depth=0.8)
    assert objection_to(broken, Springs(), labels).startswith("largest ")


def test_a_hole_beside_a_label_or_a_frame_is_seen():
    """Exact on all labels, absurd beside them."""
    labels, frame = labelled(5), rattled(molecule("H2O"), 50, by=0.2)
    assert objection_to(Springs(hole_at=labels[3].positions), Springs(), labels).startswith("stiffness ")
    assert objection_to(Springs(hole_at=frame.positions), Springs(), labels) is None
    assert objection_to(Springs(hole_at=frame.positions), Springs(), labels, [frame]).startswith("stiffness ")


def test_a_stiffness_that_a_better_potential_may_have_is_no_worse():
    """Young potentials are too soft where the structure is stiffest."""
    labels = labelled(5)
    stiffer = Springs(hole_at=labels[3].positions, depth=2.0)
    assert objection_to(stiffer, Springs(), labels) is None
    assert objection_to(stiffer, Springs(), labels, stiffness_margin=2.0).startswith("stiffness ")


def test_forces_that_are_no_numbers_are_worse():
    assert objection_to(Springs(error=np.nan), Springs()).startswith("rmse nan ")


def test_what_the_predecessor_does_not_know_is_left_out():
    labels = labelled(5)
    assert objection_to(Springs(error=9.0), Springs(elements=(1,)), labels) is None


def test_labels_without_forces_are_left_out():
    labels = [Label(1.0).attach(rattled(molecule("H2O"))), *labelled(2)]
    assert objection_to(Springs(error=1.0), Springs(), labels).startswith("rmse")


@pytest.mark.parametrize("n", [3, 1])
def test_at_most_so_many_structures_are_asked(n):
    asked = []

    class Counting(Springs):
        def predict(self, structures):
            asked.append(len(structures))
            return super().predict(structures)

    objection_to(Counting(), Counting(), labelled(9), labelled(8), n_structures=n)
    assert asked == [n, 4 * n] * 2
