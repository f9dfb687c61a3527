import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def programs_hear_ctrl_c():
    """Even if the tests run in the background of a shell, which has them ignore it, and what they start as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
