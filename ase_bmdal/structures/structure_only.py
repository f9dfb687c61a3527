"""What of an Atoms object a label depends on."""

import json
from typing import Any

import numpy as np
from ase import Atoms

from ase_bmdal.structures.dialects import is_label, weights_in

ARRAYS = ("initial_magmoms", "initial_charges", "masses", "tags", "momenta")


def structure_only(atoms: Atoms, *, with_weights: bool = False) -> Atoms:
    """Copy without calculator, labels and constraints, with plain entries of ``info`` only.

    A label is the same with and without constraints, and a used calculator cannot be pickled. A label or a weight that
    ``info`` holds from a file belongs to the structure of the file, not to where a simulation has carried it.

    Parameters
    ----------
    atoms
        Any structure.
    with_weights
        Whether to keep the weights, as of a structure whose label they belong to.

    Returns
    -------
    Atoms
        Numbers, positions, cell, periodicity; where set, magnetic moments, charges, masses, tags, momenta.

    Raises
    ------
    TypeError
        If it is no structure.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"expected an ase.Atoms, got {type(atoms).__name__}")
    left_out = () if with_weights else weights_in(atoms.info)
    info = {
        key: value for key, value in plain_info(atoms).items() if key not in left_out and not is_label(key)
    }
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)
    for name in ARRAYS:
        if name in atoms.arrays:
            copy.set_array(name, atoms.arrays[name])
    return copy


def plain_info(atoms: Atoms) -> dict[str, Any]:
    """Entries of ``atoms.info`` that JSON can hold, such as charge and spin.

    Parameters
    ----------
    atoms
        Any structure.

    Returns
    -------
    dict
        NumPy scalars as Python numbers; everything else that JSON cannot hold is left out.
    """
    plain = {}
    for key, value in atoms.info.items():
        number = value.item() if isinstance(value, np.generic) else value
        if isinstance(key, str) and _json_holds(number):
            plain[key] = number
    return plain


def _json_holds(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
