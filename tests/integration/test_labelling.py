"""Labels with a real reference, in real processes, with real kills."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling import ComputedLabel, Failure, Labeller, LabellingSettings
from ase_bmdal.run.store import LabelStore
from tests.labelling.treacherous import (
    FAILURES,
    SOUND,
    Treacherous,
    alive,
    copper,
    error_class,
    expect,
    pids_in,
    wait_until,
)

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
# Those that cost no restart first, so that each failure has sound structures around it.
ACTIONS = [action for failing in FAILURES for action in (failing, None)] + SOUND


@pytest.fixture(scope="module")
def gfn2():
    pytest.importorskip("tblite")
    from tblite.ase import TBLite

    return partial(TBLite, method="GFN2-xTB", verbosity=0)


def label(labeller, structures):
    records = dict(labeller.label(structures))
    return [records[k] for k in range(len(structures))]


def run(script, folder, *launcher, check=True, seconds=120):
    (folder / "script.py").write_text(textwrap.dedent(script))
    command = [*launcher, "script.py"] if launcher else [sys.executable, "script.py"]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False, env=environment()
    )
    if check:
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def mpi(n):
    pytest.importorskip("mpi4py")
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec next to python")
    return (str(MPIEXEC), "-n", str(n), sys.executable, "-m", "mpi4py.futures")


class TestReference:
    def test_molecules_and_crystals(self, gfn2, tmp_path):
        structures = [molecule("H2O"), bulk("Si"), molecule("CH3CH2OH")]
        for k, atoms in enumerate(structures):
            atoms.rattle(0.02, seed=k)
        with Labeller(gfn2, scratch=tmp_path) as labeller:
            records = label(labeller, structures)
        for atoms, record in zip(structures, records, strict=True):
            atoms.calc = gfn2()
            assert record.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
            np.testing.assert_allclose(record.forces, atoms.get_forces(), atol=1e-6)
        np.testing.assert_allclose(records[1].stress, structures[1].get_stress(), atol=1e-7)
        assert records[0].stress is None

    def test_unconverged(self, gfn2, tmp_path):
        with Labeller(partial(gfn2, max_iterations=2), scratch=tmp_path) as labeller:
            (record,) = label(labeller, [molecule("H2O")])
        assert isinstance(record, Failure)
        assert "CalculationFailed" in record.error_class

    def test_finite_nonsense_is_refused(self, gfn2, tmp_path):
        structure = molecule("H2O")
        structure.positions[1] = structure.positions[0] + [0, 0, 0.05]
        with Labeller(gfn2, scratch=tmp_path) as labeller:
            assert label(labeller, [structure])[0].error_class == "Refused"
        unchecked = LabellingSettings(closest_pair=0)
        with Labeller(gfn2, scratch=tmp_path, settings=unchecked) as labeller:
            (record,) = label(labeller, [structure])
        assert (record.error_class, "largest force" in record.error_text) == ("Refused", True)


class TestEveryFailureCostsOneStructure:
    settings = LabellingSettings(timeout=2.0)

    def check(self, labeller, tmp_path):
        pids = tmp_path / "pids"
        structures = [copper(action, pids=str(pids)) for action in ACTIONS]
        records = label(labeller, structures)
        expect(ACTIONS, records)
        assert len(pids_in(pids)) == 9
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        kept = sorted(folder.name for folder in (tmp_path / "scratch").glob("batch-*/*"))
        assert kept == sorted(Path(r.scratch).name for r in records if isinstance(r, Failure))
        return records

    def test_in_threads(self, tmp_path):
        with Labeller(Treacherous, scratch=tmp_path / "scratch", settings=self.settings) as labeller:
            records = self.check(labeller, tmp_path)
        by_action = dict(zip(ACTIONS, records, strict=True))
        assert "SIGSEGV" in by_action["segfault"].error_text
        assert "exit status 7" in by_action["os_exit"].error_text
        assert by_action["hang"].error_text == "no result within 2 s"
        assert "Segmentation fault" in (Path(by_action["segfault"].scratch) / "output.txt").read_text()

    def test_code_with_an_mpi_of_its_own(self, tmp_path):
        mpi(2)
        pids = tmp_path / "pids"
        structures = [copper("hang_in_own_mpi", pids=str(pids)), copper("own_mpi")]
        settings = LabellingSettings(timeout=10.0)
        with Labeller(Treacherous, scratch=tmp_path / "scratch", settings=settings, n_workers=2) as labeller:
            records = label(labeller, structures)
        assert [error_class(record) for record in records] == ["TimedOut", ""]
        assert len(pids_in(pids)) == 2
        wait_until(lambda: not any(map(alive, pids_in(pids))))

    def test_ranks_in_process_groups_of_their_own(self, tmp_path):
        pids = tmp_path / "pids"
        structures = [copper("hang_as_open_mpi", pids=str(pids)), copper()]
        with Labeller(Treacherous, scratch=tmp_path / "scratch", settings=self.settings) as labeller:
            records = label(labeller, structures)
        assert [error_class(record) for record in records] == ["TimedOut", ""]
        assert len(pids_in(pids)) == 2
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        assert (tmp_path / "pids.asked").read_text() == "asked\n"

    def test_in_a_process_pool(self, tmp_path):
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(2, mp_context=context) as pool,
            Labeller(
                Treacherous, scratch=tmp_path / "scratch", executor=pool, settings=self.settings
            ) as labeller,
        ):
            self.check(labeller, tmp_path)

    def test_in_mpi_ranks(self, tmp_path):
        run(
            """
            from pathlib import Path
            from ase_bmdal.labelling import Labeller
            from tests.integration.test_labelling import TestEveryFailureCostsOneStructure as Case
            from tests.labelling.treacherous import Treacherous, copper

            here = Path.cwd()
            with Labeller(Treacherous, scratch=here / "scratch", executor="mpi", settings=Case.settings) as labeller:
                Case().check(labeller, here)
                ((_, record),) = labeller.label([copper("own_mpi")])
                print(record)
            """,
            tmp_path,
            *mpi(3),
        )


GUARDLESS = """
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase_bmdal.labelling import Labeller

    cutoff = False

    def reference():
        return EMT(asap_cutoff=cutoff)

    print("simulation starts", flush=True)
    with Labeller(reference, scratch="scratch", executor={executor}) as labeller:
        print([type(record).__name__ for _, record in labeller.label([bulk("Cu"), bulk("Ag"), bulk("Au")])])
