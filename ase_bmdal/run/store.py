"""Every structure that was chosen, with its label once it has one; the file outlives any crash.

An ``ase.db`` database on SQLite, so that ``ase db`` and ``ase gui`` open it. One row per structure:

==============  ============================================================================
key-value pair  meaning
==============  ============================================================================
status          ``pending``, ``done`` or ``failed``
round           round in which it was chosen
source          where it comes from, such as ``pool``
cause           why structures were labelled then, see `run.events.Cause`
walker          name of the simulation it is a frame of; empty if that has none
seconds         wall time of the reference calculation
error_class     class of the exception, or ``Refused``, ``TimedOut``, ``Crashed``
==============  ============================================================================

The label is the row's energy (eV), forces (eV/Å) and stress (eV/Å³); ``data`` holds the error text, the scratch
folder, ``info`` of the structure, what the model predicted before it was trained on the label, and what the baseline
says, if there is one.
"""

import contextlib
import json
import math
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal.common.errors import StoreError
from ase_bmdal.common.files import write_atomically
from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.outcome import ComputedLabel, Outcome
from ase_bmdal.run.events import Cause
from ase_bmdal.structures.labels import Label, label_of
from ase_bmdal.structures.structure_only import structure_only

FORMAT = 1
FORMAT_KEY = "ase_bmdal_labels"

