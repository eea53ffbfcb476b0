"""Runs a function in a process of its own: what needs PyTorch, so that a server never loads it."""

import subprocess
import sys

from facesvc.errors import FaceServiceError, PackInvalid

REFUSED = 3
"""Exit code of a child whose function raised one of our errors; its detail stands on stderr."""


def run(function: str, content: bytes = b"", *arguments: str) -> str:
    """Return what ``function``, "module:name" of this package, returned for ``content`` and ``arguments``.

    Raises PackInvalid where it raised one of our errors, or where the process failed.
    """
    program = f"import sys; sys.path = {sys.path!r}; from facesvc.models.apart import serve; serve()"
    child = subprocess.run(  # noqa: S603  our own interpreter and program
        [sys.executable, "-P", "-c", program, function, *arguments], input=content, capture_output=True
    )
    said = child.stderr.decode(errors="replace").strip()
    if child.returncode == REFUSED:
        raise PackInvalid(said)
    if child.returncode:
        last = said.rpartition("\n")[2]
        raise PackInvalid(f"the process that loads PyTorch failed ({child.returncode}): {last}")
    return child.stdout.decode().rpartition("\n")[2]


def serve() -> None:
    """Run the function that the command line names, over the bytes on stdin."""
    from importlib import import_module

    module, _, name = sys.argv[1].partition(":")
    try:
        returned = getattr(import_module(module), name)(sys.stdin.buffer.read(), *sys.argv[2:])
    except FaceServiceError as error:
        sys.stderr.write(error.detail)
        sys.exit(REFUSED)
    sys.stdout.write(f"\n{returned}")  # whatever libraries print stands in the lines before
