"""A queue for tests on a machine without SLURM: its commands, each a few lines of shell."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

COMMANDS = {
    # A job is a process group of its own; its number is that of its leader.
    "sbatch": """
        last=; test=
        for word in "$@"; do last=$word; [ "$word" = --test-only ] && test=yes; done
        grep -q 'SBATCH -p nonsense' "$last" && { echo "sbatch: error: invalid partition" >&2; exit 1; }
        [ -n "$test" ] && exit 0
        copy=$(mktemp "$QUEUE/job-XXXXXX"); cp "$last" "$copy"
        setsid bash "$copy" > "$copy.out" 2>&1 < /dev/null &
        echo $! >> "$QUEUE/jobs"
        echo "Submitted batch job $!"
    """,
    "scancel": 'for job in "$@"; do kill -TERM -- "-$job" 2> /dev/null; done; exit 0',
    "srun": """
        n=1
        while [ $# -gt 0 ]; do
            case $1 in
                -n|--ntasks) n=$2; shift 2 ;;
                -n*) n=${1#-n}; shift ;;
                --ntasks=*) n=${1#*=}; shift ;;
                -*) shift ;;
                *) break ;;
            esac
        done
        exec mpiexec -n "$n" "$@"
    """,
}


def is_there() -> bool:
    """Whether this machine has a SLURM that answers."""
    if shutil.which("sbatch") is None:
        return False
    return subprocess.run(["sinfo", "-h"], capture_output=True, check=False, timeout=20).returncode == 0


def stand_in(folder: Path) -> dict[str, str]:
    """Variables with which programs find the commands above.

    Parameters
    ----------
    folder
        Gets the commands, the jobs and what they print.
    """
    (folder / "bin").mkdir(parents=True)
    write_commands(folder / "bin", COMMANDS)
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "QUEUE": str(folder)}


def write_commands(folder: Path, commands: Mapping[str, str]) -> None:
    """Make programs of a few lines of shell."""
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)


def jobs(folder: Path) -> list[int]:
    """Leaders of the jobs that were started."""
    path = folder / "jobs"
    return [int(line) for line in path.read_text().split()] if path.exists() else []
