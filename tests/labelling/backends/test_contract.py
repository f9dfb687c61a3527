"""Every backend keeps the same promises, see `contract`."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.labelling.backends.contract import PROMISES

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
N_WORKERS = 2


def thread_pool(folder):
    return ThreadPoolExecutor(N_WORKERS)


def process_pool(folder):
    return ProcessPoolExecutor(N_WORKERS, mp_context=multiprocessing.get_context("spawn"))


@contextlib.contextmanager
def loky(folder):
    executor = pytest.importorskip("loky").ProcessPoolExecutor(N_WORKERS)
    yield executor
    executor.shutdown(kill_workers=True)


@contextlib.contextmanager
def dask(folder):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None, local_directory=folder
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def parsl(folder):
    pytest.importorskip("parsl")
    from parsl.concurrent import ParslPoolExecutor
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    engine = HighThroughputExecutor(
        max_workers_per_node=N_WORKERS,
        address="127.0.0.1",
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    # Its log file would stay open after its end.
    settings = Config(executors=[engine], run_dir=str(folder), initialize_logging=False)
    with ParslPoolExecutor(settings) as executor:
        yield executor


@contextlib.contextmanager
def executorlib(folder):
    engine = pytest.importorskip("executorlib")
    with engine.SingleNodeExecutor(max_workers=N_WORKERS, block_allocation=True) as executor:
        yield executor


ENGINES = {
    "local": lambda folder: contextlib.nullcontext("local"),
    "thread pool": thread_pool,
    "process pool": process_pool,
    "loky": loky,
    "dask": dask,
    "parsl": parsl,
    "executorlib": executorlib,
}


@pytest.fixture(scope="module", params=ENGINES)
def executor(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")  # parsl starts programs of its own
        patch.setenv("PYTHONPATH", str(ROOT))
        with ENGINES[request.param](tmp_path_factory.mktemp("engine")) as opened:
            yield opened


@pytest.mark.parametrize("promise", PROMISES)
def test_promises(executor, promise, tmp_path):
    PROMISES[promise](executor, tmp_path)


@pytest.mark.parametrize("promise", [name for name in PROMISES if not name.startswith("poll")])
def test_promises_in_process(promise, tmp_path):
    """Where a task is done when it is submitted, so that none is left to be cancelled."""
    PROMISES[promise]("in-process", tmp_path)


IN_RANK_0 = """
import sys
from pathlib import Path
from tests.labelling.backends.contract import PROMISES

PROMISES[sys.argv[1]]("mpi", Path.cwd())
print("kept")
"""


@pytest.mark.parametrize("promise", PROMISES)
def test_promises_of_mpi(promise, tmp_path):
    pytest.importorskip("mpi4py")
    (tmp_path / "script.py").write_text(IN_RANK_0)
    launcher = [BIN / "mpiexec", "-n", str(1 + N_WORKERS), sys.executable, "-m", "ase_bmdal.labelling.mpi"]
    ended = subprocess.run(
        [*launcher, "script.py", promise],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "kept\n"), ended.stdout + ended.stderr
