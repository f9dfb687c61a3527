import subprocess
import sys
from functools import partial

import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.run.identity import check_identity, identity_of

SCRIPT = """
METHOD, ECUT, SETTINGS = "GFN2", 400, {"xc": "PBE"}
CALLS, n_calls = {}, 0

def method():
    return METHOD

def helper():
    return method() or helper()

class Base:
    charge = 0

class Calculator(Base):
    grid = 0.2

    def __init__(self, smearing=0.1):
        self.kind = "metal"

    @staticmethod
    def spin():
        return "paired"

def reference():
    global n_calls
    n_calls += 1
    CALLS[n_calls] = object()
    return Calculator(helper(), ecut=ECUT, **SETTINGS)
"""


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


def of_script(text):
    names = {"__name__": "script"}
    exec(text, names)
    return names


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GFN2", "GFN1"),
        ("400", "200"),
        ("PBE", "LDA"),
        ("0.2", "0.3"),
        ("0.1", "0.2"),
        ("metal", "gas"),
        ("paired", "free"),
        ("= 0\n\n", "= 1\n\n"),
    ],
)
def test_what_a_name_of_the_module_stands_for_counts(old, new):
    before, now = (of_script(text)["reference"] for text in (SCRIPT, SCRIPT.replace(old, new)))
    assert origin(before) == origin(of_script(SCRIPT)["reference"])
    assert origin(before) != origin(now)


def test_where_files_lie_does_not_count():
    """Scratch folders have another name in each job."""
    script = "SCRATCH = {!r}\n\ndef reference():\n    return SCRATCH\n"
    found = [origin(of_script(script.format(each))["reference"]) for each in ("/tmp/1", "/tmp/2", "PBE/TZVP")]
    assert found[0] == found[1] != found[2]


def test_a_class_counts_with_what_is_in_it():
    before, now = (of_script(text)["Calculator"] for text in (SCRIPT, SCRIPT.replace("0.2", "0.3")))
    assert origin(before) != origin(now)


def test_what_a_reference_counts_is_no_setting():
    names = of_script(SCRIPT)
    before = origin(names["reference"])
    with pytest.raises(TypeError):
        names["reference"]()
    assert names["n_calls"] == 1
    assert origin(names["reference"]) == before


def test_a_function_around_a_function_counts():
    def nested(method):
        def helper():
            return method

        def reference():
            return helper()

        return reference

    assert origin(nested("GFN1")) != origin(nested("GFN2"))


def test_a_run_from_before_the_names_counted_is_accepted():
    former = {"reference": "EMT ed6ca8ac7a9f"}
    check_identity("run", former, {"reference": "EMT ed6ca8ac7a9f 0123456789ab"})
    with pytest.raises(RunFolderError, match="started with EMT ed6ca8ac7a9f"):
        check_identity("run", former, {"reference": "EMT 0123456789ab ed6ca8ac7a9f"})