"""


class TestScriptWithoutGuard:
    expected = "simulation starts\n['ComputedLabel', 'ComputedLabel', 'ComputedLabel']\n"

    @pytest.mark.parametrize("executor", ['"local"', '"in-process"'])
    def test_plain(self, tmp_path, executor):
        ended = run(GUARDLESS.format(executor=executor), tmp_path)
        assert (ended.stdout, ended.stderr) == (self.expected, "")

    @pytest.mark.parametrize(
        "executor", ['"mpi"', "__import__('mpi4py.futures').futures.MPIPoolExecutor()"], ids=["name", "pool"]
    )
    def test_mpi(self, tmp_path, executor):
        assert run(GUARDLESS.format(executor=executor), tmp_path, *mpi(3)).stdout == self.expected

    def test_ase_files_and_the_store_do_not_wait_for_the_other_ranks(self, tmp_path):
        ended = run(
            """
            from ase.build import bulk
            from ase.calculators.emt import EMT
            from ase.io import read, write
            from ase_bmdal.labelling import Labeller
            from ase_bmdal.run.store import LabelStore

            with Labeller(EMT, scratch="scratch", executor="mpi") as labeller:
                write("all.xyz", [bulk("Cu", cubic=True) * (4, 4, 4)] * 20)
                structures = read("all.xyz", ":")
                store = LabelStore("labels.db")
                entries = store.add(structures, round=0, source="pool")
                for k, record in labeller.label(structures):
                    store.finish({entries[k].id: record})
                print(len(store.rows("done")))
            """,
            tmp_path,
            *mpi(3),
        )
        assert ended.stdout == "20\n"

    def test_ase_files_before_anything_of_ours(self, tmp_path):
        ended = run(
            """
            from ase.build import bulk
            from ase.io import read, write

            write("all.xyz", [bulk("Cu", cubic=True) * (4, 4, 4)] * 20)
            print(len(read("all.xyz", ":")))
            """
            + GUARDLESS.format(executor='"mpi"').replace("\n    ", "\n            "),
            tmp_path,
            *mpi(3)[:-1],
            "ase_bmdal.labelling.mpi",
        )
        assert ended.stdout == "20\n" + self.expected

    def test_pool_that_has_already_read_the_script(self, tmp_path):
        pool = "(p := __import__('mpi4py.futures').futures.MPIPoolExecutor()).bootup()"
        ended = run(GUARDLESS.format(executor=pool), tmp_path, *mpi(2), check=False)
        assert ended.returncode != 0
        assert "being run a second time" in ended.stderr

    @pytest.mark.parametrize(
        ("launcher", "executor"),
        [
            ((sys.executable,), '"mpi"'),
            ((sys.executable,), "__import__('mpi4py.futures').futures.MPIPoolExecutor()"),
            ((str(MPIEXEC), "-n", "2", sys.executable), '"mpi"'),
            ((str(MPIEXEC), "-n", "1", sys.executable, "-m", "mpi4py.futures"), '"mpi"'),
        ],
        ids=["plain", "spawning-pool", "all-ranks", "no-workers"],
    )
    def test_mpi_without_workers(self, tmp_path, launcher, executor):
        mpi(2)
        ended = run(GUARDLESS.format(executor=executor), tmp_path, *launcher, check=False)
        assert ended.returncode != 0
        assert LabellingError.__name__ in ended.stderr
        assert "mpiexec -n 5 python -m mpi4py.futures script.py" in ended.stderr


KILLED = """
    from pathlib import Path
    from ase_bmdal.labelling import Labeller
    from ase_bmdal.run.store import LabelStore
    from tests.labelling.treacherous import Treacherous, copper

    structures = [copper(), copper("{action}", pids=str(Path("pids").absolute())), copper(), copper("hang")]
    store = LabelStore("labels.db")
    ids = [entry.id for entry in store.add(structures, round=1, source="pool")]
    with Labeller(Treacherous, scratch="scratch", executor="{executor}") as labeller:
        for k, record in labeller.label(structures):
            store.finish({{ids[k]: record}})
            with Path("finished").open("a") as file:
                print(ids[k], file=file)
