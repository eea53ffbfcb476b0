"""The audit log's lines and the chain that binds them: a line altered, taken out, put in or moved breaks it.

Each line's digest is a keyed one (HMAC-SHA-256, RFC 2104) over the digest before it, so that nobody without the
tenant's key can compute a chain anew (the scheme of Schneier and Kelsey, Secure Audit Logs, 1999, without its evolving
keys). What a chain alone can't tell is that its end was cut off: the head that is kept beside it, signed with the same
key, tells that, and against someone who puts an old one back, too, any head that was noted elsewhere: receipts hold
one.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from facesvc.errors import AuditBroken

DIGEST_BYTES = 32
START = bytes(DIGEST_BYTES)
"""In place of a digest before the first line."""
TOKEN_CHARACTERS = 24
"""Of a name's stand-in: 96 bits."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many lines there are, and the last one's digest."""

    sequence: int = 0
    digest: bytes = START


@dataclass(frozen=True, slots=True)
class Line:
    """sequence: from 1 on, gapless; entry: JSON as it was signed."""

    sequence: int
    entry: bytes
    digest: bytes

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.entry)


class Chain:
    """One tenant's chain. key: 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def after(self, head: Head, entry: bytes) -> Line:
        """The line that follows ``head``."""
        sequence = head.sequence + 1
        bound = b"%d\0" % sequence + head.digest + entry
        return Line(sequence, entry, hmac.digest(self._key, bound, hashlib.sha256))

    def signed(self, head: Head) -> bytes:
        """Its keyed digest, without which any earlier line would do as a head."""
        return hmac.digest(self._key, f"head\0{head.sequence}\0".encode() + head.digest, hashlib.sha256)

    def require_signed(self, head: Head, signature: bytes) -> None:
        """Raises AuditBroken where ``signature`` is another one."""
        if not hmac.compare_digest(self.signed(head), signature):
            raise AuditBroken(f"that the log ends at line {head.sequence} was not written by this service")

    def verify(self, lines: Iterable[Line], head: Head, noted: Mapping[int, bytes] | None = None) -> int:
        """How many lines there are. Raises AuditBroken at the first that is not what was written there; where the end
        is not ``head``; and where a line has not the digest that was ``noted`` elsewhere for its number."""
        at, expected = Head(), dict(noted or {})
        for line in lines:
            made = self.after(at, line.entry)
            if line.sequence != made.sequence:
                raise AuditBroken(f"line {made.sequence} is missing: line {line.sequence} follows {at.sequence}")
            if not hmac.compare_digest(line.digest, made.digest):
                raise AuditBroken(f"line {line.sequence} was altered, or does not belong there")
            if line.sequence in expected and expected.pop(line.sequence) != line.digest:
                raise AuditBroken(f"line {line.sequence} is not the one whose digest was noted")
            at = Head(line.sequence, line.digest)
        if at != head:
            raise AuditBroken(f"the log ends at line {at.sequence}; its last line was {head.sequence}")
        if expected:
            raise AuditBroken(f"line {min(expected)}, whose digest was noted, is missing")
        return at.sequence

    def token(self, *names: str) -> str:
        """A name's stand-in in the log: the same for the same name, and nobody's without the key."""
        text = json.dumps(names, ensure_ascii=False).encode()
        return hmac.digest(self._key, b"token\0" + text, hashlib.sha256).hex()[:TOKEN_CHARACTERS]


def canonical(told: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and without spaces: the same bytes for the same content (after RFC 8785)."""
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
