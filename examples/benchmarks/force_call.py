"""Energy and forces through ASE, neighbour list included, of atoms that move; and what learning adds to it.

Both sides follow the same recorded trajectory, with a Verlet skin of 0.5 Å.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write
from common import (
    announce,
    apax,
    frames_of,
    in_turns,
    parser,
    ratio,
    row,
    rutile,
    same_size,
    silicon,
    table,
    trajectory,
)
from peers.exchange import replay

from ase_bmdal import GMNNCalculator, OnTheFlyCalculator, train

NEVER = 10**6  # frames, or eV/Å; nothing is due before
FIRST_CALL = """
import json, sys, time
start = time.perf_counter()
from ase.io import read
from ase_bmdal import GMNNCalculator
atoms = read(sys.argv[1])
atoms.calc = GMNNCalculator(sys.argv[2])
loaded = time.perf_counter()
atoms.get_forces()
print(json.dumps([loaded - start, time.perf_counter() - loaded]))
"""

Case = tuple[str, Atoms, float, Atoms]


def cases(data: Path) -> list[Case]:
    """Name, structure, cutoff, and a small structure of the same elements to make a model with."""
    aspirin = frames_of(data, "aspirin_pool", 1)[0]
    return [
        ("aspirin, 4 Å", aspirin, 4.0, aspirin),
        ("TiO2, 72 atoms, 6.5 Å", rutile(), 6.5, rutile()),
        ("Si, 512 atoms, 5 Å", silicon(4), 5.0, silicon(1)),
        ("Si, 4096 atoms, 5 Å", silicon(8), 5.0, silicon(1)),
    ]


def compare_with_peer(case: Case, n_frames: int, repeats: int, python: Path | None) -> None:
    name, atoms, cutoff, small = case
    settings, labelled, frames = same_size(cutoff), trajectory(small, 4), trajectory(atoms, n_frames)
    calculator = GMNNCalculator(train(labelled, epochs=1, architecture=settings))
    for stress in (False, True) if atoms.pbc.all() else (False,):
        option = ["--stress"] if stress else []
        with apax(python, "force-call", settings, *option, labelled=labelled, frames=frames) as ask:
            mine, theirs = in_turns(repeats, partial(replay, frames, calculator, stress), ask)
        ours, others = 1e3 * statistics.median(mine), 1e3 * statistics.median(theirs)
        with_stress = "yes" if stress else "no"
        row(name, with_stress, ours, 1e3 * ours / len(atoms), others, ratio(mine, theirs))


def compare_with_learning(case: Case, n_frames: int, repeats: int) -> None:
    """Nothing comes due: the pool never fills, and any bound on the error is small enough."""
    name, atoms, cutoff, small = case
    labelled, frames = trajectory(small, 20), trajectory(atoms, n_frames)
    fixed = GMNNCalculator(train(labelled, cutoff=cutoff, epochs=1))
    with (
        tempfile.TemporaryDirectory() as folder,
        OnTheFlyCalculator(
            EMT,
            Path(folder) / "run",
            initial=labelled,
            cutoff=cutoff,
            epochs=5,
            batch_size=NEVER // 2,
            pool_size=NEVER,
            force_tolerance=float(NEVER),
        ) as learning,
    ):
        mine, theirs = in_turns(
            repeats, partial(replay, frames, fixed), lambda: {"seconds": replay(frames, learning)}
        )
    row(name, 1e3 * statistics.median(mine), 1e3 * statistics.median(theirs), ratio(mine, theirs))


def first_call(case: Case, repeats: int) -> None:
    name, atoms, cutoff, small = case
    with tempfile.TemporaryDirectory() as folder:
        frame, model = Path(folder) / "frame.extxyz", Path(folder) / "model"
        write(frame, atoms)
        train(trajectory(small, 4), epochs=1, cutoff=cutoff).save(model)
        command = [sys.executable, "-c", FIRST_CALL, frame, model]
        times = [json.loads(subprocess.run(command, stdout=-1, check=True).stdout) for _ in range(repeats)]
    row(name, *map(statistics.median, zip(*times, strict=True)))


def main() -> None:
    options = parser(__doc__, data=True, peer="apax")
    options.add_argument("--frames", type=int, default=100, help="of the trajectory (%(default)s)")
    options.add_argument("--cases", type=int, default=4, help="only the first so many (%(default)s)")
    options.add_argument(
        "--parts", nargs="+", choices=("peer", "learning", "first"), default=("peer", "learning", "first")
    )
    wanted = options.parse_args()
    chosen = cases(wanted.data)[: wanted.cases]
    if "peer" in wanted.parts:
        announce("Energy and forces through ASE", wanted.peer_python, has_peer=True)
        table("case", "stress", "ours, ms", "ours per atom, µs", "apax, ms", "apax / ours")
        for case in chosen:
            compare_with_peer(case, wanted.frames, wanted.repeats, wanted.peer_python)
    if "learning" in wanted.parts:
        announce("Learning while nothing is due, default architecture")
        table("case", "GMNNCalculator, ms", "OnTheFlyCalculator, ms", "ratio")
        for case in chosen[:2]:
            compare_with_learning(case, wanted.frames, wanted.repeats)
    if "first" in wanted.parts:
        announce("First call of a new process, default architecture")
        table("case", "imports and model, s", "first call, s")
        for case in chosen:
            first_call(case, wanted.repeats)


if __name__ == "__main__":
    main()
