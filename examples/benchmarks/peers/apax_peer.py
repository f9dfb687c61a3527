"""apax 0.14 as the peer: force calls, training and features of a model of the size it is told."""

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apax.bal.api import compute_features, create_feature_fn
from apax.bal.feature_maps import FeatureMapOptions
from apax.data.input_pipeline import OTFInMemoryDataset
from apax.md import ASECalculator
from apax.train.checkpoints import canonicalize_energy_model_parameters, restore_parameters
from apax.utils.transform import make_energy_only_model
from ase import Atoms
from ase.io import read, write
from exchange import Line, replay

MODEL = Path("models/apax")

training = importlib.import_module("apax.train.run")  # the package hides it behind a function of its name


class Gate:
    """A callback of the training that lets one epoch pass for each line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def on_train_begin(self) -> None:
        self._line.wait()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._line.answer(seconds=logs["epoch_time"])
        self._line.wait()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda **_: None


def config(settings: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Of a model of the size of `settings`, a dump of our `ModelSettings`."""
    basis = {"name": "gaussian", "n_basis": settings["n_gaussians"]}
    basis |= {"r_min": settings["r_min"], "r_max": settings["cutoff"]}
    return {
        "n_epochs": other.get("epochs", 1),
        "data": {
            "directory": str(MODEL.parent),
            "experiment": MODEL.name,
            "train_data_path": "train.extxyz",
            "val_data_path": "valid.extxyz",
            "batch_size": other.get("batch", 1),
            "valid_batch_size": 1,
            "dataset": {"processing": other.get("dataset", "cached")},
        },
        "model": {
            "name": "gmnn",
            "basis": basis,
            "n_radial": settings["n_radial"],
            "n_contr": 8,
            "nn": list(settings["hidden"]),
            "calc_stress": other.get("stress", False),
        },
        "loss": [{"name": "energy"}, {"name": "forces", "weight": 4.0}],
        "progress_bar": {"disable_epoch_pbar": True},
    }


def train(structures: Sequence[Atoms], settings: dict[str, Any], **other: Any) -> None:
    write("train.extxyz", structures)
    write("valid.extxyz", structures[:1])
    training.run(config(settings, **other))


def force_call(line: Line, settings: dict[str, Any], stress: bool) -> None:
    train(read("labelled.extxyz", ":"), settings, stress=stress)
    frames, calculator = read("frames.extxyz", ":"), ASECalculator(MODEL)
    line.serve(lambda: {"seconds": replay(frames, calculator, stress)})


def train_by_epochs(line: Line, settings: dict[str, Any], epochs: int, batch: int, dataset: str) -> None:
    training.initialize_callbacks = lambda *_: Gate(line)
    train(read("labelled.extxyz", ":"), settings, epochs=epochs, batch=batch, dataset=dataset)


def features(line: Line, settings: dict[str, Any], feature_map: str) -> None:
    train(read("labelled.extxyz", ":"), settings)
    frames = read("frames.extxyz", ":")
    loaded, params = restore_parameters(MODEL)
    builder = loaded.model.get_builder()(loaded.model.model_dump(), n_species=119)
    model = builder.build_energy_model(apply_mask=True, init_box=frames[0].cell.array)
    function = create_feature_fn(
        make_energy_only_model(model.apply),
        canonicalize_energy_model_parameters(params),
        FeatureMapOptions({"name": feature_map}),
    )

    def repetition() -> dict[str, Any]:
        start = time.perf_counter()
        data = OTFInMemoryDataset(
            frames, cutoff=settings["cutoff"], bs=64, n_epochs=1, ignore_labels=True
        )  # as apax selects
        compute_features(function, data)
        return {"seconds": time.perf_counter() - start}

    line.serve(repetition)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("force-call", "train", "features"))
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("--stress", action="store_true")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--dataset", default="cached")
    parser.add_argument("--map", choices=("ll_grad", "full_grad_rp"))
    wanted, line = parser.parse_args(), Line()
    if wanted.what == "force-call":
        force_call(line, wanted.settings, wanted.stress)
    elif wanted.what == "train":
        train_by_epochs(line, wanted.settings, wanted.epochs, wanted.batch, wanted.dataset)
    else:
        features(line, wanted.settings, wanted.map)


if __name__ == "__main__":
    main()
