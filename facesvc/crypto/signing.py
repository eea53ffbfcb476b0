"""Signatures under what a tenant states: Ed25519 (RFC 8032)."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from facesvc.core.erasure import Signature
from facesvc.errors import ReceiptInvalid


class Ed25519Signer:
    """core.erasure.Signer. seed: 32 bytes, secret."""

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
