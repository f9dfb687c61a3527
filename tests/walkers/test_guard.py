import io

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLengths
from ase.filters import FrechetCellFilter, StrainFilter
from ase.io import Trajectory, read
from ase.md.andersen import Andersen
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.nptberendsen import Inhomogeneous_NPTBerendsen, NPTBerendsen
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch, LBFGSLineSearch, MDMin

from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.walkers.guard import guard
from ase_bmdal.walkers.snapshot import restore, snapshot

FS = units.fs
HOT = {"temperature_K": 900}
BATHS = {"tdamp": 20 * FS, **HOT}
CELL_BATHS = {"pressure_au": 0.0, "pdamp": 50 * FS, **BATHS}
BERENDSEN = {"taut": 20 * FS, "taup": 50 * FS, "pressure_au": 0.0, "compressibility_au": 1.0, **HOT}

DYNAMICS = {
    "verlet": lambda atoms: VelocityVerlet(atoms, 5 * FS),
    "langevin, global": lambda atoms: langevin(atoms, None),
    "langevin, state": lambda atoms: langevin(atoms, np.random.RandomState(1)),
    "langevin, generator": lambda atoms: langevin(atoms, np.random.default_rng(1)),
    "langevin, mt19937": lambda atoms: langevin(atoms, np.random.Generator(np.random.MT19937(1))),
    "langevin, numbers of one's own": lambda atoms: langevin(atoms, Shared()),
    "bussi": lambda atoms: Bussi(atoms, 5 * FS, taut=20 * FS, rng=np.random.default_rng(1), **HOT),
    "bussi, global": lambda atoms: Bussi(atoms, 5 * FS, taut=20 * FS, **HOT),
    "andersen": lambda atoms: Andersen(atoms, 5 * FS, andersen_prob=0.1, **HOT),
    "nose-hoover": lambda atoms: NoseHooverChainNVT(atoms, 5 * FS, **BATHS),
    "mtk": lambda atoms: MTKNPT(atoms, 5 * FS, **CELL_BATHS),
    "isotropic mtk": lambda atoms: IsotropicMTKNPT(atoms, 5 * FS, **CELL_BATHS),
    "berendsen, volume": lambda atoms: NVTBerendsen(atoms, 5 * FS, taut=20 * FS, **HOT),
    "berendsen": lambda atoms: NPTBerendsen(atoms, 5 * FS, **BERENDSEN),
    "berendsen, shape": lambda atoms: Inhomogeneous_NPTBerendsen(atoms, 5 * FS, **BERENDSEN),
}
OPTIMIZERS = {
    "fire": FIRE,
    "fire, downhill": lambda atoms, **how: FIRE(atoms, downhill_check=True, dt=0.5, **how),
    "bfgs": BFGS,
    "lbfgs": LBFGS,
    "lbfgs, line search": LBFGSLineSearch,
    "bfgs, line search": BFGSLineSearch,
    "mdmin": MDMin,
}
for name, make in OPTIMIZERS.items():
    DYNAMICS[name] = lambda atoms, make=make: make(atoms, logfile=None)
    DYNAMICS[name + " on cell"] = lambda atoms, make=make: make(FrechetCellFilter(atoms), logfile=None)
DYNAMICS["mdmin on strain"] = lambda atoms: MDMin(StrainFilter(atoms), logfile=None)


class Forgetful(EMT):
    """EMT whose results depend on the structure alone, not on neighbours or results of almost the same one.

    `fails` is asked at each new structure.
    """

    def __init__(self, fails=lambda atoms: False):
        super().__init__()
        self.fails, self.asked = fails, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.asked += 1
        if self.fails(atoms):
            raise UntrustedError(f"call {self.asked} is not trusted")
        super().calculate(atoms, properties, all_changes)

    def check_state(self, atoms, tol=0.0):
        return super().check_state(atoms, tol=0.0)


class Shared:
    """Random numbers of one's own."""

    def __init__(self):
        self.numbers = {"of": [np.random.default_rng(3)]}

    def standard_normal(self, size):
        return self.numbers["of"][0].standard_normal(size)


