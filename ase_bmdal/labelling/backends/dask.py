"""Labels by the workers of a dask cluster, through its ``Client``; the one place that knows dask.distributed."""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.backends.base import Backend, file_lease
from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.lease import Lease, watch
from ase_bmdal.labelling.outcome import NotFinished
from ase_bmdal.labelling.settings import LabellingSettings

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

PREFIX = "ase-bmdal-"  # of the variables
LONGEST_LOOK = 1.0  # seconds for the scheduler to say that a batch is over
LOOK = 5.0  # seconds between two questions to the scheduler
WARNING = 60.0  # seconds without a worker after which the user is told
WITHOUT_A_QUEUE = 600.0  # seconds without a worker, where none can be waiting for its turn


def is_client(choice: Any) -> TypeGuard["Client"]:
    """Whether this is a ``distributed.Client``; dask is not imported to find out."""
    return any(
        f"{kind.__module__}.{kind.__name__}" == "distributed.client.Client" for kind in type(choice).__mro__
    )


def backend(client: "Client", settings: LabellingSettings) -> Backend:
    """Use a client of the user's, which is never closed here.

    Parameters
    ----------
    client
        Of a cluster of whatever kind.
    settings
        ``worker_wait`` and ``local_scratch`` are used.

    Raises
    ------
    LabellingError
        If it is closed.
    ValueError
        If it belongs to an event loop.
    """
    if client.asynchronous:
        raise ValueError(
            "executor: expected a Client(...) to be used from a script, got Client(asynchronous=True)"
        )
    if reason := closed(client):
        raise LabellingError(reason)
    # Not pure: a structure that is tried once more is not what was lost before.
    return Backend(
        executor=client.get_executor(pure=False),
        owned=False,
        hindrance=Presence(client, settings).hindrance,
        lease=lease_of(client, settings),
        left=partial(left_lease, client),
        everywhere=partial(everywhere, client),
    )


def everywhere(client: "Client", call: Callable[[], Any]) -> list[Any]:
    """What a function gives here and at the workers that are there; what it raises at one is logged."""
    found, answers = [call()], {}
    try:
        answers = client.run(call, on_error="return")
    except Exception as error:  # as with a scheduler that is away
        log.warning("dask workers cannot be asked: %s", Failure.of(error))
    for worker, given in answers.items():
        if isinstance(given, BaseException):
            log.warning("the dask worker %s is passed over: %s", worker, Failure.of(given))
        else:
            found.append(given)
    return found


def lease_of(client: "Client", settings: LabellingSettings) -> Callable[[Path], Lease]:
    """What makes the leases: by the scheduler where workers need not see the run folder."""
    if settings.local_scratch is None:
        return file_lease

    def made(path: Path) -> Lease:
        return SchedulerLease(path=path, name=f"{PREFIX}{uuid.uuid4().hex}", client=client)

    return made


def left_lease(client: "Client", path: Path) -> Lease:
    """That of a driver which is gone, by the scheduler if its file names a variable; raises OSError without a file."""
    name = path.read_text(errors="replace")
    if name.startswith(PREFIX):
        return SchedulerLease(path=path, name=name, client=client)
    return Lease(path=path)


@dataclass(frozen=True, kw_only=True)
class SchedulerLease(Lease):
    """A lease that is a variable of the scheduler, in place of a file.

    Parameters
    ----------
    path
        Has the name in it, for the next driver; workers need not see it.
    name
        Of the variable.
    client
        That of the driver; in a worker, its own.
    """

    renewal: float = 3.0  # a scheduler that was started anew has to know of it before workers look
    name: str
    client: Any = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """All but the client."""
        return vars(self) | {"client": None}

    def follow(self) -> None:
        """See `Lease.follow`; in the thread of a task."""
        from distributed import get_client

        try:
            client = get_client()
        except Exception as error:
            raise NotFinished(f"the scheduler does not answer: {Failure.of(error)}") from error
        watch(replace(self, client=client), is_worker=True)

    def begin(self) -> None:
        """See `Lease.begin`; a scheduler that is away knows of it by the first renewal after it is back."""
        self.path.write_text(self.name)
        try:
            self.renew()
        except OSError:
            if closed(self.client):
                raise

    def renew(self) -> None:
        """See `Lease.renew`."""
        self._variable(lambda variable: variable.set(time.time()))

    def end(self) -> None:
        """See `Lease.end`."""
        self._variable(lambda variable: variable.delete())
        self.path.unlink(missing_ok=True)

    def stamp(self) -> object:
        """See `Lease.stamp`."""
        return self._variable(lambda variable: variable.get(timeout=LONGEST_LOOK))

    def _variable(self, ask: Callable[[Any], Any]) -> Any:
        from distributed import Variable

        if self.client.status != "running":  # it would wait for the answer
            raise ConnectionError(f"the dask client is {self.client.status}")
        try:
            return ask(Variable(self.name, client=self.client))
        except TimeoutError:
            raise FileNotFoundError(f"the scheduler has no {self.name}") from None
        except Exception as error:
            raise ConnectionError(f"the scheduler does not answer: {error}") from error


def closed(client: "Client") -> str:
    """Why the client brings nothing more; empty if it may."""
    if client.status not in ("closing", "closed"):
        return ""
    return (
        "the dask client is closed: by the script, or because its scheduler was gone for longer than the client's "
        "timeout, which Client(..., timeout=600) makes longer"
    )


class Presence:
    """Whether a cluster has any workers, and for how long it has had none.

    Parameters
    ----------
    client
        Of the cluster.
    settings
        ``worker_wait`` is used.
    """

    def __init__(self, client: "Client", settings: LabellingSettings) -> None:
        self._client, self._limit = client, _limit(client, settings)
        self._seen = self._looked = time.monotonic()
        self._warned = False

    def hindrance(self) -> str:
        """Why nothing will come from the cluster; empty while something may."""
        if reason := closed(self._client):
            return reason
        if time.monotonic() < self._looked + LOOK:
            return ""
        self._look()
        return self._judge(self._looked - self._seen)

    def _look(self) -> None:
        # A client that looks for its scheduler would wait for the answer.
        is_there = self._client.status == "running" and bool(self._client.nthreads())
        self._looked = time.monotonic()
        if is_there:
            self._seen, self._warned = self._looked, False

    def _judge(self, absent: float) -> str:
        if absent > self._limit:
            return (
                f"the dask cluster has had no workers for {absent:.0f} s; start some, or have it wait longer by "
                "LabellingSettings(worker_wait=...)"
            )
        if absent > WARNING and not self._warned:
            self._warned = True
            log.warning("the dask cluster has had no workers for %.0f s; labels wait for them", absent)
        return ""


def _limit(client: "Client", settings: LabellingSettings) -> float:
    if settings.worker_wait is not None:
        return settings.worker_wait
    return float("inf") if hasattr(client.cluster, "job_script") else WITHOUT_A_QUEUE
