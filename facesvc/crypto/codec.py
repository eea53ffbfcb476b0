"""The keys that seal one tenant's rows, and the tokens that stand for names in them."""

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
"""Galleries whose rotation is cached: 128 KiB each."""


class Codec:
    """Seals what is stored of one tenant: AES-256-GCM under the tenant's data keys and the subjects' own keys; looks
    names up by HMAC-SHA-256; rotates templates for indexes. Thread-safe. Raises SealBroken, MasterKeyUnavailable."""

    def __init__(self, keyring: Keyring, tenant: str) -> None:
        """Make the installation's and the default tenant's keys where they don't exist: so not within a transaction.
        Raises MasterKeyUnavailable, TenantNotFound."""
        self._keys = keyring.tenant(tenant)
        self._lookup = self._keys.derive("lookup")
        self._rotation = lru_cache(ROTATIONS)(self._make_rotation)

    def token(self, kind: str, value: bytes) -> str:
        """Return what stands for a value that is looked up: its HMAC-SHA-256 (RFC 2104) with a key of the tenant, as 44
        characters that begin with "/". The same value of the same kind has the same token."""
        digest = hmac.digest(self._lookup, kind.encode() + b"\0" + value, "sha256")
        return "/" + base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def data_key(self, version: int) -> Envelope:
        """Return the envelope of the tenant's data key of this version."""
        return self._keys.data_key(version)

    def new_key(self, version: int, owner: str) -> bytes:
        """Make a subject's key; return it wrapped by the data key of this version."""
        return self._keys.data_key(version).seal(secrets.token_bytes(KEY_BYTES), owner)

    def subject(self, key: bytes, version: int, owner: str) -> Envelope:
        """Return the envelope of a subject's wrapped key, which ``new_key`` made."""
        return Envelope(self._keys.data_key(version).open(key, owner), self._keys.tenant)

    def issued(self, gallery: int, issue: int, vectors: Vectors) -> Vectors:
        """(n 128) float32 -> (n 128) as the indexes of a gallery (its key) hold them in this issue; see
        ``core.rotation``."""
        return turned(vectors, self._rotation(gallery, issue))

    def _make_rotation(self, gallery: int, issue: int) -> NDArray[np.float64]:
        return rotation(self._keys.derive(f"rotation/{gallery}"), issue)