Prediction = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One row of the store.

    Parameters
    ----------
    id
        Number of the row, from 1 in the order of choice.
    atoms
        The structure, with the label in a `SinglePointCalculator` if there is one.
    status
        ``"pending"``, ``"done"`` or ``"failed"``.
    round, source, cause, walker
        When it was chosen, from where, why, and in which simulation.
    prediction
        What the model predicted before it was trained on the label; empty if there was no model. Where there is a
        baseline, of the difference to it.
    baseline
        Result of the baseline; None if there was none.
    seconds, error_class, error_text, scratch
        As in `labelling.Failure`; None while pending.
    """

    id: int
    atoms: Atoms
    status: str
    round: int
    source: str
    prediction: dict[str, Any]
    cause: Cause = Cause.UNKNOWN
    walker: str = ""
    seconds: float | None = None
    error_class: str | None = None
    error_text: str | None = None
    scratch: str | None = None
    baseline: Label | None = None

    @cached_property
    def label(self) -> Label:
        """What the structure carries, once there is something; looked at again and again in the life of a run.

        Raises
        ------
        ValueError
            If it has none.
        """
        return label_of(self.atoms)

    @property
    def learned(self) -> "Entry":
        """The same with what a potential learns as its label: the difference to the baseline, if there is one."""
        if self.baseline is None:
            return self
        return replace(self, atoms=self.label.minus(self.baseline).attach(self.atoms))

    @property
    def whole(self) -> "Entry":
        """The other way round: of what a potential learns, what the reference gave."""
        if self.baseline is None:
            return self
        return replace(self, atoms=self.label.plus(self.baseline).attach(self.atoms))

    @property
    def is_test(self) -> bool:
        """Whether the potential of the run predicted it before it was trained on it.

        The first labels have predictions of another potential, which only the bounds are made of.
        """
        return self.status == "done" and self.source == "pool" and bool(self.prediction)


class LabelStore:
    """Structures and their labels in one file, written by one process.

    Parameters
    ----------
    path
        The file; made if it does not exist.

    Raises
    ------
    StoreError
        If the file is broken, or something else than a store of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).absolute()
        if not self.path.exists():
            self._create()
        self._check()

    def add(
        self,
        structures: Sequence[Atoms],
        *,
        round: int,
        source: str,
        cause: Cause = Cause.UNKNOWN,
        walkers: Sequence[str] | None = None,
        predictions: Sequence[Prediction] | None = None,
        records: Sequence[Outcome | None] | None = None,
    ) -> list[Entry]:
        """Add structures in one commit.

        Parameters
        ----------
        structures
            Structures to label.
        round
            Round in which they were chosen.
        source
            Where they come from.
        cause
            Why they are labelled.
        walkers
            Name of the simulation of each.
        predictions
            For each structure what the model says now: numbers and arrays by name, such as
            ``energy`` eV and ``forces`` [n_atoms, 3] eV/Å.
        records
            Outcomes, for structures that are labelled already; None for others among them.

        Returns
        -------
        list of Entry
            The rows, as they are in the file.

        Raises
        ------
        StoreError
            If they cannot be written; the store is then unchanged.
        """
        _expect_one_each(structures, walkers=walkers, predictions=predictions, records=records)
        ids = []
        with self._database() as database:
            for k, atoms in enumerate(structures):
                pairs = {"status": "pending", "round": int(round), "source": source, "cause": cause.value}
                pairs["walker"] = walkers[k] if walkers else ""
                data = {"prediction": dict(predictions[k]) if predictions else {}}
                record = records[k] if records else None
                ids.append(
                    _insert(database, structure_only(atoms, with_weights=record is not None), pairs, data)
                )
                if record is not None:
                    _finish(database, self._row(database, ids[-1]), record)
            return self._entries(database, ids)

    def finish(self, records: Mapping[int, Outcome]) -> list[Entry]:
        """Store the outcomes of calculations in one commit.

        Parameters
        ----------
        records
            By number of the row.

        Returns
        -------
        list of Entry
            The rows, as they are in the file.

        Raises
        ------
        StoreError
            If they cannot be written, as on a full disk; all that was stored before is still there.
        """
        with self._database() as database:
            for id, record in records.items():
                _finish(database, self._row(database, id), record)
            return self._entries(database, records)

    def record_predictions(self, predictions: Mapping[int, Prediction]) -> list[Entry]:
        """Note what a model that was not trained on them says of some structures, in one commit.

        Parameters
        ----------
        predictions
            By number of the row; as in `add`.

        Returns
        -------
        list of Entry
            The rows, as they are in the file.

        Raises
        ------
        StoreError
            If they cannot be written; the store is then unchanged.
        """
        with self._database() as database:
            for id, prediction in predictions.items():
                _update(database, self._row(database, id), {}, {"prediction": dict(prediction)})
            return self._entries(database, predictions)

    def rows(self, status: str | None = None) -> list[Entry]:
        """All rows, or those of one status, in the order in which they were added.

        Parameters
        ----------
        status
            ``"pending"``, ``"done"``, ``"failed"``; None for all.

        Returns
        -------
        list of Entry
            The rows.
        """
        selection = {} if status is None else {"status": status}
        with self._database() as database:
            return [_stored(row) for row in database.select(sort="id", **selection)]

    def _create(self) -> None:
        # ase.db makes its tables one by one; done elsewhere, so that a kill leaves no half of them.
        with tempfile.TemporaryDirectory() as folder, self._errors():
            template = Path(folder) / "empty.db"
            with self._database(template) as database:
                database.metadata = {FORMAT_KEY: FORMAT}
                for table in ("species", "keys", "text_key_values", "number_key_values"):
                    # Or each change of a row reads all of them.
                    database.connection.execute(f"CREATE INDEX {table}_of_row ON {table}(id)")
            write_atomically(self.path, template.read_bytes())

    def _check(self) -> None:
        # Not through ase.db, which makes its tables in whatever file it opens.
        with (
            self._errors(),
            contextlib.closing(sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True)) as db,
        ):
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            found = _format_of(db) if verdict == "ok" else None
        if verdict != "ok":
            raise StoreError(f"{self.path} is damaged: {verdict}")
        if found != FORMAT:
            what = "no label store" if found is None else f"a label store of format {found}"
            raise StoreError(f"{self.path} is {what}, expected format {FORMAT} of ase_bmdal")

    def _row(self, database: Any, id: int) -> Any:
        try:
            return database.get(id=id)
        except KeyError:
            raise StoreError(f"{self.path} has no row {id}") from None

    def _entries(self, database: Any, ids: Iterable[int]) -> list[Entry]:
        return [_stored(self._row(database, id)) for id in ids]

    @contextlib.contextmanager
    def _database(self, path: Path | None = None) -> Iterator[Any]:
        """One transaction on one connection."""
        # No lock file: it would stay behind a killed process. Serial: not collective over an MPI job.
        database = ase.db.connect(path or self.path, type="db", use_lock_file=False, serial=True)
        with self._errors():
            try:
                with database:
                    database.change_count = math.nan  # or ASE commits halfway, every 5000 rows
                    database._initialize(database.connection)
                    yield database
            finally:
                if database.connection is not None:  # left open by ASE when a commit fails
                    database.connection.close()
                    database.connection = None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = error if self.path.parent.exists() else "its folder is gone"
            raise StoreError(f"{self.path}: {what}") from error


