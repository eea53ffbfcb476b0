"""The master key: the one secret that is kept outside the database, and seals the keys within it.

It comes from a file, from the environment, or from a command (a KMS, a password manager, an HSM's tool): 32 bytes as
base64 or hex, one line.
"""

import base64
import binascii
import os
import secrets
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facesvc.crypto.envelope import Aead
from facesvc.errors import MasterKeyUnavailable
from facesvc.files import write_first

KEY_BYTES = 32
COMMAND_SECONDS = 30.0


class MasterKey:
    """Derives keys for purposes, and seals other keys. Never leaves the process, and never prints itself."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise MasterKeyUnavailable(f"the master key must have {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self._wrapping = Aead(self.derive("wrap"))
        self.id = self.derive("identify")[:4].hex()
        """Tells keys from each other, and nothing of them."""

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose alone (HKDF-SHA-256, RFC 5869)."""
        return HKDF(SHA256(), KEY_BYTES, None, f"facesvc/master/{purpose}".encode()).derive(self._secret)

    def wrap(self, key: bytes, owner: str) -> bytes:
        """Return ``key``, sealed and bound to ``owner``."""
        return self._wrapping.seal(key, owner.encode())

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        """Return what ``wrap`` was given. Raises SealBroken for anything else."""
        return self._wrapping.open(wrapped, owner.encode(), f"{owner} was not sealed with this master key ({self.id})")


def from_text(text: str) -> MasterKey:
    """From base64 or hex. Raises MasterKeyUnavailable."""
    bare = text.strip()
    with suppress(ValueError):
        if len(bare) == 2 * KEY_BYTES:
            return MasterKey(bytes.fromhex(bare))
    with suppress(binascii.Error, ValueError):
        return MasterKey(base64.b64decode(bare, altchars=b"-_" if set(bare) & set("-_") else None, validate=True))
    raise MasterKeyUnavailable(f"the master key is not {KEY_BYTES} bytes in base64 or hex")


def from_command(command: Sequence[str]) -> MasterKey:
    """From what a command prints; it is run without a shell. Raises MasterKeyUnavailable."""
    try:
        done = subprocess.run(  # noqa: S603  the operator's own command
            list(command), capture_output=True, timeout=COMMAND_SECONDS, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeError) as error:
        kind = type(error).__name__  # its text may hold what the command printed
        raise MasterKeyUnavailable(f"the command that prints the master key failed ({kind})") from None
    return from_text(done.stdout)


def from_file(path: Path) -> MasterKey:
    """Raises MasterKeyUnavailable where the file can't be read, or may be read by others than its owner."""
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise MasterKeyUnavailable(f"{path} may be read by others: chmod 600 {path}")
            return from_text(file.read())
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise MasterKeyUnavailable(f"master key file {path} can't be read: {reason}") from error


def make_file(path: Path) -> MasterKey:
    """Make a key in a new file that its owner alone may read; return the key of another process that was faster."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"
    write_first(path, text.encode())
    return from_file(path)
