"""How workers anywhere know that their labels are still wanted: a file that the driver touches now and then.

An executor may have something else than a file for it: then `Lease` is subclassed.

A worker gives up when the file is gone, or has not been touched for long: then the driver is gone. Workers look at it
seldom, all threads of a process together, and in a thread of its own, so that a file system that hangs or fails for a
moment holds up nothing. They count their own looks, so that clocks need not agree, and one that was stopped for an hour
(Ctrl-Z) does not take the driver for dead.
"""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

FIRST_LOOKS = 3  # at a file that should be there, with `PAUSE` seconds between them
PAUSE = 0.5
RUNNING = "running"  # name of the file


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a worker is told about the file.

    Parameters
    ----------
    path
        The file.
    renewal
        Seconds after which the driver touches it again.
    look
        Seconds between two looks of a worker process.
    expiry
        Seconds of looking without a touch after which the driver counts as gone. File systems on a network may be a
        minute late.
    home
        Number that the file system has for the folder of the labeller; 0 if it is of no use.
    """

    path: Path
    renewal: float = 15.0
    look: float = 5.0
    expiry: float = 120.0
    home: int = 0

    def is_wanted(self) -> bool:
        """Whether the labels are still wanted, as far as this process knows; costs nothing."""
        known = _watches.get(self.path)
        return known is None or not known.is_over.is_set()

    def why_unseen(self) -> str:
        """In a worker, before anything else: why it cannot see the file; empty if it can, or did before."""
        reason = ""
        for look in range(FIRST_LOOKS):
            if self.path in _watches:
                return ""
            if look:
                time.sleep(PAUSE)
            try:
                self.stamp()
            except OSError as error:
                reason = error.strerror or type(error).__name__
            else:
                watch(self, is_worker=True)
                return ""
        return reason

    def follow(self) -> None:
        """In a worker that need not see the file.

        If it does not, the batch has ended where the folder of the labeller is seen. Elsewhere labels are wanted as
        long as its process lives.
        """
        if self.why_unseen():
            known = watch(self)
            with contextlib.suppress(OSError):
                if self.path.parents[1].stat().st_ino == self.home:  # and no other folder of that name
                    known.is_over.set()

    def begin(self) -> None:
        """By the driver: have it seen; raises OSError."""
        self.path.touch()

    def renew(self) -> None:
        """By the driver: go on with it; raises OSError."""
        os.utime(self.path)

    def end(self) -> None:
        """By the driver: the labels are not wanted any more; raises OSError."""
        self.path.unlink()

    def stamp(self) -> object:
        """In a worker: what is another one after each renewal.

        Raises
        ------
        FileNotFoundError
            If it has ended.
        OSError
            If that cannot be said now.
        """
        with self.path.open("rb") as file:  # opening asks the file server, a stat may not
            return os.fstat(file.fileno()).st_mtime_ns


class HeldLease:
    """A lease on the side of the driver, which renews it until it is released.

    Parameters
    ----------
    lease
        It begins.

    Raises
    ------
    OSError
        If it cannot, as when the file cannot be made.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        lease.begin()
        self._released = threading.Event()
        threading.Thread(target=self._renew, daemon=True, name="label-lease").start()

    def _renew(self) -> None:
        while not self._released.wait(self.lease.renewal):
            with contextlib.suppress(OSError):
                self.lease.renew()
                if self._released.is_set():  # in the meantime
                    self.lease.end()

    def release(self) -> None:
        """Let workers know that the labels are not wanted any more; those of this process do at once."""
        self._released.set()
        watch(self.lease).is_over.set()
        with contextlib.suppress(OSError):
            self.lease.end()


class Watch:
    """What a worker process knows of a lease.

    Parameters
    ----------
    lease
        Of the driver.

    Attributes
    ----------
    is_over
        Set once the labels are not wanted any more.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.is_over = threading.Event()
        self._touched: object = None
        self._missed = self._unchanged = 0

    def run(self) -> None:
        """Look now and then, until it is over."""
        while not self.is_over.wait(self.lease.look):
            self.look()

    def look(self) -> None:
        """Look at the file once."""
        self._unchanged += 1
        try:
            touched = self.lease.stamp()
        except FileNotFoundError:
            self._missed += 1
        except OSError:
            pass
        else:
            self._missed = 0
            if touched != self._touched:
                self._touched, self._unchanged = touched, 0
        if self._missed > 1 or self._unchanged * self.lease.look > self.lease.expiry:
            self.is_over.set()


_KEPT = 1000  # ended batches that a worker remembers
_watches: dict[Path, Watch] = {}
_lock = threading.Lock()


def watch(lease: Lease, *, is_worker: bool = False) -> Watch:
    """What this process knows of a lease; a worker begins to look at it."""
    with _lock:
        if lease.path in _watches:
            return _watches[lease.path]
        while len(_watches) >= _KEPT:
            del _watches[next(iter(_watches))]
        found = _watches[lease.path] = Watch(lease)
    if is_worker:
        threading.Thread(target=found.run, daemon=True, name="label-watch").start()
    return found


def _forget() -> None:
    global _lock  # noqa: PLW0603 - another thread may hold it, and is not in the fork
    _watches.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
