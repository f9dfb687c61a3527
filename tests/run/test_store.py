import contextlib
import shutil
import sqlite3
import warnings
from dataclasses import replace

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from ase_bmdal.common.errors import StoreError
from ase_bmdal.labelling import ComputedLabel, Failure
from ase_bmdal.run.events import Cause
from ase_bmdal.run.store import LabelStore

random = np.random.default_rng(0)


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels.db")


def rattled(n=1):
    structures = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        structures.append(atoms)
    return structures


def label_of(atoms):
    return ComputedLabel(
        energy=float(random.normal() * 1e5 / 3),
        forces=random.normal(size=(len(atoms), 3)),
        stress=random.normal(size=6),
        seconds=1 / 3,
    )


def the_row(store, status=None):
    (row,) = store.rows(status)
    return row


def same_bits(a, b):
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_labels_come_back_bit_for_bit(store):
    atoms = rattled()[0]
    atoms.set_cell(atoms.cell.array + random.normal(size=(3, 3)) / 7)
    atoms.set_momenta(random.normal(size=(4, 3)))
    (entry,) = store.add([atoms], round=0, source="pool")
    record = label_of(atoms)
    store.finish({entry.id: record})
    back = the_row(LabelStore(store.path), "done").atoms
    assert same_bits(back.get_potential_energy(), record.energy)
    assert same_bits(back.get_forces(), record.forces)
    assert same_bits(back.get_stress(), record.stress)
    assert same_bits(back.positions, atoms.positions)
    assert same_bits(back.cell.array, atoms.cell.array)
    assert same_bits(back.get_momenta(), atoms.get_momenta())
    assert back == atoms


def test_a_prediction_may_come_after_the_label(store):
    atoms = rattled()[0]
    atoms.info["note"] = "mine"
    store.add([atoms], round=0, source="first contact")
    record = label_of(atoms)
    store.finish({1: record})
    before = the_row(store)
    store.record_predictions({1: {"energy": 1.5, "raw_forces": np.arange(4.0)}})
    after = the_row(store)
    assert before.prediction == {}
    assert after.prediction["energy"] == 1.5
    assert same_bits(after.prediction["raw_forces"], np.arange(4.0))
    assert same_bits(after.atoms.get_forces(), record.forces)
    assert (after.status, after.seconds, after.atoms.info) == ("done", before.seconds, {"note": "mine"})
    with pytest.raises(StoreError, match="has no row 2"):
        store.record_predictions({1: {}, 2: {}})
    assert the_row(store).prediction["energy"] == 1.5


