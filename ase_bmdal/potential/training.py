"""Training on labelled structures, from scratch or going on from a model."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from ase import Atoms

from ase_bmdal.baseline.baseline import Baseline, OneOrMore
from ase_bmdal.common.randomness import stream
from ase_bmdal.potential.dataset import Dataset
from ase_bmdal.potential.fit import OnEpoch, fit
from ase_bmdal.potential.gmnn import GMNN, Committee, Potential
from ase_bmdal.potential.network import initial_parameters
from ase_bmdal.potential.regression import first_model
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.potential.with_baseline import (
    WithBaseline,
    differences,
    network_of,
    refuse_free_atoms,
    with_baseline,
)
from ase_bmdal.potential.zero import going_on, reference_for
from ase_bmdal.structures.dialects import LabelKeys
from ase_bmdal.structures.free_atoms import with_weight_on_isolated
from ase_bmdal.structures.labels import labels_of, level_of, summary
from ase_bmdal.structures.outliers import outliers, worst

log = logging.getLogger(__name__)


@overload
def train(structures: Sequence[Atoms], *, baseline: None = None, **how: Any) -> Potential: ...
@overload
def train(structures: Sequence[Atoms], *, baseline: OneOrMore, **how: Any) -> WithBaseline: ...
def train(  # type: ignore[misc] # the first two leave out what does not matter for what is returned
    structures: Sequence[Atoms],
    *,
    valid: Sequence[Atoms] | float | None = None,
    cutoff: float | None = None,
    epochs: int | None = None,
    seed: int = 0,
    model: Potential | WithBaseline | None = None,
    n_models: int | None = None,
    baseline: OneOrMore | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    atomic_energies: Mapping[str, float] | None = None,
    architecture: ModelSettings | None = None,
    training: TrainingSettings | None = None,
    on_epoch: OnEpoch | None = None,
    name_outliers: bool = True,
) -> Potential | WithBaseline:
    """Train a potential on labelled structures (paper, section 2.2).

    Parameters
    ----------
    structures
        Labelled with energies, and forces and stresses where there are any. Sizes, elements, molecules and crystals
        may be mixed. ``config_weight``, ``energy_weight``, ``force_weight`` and ``stress_weight`` in their ``info``
        multiply the weights of the loss.
    valid
        Labelled structures that choose the best epoch and are not trained on, or the fraction of `structures` to
        hold out for that, at least one of several and not all. None trains on everything and keeps the last epoch.
    cutoff
        `r_max`, Å; overrides that of `architecture`.
    epochs
        Overrides that of `training`.
    seed
        Same seed, same machine, same potential.
    model
        Potential to go on from, instead of random weights. Its architecture is kept; elements it does not know are
        added. It may have been trained on another level of theory: its zero of energy becomes that of the labels.
    n_models
        Number of networks; more than one makes a `Committee`.
    baseline
        Function, class or `functools.partial` that makes the ASE calculator of a cheap method, or several, whose sum
        counts: the difference to it is learned, and the potential is their sum. Computed for each structure once.
    energy_key, forces_key, stress_key
        Names of the labels, where they are none of the known ones (``energy``, ``REF_forces``, ``dft_virial`` ...).
    atomic_energies
        Energy of a free atom of each element, eV, such as ``{"H": -13.6}``: decides what the labels leave open, as how
        the energy of one composition is split among its elements. Isolated atoms among the labels say the same.
    architecture, training
        Further settings.
    on_epoch
        Called after every epoch.
    name_outliers
        Whether labels far from their like are logged as warnings, and what was found, with the largest errors after
        training, as information.

    Raises
    ------
    ValueError
        If there are no structures, one has no label, or arguments contradict each other.
    TrainingError
        If the loss of a structure is not a number; names it.
    BaselineError
        If the baseline gives no result for a structure.
    """
    start, method = _start(model, baseline)
    refuse_free_atoms(atomic_energies, method)
    settings = architecture_for(cutoff, architecture, start)
    how = training or TrainingSettings()
    how = how if epochs is None else replace(how, epochs=epochs)
    starts: Sequence[GMNN | None] = start.members if start else [None] * (n_models or 1)
    if n_models not in (None, len(starts)):
        raise ValueError(f"expected a model of {n_models} networks to go on from, got one of {len(starts)}")
    keys = LabelKeys(energy_key, forces_key, stress_key)
    given = list(structures)
    train_set, valid_set = split(given, valid, seed)
    labels, valid_labels = labels_of(train_set, keys), labels_of(valid_set, keys) if valid_set else []
    if valid_labels and level_of(valid_labels) != level_of(labels):
        raise ValueError(
            f"valid: expected labels of one level with those to train on, got {summary(valid_labels)}"
        )
    if method:
        known, (labels, valid_labels) = differences(method, (train_set, labels), (valid_set, valid_labels))
    if name_outliers:
        log.info("training on %s", summary(labels))
        _log(logging.WARNING, "structure %d: %s", outliers(train_set, labels), given, train_set)
    reference = reference_for(train_set, labels, settings, how, start, atomic_energies)
    data = Dataset(train_set, with_weight_on_isolated(train_set, labels), reference, settings, how)
    held_out = Dataset(valid_set, valid_labels, reference, settings, how) if valid_set else None
    members = []
    for index, member in enumerate(starts):
        rng = stream(seed, "train", index)
        fresh = initial_parameters(settings, len(reference.elements), rng)
        network = (
            going_on(member, reference, fresh, train_set, labels)
            if member
            else first_model(settings, reference, fresh, train_set)
        )
        members.append(fit(network, data, held_out, how, rng, on_epoch))
    trained: Potential = members[0] if len(members) == 1 else Committee(members)
    if name_outliers:
        errors = worst(train_set, trained.predict(train_set), labels)
        _log(logging.INFO, "largest errors: structure %d, %s", errors, given, train_set)
    return WithBaseline(trained.of_difference(known), method) if method else trained


def _start(
    model: Potential | WithBaseline | None, baseline: OneOrMore | None
) -> tuple[Potential | None, Baseline | None]:
    """The network to go on from, and the baseline, which may be that of the model."""
    given = None if baseline is None else Baseline(baseline)
    if model is None:
        return None, given
    whole = with_baseline(model, given)
    return network_of(whole), whole.baseline if isinstance(whole, WithBaseline) else None


def _log(
    level: int, text: str, found: Mapping[int, str], structures: Sequence[Atoms], train_set: Sequence[Atoms]
) -> None:
    """Log what was found in the training set, at the places of all structures that were given."""
    places = {id(atoms): place for place, atoms in enumerate(structures)}
    for index, what in found.items():
        log.log(level, text, places[id(train_set[index])], what)


def architecture_for(
    cutoff: float | None, architecture: ModelSettings | None, model: Potential | None
) -> ModelSettings:
    """The architecture that was asked for, or that of the model to go on from.

    Raises
    ------
    ValueError
        If the two contradict each other.
    """
    settings = architecture or (model.settings if model else ModelSettings())
    settings = settings if cutoff is None else replace(settings, cutoff=cutoff)
    if model and settings != model.settings:
        raise ValueError(
            f"expected the architecture of the model to go on from, {model.settings}, got {settings}"
        )
    return settings


def split(
    structures: Sequence[Atoms], valid: Sequence[Atoms] | float | None, seed: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Structures to train on and structures to validate with; arguments as of `train`."""
    everything = list(structures)
    if valid is None:
        return everything, []
    if not isinstance(valid, int | float):
        return everything, list(valid)
    if not 0 <= valid < 1:
        raise ValueError(f"expected a fraction of structures for validation in [0, 1), got {valid}")
    n_valid = min(max(1, round(valid * len(everything))), len(everything) - 1) if valid else 0
    order = stream(seed, "valid").permutation(len(everything))
    held_out = set(order[:n_valid].tolist())
    return (
        [atoms for index, atoms in enumerate(everything) if index not in held_out],
        [everything[index] for index in sorted(held_out)],
    )