class Wall:
    """No way beyond a step, until it was learned from often enough."""

    def __init__(self, at, learn=1):
        self.at, self.learn = at, learn
        self.dyn = None
        self.reports = []

    def __call__(self, atoms):
        return self.dyn is not None and self.dyn.nsteps + 1 >= self.at and self.learn > 0

    def recover(self, error):
        assert isinstance(error, UntrustedError)
        self.learn -= 1

    def guard(self, dyn, **how):
        self.dyn = dyn
        return guard(dyn, recover=self.recover, report=self.report, **how)

    def report(self, failed, back, reason, rewinds):
        assert "is not trusted" in reason
        assert rewinds == len(self.reports) + 1
        self.reports.append((failed, back))


def langevin(atoms, rng):
    return Langevin(atoms, 5 * FS, friction=0.02 / FS, fixcm=False, rng=rng, **HOT)


def heat(atoms):
    atoms.set_momenta(2.0 * np.random.default_rng(0).standard_normal((len(atoms), 3)))


def copper(fails=lambda atoms: False):
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    atoms.rattle(0.1, seed=0)
    heat(atoms)
    atoms.info["name"] = {"of": ["copper"]}
    atoms.calc = Forgetful(fails)
    return atoms


def walled(wall):
    """A simulation against a wall."""
    return VelocityVerlet(copper(wall), 2 * FS)


def state_of(dyn):
    atoms = getattr(dyn.atoms, "atoms", dyn.atoms)
    held = [atoms.positions, atoms.get_momenta(), atoms.cell.array]
    return np.concatenate(held).copy()


def record(dyn, steps):
    """States by number of step, as they were in the end."""
    seen = {}
    how = {"fmax": 1e-9} if hasattr(dyn, "fmax") else {}
    for _ in dyn.irun(steps=steps, **how):
        seen[dyn.nsteps] = state_of(dyn)
    return np.array([seen[step] for step in sorted(seen)])


@pytest.mark.parametrize("name", DYNAMICS)
def test_what_follows_is_bit_for_bit_what_followed(name):
    dyn = DYNAMICS[name](copper())
    record(dyn, 3)
    before = snapshot(dyn)
    first = record(dyn, 7)
    assert len(first) == 8
    assert (first[0] != first[-1]).any()
    for _ in range(2):
        restore(dyn, before)
        assert dyn.nsteps == 3
        np.testing.assert_array_equal(record(dyn, 7), first)


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_guarded_step_is_the_step(name):
    np.random.seed(0)  # noqa: NPY002
    free = record(DYNAMICS[name](copper()), 8)
    np.random.seed(0)  # noqa: NPY002
    wall = Wall(6)
    dyn = DYNAMICS[name](copper(wall))
    guarded = wall.guard(dyn, every=2)
    np.testing.assert_array_equal(record(dyn, 8), free)
    assert wall.reports == [(6, 4)]
    assert guarded.rewinds == 1


def test_a_state_before_the_first_step():
    dyn = langevin(copper(), np.random.default_rng(0))
    before = snapshot(dyn)
    first = record(dyn, 5)
    restore(dyn, before)
    assert "rnd_pos" not in vars(dyn)
    np.testing.assert_array_equal(record(dyn, 5), first)


def test_nothing_is_exchanged():
    rng = np.random.default_rng(0)
    dyn = langevin(copper(), rng)
    atoms = dyn.atoms
    atoms.set_constraint(FixAtoms([0]))
    held = [
        atoms,
        atoms.positions,
        atoms.arrays,
        atoms.cell,
        atoms.info,
        atoms.constraints[0],
        atoms.calc,
        rng,
    ]
    before, numbers = snapshot(dyn), rng.bit_generator.state
    record(dyn, 3)
    atoms.set_array("tags", np.ones(4, int))
    atoms.info["name"]["of"].append("gold")
    atoms.info["more"] = 1
    atoms.constraints[0].index[0] = 3
    atoms.set_pbc(False)
    restore(dyn, before)
    now = [
        atoms,
        atoms.positions,
        atoms.arrays,
        atoms.cell,
        atoms.info,
        atoms.constraints[0],
        atoms.calc,
        dyn.rng,
    ]
    assert all(one is other for one, other in zip(held, now, strict=True))
    assert rng.bit_generator.state == numbers
    assert dyn.atoms.info == {"name": {"of": ["copper"]}}
    assert not atoms.has("tags")
    assert atoms.constraints[0].index == [0]
    assert atoms.pbc.all()


