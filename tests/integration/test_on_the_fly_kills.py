"""A run that is killed, interrupted, or has no room on the disk, and comes back."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ase_bmdal.common.files import TEMPORARY
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from tests.integration.preloaded import ENVIRONMENT, Script
from tests.labelling.treacherous import alive, pids_in, wait_until

pytestmark = pytest.mark.integration

MPIEXEC = Path(sys.executable).with_name("mpiexec")
LABELS = 8

# No __main__ guard, the reference defined in the script: what users write. Not compiled, to be fast.
SCRIPT = """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    import tensorflow as tf
    tf.config.run_functions_eagerly(True)
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase_bmdal import (
        InitialData, ModelSettings, OnTheFlyCalculator, Retraining, TrainingSettings, UncertaintyLimits
    )

    class Slow(EMT):
        def calculate(self, *args, **kwargs):
            with open({folder!r} + "/calls", "a") as file:
                file.write(f"{{os.getpid()}}\\n")
            if Path({folder!r}, "hang").exists():
                time.sleep(1000)
            time.sleep(0.02)
            super().calculate(*args, **kwargs)

    def reference():
        return Slow()

    def note(event):
        if type(event).__name__ in {signal_at!r}:
            Path({folder!r}, "now").touch()

    {before}
    calc = OnTheFlyCalculator(
        reference, {folder!r} + "/run", batch_size=3, pool_size=6, max_labels={labels},
        architecture=ModelSettings(hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5),
        training=TrainingSettings(epochs={epochs}, batch_size=32), retraining=Retraining(epochs=1),
        initial_data=InitialData(n_structures=4),
        uncertainty=UncertaintyLimits(refuse=1e12), on_event=note, {settings}
    )
    atoms = bulk("Cu", cubic=True)
    atoms.calc = calc
    rng = np.random.default_rng(0)
    {run}
    while calc.learner.is_learning:
        atoms.get_forces()
        atoms.positions += 0.02 * rng.standard_normal((4, 3))
    print(len(Path({folder!r}, "calls").read_text().split()))
    {after}
