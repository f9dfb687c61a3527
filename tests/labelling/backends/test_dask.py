"""A dask client as executor, beyond the promises of every backend; see `test_contract`."""

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling import ComputedLabel, Labeller, LabellingSettings
from ase_bmdal.labelling.backends import dask
from tests.labelling.treacherous import SlowAtFirst, Treacherous, alive, copper, expect, pids_in, wait_until

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def client_of(n_workers, folder):
    with (
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            local_directory=folder,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_a_client_is_known_without_importing_dask():
    assert not any(dask.is_client(other) for other in ("local", EMT, EMT(), None))


def test_a_client_of_an_event_loop():
    with pytest.raises(ValueError, match=r"expected a Client.* got Client\(asynchronous=True\)"):
        dask.backend(SimpleNamespace(asynchronous=True), LabellingSettings())


def test_a_client_that_is_closed(tmp_path):
    with client_of(1, tmp_path) as client:
        labeller = Labeller(EMT, scratch=tmp_path / "scratch", executor=client)
        client.close()
        with pytest.raises(LabellingError, match=r"stay pending: .*[Cc]lient is closed"):
            list(labeller.label([copper()]))
        with pytest.raises(LabellingError, match="the dask client is closed"):
            Labeller(EMT, scratch=tmp_path / "scratch", executor=client)


def test_a_client_stays_open_and_what_is_cancelled_ends(tmp_path):
    pids = tmp_path / "pids"
    with client_of(2, tmp_path) as client:
        with Labeller(Treacherous, scratch=tmp_path / "scratch", executor=client) as labeller:
            structures = [copper("hang", pids=str(pids)), copper(), *[copper("hang")] * 4]
            with contextlib.closing(labeller.label(structures)) as records:
                assert next(records)[0] == 1
                wait_until(lambda: pids_in(pids))
            wait_until(lambda: not any(map(alive, pids_in(pids))))
        assert client.submit(int).result() == 0


def test_a_cluster_that_has_no_workers_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "LOOK", 0.05)
    settings = LabellingSettings(worker_wait=0.1)
    with (
        client_of(0, tmp_path) as client,
        Labeller(EMT, scratch=tmp_path / "scratch", executor=client, settings=settings) as labeller,
        pytest.raises(LabellingError, match=r"2 structures have no label .* no workers for .*worker_wait"),
    ):
        list(labeller.label([copper(), copper()]))


class Clock:
    """Seconds as told, for a client with as many workers as told."""

    def __init__(self, monkeypatch, cluster=None):
        self.now, self.workers = 0.0, {}
        self.client = SimpleNamespace(status="running", cluster=cluster, nthreads=lambda: self.workers)
        monkeypatch.setattr(dask, "time", SimpleNamespace(monotonic=lambda: self.now))

    def presence(self, **settings):
        return dask.Presence(self.client, LabellingSettings(**settings))


