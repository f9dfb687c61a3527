"""Labels less those of a baseline, which computes every structure of a file once."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ase_bmdal import Baseline
from ase_bmdal_experiments.frames import Frames

EVERY = 100  # structures between two savings
SAME = 1e-2  # eV


def subtracted(
    frames: Frames,
    baseline: Baseline,
    path: Path,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> Frames:
    """The same structures with the differences as their labels.

    Parameters
    ----------
    frames
        Labelled structures, without stresses.
    baseline
        What is subtracted.
    path
        NumPy archive of its results, made here or by an earlier call that may have been interrupted.
    listener
        Called with the number of structures that are computed, and of all.

    Raises
    ------
    BaselineError
        If the baseline gives no result for one of them.
    ValueError
        If the archive is of other structures, or of another baseline.
    """
    energies, forces = _kept(path, frames)
    if energies and not np.isclose(baseline.label(frames[0]).energy, energies[0], rtol=0, atol=SAME):
        raise ValueError(f"{path}: expected results of the baseline that was given, got those of another")
    for index in range(len(energies), len(frames)):
        label = baseline.label(frames[index])
        energies.append(label.energy)
        forces.append(label.forces_for("a difference"))
        if (index + 1) % EVERY == 0 or index + 1 == len(frames):
            _keep(path, frames, energies, forces)
            listener(index + 1, len(frames))
    rest = None if frames.forces is None else frames.forces - np.concatenate(forces)
    return replace(frames, energies=frames.energies - np.array(energies), forces=rest)


def _keep(path: Path, frames: Frames, energies: list[float], forces: list[np.ndarray]) -> None:
    half = path.with_name(f"{path.stem}.half.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(half, energies=energies, forces=np.concatenate(forces), structures=_fingerprint(frames))
    half.replace(path)


def _kept(path: Path, frames: Frames) -> tuple[list[float], list[np.ndarray]]:
    if not path.exists():
        return [], []
    with np.load(path) as kept:
        if str(kept["structures"]) != _fingerprint(frames):
            raise ValueError(
                f"{path}: expected results for the structures of the data file, got those of others"
            )
        energies, forces = kept["energies"].tolist(), kept["forces"]
    return energies, [forces[frames.rows(index)] for index in range(len(energies))]


def _fingerprint(frames: Frames) -> str:
    parts = (frames.sizes, frames.numbers, np.round(frames.positions, 6), frames.cells)
    return hashlib.sha256(
        b"".join(np.asarray(part, float).tobytes() for part in parts if part is not None)
    ).hexdigest()
