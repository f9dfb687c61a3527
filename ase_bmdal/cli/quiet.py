"""TensorFlow without the messages it writes while it is loaded."""

import importlib
import os
import sys
import tempfile


def load_potential() -> None:
    """Load what needs TensorFlow; its messages are shown only if that fails.

    They come from C++ before any setting of TensorFlow's is read, and say that there is no GPU.
    """
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            importlib.import_module("ase_bmdal.potential.gmnn")
        except BaseException:
            messages.seek(0)
            os.write(before, messages.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
