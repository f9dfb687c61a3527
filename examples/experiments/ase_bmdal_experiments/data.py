"""Labelled data as the benchmarks of the paper are published: NumPy archives, and whatever ASE reads.

| archive | names | unit of energy |
|---|---|---|
| MD17 | z, R, E, F | kcal/mol, or what ``e_unit`` says |
| rMD17 | nuclear_charges, coords, energies, forces, old_energies, old_forces | kcal/mol |
| one size | Z [n_at], R [n, n_at, 3], E, F, E_md17, F_md17 | eV |
| any size | n_atoms, Z, R, F of all structures one after the other, cell [n, 3, 3], E | eV |
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from numpy.typing import NDArray

from ase_bmdal import labels_of
from ase_bmdal_experiments.frames import Frames

KCAL_PER_MOL = float(units.kcal / units.mol)  # eV
ENERGY_UNITS = {"kcal/mol": KCAL_PER_MOL, "eV": 1.0}


@dataclass(frozen=True)
class Layout:
    """How an archive names its arrays; `labels` are names of energies and forces, the first pair the usual one."""

    numbers: str
    positions: str
    labels: Mapping[str, tuple[str, str]]
    unit: float


MD17 = Layout("z", "R", {"md17": ("E", "F")}, KCAL_PER_MOL)
RMD17 = Layout(
    "nuclear_charges",
    "coords",
    {"rmd17": ("energies", "forces"), "md17": ("old_energies", "old_forces")},
    KCAL_PER_MOL,
)
ELECTRONVOLT = Layout("Z", "R", {"rmd17": ("E", "F"), "md17": ("E_md17", "F_md17")}, 1.0)
LAYOUTS = (MD17, RMD17, ELECTRONVOLT)


def read_frames(path: Path, labels: str | None = None) -> Frames:
    """Read labelled structures.

    Parameters
    ----------
    path
        NumPy archive of one of the layouts above, or any file of ASE.
    labels
        ``"md17"`` or ``"rmd17"`` where an archive has the labels of both, or the names of two of its arrays,
        ``"ENERGIES,FORCES"``, or of one, ``"ENERGIES"``. None takes the usual ones.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it holds no labelled structures, or its arrays do not fit together; names the file.
    """
    try:
        if path.suffix == ".npz":
            return _read_archive(path, labels)
        if labels is not None:
            raise ValueError(f"labels can be chosen in NumPy archives only, got {labels!r}")
        return _read_by_ase(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def fingerprint(path: Path) -> str:
    """What tells this file from others, whatever its name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _read_by_ase(path: Path) -> Frames:
    from ase.io import read

    try:
        structures = list(read(path, ":"))
    except Exception as error:  # each format of ASE has exceptions of its own, some of them an OSError
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"expected structures that ASE can read, got {error!r}") from error
    found = labels_of(structures)
    with_forces = [label.forces is not None for label in found]
    if any(with_forces) and not all(with_forces):
        missing = with_forces.index(False)
        raise ValueError(f"expected forces on all structures or on none, structure {missing} has none")
    return Frames(
        sizes=np.array([len(atoms) for atoms in structures]),
        numbers=np.concatenate([atoms.numbers for atoms in structures]),
        positions=np.concatenate([atoms.positions for atoms in structures]),
        energies=np.array([label.energy for label in found]),
        forces=np.concatenate([label.forces for label in found if label.forces is not None])
        if all(with_forces)
        else None,
        cells=np.array([atoms.cell.array for atoms in structures]),
        periodic=np.array([atoms.pbc for atoms in structures]),
    )


