"""Models on disk: one ``.npz`` file of plain arrays and a JSON text, no pickle."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.common.errors import ModelError
from ase_bmdal.common.files import write_atomically
from ase_bmdal.common.settings import plain
from ase_bmdal.potential.gmnn import GMNN, Committee, Potential
from ase_bmdal.potential.network import InputScaling
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.labels import Label, label_of

FORMAT = 4  # 4 knows of a baseline
BASELINE = "baseline_"
OLDER = {1: {"envelope": "cosine", "shared": 0.0, "input_spread": None}}  # what older formats do not name


def save_model(
    path: Path,
    model: Potential,
    notes: dict[str, Any] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a model in one step.

    Parameters
    ----------
    path
        Name of the file.
    model
        One network or a committee.
    notes
        What else to keep with it; anything JSON can hold.
    arrays
        Arrays to keep with it, by name.
    """
    first = model.members[0]
    header = {
        "format": FORMAT,
        "settings": plain(first.settings),
        "elements": list(first.elements),
        "n_members": len(model.members),
        "notes": notes or {},
    }
    content: dict[str, Any] = {**(arrays or {}), "header": np.array(json.dumps(header))}
    if first.baseline is not None:
        content |= {f"{BASELINE}{name}": value for name, value in _arrays_of(first.baseline).items()}
    for index, member in enumerate(model.members):
        own = {
            **member.parameters,
            "atomic_energies": member.atomic_energies,
            "energy_scale": np.array(member.energy_scale),
            "input_mean": member.inputs.mean,
            "input_scale": np.array(member.inputs.scale),
        }
        content |= {f"{index}/{name}": value for name, value in own.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **content)
    write_atomically(path, buffer.getvalue())


def read_model(path: Path) -> tuple[Potential, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a model, and the notes and the arrays kept with it.

    Raises
    ------
    ModelError
        If there is no such file, it is not a model, or a newer version wrote it.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = dict(file)
        header = json.loads(str(arrays["header"]))
    except FileNotFoundError:
        raise ModelError(f"expected a model file, found nothing at {path}") from None
    except OSError as error:
        raise ModelError(f"expected a model file at {path}, could not read it: {error}") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"expected a model file of ase_bmdal at {path}, it is none or damaged") from error
    if header.get("format", FORMAT + 1) > FORMAT:
        raise ModelError(
            f"{path} was written by a newer version of ase_bmdal (format {header.get('format')})"
        )
    header["settings"] |= OLDER.get(header["format"], {})
    members = [_member(header, arrays, index) for index in range(header["n_members"])]
    model: Potential = members[0] if len(members) == 1 else Committee(members)
    baseline = {
        name.removeprefix(BASELINE): arrays.pop(name) for name in list(arrays) if name.startswith(BASELINE)
    }
    if baseline:
        model = model.of_difference(_labelled(baseline))
    if header["format"] == 2 and "uncertainty" in header:  # the one before is of the last layer
        header["notes"]["error_model"] = header["uncertainty"]
    return model, header["notes"], {name: value for name, value in arrays.items() if "/" not in name}


def _arrays_of(labelled: Atoms) -> dict[str, NDArray[Any]]:
    geometry = {name: getattr(labelled, name) for name in ("numbers", "positions", "pbc")}
    label = {name: np.asarray(value) for name, value in label_of(labelled).values.items()}
    return {**geometry, "cell": labelled.cell.array, **label}


def _labelled(arrays: dict[str, NDArray[Any]]) -> Atoms:
    atoms = Atoms(**{name: arrays[name] for name in ("numbers", "positions", "pbc", "cell")})
    label = Label(float(arrays["energy"]), arrays["forces"], arrays.get("stress"))
    return label.attach(atoms)


def _member(header: dict[str, Any], arrays: dict[str, Any], index: int) -> GMNN:
    prefix = f"{index}/"
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    atomic_energies, energy_scale = own.pop("atomic_energies"), float(own.pop("energy_scale"))
    settings = ModelSettings(**header["settings"])
    inputs = InputScaling.none(settings)
    if header["format"] > 1:
        inputs = InputScaling(own.pop("input_mean"), float(own.pop("input_scale")))
    return GMNN(settings, header["elements"], own, atomic_energies, energy_scale, inputs)