def test_life_of_a_row(store):
    structures = rattled(3)
    predictions = [{"energy": float(k), "forces": np.full((4, 3), k), "uncertainty": 0.1} for k in range(3)]
    added = store.add(structures, round=2, source="pool", predictions=predictions)
    assert [entry.id for entry in added] == [1, 2, 3]
    assert [row.id for row in store.rows("pending")] == [1, 2, 3]
    assert store.rows("pending")[1].atoms == structures[1]
    store.finish({2: label_of(structures[1])})
    store.finish({1: Failure("TimedOut", "too long", seconds=3.0, scratch="somewhere")})
    assert the_row(store, "pending").id == 3
    assert the_row(store, "done").id == 2
    failed = the_row(store, "failed")
    assert failed.atoms.calc is None
    assert (failed.id, failed.error_class, failed.error_text, failed.seconds, failed.scratch) == (
        1, "TimedOut", "too long", 3.0, "somewhere",
    )  # fmt: skip
    rows = store.rows()
    assert [row.status for row in rows] == ["failed", "done", "pending"]
    assert [row.prediction["energy"] for row in rows] == [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(rows[1].prediction["forces"], predictions[1]["forces"])
    assert {(row.round, row.source) for row in rows} == {(2, "pool")}
    assert rows[2].seconds is None


def test_labelled_structures_can_be_added_at_once(store):
    structures = rattled(2)
    records = [label_of(atoms) for atoms in structures]
    store.add(structures, round=0, source="start", records=records)
    assert [row.atoms.get_potential_energy() for row in store.rows("done")] == [r.energy for r in records]


def test_many_outcomes_are_one_commit_on_one_connection(store, monkeypatch):
    store.add(rattled(20), round=0, source="pool")
    records = {id: label_of(atoms) for id, atoms in enumerate(rattled(15), start=1)}
    connections, statements = [], []
    connect = sqlite3.connect

    def traced(*args, **others):
        connection = connect(*args, **others)
        connections.append(connection)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    store.finish(records | {16: Failure("Crashed", "gone")})
    assert (len(connections), statements.count("COMMIT")) == (1, 1)
    assert [row.status for row in store.rows()] == ["done"] * 15 + ["failed"] + ["pending"] * 4
    with pytest.raises(StoreError, match="no row 99"):
        store.finish({17: label_of(rattled()[0]), 99: label_of(rattled()[0])})
    assert store.rows()[16].status == "pending"


def test_each_writer_gives_the_rows_as_they_are_in_the_file(store):
    added = store.add(rattled(3), round=1, source="pool", cause=Cause.POOL_FULL, walkers=["a", "b", "c"])
    expect_same(added, store.rows())
    told = store.finish({3: label_of(rattled()[0]), 1: Failure("Crashed", "gone", scratch="here")})
    expect_same(told, [store.rows()[2], store.rows()[0]])
    expect_same(store.record_predictions({3: {"energy": 1.5}}), store.rows("done"))


def expect_same(entries, others):
    for entry, other in zip(entries, others, strict=True):
        mine, theirs = vars(entry).copy(), vars(other).copy()
        atoms, stored = mine.pop("atoms"), theirs.pop("atoms")
        assert (mine, atoms) == (theirs, stored)
        if entry.status == "done":
            assert same_bits(atoms.get_forces(), stored.get_forces())


def test_a_change_of_a_row_reads_no_others(store):
    """Or the last labels of a run of thousands cost as much as reading them all."""
    store.add(rattled(2), round=0, source="pool")
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        for table in ("species", "keys", "text_key_values", "number_key_values"):
            plan = database.execute(f"EXPLAIN QUERY PLAN DELETE FROM {table} WHERE id in (1)").fetchall()
            assert "SCAN" not in str(plan), plan


def test_a_second_outcome_replaces_the_first(store):
    store.add(rattled(), round=0, source="pool")
    store.finish({1: Failure("Crashed", "gone")})
    store.finish({1: label_of(rattled()[0])})
    row = the_row(store)
    assert (row.status, row.error_class, row.error_text) == ("done", "", "")


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms(),
        molecule("O2"),
        molecule("H2O", cell=[5, 5, 5], pbc=[True, False, False]),
        Atoms("H", [[np.nan, 0, 0]], cell=[np.inf, 1, 1], pbc=True),
        Atoms("Fe2", [[0, 0, 0], [0, 0, 2]], magmoms=[[0.0, 0, 1], [0, 1, 0]]),
    ],
    ids=str,
)
def test_any_structure_can_be_stored(store, atoms):
    store.add([atoms], round=0, source="pool")
    store.finish({1: Failure("Refused", "nonsense")})
    row = the_row(store, "failed")
    assert same_bits(row.atoms.positions, atoms.positions)
    assert same_bits(row.atoms.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(row.atoms.pbc, atoms.pbc)
    np.testing.assert_array_equal(
        row.atoms.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments()
    )


def test_vector_moments_with_a_label(store):
    atoms = Atoms("Fe2", [[0, 0, 0], [0, 0, 2]], magmoms=[[0.0, 0, 1], [0, 1, 0]])
    record = label_of(atoms)
    store.add([atoms], round=0, source="pool", records=[record])
    assert same_bits(the_row(store, "done").atoms.get_forces(), record.forces)
    store.record_predictions({1: {"energy": 1.5}})
    assert same_bits(the_row(store, "done").atoms.get_forces(), record.forces)


def test_constraints_and_calculators_stay_out(store):
    atoms = rattled()[0]
    atoms.calc = EMT()
    atoms.get_potential_energy()
    atoms.set_constraint(FixAtoms([0]))
    store.add([atoms], round=0, source="pool")
    assert the_row(store, "pending").atoms.calc is None
    record = label_of(atoms)
    store.finish({1: record})
    assert same_bits(the_row(store, "done").atoms.get_forces(), record.forces)
    assert atoms.constraints


def test_an_entry_gives_its_label_and_one_with_other_atoms_theirs(store):
    atoms = rattled()[0]
    first, second = label_of(atoms), label_of(atoms)
    (entry,) = store.add([atoms], round=0, source="pool", records=[first])
    assert same_bits(entry.label.forces, first.forces)
    assert entry.label.energy == first.energy
    assert replace(entry, atoms=second.attach(atoms)).label.energy == second.energy
    (pending,) = store.add([atoms], round=0, source="pool")
    with pytest.raises(ValueError, match="expected a labelled structure"):
        _ = pending.label


def test_charge_and_spin_survive_a_restart(store):
    atoms = molecule("O2")
    atoms.info = {"charge": -1, "spin": 2}
    store.add([atoms], round=0, source="pool")
    assert the_row(LabelStore(store.path), "pending").atoms.info == {"charge": -1, "spin": 2}


@pytest.mark.parametrize("name", ["nan", "1.5", "True"])
def test_awkward_texts(store, name):
    store.add(rattled(), round=0, source="pool")
    awkward = type(name, (Exception,), {})
    store.finish({1: Failure.of(awkward("\udc80\0 5"))})
    assert the_row(store, "failed").error_class.endswith(name)


def test_no_warnings_and_nothing_left_open(store, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.add(rattled(), round=0, source="pool")
        store.finish({1: label_of(rattled()[0])})
        store.rows()
    assert [path.name for path in tmp_path.iterdir()] == ["labels.db"]


def test_adding_is_all_or_nothing(store):
    with pytest.raises(ValueError, match="predictions: expected one for each of 2"):
        store.add(rattled(2), round=0, source="pool", predictions=[{}])
    with pytest.raises(TypeError):
        store.add(rattled(2), round=0, source="pool", predictions=[{}, None])
    assert store.rows() == []


def test_unknown_row(store):
    with pytest.raises(StoreError, match="no row 7"):
        store.finish({7: Failure("X", "y")})


def test_broken_files_are_refused(store, tmp_path):
    store.add(rattled(20), round=0, source="pool")
    content = bytearray(store.path.read_bytes())
    broken = tmp_path / "broken.db"
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"broken\.db"):
        LabelStore(broken)
    broken.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"broken\.db: file is not a database"):
        LabelStore(broken)


def test_files_of_others_are_refused(tmp_path):
    other = tmp_path / "other.db"
    ase.db.connect(other).write(molecule("H2O"))
    with pytest.raises(StoreError, match="no label store"):
        LabelStore(other)
    plain = tmp_path / "plain.db"
    connection = sqlite3.connect(plain)
    connection.execute("CREATE TABLE something (x)")
    connection.close()
    before = plain.read_bytes()
    with pytest.raises(StoreError, match="no label store"):
        LabelStore(plain)
    assert plain.read_bytes() == before


def test_newer_format_is_refused(store):
    database = ase.db.connect(store.path)
    database.count()
    database.metadata = {"ase_bmdal_labels": 99}
    with pytest.raises(StoreError, match="format 99"):
        LabelStore(store.path)


def test_a_folder_that_was_removed(tmp_path):
    (tmp_path / "run").mkdir()
    store = LabelStore(tmp_path / "run" / "labels.db")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(StoreError, match=r"labels\.db: its folder is gone"):
        store.add(rattled(), round=0, source="pool")


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "labels.db").mkdir()
    with pytest.raises(StoreError):
        LabelStore(tmp_path / "labels.db")