def test_what_is_stopped_in_the_middle_of_a_step_is_mended():
    """A step that was half done would be done on top of itself."""

    def stop(atoms):
        stop.calls += 1
        if stop.calls == stop.at:
            raise SimulationStopped("made up")

    ends = []
    for at in (None, 27):
        stop.calls, stop.at = 0, at
        dyn = langevin(copper(stop), np.random.default_rng(0))
        held = guard(dyn, recover=lambda error: None)
        if at:
            with pytest.raises(SimulationStopped):
                held.run(40)
            assert stop.calls == 27
            assert dyn.nsteps == 20
        held.run(40 - dyn.nsteps)
        ends.append(state_of(dyn))
    np.testing.assert_array_equal(*ends)


def test_it_looks_before_each_step():
    dyn, looks = langevin(copper(), np.random.default_rng(0)), []
    held = guard(dyn, recover=lambda error: None, look=lambda: looks.append(held.is_stepping))
    held.run(3)
    assert looks == [False] * 3


def test_the_plan_and_the_observers_stay():
    dyn = BFGS(copper(), logfile=None)
    before = snapshot(dyn)
    dyn.run(fmax=0.01, steps=4)
    dyn.attach(print)
    observers = dyn.observers
    restore(dyn, before)
    assert (dyn.nsteps, dyn.max_steps, dyn.fmax) == (0, 4, 0.01)
    assert dyn.observers is observers
    assert len(observers) == 1


def test_files_are_left_alone(tmp_path):
    dyn = VelocityVerlet(copper(), FS, trajectory=tmp_path / "a.traj", logfile=tmp_path / "a.log")
    dyn.mine = Trajectory(tmp_path / "mine.traj", "w", dyn.atoms)
    dyn.attach(dyn.mine)
    before = snapshot(dyn)
    dyn.run(3)
    restore(dyn, before)
    dyn.run(2)
    dyn.mine.close()
    dyn.close()
    for name in ("a.traj", "mine.traj"):
        frames = read(tmp_path / name, ":")
        assert len(frames) == 7
        np.testing.assert_array_equal(frames[2].positions, frames[6].positions)


def test_a_snapshot_of_another_simulation():
    with pytest.raises(ValueError, match="expected a snapshot of this VelocityVerlet"):
        restore(walled(Wall(1)), snapshot(walled(Wall(1))))


@pytest.mark.parametrize("constraint", [FixAtoms([1]), FixBondLengths([[0, 1]])])
def test_constraints_hold(constraint):
    wall = Wall(5)
    atoms = copper(wall)
    atoms.set_constraint(constraint)
    dyn = langevin(atoms, np.random.default_rng(0))
    before = snapshot(dyn)
    first = record(dyn, 8)
    restore(dyn, before)
    wall.guard(dyn, every=3)
    np.testing.assert_array_equal(record(dyn, 8), first)
    assert wall.reports == [(5, 3)]


def test_the_calculator_computes_what_was_gone_back_to():
    dyn = walled(Wall(99))
    record(dyn, 2)
    forces, energy = dyn.atoms.get_forces(), dyn.atoms.get_potential_energy()
    before = snapshot(dyn)
    record(dyn, 2)
    assert (dyn.atoms.get_forces() != forces).any()
    asked = dyn.atoms.calc.asked
    restore(dyn, before)
    np.testing.assert_array_equal(dyn.atoms.get_forces(), forces)
    assert dyn.atoms.get_potential_energy() == energy
    assert dyn.atoms.calc.asked == asked + 1


