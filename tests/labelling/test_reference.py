import functools
import subprocess
import sys
import textwrap
import threading

import pytest
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.reference import capture

lock = threading.Lock()


class Factory:
    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __call__(self):
        return EMT(asap_cutoff=self.cutoff)


def with_global():
    return lock and EMT()


@pytest.mark.parametrize(
    "reference",
    [EMT, functools.partial(EMT, asap_cutoff=True), Factory(cutoff=True), lambda: EMT(asap_cutoff=True)],
    ids=["class", "partial", "instance", "lambda"],
)
def test_round_trip(reference):
    assert isinstance(capture(reference).load().reference(), EMT)


def test_same_digest_for_the_same_reference():
    assert capture(EMT).digest == capture(EMT).digest
    assert capture(EMT).digest != capture(functools.partial(EMT, asap_cutoff=True)).digest


def test_calculator_instead_of_a_factory():
    with pytest.raises(TypeError, match=r"callable that makes an ASE calculator.*got an object of class EMT"):
        capture(EMT())


def _nested():
    inner = lock
    return lambda: inner and EMT()


@pytest.mark.parametrize(
    ("reference", "culprit"),
    [
        (Factory(cutoff=False, guard=lock), "'guard'"),
        (functools.partial(EMT, guard=lock), "'guard'"),
        (_nested(), "'inner'"),
    ],
    ids=["attribute", "argument", "closure"],
)
def test_what_cannot_be_sent_is_named(reference, culprit):
    with pytest.raises(LabellingError, match=f"cannot be sent.*{culprit}, which cannot be pickled"):
        capture(reference)


def _run(code, folder):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_module_next_to_the_script_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("from ase.calculators.emt import EMT\ndef make(): return EMT()\n")
    made = _run(
        """
        import pickle, sys, mine
        from ase_bmdal.labelling.reference import capture
        sys.stdout.write(pickle.dumps(capture(mine.make)).hex())
        """,
        tmp_path,
    )
    assert not made.stderr
    loaded = _run(
        f"""
        import pickle
        print(type(pickle.loads(bytes.fromhex("{made.stdout}")).load().reference()).__name__)
        """,
        tmp_path.parent,
    )
    assert loaded.stdout == "EMT\n", loaded.stderr


def test_module_that_only_exists_in_the_driver_travels_by_value(tmp_path):
    made = _run(
        """
        import pickle, sys, types
        from ase_bmdal.labelling.reference import capture
        module = types.ModuleType("conjured")
        exec("from ase.calculators.emt import EMT\\ndef make(): return EMT()", module.__dict__)
        sys.modules["conjured"] = module
        sys.stdout.write(pickle.dumps(capture(module.make)).hex())
        """,
        tmp_path,
    )
    assert not made.stderr
    loaded = _run(
        f"""
        import pickle
        print(type(pickle.loads(bytes.fromhex("{made.stdout}")).load().reference()).__name__)
        """,
        tmp_path,
    )
    assert loaded.stdout == "EMT\n", loaded.stderr
