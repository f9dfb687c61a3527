"""What became of one structure: a label, or the reason why there is none."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LONGEST_TEXT = 4000


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelRecord:
    """Outcome of one reference calculation.

    Parameters
    ----------
    status
        ``"done"`` if there is a label.
    energy
        Energy the forces are the gradient of, eV.
    forces
        [n_atoms, 3], eV/Å.
    stress
        [6], eV/Å³ in ASE's sign and Voigt order; None unless periodic in all three directions.
    seconds
        Wall time of the calculation.
    error_class
        Class of the exception, or ``Refused``, ``TimedOut``, ``Crashed``; empty if done.
    error_text
        What happened, for a reader; empty if done.
    scratch
        Folder with what a failed calculation left behind.
    """

    status: Literal["done", "failed"]
    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None
    seconds: float = 0.0
    error_class: str = ""
    error_text: str = ""
    scratch: str | None = None


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A calculation that was not carried through, which says nothing about its structure.

    Parameters
    ----------
    reason
        What happened, for a reader.
    host
        Where; empty if nobody knows.
    is_unseen
        Whether the worker does not see the folder of the batch.
    """

    reason: str
    host: str = ""
    is_unseen: bool = False

    def __str__(self) -> str:
        return f"{self.reason} (on {self.host})" if self.host else self.reason


def failure(error_class: str, error_text: str, **fields: Any) -> LabelRecord:
    """Record of a structure that has no label.

    Parameters
    ----------
    error_class, error_text
        What happened; text of any length and content.
    fields
        ``seconds`` and ``scratch`` of the record.

    Returns
    -------
    LabelRecord
        Its text can be written to any file or database.
    """
    return LabelRecord(
        status="failed", error_class=printable(error_class), error_text=printable(error_text), **fields
    )


def printable(text: str) -> str:
    """Shorten a text and replace what UTF-8 cannot hold."""
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT // 2]}\n[…]\n{text[-LONGEST_TEXT // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def describe(error: BaseException) -> tuple[str, str]:
    """Class and text of an exception, with its notes; built-in classes without their module.

    Parameters
    ----------
    error
        Any exception, also one that cannot be printed.

    Returns
    -------
    tuple
        Class and text, both printable.
    """
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    except Exception:
        text = "(its text cannot be printed)"
    return printable(name), printable(text)
