"""Finds a published weights file by its digest: the user's own path, an installed package, torch's cache, a URL.

The digest is the contract, the carrier is not: whichever holds the right bytes will do.
"""

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from facesvc.errors import CarrierMissing, PackDamaged
from facesvc.models.manifest import Source

MAX_BYTES = 2**30
"""No weights file of this project comes near 1 GiB; a server that sends more is cut off."""


def fetch(
    source: Source, pack: str, weights: Path | None = None, allow_url: bool = False, files: int = 1
) -> tuple[bytes, str]:
    """The file's bytes and their hex SHA-256.

    weights: the user's own file, then the only place looked at. allow_url: ``source.url`` may be downloaded, if
    nothing local has it and its digest is known beforehand. files: how many weights files the pack is made of.
    Raises CarrierMissing, saying what to do, and PackDamaged where only wrong files were found.
    """
    rejected: list[str] = []
    for path in [weights] if weights else candidates(source):
        content = _read(path)
        if content is None:
            continue
        digest = hashlib.sha256(content).hexdigest()
        if source.sha256 in (None, digest):
            return content, digest
        rejected.append(f"{path} has SHA-256 {digest}")
    if allow_url and not weights and source.url and source.sha256:
        return download(source.url, source.sha256), source.sha256
    if rejected:
        raise PackDamaged(f"{'; '.join(rejected)}; the manifest of {pack} asks for {source.sha256}")
    raise CarrierMissing(f"{weights} can't be read" if weights else _advice(source, pack, files))


def candidates(source: Source) -> Iterator[Path]:
    """Where the file may lie on this machine, nearest first; no package is imported."""
    if source.package and source.path:
        package = find_spec(source.package)  # a top-level name: found without being run
        for folder in (package.submodule_search_locations or ()) if package else ():
            yield Path(folder) / source.path
    if source.file.endswith(".pt"):
        yield torch_home() / "checkpoints" / source.file  # where facenet-pytorch keeps its downloads
        yield torch_home() / "hub" / "checkpoints" / source.file


def torch_home() -> Path:
    """Return the folder of PyTorch's downloads as ``torch.hub`` finds it, whose import would take seconds."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _advice(source: Source, pack: str, files: int) -> str:
    ways = []
    if source.requirement:
        ways.append(f'pip install "{source.requirement}"')
    if source.url and source.sha256:
        ways.append(f"facesvc models build {pack} --allow-url (downloads {source.url})")
    own = f" with {source.file} among them" if files > 1 else ""
    get = f" (get it from {source.url})" if source.url else ""
    ways.append(f"facesvc models build {pack}{' --weights FILE' * files}{own}{get}")
    return f"{source.file} was not found on this machine. Either: {'; or: '.join(ways)}"


def download(url: str, sha256: str) -> bytes:
    """The body at ``url``, only if its digest is ``sha256``. Raises CarrierMissing, PackDamaged."""
    import httpx

    content = bytearray()
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=30.0) as response:
            response.raise_for_status()
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise PackDamaged(f"{url} sends more than {MAX_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CarrierMissing(f"{url} could not be downloaded: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise PackDamaged(f"{url} has SHA-256 {digest}, not {sha256}")
    return bytes(content)
