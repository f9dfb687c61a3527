"""What a label may cost and what it may look like."""

from typing import Annotated

from pydantic import Field

from ase_bmdal.common.settings import settings


@settings
class LabellingSettings:
    """Limits on a reference calculation.

    Parameters
    ----------
    timeout
        Longest time for one label, seconds; None for no limit.
    closest_pair
        Fraction of the sum of two covalent radii below which a pair is refused before the calculation:
        H–H at 0.25 Å, O–H at 0.39 Å. No bond under pressure and no transition state comes near it,
        while electronic-structure codes answer there with finite nonsense.
    max_force
        Largest force in a label, eV/Å. Published data sets of hot oxides hold sound forces up to 191 eV/Å.
    stress
        Whether structures periodic in all three directions need a stress. Otherwise none is computed.
    environment
        Environment variables of a calculation by name: a text sets one; None hands down what the label worker has,
        where it would be dropped, as those of SLURM and of an outer MPI are. A ``*`` at the end of a name stands for
        any rest: ``{"OMP_NUM_THREADS": "4", "SLURM_*": None}``.
    """

    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    closest_pair: Annotated[float, Field(ge=0, lt=1)] = 0.4
    max_force: Annotated[float, Field(gt=0)] = 200.0
    stress: bool = True
    environment: dict[str, str | None] = Field(default_factory=dict)