"""


class TestEndOfTheDriver:
    def start(self, folder, action, executor="local", launcher=(sys.executable,)):
        (folder / "script.py").write_text(textwrap.dedent(KILLED.format(action=action, executor=executor)))
        driver = subprocess.Popen(
            [*launcher, "script.py"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        finished = folder / "finished"
        try:
            wait_until(lambda: pids_in(folder / "pids") and pids_in(finished) == [1, 3])
            assert all(map(alive, pids_in(folder / "pids")))
        except BaseException:
            driver.kill()
            driver.communicate()
            raise
        return driver

    def check(self, folder):
        wait_until(lambda: not any(map(alive, pids_in(folder / "pids"))))
        store = LabelStore(folder / "labels.db")
        assert [row.status for row in store.rows()] == ["done", "pending", "done", "pending"]

    @pytest.mark.parametrize("action", ["hang", "hang_in_c", "hang_with_family", "hang_as_open_mpi"])
    def test_kill(self, tmp_path, action):
        driver = self.start(tmp_path, action)
        driver.kill()
        driver.communicate()
        self.check(tmp_path)

    def test_interrupt(self, tmp_path):
        driver = self.start(tmp_path, "hang_with_family")
        driver.send_signal(signal.SIGINT)
        _, stderr = driver.communicate(timeout=60)
        assert b"KeyboardInterrupt" in stderr
        self.check(tmp_path)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_end_of_an_mpi_job(self, tmp_path, number):
        driver = self.start(tmp_path, "hang_with_family", executor="mpi", launcher=mpi(3))
        driver.send_signal(number)
        driver.communicate(timeout=60)
        self.check(tmp_path)

    def test_a_killed_rank_ends_the_job(self, tmp_path):
        """As when a node is lost; what it was at is pending."""
        driver = self.start(tmp_path, "hang_with_family", executor="mpi", launcher=mpi(3))
        calculation = pids_in(tmp_path / "pids")[0]
        rank = int(Path(f"/proc/{calculation}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(rank, signal.SIGKILL)
        driver.communicate(timeout=60)
        assert driver.returncode != 0
        self.check(tmp_path)


ORPHANED = """
    import os
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from pathlib import Path
    from ase_bmdal.labelling import Labeller, lease
    from ase_bmdal.labelling.backends import base
    from tests.labelling.treacherous import Treacherous, copper

    base.Lease = partial(lease.Lease, renewal=0.1, look=0.1, expiry=2.0)
    pool = ProcessPoolExecutor(1)
    Path("worker").write_text(str(pool.submit(os.getpid).result()))
    structures = [copper("hang", pids=str(Path("pids").absolute())) for _ in range(3)]
    with Labeller(Treacherous, scratch="scratch", executor=pool) as labeller:
        list(labeller.label(structures))
