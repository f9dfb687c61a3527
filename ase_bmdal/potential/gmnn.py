"""The Gaussian-moment neural network as a potential, and committees of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ase import Atoms
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_bmdal.potential.descriptor import gaussian_moments, invariants
from ase_bmdal.potential.gradients import BatchTensors, Evaluation, compiled_evaluate
from ase_bmdal.potential.network import InputScaling
from ase_bmdal.potential.settings import ModelSettings, Precision
from ase_bmdal.structures.batch import Batch, batches
from ase_bmdal.structures.labels import Label

ATOMS_PER_BATCH = 1024


class GMNN:
    """One network with its parameters; never changes after it is made.

    Parameters
    ----------
    settings
        Architecture.
    elements
        Atomic numbers it knows, ascending.
    parameters
        As `initial_parameters` makes them.
    atomic_energies
        Energy of a free atom of each element as the linear regression of the energies on the composition gives it,
        eV, float64, [n_species]. Kept apart so that large energies cost no accuracy.
    energy_scale
        `c` of eq. 4, eV.
    inputs
        How the invariants are scaled for the network; None for not at all.
    baseline
        A structure with the result of the baseline, if the network was trained on the difference to one, which
        `predict` gives; `with_baseline` makes it the sum.
    """

    def __init__(
        self,
        settings: ModelSettings,
        elements: Sequence[int],
        parameters: Mapping[str, NDArray[np.floating]],
        atomic_energies: NDArray[np.float64],
        energy_scale: float,
        inputs: InputScaling | None = None,
        baseline: Atoms | None = None,
    ) -> None:
        self.settings = settings
        self.elements = tuple(int(element) for element in elements)
        self.parameters = dict(parameters)
        self.atomic_energies = np.asarray(atomic_energies, dtype=np.float64)
        self.energy_scale = float(energy_scale)
        self.inputs = inputs or InputScaling.none(settings)
        self.baseline = baseline

    @property
    def members(self) -> tuple["GMNN", ...]:
        """The networks that predict together: this one."""
        return (self,)

    @cached_property
    def tensors(self) -> dict[str, tf.Tensor]:
        """Parameters, and the fixed scales and atomic numbers, as TensorFlow has them."""
        fixed = {
            "energy_scale": np.asarray(self.energy_scale),
            "input_mean": self.inputs.mean,
            "input_scale": np.asarray(self.inputs.scale),
            "numbers": np.asarray(self.elements),
        }
        values = {**self.parameters, **fixed}
        return {name: tf.constant(value, self.settings.dtype) for name, value in values.items()}

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: all but the tensors."""
        return {name: value for name, value in self.__dict__.items() if name != "tensors"}

    def __repr__(self) -> str:
        elements = " ".join(chemical_symbols[number] for number in self.elements)
        return f"GMNN({elements}; cutoff {self.settings.cutoff} Å, {self.settings.dtype})"

    def with_parameters(self, parameters: Mapping[str, NDArray[np.floating]]) -> "GMNN":
        """The same network with other parameters."""
        return self._with(parameters=parameters)

    def with_inputs(self, inputs: InputScaling) -> "GMNN":
        """The same parameters behind other inputs, which is another potential."""
        return self._with(inputs=inputs)

    def of_difference(self, baseline: Atoms | None) -> "GMNN":
        """The same network, said to be trained on the difference to a baseline known by this result, or to none."""
        return self._with(baseline=baseline)

    def with_dtype(self, dtype: Precision) -> "GMNN":
        """The same network, computed with in another precision."""
        settings = replace(self.settings, dtype=dtype)
        parameters = {name: value.astype(dtype) for name, value in self.parameters.items()}
        return self._with(settings=settings, parameters=parameters)

    def _with(self, **changes: Any) -> "GMNN":
        kept = {name: value for name, value in self.__dict__.items() if name != "tensors"}
        return GMNN(**{**kept, **changes})

    def predict(self, structures: Sequence[Atoms]) -> list[Label]:
        """Energies, forces and, for cells periodic in three directions, stresses.

        Parameters
        ----------
        structures
            Any mixture of molecules, wires, slabs and crystals.

        Returns
        -------
        list of Label
            One per structure, in their order.

        Raises
        ------
        UnknownElementError, ValueError
            If a structure has an element the model does not know, or no neighbour list.
        """
        labels: dict[int, Label] = {}
        cutoff, dtype = self.settings.cutoff, self.settings.numpy_dtype
        for members, batch in batches(structures, self.elements, cutoff, dtype, ATOMS_PER_BATCH):
            evaluation = compiled_evaluate(self.settings, batch.shape)(self.tensors, arrays_of(batch))
            labels.update(zip(members, self._labels(batch, evaluation), strict=True))
        return [labels[index] for index in range(len(structures))]

    def save(self, path: str | Path) -> None:
        """Write the model to one file, without pickle, in one step.

        Raises
        ------
        OSError
            If the file cannot be written; an older one stays as it was.
        """
        from ase_bmdal.potential.files import save_model

        save_model(Path(path), self)

    def _labels(self, batch: Batch, evaluation: Evaluation) -> list[Label]:
        energies, forces, virials = (np.asarray(array, dtype=np.float64) for array in evaluation)
        free = self.atomic_energies[batch.species]
        return [
            Label(float(energy.sum() + base.sum()), force, stress_of(virial, volume))
            for energy, base, force, virial, volume in zip(
                batch.split(energies),
                batch.split(free),
                batch.split(forces),
                virials,
                batch.volumes,
                strict=False,
            )
        ]