def test_a_calculator_of_another_family_is_left_alone():
    class Plain:
        def __init__(self):
            self.emt, self.calls = Forgetful(), [0]

        def get_forces(self, atoms):
            self.calls[0] += 1
            return self.emt.get_forces(atoms)

    dyn = walled(Wall(99))
    calc = dyn.atoms.calc = Plain()
    before = snapshot(dyn)
    dyn.run(3)
    calls = calc.calls[0]
    restore(dyn, before)
    assert calc.calls == [calls]


def test_guarding_asks_for_no_more_forces():
    for optimizer in (VelocityVerlet(copper(), FS), BFGS(copper(), logfile=None)):
        guard(optimizer, recover=print)
        record(optimizer, 6)
        assert optimizer.atoms.calc.asked == 7


def test_a_snapshot_is_small():
    """It holds no calculator, and no more after many steps."""
    dyn = langevin(copper(), np.random.default_rng(0))
    dyn.run(1)
    first = snapshot(dyn)
    dyn.run(10)
    assert len(snapshot(dyn).parts) == len(first.parts)
    assert not any(thing is dyn.atoms.calc for thing, _ in first.parts)


def test_observers_see_each_step_that_was(tmp_path):
    wall = Wall(15)
    dyn = walled(wall)
    written = io.StringIO()
    seen = []
    dyn.attach(lambda: seen.append(dyn.nsteps))
    dyn.attach(lambda: written.write(f"{dyn.get_time() / FS:.0f} "), interval=5)
    guarded = wall.guard(dyn)
    assert dyn.run(20)
    assert seen == [*range(15), *range(11, 21)]
    assert written.getvalue() == "0 10 20 30 40 "
    assert dyn.nsteps == dyn.max_steps == 20
    assert (guarded.rewinds, wall.reports) == (1, [(15, 10)])


def test_log_lines(tmp_path):
    wall = Wall(5)
    dyn = VelocityVerlet(copper(wall), FS, logfile=tmp_path / "log")
    wall.guard(dyn, every=3)
    dyn.run(6)
    dyn.close()
    times = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()[1:]]
    assert times == [f"{step / 1000:.4f}" for step in (0, 1, 2, 3, 4, 4, 5, 6)]


def test_an_optimizer_logs_and_ends_as_planned():
    written = io.StringIO()
    wall = Wall(6)
    dyn = FIRE(copper(wall), logfile=written)
    wall.guard(dyn, every=4)
    dyn.run(fmax=1e-9, steps=8)
    steps = [int(line.split()[1]) for line in written.getvalue().splitlines()[1:]]
    assert steps == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8]
    wall.at, wall.learn = 12, 1
    assert dyn.run(fmax=0.05, steps=500)
    assert wall.reports == [(6, 4), (12, 8)]
    assert dyn.fmax == 0.05


def test_the_first_forces_fail():
    dyn = walled(lambda atoms: True)
    guarded = guard(dyn, recover=print)
    with pytest.raises(UntrustedError, match="call 1 is not trusted"):
        dyn.run(3)
    assert (dyn.nsteps, guarded.rewinds) == (0, 0)


def test_frames_say_how_often_it_went_back(tmp_path):
    wall = Wall(5, learn=2)
    dyn = VelocityVerlet(copper(wall), FS, trajectory=tmp_path / "a.traj")
    wall.guard(dyn, every=2)
    dyn.run(7)
    frames = read(tmp_path / "a.traj", ":")
    assert [frame.info.get("rewinds") for frame in frames] == [None] * 5 + [2] * 5
    assert wall.reports == [(5, 4), (5, 2)]


def test_going_on_from_a_frame_goes_on_counting():
    wall = Wall(2)
    dyn = walled(wall)
    dyn.atoms.info["rewinds"] = 3
    guarded = wall.guard(dyn)
    dyn.run(3)
    assert (guarded.rewinds, dyn.atoms.info["rewinds"]) == (1, 4)


def test_the_same_place_again_leads_further_back():
    wall = Wall(19, learn=4)
    dyn = walled(wall)
    guarded = wall.guard(dyn, every=5, depth=3)
    dyn.run(40)
    assert wall.reports == [(19, 15), (19, 10), (19, 5), (19, 5)]
    assert (dyn.nsteps, guarded.rewinds) == (40, 4)
    wall.at, wall.learn = 43, 1
    dyn.run(10)
    assert wall.reports[4:] == [(43, 40)]


