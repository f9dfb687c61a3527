"""The labels of a run in memory, as they are in the file; every change is written before it is seen."""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from ase import Atoms

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.labelling.outcome import Outcome
from ase_bmdal.run.events import Cause
from ase_bmdal.run.store import Entry, LabelStore

_number = attrgetter("id")


class Errors(NamedTuple):
    """Errors of predictions.

    Attributes
    ----------
    force_mae, force_rmse
        Mean absolute and root-mean-square error of the components of forces, eV/Å.
    energy_mae
        Mean absolute error of the energy per atom, eV.
    """

    force_mae: float
    force_rmse: float
    energy_mae: float


class Dataset:
    """Structures that were chosen, and what became of them; with a baseline, labels are the difference to it.

    Parameters
    ----------
    store
        Where they are kept.

    Attributes
    ----------
    entries
        All of them, in the order of choice.
    done, pending
        Those that have a label, and those whose calculation has not finished.
    done_ids
        Numbers of those that have a label.
    """

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self.entries: list[Entry] = []
        self.done: list[Entry] = []
        self.pending: list[Entry] = []
        self.done_ids: list[int] = []
        self._by_round: dict[int, list[Entry]] = {}
        self._errors: dict[int, Errors | None] = {}  # of rounds, until something in them changes
        self._take(store.rows())

    def _take(self, entries: Sequence[Entry]) -> list[Entry]:
        """Take over entries as they are in the file: what a restart would find."""
        taken = [entry.learned for entry in entries]
        for entry in taken:
            self._keep(entry)
        return taken

    def _keep(self, entry: Entry) -> None:
        _put(self.entries, entry)
        _put(self._by_round.setdefault(entry.round, []), entry)
        self._errors.pop(entry.round, None)
        if entry.status == "pending":
            _put(self.pending, entry)
            return
        _remove(self.pending, entry)
        if entry.status == "done" and _put(self.done, entry):
            insort(self.done_ids, entry.id)

    @property
    def next_round(self) -> int:
        """Number of a round that has not begun."""
        return 1 + max(self._by_round, default=-1)

    @property
    def n_rounds(self) -> int:
        """Rounds so far, the initial one not counted."""
        return max(0, self.next_round - 1)

    @property
    def n_failed(self) -> int:
        """Structures whose calculation failed."""
        return len(self.entries) - len(self.done) - len(self.pending)

    def of_round(self, number: int) -> list[Entry]:
        """Structures chosen in one round, whatever became of them."""
        return list(self._by_round.get(number, ()))

    def errors_before_training(self, number: int) -> Errors | None:
        """How wrong the predictions were that were made of a round before training on it; None if there are none."""
        if number not in self._errors:
            self._errors[number] = _errors(self.of_round(number))
        return self._errors[number]

    def status(self, id: int) -> str:
        """``"pending"``, ``"done"`` or ``"failed"``."""
        return self.entries[_place(self.entries, id)].status

    def some(self, ids: Sequence[int]) -> list[Entry]:
        """Structures by their numbers."""
        return [self.entries[_place(self.entries, id)] for id in ids]

    def add(
        self,
        structures: Sequence[Atoms],
        *,
        round: int,
        source: str,
        cause: Cause,
        walkers: Sequence[str] | None = None,
        predictions: Sequence[Mapping[str, Any]] | None = None,
        records: Sequence[Outcome | None] | None = None,
    ) -> list[Entry]:
        """Add structures in one commit; as `LabelStore.add`.

        Raises
        ------
        StoreError
            If they cannot be written; nothing is added then.
        """
        entries = self._store.add(
            structures,
            round=round,
            source=source,
            cause=cause,
            walkers=walkers,
            predictions=predictions,
            records=records,
        )
        return self._take(entries)

    def finish(self, records: Mapping[int, Outcome]) -> None:
        """Write what calculations came to in one commit; after Ctrl-C in the midst of it, once more.

        Raises
        ------
        StoreError
            If it cannot be written; all that was written before is still there.
        """
        try:
            self._take(self._store.finish(records))
        except KeyboardInterrupt:  # nothing is lost that was computed
            self._take(self._store.finish(records))
            raise

    def record_predictions(self, predictions: Mapping[int, Mapping[str, Any]]) -> None:
        """Note what a potential that was not trained on them says of some labels, by number."""
        self._take(self._store.record_predictions(predictions))


def _place(entries: Sequence[Entry], id: int) -> int:
    return bisect_left(entries, id, key=_number)


def _put(entries: list[Entry], entry: Entry) -> bool:
    """Put an entry into its place in the order of numbers; says whether it is new."""
    place = _place(entries, entry.id)
    is_new = place == len(entries) or entries[place].id != entry.id
    entries[place : place + (not is_new)] = [entry]
    return is_new


def _remove(entries: list[Entry], entry: Entry) -> None:
    place = _place(entries, entry.id)
    if place < len(entries) and entries[place].id == entry.id:
        del entries[place]


def _errors(entries: Sequence[Entry]) -> Errors | None:
    known = [entry for entry in entries if entry.is_test]
    if not known:
        return None
    forces = force_deviation(known)
    energies = [(entry.prediction["energy"] - entry.label.energy) / len(entry.atoms) for entry in known]
    return Errors(forces.mae, forces.rmse, Deviation.of(energies).mae)


def force_deviation(entries: Sequence[Entry]) -> Deviation:
    """Force errors, eV/Å, of the predictions that some labels have; at least one label, each with a prediction."""
    return Deviation.between(
        [entry.prediction["forces"] for entry in entries],
        [entry.label.forces_for("an error") for entry in entries],
    )
