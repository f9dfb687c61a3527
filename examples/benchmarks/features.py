"""Gradient features of a pool, neighbour lists included: FEAT(LL) and FEAT(RP)."""

import statistics
from functools import partial
from typing import get_args

from common import announce, apax, frames_of, in_turns, parser, ratio, row, same_size, seconds_of, table

from ase_bmdal import gradient_features, train
from ase_bmdal.features.gradient_features import FeatureMap

PEER_MAPS: dict[FeatureMap, str] = {"LL": "ll_grad", "RP": "full_grad_rp"}


def main() -> None:
    options = parser(__doc__, data=True, peer="apax")
    options.add_argument("--aspirin", type=int, default=2000, help="frames (%(default)s)")
    options.add_argument("--tio2", type=int, default=500, help="frames (%(default)s)")
    wanted = options.parse_args()
    announce("Features of a pool", wanted.peer_python, has_peer=True)
    table("pool", "features", "ours, s", "apax, s", "apax / ours")
    for name, cutoff, n in (("aspirin", 4.0, wanted.aspirin), ("tio2", 6.5, wanted.tio2)):
        settings, pool = same_size(cutoff), frames_of(wanted.data, f"{name}_pool", n)
        labelled = pool[:4]
        model = train(labelled, epochs=1, architecture=settings)
        for feature_map in get_args(FeatureMap):
            ours = partial(seconds_of, partial(gradient_features, model, pool, feature_map))
            with apax(
                wanted.peer_python, "features", settings, "--map", PEER_MAPS[feature_map],
                labelled=labelled, frames=pool,
            ) as ask:  # fmt: skip
                mine, theirs = in_turns(wanted.repeats, ours, ask)
            medians = statistics.median(mine), statistics.median(theirs)
            row(f"{name}, {n}", f"FEAT({feature_map})", *medians, ratio(mine, theirs))


if __name__ == "__main__":
    main()
