"""Labels by the workers of a dask cluster, through its ``Client``; the one place that knows dask.distributed."""

import logging
import time
from typing import TYPE_CHECKING, Any, TypeGuard

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

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
        ``worker_wait`` is used.

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
        executor=client.get_executor(pure=False), owned=False, hindrance=Presence(client, settings).hindrance
    )


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
