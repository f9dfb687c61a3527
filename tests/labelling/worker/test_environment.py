import platform
import sys

from ase_bmdal.labelling.worker.environment import UNBOUND, clean_environment, header

PLAIN = {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/mkl", "OMPI_MCA_btl": "self", "OPAL_PREFIX": "/opt/mpi"}


def test_nothing_is_removed_outside_of_an_mpi_job():
    assert clean_environment(PLAIN).items() >= PLAIN.items()


def test_one_thread_unless_told_otherwise():
    clean = clean_environment({"OMP_NUM_THREADS": "4"})
    threads = {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert clean == threads | UNBOUND


def test_ranks_are_bound_as_the_user_says():
    mine = dict.fromkeys(UNBOUND, "core")
    assert clean_environment(mine | {"PMI_RANK": "0"}).items() >= mine.items()
    assert clean_environment({}, mine).items() >= mine.items()


def test_what_hydra_sets_is_removed():
    ours = {"PMI_RANK": "0", "PMI_FD": "9", "HYDI_CONTROL_FD": "7", "MPI_LOCALNRANKS": "2"}
    clean = clean_environment(ours | {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/mkl"})
    assert not ours.keys() & clean.keys()
    assert clean["PATH"] == "/bin"
    assert clean["LD_LIBRARY_PATH"] == "/opt/mkl"


def test_what_open_mpi_sets_is_removed():
    ours = {"OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0", "PRTE_LAUNCHED": "1", "OPAL_PREFIX": "/opt/mpi"}
    paths = {"LD_LIBRARY_PATH": "/opt/mpi/lib:/opt/mpi-codes/lib:/opt/mkl"}
    clean = clean_environment(ours | paths)
    assert not ours.keys() & clean.keys()
    assert clean["LD_LIBRARY_PATH"] == "/opt/mpi-codes/lib:/opt/mkl"
    assert "LD_LIBRARY_PATH" not in clean_environment(ours | {"LD_LIBRARY_PATH": "/opt/mpi/lib"})


def test_what_slurm_sets_is_removed():
    """Open MPI's `mpirun` would take its numbers of nodes and tasks for those of the label, and fail or hang."""
    theirs = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NODELIST": "n[1-4]", "PATH": "/bin"}
    assert clean_environment(theirs | PLAIN).items() >= PLAIN.items()
    assert not [name for name in clean_environment(theirs) if name.startswith("SLURM_")]


def test_what_the_user_wants_is_kept_or_set():
    theirs = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "PMI_RANK": "3", "PMI_FD": "9"}
    wanted = {"SLURM_*": None, "PMI_FD": None, "NOT_THERE": None, "OMP_NUM_THREADS": "4", "SLURM_PROCID": "1"}
    clean = clean_environment(theirs, wanted)
    threads = {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert clean == {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "PMI_FD": "9"} | threads | UNBOUND


def test_settings_of_the_user_for_an_mpi_stay():
    own = {
        "OMPI_MCA_btl": "self,sm",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":o",
    }
    launcher = {
        "OMPI_COMM_WORLD_RANK": "0", "OMPI_MCA_ess_base_jobid": "1", "OMPI_MCA_orte_hnp_uri": "x",
        "OMPI_MCA_initial_wdir": "/", "OMPI_MCA_PREFIXES": "mca", "OMPI_VERSION": "5",
    }  # fmt: skip
    clean = clean_environment(own | launcher)
    assert clean.items() >= own.items()
    assert not clean.keys() & launcher.keys()


def test_the_log_of_a_label_names_the_launcher(tmp_path, monkeypatch):
    def said():
        header.cache_clear()
        return header()

    (tmp_path / "mpiexec").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert said() == f"ase_bmdal: a label on {platform.node()}\nase_bmdal: mpiexec is {tmp_path}/mpiexec\n"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "belongs to Python" in said()
    monkeypatch.setenv("PATH", "")
    assert said().count("\n") == 1
    header.cache_clear()
