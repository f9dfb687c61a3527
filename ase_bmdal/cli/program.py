"""The program: arguments in, exit code out. What is heavy is loaded by the command that needs it.

Exit codes: 0 done, 2 what was given cannot be used, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from ase_bmdal import __version__
from ase_bmdal.cli import demo, distil, evaluate, report, select, train
from ase_bmdal.common.errors import Error

COMMANDS = (demo, train, evaluate, select, distil, report)
FURTHER = "ase_bmdal.commands"  # entry points of packages that have commands: modules with `add_to`


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Arguments; None takes those of the process.

    Returns
    -------
    int
        Exit code.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up messages
    arguments = make_parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        return _end(f"\n{str(stop) or arguments.if_interrupted.format_map(vars(arguments))}", 130)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Error, ValueError, OSError) as error:
        return _end(f"ase-bmdal: error: {_one_line(error)}", 2)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="ase-bmdal",
        description="Machine-learned potentials that train themselves, from the command line.",
    )
    parser.add_argument("--version", action="version", version=f"ase-bmdal {__version__}")
    parser.set_defaults(if_interrupted="Interrupted: the same command starts anew.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (*COMMANDS, *(each.load() for each in entry_points(group=FURTHER))):
        command.add_to(commands)
    return parser


def _one_line(error: BaseException) -> str:
    from pydantic import ValidationError

    texts = [str(error)]
    if isinstance(error, ValidationError):
        texts = [
            ": ".join([*map(str, each["loc"]), each["msg"].removeprefix("Value error, ")])
            for each in error.errors()
        ]
    elif isinstance(error, OSError) and error.strerror and error.filename is not None:
        texts = [f"{error.filename}: {error.strerror}"]
    return " ".join("; ".join(texts).split()) or type(error).__name__


def _end(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code
