"""Labels less those of a baseline."""

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal import Baseline, BaselineError
from ase_bmdal.cli import main
from ase_bmdal_experiments.data import read_frames
from ase_bmdal_experiments.subtract import EVERY, subtracted
from tests.baseline.cheap import PAIRS, STIFFER
from tests.learner.runs import copper, labelled


class Counting:
    """Pairs, until a call too many."""

    def __init__(self, last=10**6):
        self.calls, self.last = 0, last

    def label(self, atoms):
        self.calls += 1
        if self.calls > self.last:
            raise KeyboardInterrupt
        return Baseline(PAIRS).label(atoms)


@pytest.fixture
def frames(tmp_path):
    ase.io.write(tmp_path / "copper.xyz", labelled(6))
    return read_frames(tmp_path / "copper.xyz")


def test_each_label_less_that_of_the_baseline(frames, tmp_path):
    found = subtracted(frames, Baseline(PAIRS), tmp_path / "out" / "baseline.npz")
    for index, atoms in enumerate(found):
        whole, cheap = copper(index), copper(index)
        whole.calc, cheap.calc = EMT(), PAIRS()
        expected = whole.get_potential_energy() - cheap.get_potential_energy()
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), whole.get_forces() - cheap.get_forces(), atol=1e-6)


def test_energies_only(frames, tmp_path):
    from dataclasses import replace

    path = tmp_path / "baseline.npz"
    both = subtracted(frames, Baseline(PAIRS), path)
    found = subtracted(replace(frames, forces=None), Baseline(PAIRS), path)
    np.testing.assert_array_equal(found.energies, both.energies)
    assert found.forces is None


def test_goes_on_where_it_was_interrupted(tmp_path):
    ase.io.write(tmp_path / "many.xyz", labelled(EVERY + 5))
    frames, path = read_frames(tmp_path / "many.xyz"), tmp_path / "baseline.npz"
    with pytest.raises(KeyboardInterrupt):
        subtracted(frames, Counting(EVERY + 2), path)
    rest, told = Counting(), []
    found = subtracted(frames, rest, path, lambda done, of: told.append((done, of)))
    assert rest.calls == 1 + 5  # one to see whether it is the same baseline
    assert told == [(EVERY + 5, EVERY + 5)]
    expected = subtracted(frames, Baseline(PAIRS), tmp_path / "anew.npz")
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-12)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-12)


def test_refuses_results_of_other_structures_or_of_another_baseline(frames, tmp_path):
    path = tmp_path / "baseline.npz"
    subtracted(frames, Baseline(PAIRS), path)
    with pytest.raises(ValueError, match="got those of another"):
        subtracted(frames, Baseline(STIFFER), path)
    ase.io.write(tmp_path / "other.xyz", labelled(7)[1:])
    with pytest.raises(ValueError, match="got those of others"):
        subtracted(read_frames(tmp_path / "other.xyz"), Baseline(PAIRS), path)


def test_a_structure_it_cannot_compute(frames, tmp_path):
    def fails():
        raise RuntimeError("no licence")

    with pytest.raises(BaselineError, match="no licence"):
        subtracted(frames, Baseline(fails), tmp_path / "baseline.npz")


def test_sizes_are_looked_at_first(frames, tmp_path, capsys):
    (tmp_path / "cheap.py").write_text("def never():\n    raise RuntimeError\n")
    sizes = ["--cutoff", "4", "--initial", "4", "--final", "8", "--batch", "2", "--valid", "0", "--test", "3"]
    arguments = ["benchmark", "run", str(tmp_path / "copper.xyz"), *sizes, "--selection", "MAXDIAG + RND"]
    cheap = f"{tmp_path / 'cheap.py'}:never"
    assert main([*arguments, "--baseline", cheap, "--out", str(tmp_path / "out")]) == 2
    assert "in the end" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
