"""Lines for a reader, and at a terminal one more that is overwritten."""

from typing import TextIO

__all__ = ["StatusLines"]

CLEAR = "\r\x1b[K"


class StatusLines:
    """Lines that stay, and a status that the next text replaces.

    Parameters
    ----------
    stream
        The status is shown only if it is a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()

    def line(self, text: str) -> None:
        """Write a line."""
        self._write(f"{text}\n")

    def status(self, text: str) -> None:
        """Show what is going on now; an empty text clears it.

        The cursor goes back to the start of the line: what others write, such as TensorFlow, replaces the status.
        """
        if self._is_terminal:
            self._write(f"{text}\r")

    def _write(self, text: str) -> None:
        self._stream.write(CLEAR + text if self._is_terminal else text)
        self._stream.flush()