class Committee:
    """Several networks of one architecture trained on the same labels; predicts their mean.

    Parameters
    ----------
    members
        At least two.
    """

    def __init__(self, members: Sequence[GMNN]) -> None:
        if len(members) < 2:
            raise ValueError(f"expected a committee of at least two networks, got {len(members)}")
        self.members = tuple(members)
        self.settings = members[0].settings
        self.elements = members[0].elements
        self.baseline = members[0].baseline

    def __repr__(self) -> str:
        return f"Committee({len(self.members)} × {self.members[0]})"

    def of_difference(self, baseline: Atoms | None) -> "Committee":
        """As `GMNN.of_difference`."""
        return Committee([member.of_difference(baseline) for member in self.members])

    def with_dtype(self, dtype: Precision) -> "Committee":
        """The same networks, computed with in another precision."""
        return Committee([member.with_dtype(dtype) for member in self.members])

    def predict(self, structures: Sequence[Atoms]) -> list[Label]:
        """Mean over the members; as `GMNN.predict`."""
        return [mean_label(labels) for labels in self.predict_each(structures)]

    def predict_each(self, structures: Sequence[Atoms]) -> list[list[Label]]:
        """What every member says of every structure: a list over structures of lists over members."""
        return [list(labels) for labels in zip(*(m.predict(structures) for m in self.members), strict=True)]

    def save(self, path: str | Path) -> None:
        """As `GMNN.save`."""
        from ase_bmdal.potential.files import save_model

        save_model(Path(path), self)


Potential = GMNN | Committee


def mean_label(labels: Sequence[Label]) -> Label:
    """Mean of the energies, forces and stresses of several predictions for one structure."""

    def mean(arrays: list[Any]) -> Any:
        return None if arrays[0] is None else np.mean(arrays, axis=0)

    energy = float(np.mean([label.energy for label in labels]))
    return Label(energy, mean([label.forces for label in labels]), mean([label.stress for label in labels]))


def atomic_invariants(model: GMNN, structures: Sequence[Atoms]) -> NDArray[np.floating]:
    """Invariants `G_i` of all atoms of structures, before they are scaled, [n_atoms, n_invariants]."""
    settings = model.settings
    rows = []
    for _, batch in batches(
        structures, model.elements, settings.cutoff, settings.numpy_dtype, ATOMS_PER_BATCH
    ):
        moments = gaussian_moments(model.tensors["beta"], *arrays_of(batch).environments, settings)
        rows += batch.split(invariants(moments).numpy())
    return np.concatenate(rows)


def arrays_of(batch: Batch) -> BatchTensors:
    """A batch as tensors."""
    return BatchTensors(*(tf.constant(getattr(batch, name)) for name in BatchTensors._fields))


def stress_of(virial: NDArray[np.float64], volume: float) -> NDArray[np.float64] | None:
    """`stress = virial / V` in Voigt order; None without a volume."""
    return full_3x3_to_voigt_6_stress(virial / volume) if volume > 0 else None