def test_a_failure_on_the_way_is_at_the_same_place():
    places = [20, 18, 12]
    wall = Wall(99)
    dyn = walled(lambda atoms: bool(places) and dyn.nsteps + 1 == places[0])
    wall.recover = lambda error: places.pop(0)
    wall.guard(dyn, every=5)
    dyn.run(30)
    assert wall.reports == [(20, 15), (18, 10), (12, 5)]


def test_another_place_starts_from_the_newest_state():
    places = [20, 26]
    wall = Wall(99)
    dyn = walled(lambda atoms: bool(places) and dyn.nsteps + 1 == places[0])
    wall.recover = lambda error: places.pop(0)
    wall.guard(dyn, every=5)
    dyn.run(30)
    assert wall.reports == [(20, 15), (26, 25)]


def test_in_the_end_it_gives_up():
    wall = Wall(7, learn=99)
    dyn = walled(wall)
    guarded = wall.guard(dyn, every=2, max_rewinds=3)
    message = (
        "expected the simulation to get past step 7, it does not: it went back 3 times to learn, "
        "to step 6, 4, 2, and failed again at step 7: call .* is not trusted"
    )
    with pytest.raises(UntrustedError, match=message) as raised:
        dyn.run(20)
    assert isinstance(raised.value.__cause__, UntrustedError)
    assert (guarded.rewinds, wall.learn) == (3, 96)


def test_it_may_not_go_back_at_all():
    wall = Wall(7)
    dyn = walled(wall)
    wall.guard(dyn, max_rewinds=0)
    with pytest.raises(UntrustedError, match="went back 0 times to learn, to step none"):
        dyn.run(20)
    assert wall.learn == 1


def test_what_recovering_raises_ends_the_run():
    def give_up(error):
        raise RuntimeError("no more labels")

    wall = Wall(7)
    dyn = walled(wall)
    wall.recover = give_up
    wall.guard(dyn)
    with pytest.raises(RuntimeError, match="no more labels"):
        dyn.run(20)


def test_other_errors_go_through():
    def fails(atoms):
        if dyn.nsteps == 4:
            raise RuntimeError("out of memory")

    dyn = walled(fails)
    guarded = guard(dyn, recover=print)
    with pytest.raises(RuntimeError, match="out of memory"):
        dyn.run(20)
    assert guarded.rewinds == 0


def test_doubtful_states_are_not_gone_back_to():
    wall = Wall(12)
    dyn = walled(wall)
    wall.guard(dyn, every=3, is_trusted=lambda: dyn.nsteps + 1 < 8)
    dyn.run(15)
    assert wall.reports == [(12, 6)]


def test_a_doubtful_state_is_left_out_until_the_next_that_is_trusted():
    wall = Wall(12)
    dyn = walled(wall)
    wall.guard(dyn, every=3, is_trusted=lambda: dyn.nsteps + 1 not in (6, 9))
    dyn.run(15)
    assert wall.reports == [(12, 10)]


def test_runs_in_pieces_are_one_run():
    wall = Wall(15, learn=2)
    dyn = walled(wall)
    seen = []
    dyn.attach(lambda: seen.append(dyn.nsteps))
    wall.guard(dyn, every=5)
    for _ in range(20):
        dyn.run(1)
    assert wall.reports == [(15, 10), (15, 5)]
    assert dyn.nsteps == 20
    assert seen == [*range(15), *range(11, 15), *range(6, 21)]


def test_what_is_set_between_runs_is_not_undone():
    wall = Wall(15)
    dyn = langevin(copper(wall), np.random.default_rng(0))
    wall.guard(dyn, every=4)
    dyn.run(10)
    dyn.set_temperature(temperature_K=300)
    dyn.run(3)
    heat(dyn.atoms)
    dyn.run(3)
    assert wall.reports == [(15, 13)]
    assert dyn.temp == 300 * units.kB


