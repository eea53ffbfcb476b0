"""What is told of an erasure, and to whom it can be proved."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from facesvc.core.audit import Head, canonical

KIND = "facesvc erasure receipt, version 1"


@dataclass(frozen=True, slots=True)
class Deleted:
    """A reference that was: the store's key, its public id, and whether it had a photograph."""

    key: int
    id: str
    had_photograph: bool


@dataclass(frozen=True, slots=True)
class Erased:
    """references: public ids of what was deleted; photographs: how many of them had one; remaining: what was still
    found afterwards, by where it was looked for: rows in the database, vectors in snapshots on disk."""

    gallery: str
    subject: str
    references: tuple[str, ...]
    photographs: int
    erased_at: datetime
    remaining: dict[str, int]


@dataclass(frozen=True, slots=True)
class Signature:
    """Ed25519 (RFC 8032): public_key (32 bytes), value (64 bytes)."""

    public_key: bytes
    value: bytes


class Signer(Protocol):
    """Signs what one tenant states."""

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...

    def sign(self, statement: bytes) -> Signature: ...


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """A statement and its signature. statement: JSON values, what is signed is their canonical form."""

    statement: dict[str, Any]
    signature: Signature

    @property
    def signed(self) -> bytes:
        return canonical(self.statement)


def receipt(erased: Erased, tenant: str, key: str, head: Head, signer: Signer) -> ErasureReceipt:
    """key: id of the API key that asked for it; head: the audit log's end after the erasure's last line, whose digest
    is thereby noted where nobody who changes the log can change it."""
    statement = {
        "kind": KIND,
        "tenant": tenant,
        **asdict(erased),
        "references": list(erased.references),
        "erased_at": erased.erased_at.isoformat(timespec="milliseconds"),
        "key": key,
        "audit": {"sequence": head.sequence, "digest": head.digest.hex()},
    }
    return ErasureReceipt(statement, signer.sign(canonical(statement)))
