"""What is stored of a tenant, sealed: storage.cipher.Codec over its keys."""

import base64
import hmac
import secrets
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facesvc.core.rotation import rotation, turned
from facesvc.core.types import Vectors
from facesvc.crypto.envelope import Envelope
from facesvc.crypto.keyring import Keyring
from facesvc.crypto.master import KEY_BYTES

ROTATIONS = 64
"""Galleries whose turn is kept at hand: 128 KiB each."""


class SealedCodec:
    """AES-256-GCM under the tenant's data keys and the subjects' own; names looked up by HMAC-SHA-256; templates turned
    for indexes. Thread-safe. Raises SealBroken, MasterKeyUnavailable."""

    sealing = True

    def __init__(self, keyring: Keyring, tenant: str) -> None:
        """Makes the tenant's keys where it has none: so not within a transaction. Raises MasterKeyUnavailable,
        TenantNotFound."""
        self._keyring, self._keys = keyring, keyring.tenant(tenant)
        self._lookup = self._keys.derive("lookup")
        self._rotation = lru_cache(ROTATIONS)(self._made_rotation)

    @property
    def admits_plain(self) -> bool:
        return self._keys.admits_plain

    def scoped(self, tenant: str) -> "SealedCodec":
        return SealedCodec(self._keyring, tenant)

    def token(self, kind: str, value: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104) with a key of the tenant's, as 44 characters that begin with "/"."""
        digest = hmac.digest(self._lookup, kind.encode() + b"\0" + value, "sha256")
        return "/" + base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def tenants(self, version: int) -> Envelope:
        return self._keys.data_key(version)

    def new_key(self, version: int, owner: str) -> bytes:
        return self._keys.data_key(version).seal(secrets.token_bytes(KEY_BYTES), owner)

    def subject(self, key: bytes, version: int, owner: str) -> Envelope:
        return Envelope(self._keys.data_key(version).open(key, owner), self._keys.tenant)

    def issued(self, gallery: int, issue: int, vectors: Vectors) -> Vectors:
        return turned(vectors, self._rotation(gallery, issue))

    def _made_rotation(self, gallery: int, issue: int) -> NDArray[np.float64]:
        return rotation(self._keys.derive(f"rotation/{gallery}"), issue)
