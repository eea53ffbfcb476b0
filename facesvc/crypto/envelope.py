"""Bytes sealed with one key, and bound to what they are and whose."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from facesvc.errors import SealBroken

FORMAT = b"\x01"
"""First byte of whatever is sealed: AES-256-GCM, its nonce before its ciphertext and tag."""
NONCE_BYTES = 12
"""96 random bits: safe for 2^32 seals with one key (NIST SP 800-38D, section 8.3)."""
START = len(FORMAT) + NONCE_BYTES


class Envelope:
    """AES-256-GCM (NIST SP 800-38D) with one key of 32 bytes. scope: whose it is; what is sealed for one scope and
    owner opens for no other. Thread-safe."""

    def __init__(self, key: bytes, scope: str = "") -> None:
        self._cipher = AESGCM(key)
        self._scope = scope

    def seal(self, content: bytes, owner: str) -> bytes:
        """Format byte, nonce, ciphertext, tag: 29 bytes more than ``content``."""
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, content, self._bound(owner))

    def open(self, stored: bytes, owner: str) -> bytes:
        """What ``seal`` was given. Raises SealBroken for anything else than what it made for this owner."""
        if stored[: len(FORMAT)] != FORMAT:
            raise SealBroken(f"what is stored of {owner} is not sealed as it should be")
        try:
            return self._cipher.decrypt(stored[len(FORMAT) : START], stored[START:], self._bound(owner))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"what is stored of {owner} was changed, moved, or sealed with another key") from error

    def _bound(self, owner: str) -> bytes:
        return f"{self._scope}\0{owner}".encode()