def _read_archive(path: Path, labels: str | None) -> Frames:
    try:
        archive = np.load(path, allow_pickle=False)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise ValueError("expected a NumPy archive (.npz), got something else, or half of one") from error
    with archive:
        layout = next((each for each in LAYOUTS if {each.numbers, each.positions} <= set(archive)), None)
        if layout is None:
            expected = " or ".join(f"{each.numbers}, {each.positions}" for each in LAYOUTS)
            raise ValueError(f"expected arrays named {expected}, got {', '.join(archive)}")
        names = _label_names(archive, layout, labels)
        positions = np.asarray(_finite(layout.positions, _entry(archive, layout.positions)))
        ragged = "n_atoms" in archive
        if not ragged and (positions.ndim != 3 or positions.shape[2] != 3):
            raise ValueError(f"{layout.positions}: expected shape [n, n_atoms, 3], got {positions.shape}")
        sizes = (
            _entry(archive, "n_atoms").astype(int) if ragged else np.full(len(positions), positions.shape[1])
        )
        numbers = _entry(archive, layout.numbers).astype(np.uint8)
        numbers = numbers if ragged else np.tile(numbers, len(positions))
        unit = _unit(archive, layout)
        arrays = {name: _finite(name, _entry(archive, name)) * unit for name in names}
        cells = _entry(archive, "cell").astype(float) if "cell" in archive else None
    return _checked(layout, names, sizes, numbers, positions, arrays, cells)


def _label_names(archive: Mapping[str, Any], layout: Layout, labels: str | None) -> list[str]:
    """Names of the energies and, where there are any, of the forces."""
    if labels is None:
        energy, forces = next(iter(layout.labels.values()))
        names = [energy, forces] if forces in archive else [energy]
    elif labels.lower() in ("md17", "rmd17"):
        names = list(layout.labels.get(labels.lower(), ()))
        if not names:
            raise ValueError(f"expected labels {' or '.join(layout.labels)} in this layout, got {labels}")
    else:
        names = [name.strip() for name in labels.split(",")]
    missing = [name for name in names if name not in archive]
    if missing or len(names) > 2:
        raise ValueError(
            f"labels: expected arrays of energies and forces among {', '.join(archive)}; got {', '.join(names)}"
        )
    return names


def _unit(archive: Mapping[str, Any], layout: Layout) -> float:
    if layout is not MD17 or "e_unit" not in archive:
        return layout.unit
    name = _entry(archive, "e_unit").item()
    name = name.decode() if isinstance(name, bytes) else str(name)
    if name not in ENERGY_UNITS:
        raise ValueError(f"e_unit: expected {' or '.join(ENERGY_UNITS)}, got {name}")
    return ENERGY_UNITS[name]


def _checked(
    layout: Layout,
    names: list[str],
    sizes: NDArray[np.integer[Any]],
    numbers: NDArray[np.integer[Any]],
    positions: NDArray[np.floating[Any]],
    arrays: Mapping[str, NDArray[np.float64]],
    cells: NDArray[np.float64] | None,
) -> Frames:
    n, n_atoms = len(sizes), int(sizes.sum())
    if n == 0:
        raise ValueError("expected labelled structures, got none")
    expected = {layout.numbers: (numbers, n_atoms), layout.positions: (positions, 3 * n_atoms)}
    expected |= {name: (arrays[name], size) for name, size in zip(names, (n, 3 * n_atoms), strict=False)}
    if cells is not None:
        expected["cell"] = (cells, 9 * n)
    for name, (array, size) in expected.items():
        if array.size != size:
            raise ValueError(
                f"{name}: expected {size} numbers for {n} structures of {n_atoms} atoms, got {array.shape}"
            )
    return Frames(
        sizes=sizes,
        numbers=numbers,
        positions=positions.reshape(-1, 3),
        energies=arrays[names[0]].ravel(),
        forces=arrays[names[1]].reshape(-1, 3) if len(names) == 2 else None,
        cells=cells,
    )


def _entry(archive: Mapping[str, Any], name: str) -> Any:
    """One array; NumPy reads those of numbers and of texts only."""
    try:
        return archive[name]
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of numbers, got one of Python objects") from error


def _finite(name: str, array: Any) -> NDArray[Any]:
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected numbers, got {values.dtype}")
    values = values if values.dtype.kind == "f" else values.astype(float)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity in row {row}")
    return values
