"""A potential of the difference to a baseline, together with the baseline."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal.baseline.baseline import Baseline, OneOrMore, difference
from ase_bmdal.common.errors import ModelError
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.settings import Precision
from ase_bmdal.structures.labels import Label, label_of, labels_of

GIVE_IT = "give the function that makes its calculator as baseline="


class WithBaseline:
    """Baseline and network: what the network says is added to what the baseline says.

    Parameters
    ----------
    network
        Trained on the difference.
    baseline
        What it is the difference to.

    Attributes
    ----------
    elements, settings, members
        Of the network.
    """

    def __init__(self, network: Potential, baseline: Baseline) -> None:
        self.network, self.baseline = network, baseline
        self.elements, self.settings, self.members = network.elements, network.settings, network.members

    def __repr__(self) -> str:
        return f"WithBaseline({self.network}, {self.baseline.make})"

    def with_dtype(self, dtype: Precision) -> "WithBaseline":
        """The same, the network computed with in another precision."""
        return WithBaseline(self.network.with_dtype(dtype), self.baseline)

    def predict(self, structures: Sequence[Atoms]) -> list[Label]:
        """Energies, forces and, for fully periodic cells, stresses; as `GMNN.predict`.

        Raises
        ------
        BaselineError
            If the baseline gives no result.
        UnknownElementError, ValueError
            As `GMNN.predict`.
        """
        found = self.network.predict(structures)
        return [
            label.plus(self.baseline.label(atoms)) for label, atoms in zip(found, structures, strict=True)
        ]

    def differences(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """Labelled structures with what the network learns as their labels.

        Raises
        ------
        ValueError
            If one has no label.
        BaselineError
            If the baseline gives no result.
        """
        _, (found,) = differences(self.baseline, (structures, labels_of(structures)))
        return [label.attach(atoms) for label, atoms in zip(found, structures, strict=True)]

    def save(self, path: str | Path) -> None:
        """Write the network, and a structure by which the baseline is known again; as `GMNN.save`."""
        self.network.save(path)


def with_baseline(
    model: Potential | WithBaseline, baseline: OneOrMore | Baseline | None
) -> Potential | WithBaseline:
    """A potential with the baseline it was trained on the difference to, if there is one.

    Parameters
    ----------
    model
        A network, or one with its baseline.
    baseline
        That of a network; None for none, or that of the model.

    Raises
    ------
    ModelError
        If it needs a baseline and none is given, or needs none, or another.
    BaselineError
        If the baseline gives no result for the structure it is known by.
    """
    if isinstance(model, WithBaseline) and baseline is None:
        return model
    network = network_of(model)
    known = network.baseline
    if known is None and baseline is None:
        return network
    if known is None:
        raise ModelError("baseline: expected none, as the potential was trained without one")
    if baseline is None:
        raise ModelError(
            f"expected the baseline that the potential was trained on the difference to: {GIVE_IT}"
        )
    found = baseline if isinstance(baseline, Baseline) else Baseline(baseline)
    if different := difference(label_of(known), found.label(known)):
        raise ModelError(
            "baseline: expected the one that the potential was trained on the difference to, got another: for "
            f"{known.get_chemical_formula()} {different}"
        )
    return WithBaseline(network, found)


def refuse_free_atoms(atomic_energies: Mapping[str, float] | None, baseline: Baseline | None) -> None:
    """Refuse energies of free atoms of the reference: those of the difference are others.

    Raises
    ------
    ValueError
        If there are some.
    """
    if baseline is not None and atomic_energies is not None:
        raise ValueError(
            "atomic_energies: expected none with a baseline, got some; give isolated atoms among the labelled "
            "structures instead"
        )


def network_of(potential: Potential | WithBaseline) -> Potential:
    """The network of a potential."""
    return potential.network if isinstance(potential, WithBaseline) else potential


Labelled = tuple[Sequence[Atoms], Sequence[Label]]


def differences(baseline: Baseline, *sets: Labelled) -> tuple[Atoms, list[list[Label]]]:
    """What a network is trained on.

    Parameters
    ----------
    baseline
        What is subtracted.
    sets
        Structures and their labels.

    Returns
    -------
    tuple
        The smallest structure with what the baseline says of it, and the differences of each set.

    Raises
    ------
    BaselineError
        If the baseline gives no result for a structure.
    """
    found = [[baseline.label(atoms) for atoms in structures] for structures, _ in sets]
    known = known_by([atoms for structures, _ in sets for atoms in structures], list(chain(*found)))
    return known, [
        [label.minus(theirs) for label, theirs in zip(labels, of_set, strict=True)]
        for (_, labels), of_set in zip(sets, found, strict=True)
    ]


def known_by(structures: Sequence[Atoms], labels: Sequence[Label]) -> Atoms:
    """The smallest of some structures, with what the baseline says of it."""
    atoms, label = min(zip(structures, labels, strict=True), key=lambda pair: len(pair[0]))
    known = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    known.calc = SinglePointCalculator(known, **label.values)
    return known
