"""What is answered about what was done: receipts, and lines of the audit log. See ``facesvc.web.schemas``."""

from typing import Any, Literal

from pydantic import Field

from facesvc.web.schemas import Answer


class AuditEnd(Answer):
    """An end of the audit log: the digest of its last line binds all before it."""

    sequence: int
    digest: str


class Erasure(Answer):
    kind: str
    tenant: str
    gallery: str
    subject: str
    references: list[str]
    photographs: int
    erased_at: str
    remaining: dict[str, int] = Field(description="What was still found afterwards, by where it was looked for.")
    key: str = Field(description="Id of the API key that asked for it.")
    audit: AuditEnd


class Signature(Answer):
    algorithm: Literal["Ed25519"]
    public_key: str = Field(description="Base64.")
    value: str = Field(description="Base64; over the statement as JSON with sorted keys and without spaces, in UTF-8.")


class ErasureReceipt(Answer):
    statement: Erasure
    signature: Signature


class AuditLine(Answer):
    """subject, gallery: stand-ins of names, keyed digests."""

    line: int
    at: str
    key: str
    request: str | None
    action: str
    gallery: str | None = None
    subject: str | None = None
    outcome: dict[str, Any]
    digest: str


class AuditLines(Answer):
    items: list[AuditLine]
