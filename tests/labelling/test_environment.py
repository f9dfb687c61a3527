from ase_bmdal.labelling.environment import for_a_calculation

PLAIN = {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/mkl", "OMPI_MCA_btl": "self", "OPAL_PREFIX": "/opt/mpi"}


def test_nothing_is_removed_outside_of_an_mpi_job():
    assert for_a_calculation(PLAIN).items() >= PLAIN.items()


def test_one_thread_unless_told_otherwise():
    clean = for_a_calculation({"OMP_NUM_THREADS": "4"})
    assert clean == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def test_what_hydra_sets_is_removed():
    ours = {"PMI_RANK": "0", "PMI_FD": "9", "HYDI_CONTROL_FD": "7", "MPI_LOCALNRANKS": "2"}
    clean = for_a_calculation(ours | {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/mkl"})
    assert not ours.keys() & clean.keys()
    assert clean["PATH"] == "/bin"
    assert clean["LD_LIBRARY_PATH"] == "/opt/mkl"


def test_what_open_mpi_sets_is_removed():
    ours = {"OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0", "PRTE_LAUNCHED": "1", "OPAL_PREFIX": "/opt/mpi"}
    paths = {"LD_LIBRARY_PATH": "/opt/mpi/lib:/opt/mpi-codes/lib:/opt/mkl"}
    clean = for_a_calculation(ours | paths)
    assert not ours.keys() & clean.keys()
    assert clean["LD_LIBRARY_PATH"] == "/opt/mpi-codes/lib:/opt/mkl"
    assert "LD_LIBRARY_PATH" not in for_a_calculation(ours | {"LD_LIBRARY_PATH": "/opt/mpi/lib"})