def test_what_is_set_after_a_run_that_was_left_is_not_undone():
    wall = Wall(8)
    dyn = langevin(copper(wall), np.random.default_rng(0))
    wall.guard(dyn, every=4)
    for _ in dyn.irun(20):
        if dyn.nsteps == 6:
            break
    dyn.set_temperature(temperature_K=300)
    dyn.run(3)
    assert wall.reports == [(8, 6)]
    assert dyn.temp == 300 * units.kB


@pytest.mark.parametrize("steps", [10, 7])
def test_steps_counted_anew_are_another_run(steps):
    wall = Wall(99)
    dyn = walled(wall)
    wall.guard(dyn, every=4)
    dyn.run(10)
    dyn.nsteps = 0
    wall.at = 3
    dyn.run(steps)
    assert wall.reports == [(3, 0)]
    assert dyn.nsteps == steps


def test_a_loop_of_steps():
    wall = Wall(1)
    dyn = walled(lambda atoms: dyn.atoms.calc.asked in (8, 9))
    wall.guard(dyn, every=2)
    forces = dyn.atoms.get_forces()
    for _ in range(9):
        forces = dyn.step(forces)
    assert wall.reports == [(7, 6), (7, 4)]
    np.testing.assert_array_equal(forces, dyn.atoms.get_forces())
    free = walled(Wall(99))
    free.run(7)
    np.testing.assert_array_equal(dyn.atoms.positions, free.atoms.positions)


def test_a_cell_filter_and_its_atoms_go_back_together():
    wall = Wall(6, learn=2)
    cell = FrechetCellFilter(copper(wall))
    dyn = LBFGS(cell, logfile=None)
    wall.guard(dyn, every=2)
    dyn.run(fmax=1e-3, steps=60)
    assert wall.reports == [(6, 4), (6, 2)]
    assert dyn.atoms is cell
    assert cell.arrays is cell.atoms.arrays
    assert cell.atoms.info["rewinds"] == 2
    assert abs(cell.get_forces()).max() < 1e-2


def test_a_band_goes_back():
    wall = Wall(6)
    images = [copper(wall) for _ in range(4)]
    for seed, image in enumerate(images):
        image.rattle(0.05, seed=seed)
    free = NEB([image.copy() for image in images], method="improvedtangent")
    for image in free.images:
        image.calc = Forgetful()
    FIRE(free, logfile=None).run(fmax=1e-3, steps=9)
    dyn = FIRE(NEB(images, method="improvedtangent"), logfile=None)
    wall.guard(dyn, every=4)
    dyn.run(fmax=1e-3, steps=9)
    assert wall.reports == [(6, 4)]
    for one, other in zip(images, free.images, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.info["rewinds"] == 1


def test_guarding_twice_is_refused():
    dyn = walled(Wall(9))
    held = guard(dyn, recover=print)
    with pytest.raises(ValueError, match="release its guard first"):
        guard(dyn, recover=print)
    held.release()
    guard(dyn, recover=print).release()


def test_a_released_simulation_fails():
    wall = Wall(5)
    dyn = walled(wall)
    held = wall.guard(dyn)
    dyn.run(2)
    held.release()
    held.release()
    assert "step" not in vars(dyn)
    with pytest.raises(UntrustedError):
        dyn.run(5)


def test_a_step_of_ones_own_is_guarded_and_given_back():
    def step():
        calls.append(dyn.nsteps)
        return type(dyn).step(dyn)

    calls = []
    wall = Wall(3)
    dyn = walled(wall)
    dyn.step = step
    held = wall.guard(dyn)
    dyn.run(4)
    assert calls == [0, 1, 2, 0, 1, 2, 3]
    held.release()
    assert dyn.step is step


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"every": 0}, ValueError, "got 0, 5, 5"),
        ({"depth": 0}, ValueError, "got 10, 0, 5"),
        ({"max_rewinds": -1}, ValueError, "got 10, 5, -1"),
        ({"dyn": "verlet"}, TypeError, "expected an ASE dynamics or optimizer, got str"),
    ],
)
def test_wrong_arguments(wrong, error, message):
    arguments = {"dyn": walled(Wall(1)), "recover": print} | wrong
    with pytest.raises(error, match=message):
        guard(arguments.pop("dyn"), **arguments)
