"""The one place through which vectors and photographs pass on their way to and from the database.

Encryption at rest is another VectorCodec: nothing else changes.
"""

from typing import Protocol

import numpy as np

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import StoreError


class VectorCodec(Protocol):
    """What is kept -> what is stored, and back. ``owner`` is the public id of the reference a value belongs to:
    an authenticating cipher binds to it, so that rows can't be exchanged unnoticed."""

    def encode(self, vector: Vectors, owner: str) -> bytes:
        """(128,) float32 -> stored bytes."""
        ...

    def decode(self, stored: bytes, owner: str) -> Vectors:
        """Stored bytes -> (128,) float32, perhaps read-only. Raises StoreError for bytes that ``encode`` did not
        make."""
        ...

    def seal(self, content: bytes, owner: str) -> bytes:
        """Any bytes -> stored bytes."""
        ...

    def open(self, stored: bytes, owner: str) -> bytes:
        """What ``seal`` was given. Raises StoreError for bytes that it did not make."""
        ...


class PlainCodec:
    """No encryption: vectors as little-endian float32, other bytes as they are."""

    def encode(self, vector: Vectors, owner: str) -> bytes:
        return vector.astype("<f4").tobytes()

    def decode(self, stored: bytes, owner: str) -> Vectors:
        if len(stored) != 4 * DIMENSION:
            raise StoreError(f"stored vector of {owner} is damaged")
        return np.frombuffer(stored, "<f4").astype(np.float32, copy=False)

    def seal(self, content: bytes, owner: str) -> bytes:
        return content

    def open(self, stored: bytes, owner: str) -> bytes:
        return stored