"""


def write(folder, *, signal_at="none", settings="", before="", after="", run="", epochs=1):
    text = SCRIPT.format(
        labels=LABELS,
        folder=str(folder),
        signal_at=signal_at,
        settings=settings,
        before=before,
        after=after,
        run=textwrap.indent(textwrap.dedent(run), "    ").strip(),
        epochs=epochs,
    )
    (folder / "script.py").write_text(textwrap.dedent(text))


STARTED = []


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    STARTED.clear()


def start(folder, *launcher):
    if launcher:
        process = subprocess.Popen(
            [*launcher, "script.py"],
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    else:
        process = Script(folder / "script.py")
    STARTED.append(process)
    return process


def finish(folder, *launcher):
    process = start(folder, *launcher)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def done(folder):
    if not (folder / "run" / "labels.db").exists():
        return []
    return [row.id for row in LabelStore(folder / "run" / "labels.db").rows("done")]


def log(folder):
    return [vars(event) for event in History.read(folder / "run").rounds]


def expect_a_whole_run(folder):
    rows = LabelStore(folder / "run" / "labels.db").rows()
    assert [row.status for row in rows].count("done") == LABELS
    assert {row.status for row in rows} <= {"done", "pending"}
    lines = log(folder)
    assert [line["round"] for line in lines] == list(range(len(lines)))
    counts = [sum(row.round <= line["round"] and row.status == "done" for row in rows) for line in lines]
    assert [line["labels"] for line in lines] == counts
    assert not list((folder / "run").rglob(f"*{TEMPORARY}"))


def test_a_kill_at_any_moment_loses_no_finished_label(tmp_path):
    write(tmp_path, signal_at="LabelDone EpochDone Round")
    chance, kept, lives, kills = random.Random(0), [], 5, 0
    for life in range(lives):
        process = start(tmp_path)
        wait_until(ended_or(process, tmp_path / "now" if life % 4 else tmp_path / "run"), 100)
        time.sleep(chance.uniform(0, 1.5))
        # A later life may find little left to do and be through.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        (tmp_path / "now").unlink(missing_ok=True)
        assert set(kept) <= set(done(tmp_path))
        kept = done(tmp_path)
    assert kills > 0
    calls = int(finish(tmp_path))
    expect_a_whole_run(tmp_path)
    assert calls <= LABELS + 2 * lives  # again only what the workers, two at most, were at


TEN = {
    "InitialData(n_structures=4)": "InitialData(n_structures=10)",
    "max_labels=8": "max_labels=10",
    """if Path({folder!r}, "hang").exists():""": "if not may_go_on():",
    "def reference():": """def may_go_on():
    for number in range(4):
        try:
            os.close(os.open({folder!r} + f"/ticket-{{number}}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return not Path({folder!r}, "hang").exists()

def reference():""",
}


def test_a_kill_with_ten_labels_in_flight(tmp_path):
    """Of which four have come: the next start computes the other six."""
    write(
        tmp_path,
        before="from concurrent.futures import ThreadPoolExecutor; pool = ThreadPoolExecutor(10)",
        settings="executor=pool",
        after="pool.shutdown()",
    )
    script = (tmp_path / "script.py").read_text()
    for old, new in TEN.items():
        assert old.format(folder=str(tmp_path)) in script
        script = script.replace(old.format(folder=str(tmp_path)), new.format(folder=str(tmp_path)))
    (tmp_path / "script.py").write_text(script)
    (tmp_path / "hang").touch()
    process = start(tmp_path)
    calls = tmp_path / "calls"
    wait_until(lambda: len(pids_in(calls)) == 10 and len(done(tmp_path)) == 4, 60)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(alive, pids_in(calls))))
    kept = done(tmp_path)
    (tmp_path / "hang").unlink()
    assert int(finish(tmp_path)) == 10 + 6
    assert set(kept) <= set(done(tmp_path))
    assert len(done(tmp_path)) == 10


POOL = """import multiprocessing, concurrent.futures
    pool = concurrent.futures.ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork"))"""


@contextlib.contextmanager
def orphans(folder):
    """Workers that outlive their driver: how a script has them and lets go of them, and how many there are."""
    try:
        yield POOL, "pool.shutdown()", 4
    finally:
        for process in STARTED:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def a_cluster(folder):
    pytest.importorskip("distributed")
    from tests.labelling.backends.test_dask import Programs

    programs = Programs(folder)
    programs.start()
    try:
        wait_until(programs.are_there)
        yield f"from distributed import Client; pool = Client({programs.address!r})", "pool.close()", 1
    finally:
        programs.kill()


@pytest.mark.parametrize("how", ["background=False", "background=True", 'local_scratch="{folder}/disk"'])
@pytest.mark.parametrize("workers", [orphans, a_cluster])
def test_labels_that_are_finished_when_the_driver_is_dead(tmp_path, workers, how):
    with workers(tmp_path) as (before, after, at_once):
        write(tmp_path, before=before, settings=f"executor=pool, {how.format(folder=tmp_path)}", after=after)
        script = tmp_path / "script.py"
        # Hangs as long as the file is there.
        script.write_text(
            re.sub(r"if (.*):\n +time.sleep\(1000\)", r"while \1: time.sleep(0.05)", script.read_text())
        )
        calls = tmp_path / "calls"
        (tmp_path / "hang").touch()
        process = start(tmp_path)
        wait_until(lambda: len(pids_in(calls)) == at_once, 60)
        process.kill()
        process.wait()
        assert done(tmp_path) == []
        (tmp_path / "hang").unlink()
        kept = "disk/*.npz" if "disk" in how else "run/scratch/*/*.npz"
        wait_until(lambda: len(list(tmp_path.glob(kept))) == at_once, 60)
        assert int(finish(tmp_path)) == LABELS
    process.communicate()
    expect_a_whole_run(tmp_path)
    assert [*(tmp_path / "run" / "scratch").iterdir(), *tmp_path.glob("disk/*")] == []


def ended_or(process, path):
    return lambda: process.poll() is not None or path.exists()


@pytest.mark.parametrize(("moment", "epochs"), [("labelling", 1), ("training", 100_000)])
def test_ctrl_c(tmp_path, moment, epochs):
    write(tmp_path, signal_at="EpochDone", epochs=epochs)
    if moment == "labelling":
        (tmp_path / "hang").touch()
    process = start(tmp_path)
    sign = "calls" if moment == "labelling" else "now"
    wait_until((tmp_path / sign).exists, 60)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert errors.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not any(map(alive, pids_in(tmp_path / "calls"))))
    (tmp_path / "hang").unlink(missing_ok=True)
    calls, finished = len(pids_in(tmp_path / "calls")), len(done(tmp_path))
    write(tmp_path)
    assert int(finish(tmp_path)) - calls == LABELS - finished
    expect_a_whole_run(tmp_path)


def test_ctrl_c_in_calc_run_ends_with_a_sentence(tmp_path):
    write(tmp_path, signal_at="EpochDone", epochs=100_000)
    script, run = tmp_path / "script.py", "calc.run(VelocityVerlet(atoms, 1.0), 100)\n"
    text = re.sub(r"while calc(.*\n){3}", run, script.read_text())
    script.write_text(f"from ase.md.verlet import VelocityVerlet\n{text}")
    process = start(tmp_path)
    wait_until((tmp_path / "now").exists, 60)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=20)
    assert (process.returncode, printed) == (-signal.SIGINT, "")
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == (
        f"Interrupted after step 0: all labels and the newest potential are kept in {tmp_path / 'run'}, "
        "and the same script or command goes on from there."
    )


