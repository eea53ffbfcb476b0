"""Small values sealed with a key of their own purpose: AES-256-GCM (NIST SP 800-38D), bound to whose they are."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from facesvc.crypto.master import NONCE_BYTES
from facesvc.refusals import SealBroken


class Envelope:
    """key: 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, owner: str) -> bytes:
        """Nonce, ciphertext, tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """What ``seal`` was given. Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"what is stored of {owner} was changed, or sealed with another key") from error
