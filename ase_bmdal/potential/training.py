"""Training on labelled structures, from scratch or going on from a model."""

from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms

from ase_bmdal.common.randomness import stream
from ase_bmdal.potential.dataset import Dataset
from ase_bmdal.potential.fit import OnEpoch, fit
from ase_bmdal.potential.gmnn import GMNN, Committee, Potential
from ase_bmdal.potential.network import initial_parameters
from ase_bmdal.potential.regression import first_model, fit_reference, rebase, scale_of_forces
from ase_bmdal.potential.repulsion import repulsion_energy
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.structures.labels import labels_of


def train(
    structures: Sequence[Atoms],
    *,
    valid: Sequence[Atoms] | float | None = None,
    cutoff: float | None = None,
    epochs: int | None = None,
    seed: int = 0,
    model: Potential | None = None,
    n_models: int | None = None,
    architecture: ModelSettings | None = None,
    training: TrainingSettings | None = None,
    on_epoch: OnEpoch | None = None,
) -> Potential:
    """Train a potential on labelled structures (paper, section 2.2).

    Parameters
    ----------
    structures
        Labelled with energies, and forces and stresses where there are any. Sizes, elements, molecules and crystals
        may be mixed.
    valid
        Labelled structures that choose the best epoch and are not trained on, or the fraction of `structures` to
        hold out for that. None trains on everything and keeps the last epoch.
    cutoff
        `r_max`, Å; overrides that of `architecture`.
    epochs
        Overrides that of `training`.
    seed
        Same seed, same machine, same potential.
    model
        Potential to go on from, instead of random weights. Its architecture is kept; elements it does not know are
        added.
    n_models
        Number of networks; more than one makes a `Committee`.
    architecture, training
        Further settings.
    on_epoch
        Called after every epoch.

    Raises
    ------
    ValueError
        If there are no structures, one has no label, or arguments contradict each other.
    TrainingError
        If the loss of a structure is not a number; names it.
    """
    settings = architecture_for(cutoff, architecture, model)
    how = training or TrainingSettings()
    how = how if epochs is None else replace(how, epochs=epochs)
    starts: Sequence[GMNN | None] = model.members if model else [None] * (n_models or 1)
    if n_models not in (None, len(starts)):
        raise ValueError(f"expected a model of {n_models} networks to go on from, got one of {len(starts)}")
    train_set, valid_set = split(structures, valid, seed)
    labels = labels_of(train_set)
    known = model.elements if model else ()
    pairs = zip(train_set, labels, strict=True)
    energies = [label.energy - repulsion_energy(atoms, settings) for atoms, label in pairs]
    reference = fit_reference(train_set, energies, known, scale_of_forces(labels, how.force_length))
    data = Dataset(train_set, labels, reference, settings, how)
    held_out = Dataset(valid_set, labels_of(valid_set), reference, settings, how) if valid_set else None
    members = []
    for index, start in enumerate(starts):
        rng = stream(seed, "train", index)
        fresh = initial_parameters(settings, len(reference.elements), rng)
        network = (
            rebase(start, reference, fresh) if start else first_model(settings, reference, fresh, train_set)
        )
        members.append(fit(network, data, held_out, how, rng, on_epoch))
    return members[0] if len(members) == 1 else Committee(members)


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
    n_valid = round(valid * len(everything))
    order = stream(seed, "valid").permutation(len(everything))
    held_out = set(order[:n_valid].tolist())
    return (
        [atoms for index, atoms in enumerate(everything) if index not in held_out],
        [everything[index] for index in sorted(held_out)],
    )
