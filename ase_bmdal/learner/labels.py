"""The labels of a run: getting more of them, and never losing one."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import takewhile
from typing import Any

import numpy as np
from ase import Atoms

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.common.errors import BatchFailedError
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.record import LabelRecord
from ase_bmdal.labelling.store import LabelStore, StoredLabel
from ase_bmdal.learner.events import LabelDone, Listener
from ase_bmdal.structures.labels import Label


class Labels:
    """Structures that were chosen, and what became of them.

    Parameters
    ----------
    store
        Where they are kept.
    labeller
        Where new ones come from.
    report
        Called after each calculation.

    Attributes
    ----------
    rows
        All of them, in the order of choice.
    done
        Those that have a label.
    next_round
        Number of a round that has not begun.
    """

    def __init__(self, store: LabelStore, labeller: Labeller, report: Listener) -> None:
        self._store, self._labeller, self._report = store, labeller, report
        self._by_id = {row.id: row for row in store.rows()}
        self._sort()

    def _read(self, ids: Sequence[int]) -> None:
        """Take over rows as they are in the file: what a restart would find."""
        self._by_id.update((row.id, row) for row in self._store.read(ids))
        self._sort()

    def _sort(self) -> None:
        self.rows = list(self._by_id.values())
        self.done = [row for row in self.rows if row.status == "done"]
        self.next_round = 1 + max((row.round for row in self.rows), default=-1)

    @property
    def n_rounds(self) -> int:
        """Rounds so far, the initial one not counted."""
        return max(0, self.next_round - 1)

    def of_round(self, number: int) -> list[StoredLabel]:
        """Structures chosen in one round, whatever became of them."""
        return [row for row in self.rows if row.round == number]

    def label(
        self,
        structures: Sequence[Atoms],
        number: int,
        source: str,
        *,
        predictions: Sequence[Mapping[str, Any]] | None = None,
        known: Sequence[Label | None] | None = None,
    ) -> list[bool]:
        """Label structures, each stored as soon as it is finished, those that are finished at once in one commit.

        Parameters
        ----------
        structures
            At least one.
        number
            Round.
        source
            Where they come from.
        predictions
            What the model says of them now, as `learner.trust.as_data` puts it.
        known
            Labels that some of them have already; None for the others.

        Returns
        -------
        list of bool
            Which of them have a label now.

        Raises
        ------
        StoreError
            If a label cannot be written.
        """
        records = None if known is None else [None if label is None else _record(label) for label in known]
        ids = self._store.add(
            structures, round=number, source=source, predictions=predictions, records=records
        )
        self._read(ids)
        missing = [k for k in range(len(ids)) if known is None or known[k] is None]
        self._compute([ids[k] for k in missing], [structures[k] for k in missing], number)
        return [self._by_id[id].status == "done" for id in ids]

    def predict(self, predictions: Mapping[int, Mapping[str, Any]]) -> None:
        """Note what a model that was not trained on them says of some labels, by number."""
        self._store.predict(predictions)
        self._read(list(predictions))

    def finish_pending(self, limit: int | None) -> int | None:
        """Compute what was begun and never finished, of it at most so many.

        Returns
        -------
        int or None
            The round it belongs to; None if there was nothing.
        """
        pending = [row for row in self.rows if row.status == "pending"][:limit]
        if not pending:
            return None
        number = max(row.round for row in pending)
        self._compute([row.id for row in pending], [row.atoms for row in pending], number)
        return number

    def refuse_if_all_failed(self, number: int, in_a_row: int = 1) -> None:
        """Stop if a round brought failures and not one label.

        Parameters
        ----------
        number
            Of the round.
        in_a_row
            How many calculations at least have to have failed one after the other, those of earlier rounds included.

        Raises
        ------
        BatchFailedError
            With the reasons, each once.
        """
        rows = [row for row in self.of_round(number) if row.status != "pending"]
        if not rows or any(row.status == "done" for row in rows):
            return
        newest_first = (row.status for row in reversed(self.rows) if row.status != "pending")
        if sum(1 for _ in takewhile(lambda status: status == "failed", newest_first)) < in_a_row:
            return
        reasons = dict.fromkeys(f"{row.error_class}: {row.error_text}" for row in rows)
        places = next((f"; see {row.scratch}" for row in rows if row.scratch), "")
        raise BatchFailedError(
            f"all {len(rows)} reference calculations of round {number} failed{places}:\n" + "\n".join(reasons)
        )

    def _compute(self, ids: Sequence[int], structures: Sequence[Atoms], number: int) -> None:
        if not ids:
            return
        finished = failed = 0
        with closing(self._labeller.collect(structures)) as waves:
            for wave in waves:
                self._keep({ids[index]: record for index, record in wave.items()})
                for record in wave.values():
                    finished += 1
                    failed += record.status == "failed"
                    self._report(LabelDone(number, finished, len(ids), failed))

    def _keep(self, records: Mapping[int, LabelRecord]) -> None:
        try:
            self._store.finish_all(records)
        except KeyboardInterrupt:  # in the midst of it: nothing is lost that was computed
            self._store.finish_all(records)
            raise
        finally:
            self._read(list(records))


def errors_before_training(rows: Sequence[StoredLabel]) -> tuple[float, float, float] | None:
    """How wrong the predictions made before training on some labels were.

    Returns
    -------
    tuple or None
        Mean absolute and root-mean-square force error, eV/Å, and mean absolute energy error per atom, eV;
        None if there were no predictions.
    """
    known = [row for row in rows if row.is_test]
    if not known:
        return None
    forces = np.concatenate(
        [(np.asarray(row.prediction["forces"]) - row.atoms.get_forces()).ravel() for row in known]
    )
    energies = [
        (row.prediction["energy"] - row.atoms.get_potential_energy()) / len(row.atoms) for row in known
    ]
    deviation = Deviation.of(forces)
    return deviation.mae, deviation.rmse, Deviation.of(energies).mae


def _record(label: Label) -> LabelRecord:
    return LabelRecord(status="done", energy=label.energy, forces=label.forces, stress=label.stress)
