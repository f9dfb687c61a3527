"""What every backend promises, as functions of an executor that also run in rank 0 of an MPI job."""

import uuid
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from ase.calculators.emt import EMT

from ase_bmdal.labelling import ComputedLabel, LabellingSettings
from ase_bmdal.labelling.backends import resolve
from ase_bmdal.labelling.lease import HeldLease, Lease
from ase_bmdal.labelling.queue import TaskQueue
from ase_bmdal.labelling.reference import capture
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.labelling.worker.processes import end_processes
from tests.labelling.treacherous import Treacherous, alive, copper, error_class, pids_in, wait_until


class Batch:
    """Structures handed to a backend, with all its parts in the open."""

    def __init__(self, backend, reference, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.held = HeldLease(Lease(path=folder / "running", look=0.1))
        self.queue, self.owner, self.numbers = TaskQueue(backend.executor), uuid.uuid4().hex, count()
        self.folder = folder
        self._task = partial(
            LabelTask,
            reference=capture(reference),
            settings=LabellingSettings(),
            lease=self.held.lease,
            owner=self.owner,
            isolated=backend.isolated,
        )

    def submit(self, *structures):
        for atoms in structures:
            number = next(self.numbers)
            self.queue.submit(number, self._task(atoms=atoms, scratch=self.folder / f"structure-{number}"))

    def outcomes(self):
        """Those of all that was submitted, each handed out once."""
        found = {}
        while self.queue:
            outcomes, lost = self.queue.poll(timeout=1.0)
            assert lost == {}
            assert not outcomes.keys() & found.keys()
            found |= outcomes
        return [found[number] for number in range(len(found))]

    def scratch(self):
        return {folder.name for folder in self.folder.glob("structure-*")}

    def cancel(self):
        self.held.release()
        self.queue.cancel()
        end_processes(self.owner)


@contextmanager
def batch(executor, folder, reference=Treacherous):
    backend = resolve(executor, None, LabellingSettings())
    opened = Batch(backend, reference, Path(folder))
    try:
        yield opened
    finally:
        opened.cancel()
        if backend.owned:
            backend.executor.shutdown()


def rattled(n):
    structures = [copper() for _ in range(n)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=k)
    return structures


def every_task_gets_one_outcome_as_in_process(executor, folder):
    structures = rattled(6)
    found = []
    for name, place in [(executor, "here"), ("in-process", "there")]:
        with batch(name, folder / place, EMT) as opened:
            opened.submit(*structures)
            found.append(opened.outcomes())
            assert opened.scratch() == set()
    assert [len(outcomes) for outcomes in found] == [6, 6]
    for label, same in zip(*found, strict=True):
        assert isinstance(label, ComputedLabel)
        assert label.seconds > 0
        for name in ("energy", "forces", "stress"):
            np.testing.assert_array_equal(getattr(label, name), getattr(same, name))


def what_fails_costs_one_structure(executor, folder):
    actions = ["fail", None, "sys_exit", None, "nan"]
    actions += [] if executor == "in-process" else ["os_exit", "segfault", None]
    with batch(executor, folder) as opened:
        opened.submit(*map(copper, actions))
        outcomes = opened.outcomes()
        failed = {f"structure-{k}" for k, action in enumerate(actions) if action}
        assert opened.scratch() == failed
    classes = {"fail": "RuntimeError", "sys_exit": "SystemExit", "nan": "Refused", None: ""}
    assert [error_class(it) for it in outcomes] == [classes.get(action, "Crashed") for action in actions]
    assert outcomes[0].error_text == "SCF did not converge \\udc80"
    assert "SCF did not converge" in (Path(outcomes[0].scratch) / "output.txt").read_text()
    for outcome in outcomes:
        assert isinstance(outcome, ComputedLabel) or Path(outcome.scratch).is_dir()
    if executor != "in-process":
        assert "exit status 7" in outcomes[5].error_text
        assert "SIGSEGV" in outcomes[6].error_text


def poll_waits_for_nothing_and_cancel_leaves_nothing(executor, folder):
    pids = folder / "pids"
    with batch(executor, folder / "scratch") as opened:
        opened.submit(*(copper("hang", pids=str(pids)) for _ in range(6)))
        wait_until(lambda: pids_in(pids), 120)
        assert opened.queue.poll() == ({}, {})
        assert any(map(alive, pids_in(pids)))
        assert len(opened.queue) == 6
        opened.cancel()
        assert len(opened.queue) == 0
        wait_until(lambda: not any(map(alive, pids_in(pids))) and not opened.scratch())
    with batch(executor, folder / "next", EMT) as opened:
        opened.submit(copper())
        assert isinstance(opened.outcomes()[0], ComputedLabel)
    assert not any(map(alive, pids_in(pids)))


PROMISES = {
    promise.__name__: promise
    for promise in (
        every_task_gets_one_outcome_as_in_process,
        what_fails_costs_one_structure,
        poll_waits_for_nothing_and_cancel_leaves_nothing,
    )
}
