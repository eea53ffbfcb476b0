"""A sealed folder: files that appear all at once, with their digests, or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp

from facesvc.errors import PackDamaged, PackNotFound
from facesvc.files import sync

SEAL = "files.json"
"""File name -> SHA-256 of every other file of the folder."""
UNFINISHED, REPLACED = ".build-", ".old-"


def seal(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replaces ``folder`` by what ``fill`` writes into the empty folder it is given.

    Everything is on disk before the folder gets its name, so a killed build leaves the old folder or none.
    The caller keeps two processes from sealing beside each other.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        fill(draft)
        digests = {path.name: digest_of(path) for path in sorted(draft.iterdir())}
        (draft / SEAL).write_text(json.dumps(digests, indent=2) + "\n")
        draft.chmod(0o755)  # mkdtemp's 0700 would shut out a service that runs as another user
        for path in (*draft.iterdir(), draft):
            sync(path)
        _rename_over(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _rename_over(draft: Path, folder: Path) -> None:
    if folder.exists():
        old = Path(mkdtemp(prefix=REPLACED, dir=folder.parent)) / folder.name
        folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old.parent, ignore_errors=True)
    else:
        draft.rename(folder)
    sync(folder.parent)


def sweep(parent: Path) -> None:
    """Removes what killed builds left in ``parent``; only while no build runs."""
    for prefix in (UNFINISHED, REPLACED):
        for left in parent.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)


def verify(folder: Path) -> Mapping[str, str]:
    """The folder's files and digests, every one checked. Raises PackNotFound, PackDamaged."""
    digests = _read_seal(folder)
    for name, digest in digests.items():
        try:
            found = digest_of(folder / name)
        except OSError as error:
            raise PackDamaged(f"{folder / name} can't be read: {error.strerror}; build it anew") from error
        if found != digest:
            raise PackDamaged(f"{folder / name} has SHA-256 {found}, not {digest}; build it anew")
    return digests


def _read_seal(folder: Path) -> dict[str, str]:
    try:
        digests = json.loads((folder / SEAL).read_bytes())
    except FileNotFoundError as error:
        raise PackNotFound(f"{folder} is not built") from error
    except (OSError, ValueError) as error:
        raise PackDamaged(f"{folder / SEAL} can't be read; build it anew") from error
    plain = isinstance(digests, dict) and all(name == Path(name).name for name in digests)
    if not plain or not all(isinstance(digest, str) for digest in digests.values()):
        raise PackDamaged(f"{folder / SEAL} is no list of files; build it anew")
    return digests


def digest_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