def test_only_an_absence_without_a_break_counts(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    presence = clock.presence()
    for minute in range(1, 30):
        clock.now, clock.workers = 60.0 * minute + 1, {"one": 1} if minute == 9 else {}
        assert ("no workers for" in presence.hindrance()) == (minute >= 20), minute
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_scheduler_that_is_looked_for_is_not_asked(monkeypatch):
    clock = Clock(monkeypatch)
    clock.client.status, clock.client.nthreads = "connecting", None
    presence = clock.presence(worker_wait=10)
    clock.now = 9.0
    assert presence.hindrance() == ""
    clock.now = 15.0
    assert "no workers for 15 s" in presence.hindrance()
    clock.client.status = "closed"
    assert "client is closed" in presence.hindrance()


def test_jobs_may_wait_in_their_queue_for_days(monkeypatch):
    clock = Clock(monkeypatch, cluster=SimpleNamespace(job_script=str))
    patient, limited = clock.presence(), clock.presence(worker_wait=1e5)
    clock.now = 1e6
    assert patient.hindrance() == ""
    assert "no workers" in limited.hindrance()


def test_here_and_where_the_workers_are(caplog):
    given = {"tcp://one": 2, "tcp://two": OSError("no disk")}
    client = SimpleNamespace(run=lambda call, on_error: given if on_error == "return" else None)
    assert dask.everywhere(client, lambda: 1) == [1, 2]
    assert "tcp://two is passed over: OSError: no disk" in caplog.text


def test_here_although_the_scheduler_is_away(caplog):
    def away(call, on_error):
        raise TimeoutError("no scheduler")

    assert dask.everywhere(SimpleNamespace(run=away), lambda: 1) == [1]
    assert "dask workers cannot be asked: TimeoutError: no scheduler" in caplog.text


class Programs:
    """A scheduler and a worker as programs of their own."""

    def __init__(self, folder):
        self.folder, self._running = folder, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(self):
        port = self.address.rpartition(":")[2]
        self._start("dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        self._start("dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")

    def _start(self, program, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
        with (self.folder / f"{program}.txt").open("ab") as log:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            self._running.append(
                subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)
            )

    def are_there(self):
        host, port = self.address.removeprefix("tcp://").split(":")
        with socket.socket() as tried:
            return tried.connect_ex((host, int(port))) == 0

    def kill(self):
        for program in self._running:
            program.send_signal(signal.SIGKILL)
            program.wait()
        self._running.clear()


@pytest.fixture
def programs(tmp_path):
    programs = Programs(tmp_path)
    programs.start()
    wait_until(programs.are_there)
    yield programs
    programs.kill()


@contextlib.contextmanager
def lost_in_flight(programs, folder, timeout, **settings):
    """Structures in flight when their whole cluster is killed."""
    pids = folder / "pids"
    with (
        distributed.Client(programs.address, timeout=timeout, set_as_default=False) as client,
        Labeller(
            SlowAtFirst, scratch=folder / "scratch", executor=client, settings=LabellingSettings(**settings)
        ) as labeller,
        contextlib.closing(labeller.in_flight()) as flight,
    ):
        flight.submit({number: copper(pids=str(pids)) for number in range(3)})
        wait_until(lambda: pids_in(pids))
        programs.kill()
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        yield flight


@pytest.mark.integration
@pytest.mark.parametrize("is_local", [False, True])
def test_the_whole_cluster_gone_and_back(tmp_path, programs, is_local):
    found, settings = {}, {"local_scratch": str(tmp_path / "disk")} if is_local else {}
    with lost_in_flight(programs, tmp_path, timeout=60, **settings) as flight:
        assert flight.poll(1.0) == {}
        programs.start()
        while flight:
            found |= flight.poll(0.2)
        flight.check()
    assert {number: type(outcome) for number, outcome in found.items()} == dict.fromkeys(
        range(3), ComputedLabel
    )


@pytest.mark.integration
def test_a_cluster_that_does_not_come_back(tmp_path, programs):
    def wait():
        while flight:
            assert flight.poll(0.2) == {}
        flight.check()

    with (
        lost_in_flight(programs, tmp_path, timeout=1) as flight,
        pytest.raises(LabellingError, match=r"stay pending: .*[Cc]lient is closed"),
    ):
        wait()


DRIVER = """
    import functools, sys
    from pathlib import Path
    from distributed import Client
    from ase_bmdal.labelling import Labeller, LabellingSettings
    from ase_bmdal.labelling.backends import dask
    from tests.labelling.treacherous import Treacherous, copper

    dask.SchedulerLease = functools.partial(dask.SchedulerLease, renewal=0.2, look=0.2, expiry=2.0)
    address, folder = sys.argv[1:]
    settings = LabellingSettings(local_scratch=folder + "/disk")
    labeller = Labeller(Treacherous, scratch=Path("scratch"), executor=Client(address), settings=settings)
    list(labeller.label([copper("hang", pids=folder + "/pids")]))
"""


def has_ended(lease):
    try:
        lease.stamp()
    except FileNotFoundError:
        return True
    return False


class TestLocalScratch:
    """Workers need not see the run folder: whether labels are wanted they learn from the scheduler."""

    @pytest.fixture
    def cluster(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client

    @pytest.fixture
    def labeller(self, tmp_path, cluster, monkeypatch):
        fast = partial(dask.SchedulerLease, renewal=0.2, look=0.2, expiry=2.0)
        monkeypatch.setattr(dask, "SchedulerLease", fast)
        settings = LabellingSettings(local_scratch=str(tmp_path / "disk"))
        with Labeller(
            Treacherous, scratch=tmp_path / "scratch", executor=cluster, settings=settings
        ) as labeller:
            yield labeller

    @pytest.mark.integration
    def test_labels_and_failures(self, tmp_path, labeller):
        actions = [None, "fail", "leave_files", "segfault", "nan", None]
        found = dict(labeller.label([copper(action) for action in actions]))
        expect(actions, [found[k] for k in range(len(actions))])
        assert "SCF did not converge" in (Path(found[1].scratch) / "output.txt").read_text()
        assert Path(found[1].scratch).is_relative_to(tmp_path / "scratch")
        assert list((tmp_path / "disk").iterdir()) == []

    @pytest.mark.integration
    def test_what_takes_longer_than_a_lease_without_renewal(self, labeller):
        (found,) = dict(labeller.label([copper("take_a_while", seconds=4.0)])).values()
        assert isinstance(found, ComputedLabel)

    @pytest.mark.integration
    def test_what_is_cancelled_ends(self, tmp_path, labeller, cluster):
        pids = tmp_path / "pids"
        with contextlib.closing(labeller.in_flight()) as flight:
            flight.submit({k: copper("hang", pids=str(pids)) for k in range(4)})
            wait_until(lambda: len(pids_in(pids)) == 2)
        wait_until(lambda: not any(map(alive, pids_in(pids))), 10)
        wait_until(lambda: list((tmp_path / "disk").iterdir()) == [])
        assert [type(found) for _, found in labeller.label([copper()])] == [ComputedLabel]
        assert len(pids_in(pids)) == 2

    @pytest.mark.integration
    def test_what_a_driver_has_left_that_was_killed_ends(self, tmp_path, cluster):
        (tmp_path / "driver").mkdir()
        (tmp_path / "driver" / "script.py").write_text(textwrap.dedent(DRIVER))
        driver = subprocess.Popen(
            [sys.executable, "script.py", cluster.scheduler.address, str(tmp_path)], cwd=tmp_path / "driver"
        )
        try:
            wait_until(lambda: pids_in(tmp_path / "pids"))
        finally:
            driver.kill()
            driver.wait()
        wait_until(lambda: not any(map(alive, pids_in(tmp_path / "pids"))), 15)
        wait_until(lambda: list((tmp_path / "disk").iterdir()) == [])
        assert cluster.submit(int).result() == 0

    def test_the_next_driver_ends_what_one_has_left_that_was_killed(self, tmp_path):
        scratch, settings = tmp_path / "scratch", LabellingSettings(local_scratch=str(tmp_path / "disk"))
        (scratch / "batch-one").mkdir(parents=True)
        with client_of(0, tmp_path) as client:
            lease = dask.lease_of(client, settings)(scratch / "batch-one" / "running")
            lease.begin()
            lease.stamp()
            with Labeller(EMT, scratch=scratch, executor=client, settings=settings) as later:
                later.harvest({})
            wait_until(lambda: has_ended(lease))
        assert list(scratch.iterdir()) == []

    def test_a_lease_travels_without_its_client(self, tmp_path):
        lease = dask.SchedulerLease(path=tmp_path, name="mine", client=SimpleNamespace(status="closed"))
        assert pickle.loads(pickle.dumps(lease)) == lease
        assert pickle.loads(pickle.dumps(lease)).client is None

    @pytest.mark.parametrize("ask", ["begin", "renew", "end", "stamp"])
    def test_a_client_that_is_closed_is_not_asked(self, tmp_path, ask):
        closed = SimpleNamespace(status="closed")
        lease = dask.SchedulerLease(path=tmp_path / "running", name="mine", client=closed)
        with pytest.raises(ConnectionError, match="the dask client is closed"):
            getattr(lease, ask)()

    def test_a_batch_may_begin_while_the_scheduler_is_looked_for(self, tmp_path):
        client = SimpleNamespace(status="connecting")
        lease = dask.SchedulerLease(path=tmp_path / "running", name="mine", client=client)
        lease.begin()
        with pytest.raises(ConnectionError, match="the dask client is connecting"):
            lease.renew()