RUN = """
    from ase.md.langevin import Langevin
    from ase import units
    done = calc.run(Langevin(atoms, 1 * units.fs, temperature_K=300, friction=0.01, rng=rng), 50)
    print("all steps" if done else "stopped", flush=True)
    raise SystemExit
"""


@pytest.mark.parametrize(("moment", "epochs"), [("labelling", 1), ("training", 100_000)])
def test_sigterm_ends_labelling_and_training_at_once(tmp_path, moment, epochs):
    """Within the grace of a queue, long before the label or the training is done."""
    write(tmp_path, signal_at="EpochDone", epochs=epochs, run=RUN)
    if moment == "labelling":
        (tmp_path / "hang").touch()
    process = start(tmp_path)
    wait_until((tmp_path / ("calls" if moment == "labelling" else "now")).exists, 60)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "stopped\n"), errors
    wait_until(lambda: not any(map(alive, pids_in(tmp_path / "calls"))))
    rows = LabelStore(tmp_path / "run" / "labels.db").rows()
    assert [row.status for row in rows] == ["pending" if moment == "labelling" else "done"] * 4
    (tmp_path / "hang").unlink(missing_ok=True)
    write(tmp_path)
    finish(tmp_path)
    expect_a_whole_run(tmp_path)


def test_a_full_disk(tmp_path):
    write(tmp_path)
    process = Script(tmp_path / "script.py", file_size=60_000)
    STARTED.append(process)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.rstrip().splitlines()[-1].startswith("ase_bmdal.common.errors.StoreError: ")
    kept = done(tmp_path)
    finish(tmp_path)
    assert set(kept) <= set(done(tmp_path))
    expect_a_whole_run(tmp_path)


def test_no_room_for_the_potential(tmp_path):
    write(
        tmp_path,
        before="import ase_bmdal.learner.training as m, errno; m.save_potential = lambda *a: "
        "(_ for _ in ()).throw(OSError(errno.ENOSPC, 'No space left on device'))",
    )
    process = start(tmp_path)
    _, errors = process.communicate(timeout=120)
    assert "RunFolderError: cannot write" in errors.rstrip().splitlines()[-1]
    assert len(done(tmp_path)) == 4
    write(tmp_path)
    assert int(finish(tmp_path)) == LABELS
    expect_a_whole_run(tmp_path)


class TestWithoutAGuard:
    def test_mpi(self, tmp_path):
        pytest.importorskip("mpi4py")
        if not MPIEXEC.exists():
            pytest.skip("no mpiexec next to python")
        write(tmp_path, settings="executor='mpi'")
        launcher = (str(MPIEXEC), "-n", "3", sys.executable, "-m", "mpi4py.futures")
        assert int(finish(tmp_path, *launcher)) == LABELS
        expect_a_whole_run(tmp_path)
        assert len(set(pids_in(tmp_path / "calls"))) == 2

    @pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
    def test_an_executor_of_the_user(self, tmp_path, kind):
        write(
            tmp_path,
            before=f"from concurrent.futures import {kind}; pool = {kind}(2)",
            settings="executor=pool",
            after="pool.shutdown()",
        )
        assert int(finish(tmp_path)) == LABELS
        expect_a_whole_run(tmp_path)
        wait_until(lambda: not any(map(alive, pids_in(tmp_path / "calls"))))
