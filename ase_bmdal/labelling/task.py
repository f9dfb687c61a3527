"""One structure to label, with all a worker needs to know."""

from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ase_bmdal.labelling.lease import Lease
from ase_bmdal.labelling.reference import Reference
from ase_bmdal.labelling.settings import LabellingSettings


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """One structure to label.

    Parameters
    ----------
    reference
        Makes the calculator.
    atoms
        Structure without calculator and constraints.
    settings
        Limits.
    scratch
        Folder for this structure; made by the worker, under another name if there is one already.
    lease
        Whether the label is wanted still.
    owner
        Name of the labeller, whose processes end with it.
    number, oldest
        Of the structure, and the smallest in flight: what came before is written.
    identity
        Who the label is from; empty for a label that is not kept in a file.
    prefix
        What the name of its file begins with on a disk of the worker.
    isolated
        Whether to compute in a child process.
    """

    reference: Reference
    atoms: Atoms
    settings: LabellingSettings
    scratch: Path
    lease: Lease
    owner: str
    number: int = 0
    oldest: int = 0
    identity: str = ""
    prefix: str = ""
    isolated: bool = True

    @property
    def wants_stress(self) -> bool:
        """Whether the label needs a stress."""
        return self.settings.stress and bool(self.atoms.pbc.all())
