"""Why a structure has no label; loaded in every child process, so it imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Self

LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Failure:
    """A reference calculation that came to no label; its texts can be written to any file or database.

    Parameters
    ----------
    error_class
        Class of the exception, or ``Refused``, ``TimedOut``, ``Crashed``.
    error_text
        What happened, for a reader; of any length and content, shortened here.
    scratch
        Folder with what the calculation left behind; None if there is none.
    seconds
        Wall time of the calculation.
    files
        What the calculation left behind, as `parcel.packed` has it, until the driver has unpacked it.
    """

    error_class: str
    error_text: str
    scratch: str | None = None
    seconds: float = 0.0
    files: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        for name in ("error_class", "error_text"):
            object.__setattr__(self, name, _printable(getattr(self, name)))

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """What an exception says, with its notes; built-in classes without their module.

        Parameters
        ----------
        error
            Any exception, also one that cannot be printed.

        Returns
        -------
        Failure
            Its class and text.
        """
        kind = type(error)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        try:
            text = "\n".join([str(error), *getattr(error, "__notes__", [])])
        except Exception:
            text = "(its text cannot be printed)"
        return cls(name, text)

    def __str__(self) -> str:
        return f"{self.error_class}: {self.error_text}".rstrip(": ")


def _printable(text: str) -> str:
    """Shorten a text and replace what UTF-8 cannot hold."""
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT // 2]}\n[…]\n{text[-LONGEST_TEXT // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
