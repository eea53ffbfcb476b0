"""Keys wrapped by a passphrase, for files that leave the service."""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from facesvc.errors import RequestError

SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
COST = {"n": 2**17, "r": 8, "p": 1}
"""Of scrypt (RFC 7914), as OWASP's Password Storage Cheat Sheet has it: 128 MiB and some tenths of a second a guess."""
MEMORY = 256 * 2**20
LEAST = 12
"""Characters of a passphrase."""


class Passphrase:
    """exchange.sealing.Wrapper. Raises RequestError for a passphrase that is too short."""

    def __init__(self, text: str) -> None:
        if len(text) < LEAST:
            raise RequestError(f"a passphrase takes at least {LEAST} characters")
        self._text = text.encode()

    def wrap(self, key: bytes) -> bytes:
        """Salt, nonce, and ``key`` sealed with AES-256-GCM."""
        salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
        return salt + nonce + self._cipher(salt).encrypt(nonce, key, None)

    def unwrap(self, wrapped: bytes) -> bytes:
        """What ``wrap`` was given. Raises RequestError for what another passphrase wrapped."""
        salt, nonce = wrapped[:SALT_BYTES], wrapped[SALT_BYTES : SALT_BYTES + NONCE_BYTES]
        try:
            return self._cipher(salt).decrypt(nonce, wrapped[SALT_BYTES + NONCE_BYTES :], None)
        except (InvalidTag, ValueError) as error:
            raise RequestError("this is not the passphrase that the file was sealed with") from error

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(hashlib.scrypt(self._text, salt=salt, maxmem=MEMORY, dklen=KEY_BYTES, **COST))
