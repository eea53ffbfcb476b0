"""How a subject is erased, what is told of it, and to whom that can be proved.

The deletion is one transaction, and what follows it may fail: taking vectors out of indexes, signing. So the store
keeps with the deletion that an erasure is under way, and afterwards, for a while, the statement of its receipt:
who asks again gets the same one.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from facesvc.core.audit import Head, canonical

KIND = "facesvc erasure receipt, version 1"


@dataclass(frozen=True, slots=True)
class Deleted:
    """A reference that was: the store's key, its public id, and whether it had a photograph."""

    key: int
    id: str
    had_photograph: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """One whose deletion is committed. key: its number in the store; subjects: the store's keys of what was deleted,
    several where the subject was enrolled anew before its erasure had ended. statement: as ``statement`` makes it, None
    while the erasure is under way."""

    key: int
    subjects: tuple[int, ...]
    references: tuple[Deleted, ...]
    statement: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """A subject that is to be deleted. key: the store's; gallery, subject: None where these can't be opened."""

    key: int
    gallery: str | None
    subject: str | None


@dataclass(frozen=True, slots=True)
class Erased:
    """references: public ids of what was deleted; photographs: how many of them had one; remaining: what was still
    found afterwards, by where it was looked for: rows in the database, vectors in snapshots on disk."""

    references: tuple[str, ...]
    photographs: int
    erased_at: datetime
    remaining: dict[str, int]


@dataclass(frozen=True, slots=True)
class Signature:
    """Ed25519 (RFC 8032): public_key (32 bytes), value (64 bytes)."""

    public_key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """A statement and its signature. statement: JSON values, what is signed is their canonical form."""

    statement: dict[str, Any]
    signature: Signature


def statement(erased: Erased, tenant: str, key: str, head: Head) -> dict[str, Any]:
    """What a receipt states, but for the names of whom it is about: so it can be kept. key: id of the API key that
    asked for it; head: the audit log's end after the erasure's last line, whose digest is thereby noted where nobody
    who changes the log can change it."""
    return {
        "kind": KIND,
        "tenant": tenant,
        **asdict(erased),
        "references": list(erased.references),
        "erased_at": erased.erased_at.isoformat(timespec="milliseconds"),
        "key": key,
        "audit": {"sequence": head.sequence, "digest": head.digest.hex()},
    }


def receipt(
    stated: Mapping[str, Any], gallery: str, subject: str, sign: Callable[[bytes], Signature]
) -> ErasureReceipt:
    """Return the signed receipt. The same statement gives the same receipt: Ed25519 is deterministic (RFC 8032,
    section 5.1.6)."""
    whole = {**stated, "gallery": gallery, "subject": subject}
    return ErasureReceipt(whole, sign(canonical(whole)))
