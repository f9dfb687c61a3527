"""Models on disk: one ``.npz`` file of plain arrays and a JSON text, no pickle."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ase_bmdal.common.errors import ModelError
from ase_bmdal.common.files import write_atomically
from ase_bmdal.common.settings import plain
from ase_bmdal.potential.gmnn import GMNN, Committee, Potential
from ase_bmdal.potential.network import InputScaling
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.potential.uncertainty import Uncertainty

FORMAT = 2
OLDER = {1: {"envelope": "cosine", "shared": 0.0, "input_spread": None}}  # what older formats do not name


def save_model(path: Path, model: Potential, notes: dict[str, Any] | None = None) -> None:
    """Write a model in one step.

    Parameters
    ----------
    path
        Name of the file.
    model
        One network or a committee.
    notes
        What else to keep with it; anything JSON can hold.
    """
    first = model.members[0]
    header = {
        "format": FORMAT,
        "settings": plain(first.settings),
        "elements": list(first.elements),
        "n_members": len(model.members),
        "notes": notes or {},
    }
    arrays: dict[str, Any] = {}
    if model.uncertainty:
        numbers = dict(vars(model.uncertainty))
        posterior = numbers.pop("posterior")
        header["uncertainty"] = numbers
        if posterior is not None:
            arrays["posterior"] = posterior
    arrays["header"] = np.array(json.dumps(header))
    for index, member in enumerate(model.members):
        own = {
            **member.parameters,
            "atomic_energies": member.atomic_energies,
            "energy_scale": np.array(member.energy_scale),
            "input_mean": member.inputs.mean,
            "input_scale": np.array(member.inputs.scale),
        }
        arrays |= {f"{index}/{name}": value for name, value in own.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def read_model(path: Path) -> tuple[Potential, dict[str, Any]]:
    """Read a model and the notes kept with it.

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
    if "uncertainty" in header and header["format"] > 1:  # older ones are of the last layer
        model = model.with_uncertainty(Uncertainty(arrays.get("posterior"), **header["uncertainty"]))
    return model, header["notes"]


def _member(header: dict[str, Any], arrays: dict[str, Any], index: int) -> GMNN:
    prefix = f"{index}/"
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    atomic_energies, energy_scale = own.pop("atomic_energies"), float(own.pop("energy_scale"))
    settings = ModelSettings(**header["settings"])
    inputs = InputScaling.none(settings)
    if header["format"] > 1:
        inputs = InputScaling(own.pop("input_mean"), float(own.pop("input_scale")))
    return GMNN(settings, header["elements"], own, atomic_energies, energy_scale, inputs)