def _format_of(connection: sqlite3.Connection) -> int | None:
    try:
        row = connection.execute("SELECT value FROM information WHERE name='metadata'").fetchone()
        found: int | None = json.loads(row[0]).get(FORMAT_KEY) if row else None
    except (sqlite3.OperationalError, ValueError, AttributeError):
        return None
    return found


def _expect_one_each(structures: Sequence[Atoms], **others: Sequence[Any] | None) -> None:
    for name, values in others.items():
        if values is not None and len(values) != len(structures):
            raise ValueError(
                f"{name}: expected one for each of {len(structures)} structures, got {len(values)}"
            )


def _insert(database: Any, atoms: Atoms, pairs: dict[str, Any], data: dict[str, Any]) -> int:
    moments = atoms.arrays.get("initial_magmoms")
    if moments is not None and moments.ndim == 2:  # ase.db cannot read back moments that are vectors
        data = data | {"vector_moments": atoms.arrays.pop("initial_magmoms")}
    return int(database.write(atoms, key_value_pairs=pairs, data=data | {"info": dict(atoms.info)}))


def _finish(database: Any, row: Any, record: Outcome) -> None:
    if isinstance(record, Failure):
        pairs = {"status": "failed", "seconds": record.seconds, "error_class": record.error_class}
        _update(database, row, pairs, {"error_text": record.error_text, "scratch": record.scratch})
        return
    label = record if isinstance(record, ComputedLabel) else ComputedLabel(**vars(record))
    row["calculator"], row["calculator_parameters"] = "unknown", {}
    for name, value in label.values.items():
        row[name] = np.asarray(value, np.float64)
    pairs = {"status": "done", "seconds": label.seconds, "error_class": ""}
    baseline = {"baseline": label.baseline.values} if label.baseline else {}
    _update(database, row, pairs, {"error_text": "", "scratch": None} | baseline)


def _update(database: Any, row: Any, pairs: dict[str, Any], data: dict[str, Any]) -> None:
    # Of Atoms, ASE would compare the structure with that of its calculator, again and again.
    database.write(row, key_value_pairs=row.key_value_pairs | pairs, data=dict(row.data) | data, id=row.id)


def _atoms(row: Any) -> Atoms:
    atoms = row.toatoms()
    atoms.info = dict(row.data["info"])
    if "vector_moments" in row.data:
        results = dict(atoms.calc.results) if atoms.calc else {}
        atoms.set_initial_magnetic_moments(row.data["vector_moments"])
        atoms.calc = SinglePointCalculator(atoms, **results) if results else None
    return atoms


def _stored(row: Any) -> Entry:
    return Entry(
        id=row.id,
        atoms=_atoms(row),
        status=row.status,
        round=row.round,
        source=row.source,
        prediction=dict(row.data["prediction"]),
        cause=Cause(row.get("cause", Cause.UNKNOWN)),
        walker=row.get("walker", ""),
        seconds=row.get("seconds"),
        error_class=row.get("error_class"),
        error_text=row.data.get("error_text"),
        scratch=row.data.get("scratch"),
        baseline=Label(**row.data["baseline"]) if "baseline" in row.data else None,
    )
