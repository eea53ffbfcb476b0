"""``python -m drills [names]``: runs the drills, all of them by default, and prints a line each."""

import argparse
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path


def drills() -> list[str]:
    """Names of the modules of this package that can be run; those that are not asked for are not loaded."""
    found = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith(("_", "test_")))
    return [path.stem for path in found if "\ndef run(" in path.read_text()]


def hold(name: str) -> bool:
    """Runs one in a folder of its own, prints its line, and says whether the service stood it."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"facesvc-{name}-") as folder:
        try:
            line, stood = import_module(f"drills.{name}").run(Path(folder)), True
        except Exception as error:  # whatever stops a drill fails that drill, and the others go on
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            line, stood = f"FAILED: {type(error).__name__}: {error}", False
    print(f"{name}: {line} [{time.monotonic() - start:.0f} s]", flush=True)
    return stood


def main() -> int:
    known = drills()
    parser = argparse.ArgumentParser(prog="python -m drills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    asked = parser.parse_args().names or known
    if unknown := sorted(set(asked) - set(known)):
        parser.error(f"no such drill: {', '.join(unknown)}")
    stood = [hold(name) for name in asked]
    return 0 if all(stood) else 1


if __name__ == "__main__":
    sys.exit(main())
