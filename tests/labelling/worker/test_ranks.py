"""References that are programs of several ranks, under a real mpiexec."""

import os
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.settings import LabellingSettings
from tests.labelling.treacherous import alive, copper, pids_in, wait_until

pytest.importorskip("mpi4py")
MPIEXEC = Path(sys.executable).with_name("mpiexec")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec next to python"),
]
SETTINGS = LabellingSettings(launcher=f"{MPIEXEC} -n {{cores}}", cores=2, timeout=20.0)


class Shared(Calculator):
    """EMT, each rank of which computes a part of the forces; does what ``info`` says on the ranks it names."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, comm):
        super().__init__()
        self.comm = comm

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        with Path(self.atoms.info["pids"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        self.misbehave(self.atoms.info.get("do"), self.atoms.info.get("on", (0, 1)))
        whole = self.atoms.copy()
        whole.calc = EMT()
        part = np.zeros((len(whole), 3))
        part[self.comm.rank :: self.comm.size] = whole.get_forces()[self.comm.rank :: self.comm.size]
        print(f"rank {self.comm.rank} of {self.comm.size}")
        self.results = {
            "energy": self.comm.bcast(whole.get_potential_energy()),
            "forces": self.comm.allreduce(part),
            "stress": whole.get_stress(),
        }

    def misbehave(self, do, ranks):
        if do and self.comm.rank in ranks:
            getattr(self, do)()

    def fail(self):
        raise RuntimeError(f"no convergence on rank {self.comm.rank}")

    def crash(self):
        import ctypes

        print("the last words of this rank", flush=True)
        ctypes.string_at(0)

    def end(self):
        os._exit(3)

    def hang(self):
        import time

        time.sleep(1000)


def shared(comm):
    return Shared(comm)


def structures(folder, *deeds):
    found = []
    for k, (do, on) in enumerate(deeds):
        atoms = copper()
        atoms.rattle(0.05, seed=k)
        atoms.info |= {"pids": str(folder / "pids"), "do": do, "on": list(on)}
        found.append(atoms)
    return found


def label(labeller, frames):
    found = dict(labeller.label(frames))
    return [found[k] for k in range(len(frames))]


def expect_emt(outcome, atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    assert outcome.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(outcome.forces, atoms.get_forces(), atol=1e-9)


def one_worker(reference, folder, settings=SETTINGS):
    return Labeller(reference, scratch=folder / "scratch", n_workers=1, settings=settings)


def test_ranks_share_the_work_and_stay_alive_between_labels(tmp_path):
    frames = structures(tmp_path, *[(None, ())] * 3)
    with one_worker(shared, tmp_path) as labeller:
        for outcome, atoms in zip(label(labeller, frames), frames, strict=True):
            expect_emt(outcome, atoms)
        pids = pids_in(tmp_path / "pids")
        assert (len(pids), len(set(pids))) == (6, 2)
    wait_until(lambda: not any(map(alive, pids)))


def test_a_reference_that_knows_nothing_of_ranks(tmp_path):
    (atoms,) = structures(tmp_path, (None, ()))
    with one_worker(EMT, tmp_path) as labeller:
        (outcome,) = label(labeller, [atoms])
    expect_emt(outcome, atoms)


@pytest.mark.parametrize(
    ("do", "on", "kind", "text"),
    [
        ("fail", (0, 1), "RuntimeError", "no convergence on rank 0"),
        ("fail", (0,), "RuntimeError", "no convergence on rank 0"),
        ("fail", (1,), "Crashed", "rank 1: RuntimeError: no convergence on rank 1"),
        ("crash", (1,), "Crashed", "the last words of this rank"),
        ("end", (0,), "Crashed", "mpiexec ended with exit status"),
    ],
)
def test_what_goes_wrong_on_a_rank_costs_one_label(tmp_path, do, on, kind, text):
    frames = structures(tmp_path, (None, ()), (do, on), (None, ()), (None, ()))
    with one_worker(shared, tmp_path) as labeller:
        before, failed, *after = label(labeller, frames)
        pids = pids_in(tmp_path / "pids")
    expect_emt(before, frames[0])
    assert isinstance(failed, Failure)
    assert failed.error_class == kind, failed.error_text
    assert text in failed.error_text
    for outcome, atoms in zip(after, frames[2:], strict=True):
        expect_emt(outcome, atoms)
    wait_until(lambda: not any(map(alive, pids)))


def test_a_rank_that_hangs(tmp_path):
    frames = structures(tmp_path, ("hang", (1,)), (None, ()))
    settings = LabellingSettings(launcher=SETTINGS.launcher, cores=2, timeout=5.0)
    with one_worker(shared, tmp_path, settings) as labeller:
        failed, after = label(labeller, frames)
        pids = pids_in(tmp_path / "pids")
        assert failed.error_class == "TimedOut"
        expect_emt(after, frames[1])
        wait_until(lambda: not any(map(alive, pids[:2])))


def with_a_serial_gpaw():
    made_up = types.ModuleType("gpaw.mpi")
    made_up.world = types.SimpleNamespace(size=1)
    sys.modules["gpaw.mpi"] = made_up
    return EMT()


def test_a_gpaw_without_mpi_is_refused(tmp_path):
    with one_worker(with_a_serial_gpaw, tmp_path) as labeller:
        (failed,) = label(labeller, structures(tmp_path, (None, ())))
    assert "expected a GPAW that knows of all 2 ranks, got one that knows of 1" in failed.error_text


def test_a_launcher_of_another_mpi_is_refused(tmp_path):
    """Each of its processes would compute the whole label."""
    settings = LabellingSettings(launcher="env OMPI_COMM_WORLD_SIZE={cores}", cores=2, timeout=20.0)
    with one_worker(EMT, tmp_path, settings) as labeller, pytest.raises(LabellingError) as caught:
        label(labeller, structures(tmp_path, (None, ())))
    assert "got one that started 2 processes (OMPI_COMM_WORLD_SIZE), each of which knows of 1" in str(
        caught.value
    )


def program():
    from ase.calculators.espresso import Espresso, EspressoProfile

    return Espresso(profile=EspressoProfile("pw.x", "pseudo"))


def test_a_calculator_that_starts_a_program_is_refused(tmp_path):
    """Every rank would start one, in the same folder."""
    with one_worker(program, tmp_path) as labeller:
        (failed,) = label(labeller, structures(tmp_path, (None, ())))
    assert "computes on 2 ranks together, got Espresso, which starts a program" in failed.error_text


class NotThere:
    """Cannot be loaded anywhere but here."""

    def __reduce__(self):
        return (__import__, ("no_such_package",))

    def __call__(self, comm):
        return Shared(comm)


@pytest.mark.parametrize(
    ("reference", "launcher", "text"),
    [
        (
            NotThere(),
            SETTINGS.launcher,
            "the reference cannot be loaded: .*No module named 'no_such_package'",
        ),
        (
            shared,
            "sh -c 'echo too few cores for {cores}; exit 3'",
            "the reference cannot be loaded: .*sh ended with exit status 3; its last words:\ntoo few cores for 2",
        ),
    ],
)
def test_ranks_that_do_not_come_up(tmp_path, reference, launcher, text):
    settings = LabellingSettings(launcher=launcher, cores=2, timeout=20.0)
    with (
        one_worker(reference, tmp_path, settings) as labeller,
        pytest.raises(LabellingError, match=text),
    ):
        label(labeller, structures(tmp_path, (None, ())))


def test_a_launcher_that_is_not_there(tmp_path):
    settings = LabellingSettings(launcher="no-such-program -n {cores}", cores=2)
    with pytest.raises(
        LabellingError, match="launcher: expected a program that is installed, found no no-such-"
    ):
        Labeller(EMT, scratch=tmp_path, settings=settings)


def test_a_launcher_that_is_not_there_where_the_worker_is(tmp_path):
    settings = LabellingSettings(launcher="no-such-program -n {cores}", cores=2)
    with (
        ThreadPoolExecutor(1) as workers,
        Labeller(EMT, scratch=tmp_path / "scratch", executor=workers, settings=settings) as labeller,
        pytest.raises(LabellingError, match=r"cannot be loaded: FileNotFoundError: .*no-such-program"),
    ):
        label(labeller, [copper()])


def test_in_this_process_there_is_no_launcher(tmp_path):
    settings = LabellingSettings(launcher=SETTINGS.launcher, cores=2)
    with pytest.raises(ValueError, match='executor="in-process" cannot be launched'):
        Labeller(EMT, scratch=tmp_path, executor="in-process", settings=settings)


def test_a_launcher_needs_cores():
    with pytest.raises(ValueError, match="launcher: expected cores as well"):
        LabellingSettings(launcher="mpiexec -n {cores}")
