"""How long Python needs before it does anything: ``python -m benchmarks.imports``.

CPU seconds of a new process, beside those of an interpreter that does nothing; medians of ROUNDS. Files lie in the
system's cache after the first round, which is not counted.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

ROUNDS = 5
PROGRAMS = {
    "python": "pass",
    "import facesvc": "import facesvc",
    "facesvc --help": "from facesvc.cli import main; main(['--help'])",
    "facesvc galleries list": "from facesvc.cli import main; main(['--data', {data!r}, 'galleries', 'list'])",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        for name, program in PROGRAMS.items():
            taken = [seconds(program.format(data=data)) for _ in range(ROUNDS + 1)]
            print(f"{name:<24} {1000 * median(taken[1:]):>7.0f} ms")


def seconds(program: str) -> float:
    """Return the CPU seconds, user and system, of a process that runs the program."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
