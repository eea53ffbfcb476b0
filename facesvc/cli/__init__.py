"""The command line: one file a command family over ``facesvc.cli.backend.Backend``, local or --server."""

import logging
import sys
import traceback
from collections.abc import Sequence

FAILED = 2
"""Exit code of a command that could not do what it was asked; 1 is an answer (no match, some files refused)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits. A typed error is one line on stderr, never a traceback."""
    from facesvc.cli.app import app  # here: the package's other modules are used without the whole command line
    from facesvc.cli.console import say
    from facesvc.errors import FaceServiceError

    try:
        app(arguments)
    except FaceServiceError as error:
        say(f"facesvc: {error.source + ': ' if error.source else ''}{error.detail} [{error.code}]")
    except OSError as error:  # a full disk, a data folder that can't be made
        logging.getLogger(__name__).info("the system refused", exc_info=True)
        place = f"{error.filename}: " if error.filename else ""
        say(f"facesvc: {place}{error.strerror or error} [{FaceServiceError.code}]")
    except Exception:  # a defect of ours: all there is to know is shown, and the exit code must not read "no match"
        traceback.print_exc()
        say(f"facesvc: unexpected failure, please report it with the lines above [{FaceServiceError.code}]")
    sys.exit(FAILED)
