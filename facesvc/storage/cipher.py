"""The one place through which names, vectors, photographs and all else that tells of people pass on their way to and
from the database.

Codec says with which keys; ``storage.sealing`` says what is sealed with which, and bound to what.
"""

from typing import Protocol

from facesvc.core.types import Vectors
from facesvc.errors import MasterKeyUnavailable, SealBroken


class Vault(Protocol):
    """One key. ``owner`` says what a value is and whose: it opens for no other, so that neither rows nor columns can be
    exchanged unnoticed."""

    def seal(self, content: bytes, owner: str) -> bytes: ...

    def open(self, stored: bytes, owner: str) -> bytes:
        """What ``seal`` was given. Raises SealBroken for bytes that it did not make for this owner."""
        ...


class Codec(Protocol):
    """How one tenant's rows are kept. Thread-safe. Where it does not seal, nothing but the first two members and
    ``issued`` is asked for to write."""

    @property
    def sealing(self) -> bool:
        """Whether what is written is sealed."""
        ...

    @property
    def admits_plain(self) -> bool:
        """Whether what is read may be in the clear: it was written before the tenant had keys."""
        ...

    def scoped(self, tenant: str) -> "Codec":
        """The same for another tenant."""
        ...

    def token(self, kind: str, value: bytes) -> str:
        """Stands for a value that is looked up: the same for the same, and telling nothing of it. Begins with "/", as
        no name does."""
        ...

    def tenants(self, version: int) -> Vault:
        """For what is of the tenant as a whole: its data key of this version."""
        ...

    def new_key(self, version: int, owner: str) -> bytes:
        """A subject's own key, wrapped by the data key of this version."""
        ...

    def subject(self, key: bytes, version: int, owner: str) -> Vault:
        """For what is of the subject whose key that is."""
        ...

    def issued(self, gallery: int, issue: int, vectors: Vectors) -> Vectors:
        """(n 128) float32 as indexes of the gallery (its key) are given them in this issue; see ``core.rotation``."""
        ...


class PlainCodec:
    """No encryption: names, numbers and bytes as they are. Raises MasterKeyUnavailable for what is sealed."""

    sealing = False
    admits_plain = True

    def scoped(self, tenant: str) -> "PlainCodec":
        return self

    def token(self, kind: str, value: bytes) -> str:
        raise self._missing()

    def tenants(self, version: int) -> Vault:
        raise self._missing()

    def new_key(self, version: int, owner: str) -> bytes:
        raise self._missing()

    def subject(self, key: bytes, version: int, owner: str) -> Vault:
        raise self._missing()

    def issued(self, gallery: int, issue: int, vectors: Vectors) -> Vectors:
        return vectors

    def _missing(self) -> MasterKeyUnavailable:
        return MasterKeyUnavailable("this database is encrypted")


def require_plain(codec: Codec, what: str) -> None:
    """Raises SealBroken for something in the clear where all is sealed: somebody else put it there."""
    if not codec.admits_plain:
        raise SealBroken(f"{what} is stored in the clear, in place of what was sealed")
