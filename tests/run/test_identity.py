import subprocess
import sys
from functools import partial

import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_bmdal.run.identity import identity_of


def origin(reference, initial=None):
    return identity_of(reference, initial)


def with_method(method):
    def reference():
        return LennardJones(method)

    return reference


class Plain:
    pass


def test_another_reference_has_another_fingerprint():
    references = [
        EMT,
        LennardJones,
        partial(LennardJones, rc=3),
        partial(LennardJones, rc=4),
        lambda: LennardJones(rc=3),
        lambda: LennardJones(rc=4),
        lambda rc=3: LennardJones(rc=rc),
        with_method("GFN1"),
        with_method("GFN2"),
    ]
    assert len({origin(reference)["reference"] for reference in references}) == len(references)


def test_the_same_reference_has_the_same_one():
    assert origin(with_method("GFN2")) == origin(with_method("GFN2"))
    assert origin(partial(LennardJones, Plain())) == origin(partial(LennardJones, Plain()))


@pytest.mark.parametrize(
    "reference",
    [
        "lambda x: x in {'a', 'b', 'c', 'd'}",
        "functools.partial(print, {'a', 'b', 'c', 'd'}, key=object())",
        "functools.partial(print, key=lambda: 0)",
    ],
)
def test_the_process_does_not_matter(reference):
    script = (
        "import functools; from ase_bmdal.run.identity import identity_of; "
        f"print(identity_of({reference}, None)['reference'])"
    )
    out = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12"
    }
    assert len(out) == 1


def test_initial_structures_count():
    water, other = molecule("H2O"), molecule("H2O")
    other.positions[0] += 1e-3
    assert origin(EMT, [water]) == origin(EMT, [water.copy()])
    assert len({origin(EMT, initial)["initial"] for initial in (None, [water], [other], [water] * 2)}) == 4
