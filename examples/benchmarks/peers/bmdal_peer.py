"""bmdal_reg 3.0.2 as the peer: selection from features in files. It needs `numpy.Inf`, which NumPy 2 has not."""

import argparse
import time
from typing import Any

import numpy as np
import torch
from exchange import Line

np.Inf = np.inf  # noqa: NPY201 - see above

from bmdal_reg.bmdal.algorithms import select_batch  # noqa: E402
from bmdal_reg.bmdal.feature_data import TensorFeatureData  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=("lcmd", "maxdist", "maxdet"))
    parser.add_argument("picks", type=int)
    wanted, line = parser.parse_args(), Line()
    arrays = {name: torch.from_numpy(np.load(f"{name}.npy")) for name in ("train", "pool")}
    data = {name: TensorFeatureData(array) for name, array in arrays.items()}

    def repetition() -> dict[str, Any]:
        start = time.perf_counter()
        picks, _ = select_batch(wanted.picks, [None], data, None, "linear", [], wanted.method, verbosity=0)
        return {"seconds": time.perf_counter() - start, "picks": picks.tolist()}

    line.serve(repetition)


if __name__ == "__main__":
    main()
