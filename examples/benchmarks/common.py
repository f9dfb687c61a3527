"""What the benchmarks share: options, structures, turns with a peer, tables."""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.harmonic import SpringCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet
from ase.spacegroup import crystal

from ase_bmdal import ModelSettings
from ase_bmdal_experiments.data import read_frames
from ase_bmdal_experiments.settings import PAPER_ARCHITECTURE

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TEMPERATURE = 300.0  # K
SPRING = 4.0  # eV/Å²; atoms stray by 0.08 Å in each direction
TIME_STEP = 1.0  # fs
PEERS = Path(__file__).parent / "peers"

Ask = Callable[[], dict[str, Any]]


def parser(description: str, *, data: bool = False, peer: str = "") -> argparse.ArgumentParser:
    """Options that several benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--repeats", type=int, default=5, help="rounds that count (%(default)s)")
    if data:
        options.add_argument("--data", type=Path, required=True, help="folder of the data sets (.npz)")
    if peer:
        options.add_argument("--peer-python", type=Path, help=f"Python of an environment with {peer}")
    return options


def same_size(cutoff: float) -> ModelSettings:
    """The size that both sides of a comparison have: the paper's."""
    return replace(PAPER_ARCHITECTURE, cutoff=cutoff)


def frames_of(data: Path, name: str, n: int, labels: str | None = None, seed: int = 0) -> list[Atoms]:
    """Random structures of a data set."""
    frames = read_frames(data / f"{name}.npz", labels)
    return [frames[int(index)] for index in np.random.default_rng(seed).permutation(len(frames))[:n]]


def rutile() -> Atoms:
    """TiO2, 72 atoms."""
    unit = crystal(
        ("Ti", "O"), [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    return unit * (2, 2, 3)


def silicon(n: int) -> Atoms:
    """Si, 8 n³ atoms."""
    return bulk("Si", cubic=True) * (n, n, n)


def trajectory(atoms: Atoms, n: int, seed: int = 0) -> list[Atoms]:
    """Labelled frames of atoms that move as in a simulation at 300 K, each on a spring of its own."""
    atoms, rng = Atoms(atoms), np.random.default_rng(seed)
    atoms.calc = SpringCalculator(atoms.positions.copy(), SPRING)
    atoms.rattle(np.sqrt(units.kB * TEMPERATURE / SPRING), rng=rng)
    spread = np.sqrt(units.kB * TEMPERATURE * atoms.get_masses()[:, None])
    atoms.set_momenta(spread * rng.normal(size=atoms.positions.shape))
    frames = []
    for _ in VelocityVerlet(atoms, TIME_STEP * units.fs).irun(n - 1):
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
        frames.append(frame)
    return frames


@contextmanager
def peer(
    python: Path | None,
    script: str,
    *arguments: Any,
    structures: Mapping[str, Sequence[Atoms]] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Ask | None]:
    """A script in another Python, in a folder with files of its own, that does one repetition when it is asked.

    None without a Python.
    """
    if python is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("w+") as log:
        for file, frames in (structures or {}).items():
            write(Path(name) / f"{file}.extxyz", frames)
        for file, array in (arrays or {}).items():
            np.save(Path(name) / f"{file}.npy", array)
        command = [python.absolute(), PEERS / script, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=name, text=True, bufsize=1
        )

        def ask() -> dict[str, Any]:
            with suppress(BrokenPipeError):
                process.stdin.write("go\n")
            answer = process.stdout.readline()
            if not answer:
                log.seek(0)
                raise SystemExit(f"the peer ended:\n{log.read()[-3000:]}")
            return json.loads(answer)

        try:
            yield ask
        finally:
            process.kill()
            process.communicate()


def apax(
    python: Path | None, what: str, settings: ModelSettings, *options: Any, **structures: Sequence[Atoms]
):
    """The peer that trains Gaussian-moment networks, with the size of ours."""
    return peer(python, "apax_peer.py", what, json.dumps(asdict(settings)), *options, structures=structures)


def seconds_of(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(repeats: int, ours: Callable[[], float], ask: Ask | None) -> tuple[list[float], list[float]]:
    """Seconds of both sides, which take turns; a first round, which compiles, does not count."""
    rounds = [(ours(), ask()["seconds"] if ask else np.nan) for _ in range(repeats + 1)]
    mine, theirs = zip(*rounds[1:], strict=True)
    return list(mine), list(theirs)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times longer the others take: the median over the rounds."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))


def memory(field: str) -> float:
    """Of this process, MiB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def announce(title: str, python: Path | None = None, *, has_peer: bool = False) -> None:
    """What is measured, and on what."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"\n## {title}\n\n{time.strftime('%Y-%m-%d')}, {cores} cores, load {load:.1f} before")
    if has_peer and python is None:
        print("no --peer-python: ours alone")
    print()


def table(*columns: str) -> None:
    row(*columns)
    row(*("---" for _ in columns))


def row(*cells: Any) -> None:
    """Numbers with three digits that count, or more; what was not measured is a dash."""
    print("|", " | ".join(map(_cell, cells)), "|", flush=True)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return "—"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"
