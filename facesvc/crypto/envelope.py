"""Bytes sealed with one key, and bound to what they are and whose.

Keys wrapped by a passphrase, for files that leave the service.

Signatures under what a tenant states: Ed25519 (RFC 8032).
"""

import hashlib
import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from facesvc.core.erasure import Signature
from facesvc.errors import ReceiptInvalid, RequestError, SealBroken

FORMAT = b"\x01"
"""First byte of whatever is sealed: AES-256-GCM, its nonce before its ciphertext and tag."""
NONCE_BYTES = 12
"""96 random bits: safe for 2^32 seals with one key (NIST SP 800-38D, section 8.3)."""


class Aead:
    """AES-256-GCM (NIST SP 800-38D) with one key of 32 bytes. Thread-safe."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, bound: bytes = b"") -> bytes:
        """Return nonce, ciphertext and tag. bound: what must be given again to open it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, bound)

    def open(self, sealed: bytes, bound: bytes = b"", refusal: str = "it was not sealed with this key") -> bytes:
        """Return what ``seal`` was given. Raises SealBroken, with ``refusal``, for anything else."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise SealBroken(refusal) from error


class Envelope:
    """Seals with one key of 32 bytes. scope: whose the key is; what is sealed for one scope and owner opens for no
    other. Thread-safe."""

    def __init__(self, key: bytes, scope: str = "") -> None:
        self._cipher = Aead(key)
        self._scope = scope

    def seal(self, content: bytes, owner: str) -> bytes:
        """Return format byte, nonce, ciphertext and tag: 29 bytes more than ``content``."""
        return FORMAT + self._cipher.seal(content, self._bound(owner))

    def open(self, stored: bytes, owner: str) -> bytes:
        """Return what ``seal`` was given. Raises SealBroken for anything else than what it made for this owner."""
        if stored[: len(FORMAT)] != FORMAT:
            raise SealBroken(f"what is stored of {owner} is not sealed as it should be")
        refusal = f"what is stored of {owner} was changed, moved, or sealed with another key"
        return self._cipher.open(stored[len(FORMAT) :], self._bound(owner), refusal)

    def _bound(self, owner: str) -> bytes:
        return f"{self._scope}\0{owner}".encode()


SALT_BYTES, KEY_BYTES = 16, 32
COST = {"n": 2**17, "r": 8, "p": 1}
"""Of scrypt (RFC 7914), as OWASP's Password Storage Cheat Sheet has it: 128 MiB and some tenths of a second a guess."""
MEMORY = 256 * 2**20
LEAST = 12
"""Characters of a passphrase."""


class Passphrase:
    """Wraps the keys of a gallery file. Raises RequestError for a passphrase that is too short."""

    def __init__(self, text: str) -> None:
        if len(text) < LEAST:
            raise RequestError(f"a passphrase takes at least {LEAST} characters")
        self._text = text.encode()

    def wrap(self, key: bytes) -> bytes:
        """Return the salt and the sealed ``key``."""
        salt = os.urandom(SALT_BYTES)
        return salt + self._cipher(salt).seal(key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return what ``wrap`` was given. Raises RequestError for what another passphrase wrapped."""
        try:
            return self._cipher(wrapped[:SALT_BYTES]).open(wrapped[SALT_BYTES:])
        except SealBroken as error:
            raise RequestError("this is not the passphrase that the file was sealed with") from error

    def _cipher(self, salt: bytes) -> Aead:
        return Aead(hashlib.scrypt(self._text, salt=salt, maxmem=MEMORY, dklen=KEY_BYTES, **COST))


class Ed25519Signer:
    """Signs statements with one key pair. seed: 32 bytes, secret."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> Signature:
        return Signature(self.public_key, self._key.sign(statement))


def require_signed(statement: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises ReceiptInvalid unless the holder of the key pair signed exactly these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError) as error:
        raise ReceiptInvalid("the signature is not of this statement and this key") from error
