"""The labels of a run in memory, as they are in the file; every change is written before it is seen."""

from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.labelling.outcome import Outcome
from ase_bmdal.run.events import Cause
from ase_bmdal.run.store import Entry, LabelStore


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
    next_round
        Number of a round that has not begun.
    """

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self._by_id = {entry.id: entry.learned for entry in store.rows()}
        self._sort()

    def _read(self, ids: Sequence[int]) -> list[Entry]:
        """Take over entries as they are in the file: what a restart would find."""
        found = [entry.learned for entry in self._store.read(ids)]
        self._by_id.update((entry.id, entry) for entry in found)
        self._sort()
        return found

    def _sort(self) -> None:
        self.entries = list(self._by_id.values())
        self.done = [entry for entry in self.entries if entry.status == "done"]
        self.done_ids = [entry.id for entry in self.done]
        self.pending = [entry for entry in self.entries if entry.status == "pending"]
        self.next_round = 1 + max((entry.round for entry in self.entries), default=-1)

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
        return [entry for entry in self.entries if entry.round == number]

    def status(self, id: int) -> str:
        """``"pending"``, ``"done"`` or ``"failed"``."""
        return self._by_id[id].status

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
        ids = self._store.add(
            structures,
            round=round,
            source=source,
            cause=cause,
            walkers=walkers,
            predictions=predictions,
            records=records,
        )
        return self._read(ids)

    def finish(self, records: Mapping[int, Outcome]) -> None:
        """Write what calculations came to in one commit; after Ctrl-C in the midst of it, once more.

        Raises
        ------
        StoreError
            If it cannot be written; all that was written before is still there.
        """
        try:
            self._store.finish_all(records)
        except KeyboardInterrupt:  # nothing is lost that was computed
            self._store.finish_all(records)
            raise
        finally:
            self._read(list(records))

    def record_predictions(self, predictions: Mapping[int, Mapping[str, Any]]) -> None:
        """Note what a potential that was not trained on them says of some labels, by number."""
        self._store.record_predictions(predictions)
        self._read(list(predictions))


def errors_before_training(entries: Sequence[Entry]) -> tuple[float, float, float] | None:
    """How wrong the predictions made before training on some labels were.

    Returns
    -------
    tuple or None
        Mean absolute and root-mean-square force error, eV/Å, and mean absolute energy error per atom, eV;
        None if there were no predictions.
    """
    known = [entry for entry in entries if entry.is_test]
    if not known:
        return None
    forces = force_deviation(known)
    energies = [
        (entry.prediction["energy"] - entry.atoms.get_potential_energy()) / len(entry.atoms)
        for entry in known
    ]
    return forces.mae, forces.rmse, Deviation.of(energies).mae


def force_deviation(entries: Sequence[Entry]) -> Deviation:
    """Force errors, eV/Å, of the predictions that some labels have; at least one label, each with a prediction."""
    return Deviation.between(
        [entry.prediction["forces"] for entry in entries], [entry.atoms.get_forces() for entry in entries]
    )
