"""The paper's experiments on the data at hand, by name: (N_init, N_max; N_batch) as it writes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ase_bmdal_experiments.settings import Recipe

RND, LCMD = "MAXDIAG + RND", "LCMD + FEAT(LL)"
DIAGONAL_GP, DETERMINANT_GP = "MAXDIAG + GP(LL)", "MAXDET + GP(LL)"


@dataclass(frozen=True)
class Experiment:
    """Everything that ``ase-bmdal benchmark run`` has to be told.

    Attributes
    ----------
    data, test_data
        Names of the files.
    cutoff
        Å.
    initial, final, batch, valid, pool, test, labels
        As in `BenchmarkSettings`. The learning rates of the default recipe end at zero, so that with forces
        the last epoch serves as well as one that a validation set chooses, and every label can be trained on.
    selection, seeds
        One learning curve for each pair.
    recipe, warm_epochs
        How the potentials are trained. Most go on from the potential before for a quarter of the epochs, as the
        calculator does; with smaller batches, or larger sets, for fewer, so that a structure is learned from as often.
    """

    data: str
    test_data: str
    cutoff: float
    initial: int
    final: int
    batch: int
    valid: int
    selection: tuple[str, ...]
    seeds: tuple[int, ...]
    pool: int | None = None
    test: int | None = None
    labels: str | None = None
    recipe: Recipe = "default"
    warm_epochs: int | None = None


ASPIRIN = Experiment(
    data="aspirin_pool.npz",
    test_data="aspirin_test.npz",
    labels="md17",
    cutoff=4.0,
    initial=10,
    final=100,
    batch=10,
    valid=0,
    pool=5000,
    warm_epochs=75,
    selection=(
        RND,
        DIAGONAL_GP,
        "MAXDIAG + QBC(F)",
        DETERMINANT_GP,
        "MAXDET + GP(RP)",
        "MAXDIST + FEAT(LL)",
        LCMD,
        "LCMD + FEAT(RP)",
    ),
    seeds=(0, 1, 2),
)
FEW = replace(ASPIRIN, selection=(RND, DIAGONAL_GP, LCMD), seeds=(0,))
TIO2 = Experiment(
    data="tio2_pool.npz",
    test_data="tio2_test.npz",
    cutoff=6.5,
    initial=10,
    final=100,
    batch=10,
    valid=0,
    pool=6000,
    warm_epochs=75,
    selection=(RND, DIAGONAL_GP, DETERMINANT_GP, LCMD),
    seeds=(0, 1),
)
LMNTO = Experiment(
    data="lmnto_pool.npz",
    test_data="lmnto_test.npz",
    cutoff=6.5,
    initial=100,
    final=300,
    batch=25,
    valid=0,
    warm_epochs=75,
    selection=(RND, LCMD),
    seeds=(0,),
)
QM9 = Experiment(
    data="qm9_pool.npz",
    test_data="qm9_test.npz",
    cutoff=3.0,
    initial=1000,
    final=4000,
    batch=250,
    valid=500,
    pool=30000,
    warm_epochs=38,
    selection=(RND, LCMD),
    seeds=(0,),
)

EXPERIMENTS: Mapping[str, Experiment] = {
    "aspirin": ASPIRIN,
    "aspirin-batch-5": replace(FEW, batch=5, warm_epochs=38),
    "aspirin-batch-2": replace(FEW, batch=2, warm_epochs=15),
    "aspirin-from-scratch": replace(ASPIRIN, selection=(RND, LCMD), seeds=(0,), warm_epochs=None),
    "aspirin-paper-recipe": replace(
        ASPIRIN, batch=30, selection=(RND,), seeds=(0,), valid=500, recipe="paper", warm_epochs=None
    ),
    "aspirin-random-100": replace(ASPIRIN, initial=100, selection=(RND,), warm_epochs=None),
    "aspirin-random-100-committee": replace(
        ASPIRIN, initial=100, selection=("MAXDIAG + QBC(F)",), warm_epochs=None
    ),
    "tio2": TIO2,
    "tio2-250": replace(TIO2, final=250),
    "lmnto": LMNTO,
    "qm9": QM9,
}


def experiment(name: str) -> Experiment:
    """One of the experiments.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment: expected one of {', '.join(EXPERIMENTS)}; got {name!r}")
    return EXPERIMENTS[name]