"""


def test_orphaned_workers_stop_labelling(tmp_path):
    """Those of a process pool live on when the driver is killed."""
    (tmp_path / "script.py").write_text(textwrap.dedent(ORPHANED))
    driver = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=environment())
    try:
        wait_until(lambda: pids_in(tmp_path / "pids"))
        driver.kill()
        driver.wait()
        (worker,) = pids_in(tmp_path / "worker")
        wait_until(lambda: not any(map(alive, pids_in(tmp_path / "pids"))))
        assert alive(worker)
        wait_until(lambda: not list((tmp_path / "scratch").glob("*/structure-*")))
        time.sleep(0.5)  # it has the next structure by now
        assert len(pids_in(tmp_path / "pids")) == 1
    finally:
        driver.kill()
        driver.wait()
        for worker in pids_in(tmp_path / "worker"):
            os.kill(worker, signal.SIGKILL)


class TestStore:
    def test_kill_at_any_moment_loses_no_acknowledged_label(self, tmp_path):
        """A parent forks a writer, kills it at a random moment, and compares what it said with what is there."""
        ended = run(
            """
            import os, random, signal, time
            import numpy as np
            from ase.build import bulk
            from ase_bmdal.structures.labels import Label
            from ase_bmdal.run.store import LabelStore

            atoms = bulk("Cu", cubic=True) * (3, 3, 3)
            random.seed(0)

            def record_of(id):
                return Label(energy=id / 3, forces=np.full((len(atoms), 3), id / 7))

            def write(pipe):
                store = LabelStore("labels.db")
                for entry in store.rows("pending"):
                    store.finish({entry.id: record_of(entry.id)})
                    os.write(pipe, f"{entry.id}\\n".encode())
                while True:
                    (entry,) = store.add([atoms], round=0, source="pool")
                    store.finish({entry.id: record_of(entry.id)})
                    os.write(pipe, f"{entry.id}\\n".encode())

            said = set()
            for _ in range(15):
                end, pipe = os.pipe()
                if (writer := os.fork()) == 0:
                    write(pipe)
                os.close(pipe)
                time.sleep(random.uniform(0.02, 0.25))
                os.kill(writer, signal.SIGKILL)
                os.waitpid(writer, 0)
                with open(end) as lines:
                    said |= {int(line) for line in lines}
                rows = LabelStore("labels.db").rows()
                done = {row.id for row in rows if row.status == "done"}
                assert said <= done, said - done
                assert len(rows) - len(done) <= 1
                for row in rows:
                    if row.status == "done":
                        assert row.atoms.get_potential_energy() == row.id / 3
                        assert (row.atoms.get_forces() == row.id / 7).all()
            print(len(said))
            """,
            tmp_path,
        )
        assert int(ended.stdout) > 10

    def test_full_disk(self, tmp_path):
        ended = run(
            """
            import os, resource
            from ase.build import bulk
            from ase_bmdal.common.errors import StoreError
            from ase_bmdal.structures.labels import Label
            from ase_bmdal.run.store import LabelStore
            import numpy as np

            atoms = bulk("Cu", cubic=True) * (3, 3, 3)
            record = Label(energy=1 / 3, forces=np.ones((len(atoms), 3)))
            store = LabelStore("labels.db")
            store.add([atoms] * 5, round=0, source="pool")
            store.finish({1: record})
            unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize("labels.db") + 4096, unlimited[1]))
            try:
                for id in range(2, 6):
                    store.finish({id: record})
                    store.add([atoms] * 3, round=0, source="pool")
            except StoreError as error:
                print(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            done = len(store.rows("done"))
            store.finish({5: record})
            print(1 <= done < 5, len(LabelStore("labels.db").rows("done")) == done + 1)
            """,
            tmp_path,
        )
        message, counts = ended.stdout.splitlines()
        assert str(tmp_path / "labels.db") in message
        assert counts == "True True"
        assert ended.stderr == ""


def test_many_small_labels(tmp_path):
    with Labeller(EMT, scratch=tmp_path) as labeller:
        records = label(labeller, [bulk("Cu")] * 200)
    assert {type(record) for record in records} == {ComputedLabel}
    assert list(tmp_path.iterdir()) == []
