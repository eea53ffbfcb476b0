"""``python -m tests.drills [names]``: runs the drills, all of them by default, and prints a line each."""

import argparse
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType


def drills() -> dict[str, ModuleType]:
    """The modules of this package that can be run, by name."""
    folder = Path(__file__).parent
    names = sorted(
        module.name for module in iter_modules([str(folder)]) if not module.name.startswith(("_", "test_", "conftest"))
    )
    found = {name: import_module(f"tests.drills.{name}") for name in names}
    return {name: module for name, module in found.items() if hasattr(module, "run")}


def hold(name: str, drill: ModuleType) -> bool:
    """Runs one in a folder of its own, prints its line, and says whether the service stood it."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"facesvc-{name}-") as folder:
        try:
            line, stood = drill.run(Path(folder)), True
        except Exception as error:  # whatever stops a drill fails that drill, and the others go on
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            line, stood = f"FAILED: {type(error).__name__}: {error}", False
    print(f"{name}: {line} [{time.monotonic() - start:.0f} s]", flush=True)
    return stood


def main() -> int:
    known = drills()
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    asked = parser.parse_args().names or list(known)
    if unknown := sorted(set(asked) - set(known)):
        parser.error(f"no such drill: {', '.join(unknown)}")
    stood = [hold(name, known[name]) for name in asked]
    return 0 if all(stood) else 1


if __name__ == "__main__":
    sys.exit(main())
