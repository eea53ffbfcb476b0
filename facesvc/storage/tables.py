"""The schema. Every row names its tenant; whatever holds or orders templates names their version too.

``sealed`` columns, vectors, photographs and answers are encrypted, see ``storage.sealing``; names and digests that are
looked up are stored as tokens (keyed digests): a stolen database tells sizes, counts and moments.

Keys are the database's own numbers and are never given out twice (AUTOINCREMENT, IDENTITY), so that an index
which still holds a deleted reference's key can't answer with somebody else's.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAME_LENGTH = 256
"""Characters of the longest name, identifier or version that is stored."""


class Name(TypeDecorator[str]):
    """Text of at most NAME_LENGTH characters, ordered by code point in every database.

    Refuses what one of the databases would (NUL, lone surrogates, excess length) for all of them: ValueError,
    which SQLAlchemy wraps and ``storage.transactions`` turns into RequestError.
    """

    impl = String(NAME_LENGTH).with_variant(String(NAME_LENGTH, collation="C"), "postgresql")
    cache_ok = True

    @property
    def python_type(self) -> type[str]:
        return str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else require_text(value)


class Moment(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite has no time zones, so there it is kept as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Details(TypeDecorator[dict[str, Any]]):
    """A JSON object. Refuses here, with ValueError or TypeError, what the drivers would each refuse in their own
    way or not at all: NaN, lone surrogates, values that are not JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> dict[str, Any] | None:
        require_json(value)
        return value


def require_text(value: str) -> str:
    """Raises ValueError; see Name."""
    value.encode()  # UnicodeEncodeError, a ValueError, for lone surrogates
    if "\0" in value or len(value) > NAME_LENGTH:
        raise ValueError(f"text has a NUL or over {NAME_LENGTH} characters")
    return value


def require_json(value: object) -> bytes:
    """Raises ValueError or TypeError; see Details."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


Key = BigInteger().with_variant(Integer, "sqlite")  # AUTOINCREMENT wants the type INTEGER, which has 64 bits there


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it as it stands
        str: Name(),
        datetime: Moment(),
        int: BigInteger(),
        bytes: LargeBinary(),
        dict[str, Any]: Details(),
    }

    tenant: Mapped[str]


class TenantRow(Table):
    """tenant: its id, which tells nothing; sealed: the name it goes by, None for the default tenant. secrets: its root
    secret, wrapped by the master key. audit_sequence, audit_digest: the last line of its audit log; audit_head: keyed
    digest of these two."""

    __tablename__ = "tenants"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes | None]
    secrets: Mapped[bytes]
    audit_sequence: Mapped[int]
    audit_digest: Mapped[bytes]
    audit_head: Mapped[bytes]
    created_at: Mapped[datetime]


class DataKeyRow(Table):
    """A key that wraps the keys of subjects and seals what belongs to a tenant as a whole; wrapped by the master key.
    The highest version is in use, older ones are there until nothing is sealed with them any more."""

    __tablename__ = "data_keys"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime]


class ApiKeyRow(Table):
    """digest: keyed, of the secret half as this key's. sealed: all else that is known of the key."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "tenant", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]


class RevealedRow(Table):
    """Of which subjects an API key was told on a day (UTC, days since 1970), see its identities_per_day."""

    __tablename__ = "revealed_identities"
    __table_args__ = (Index(None, "subject_key"),)

    api_key: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subject_key: Mapped[int] = mapped_column(
        ForeignKey("subjects.key", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )


class AuditRow(Table):
    """A line of a tenant's audit log. entry: canonical JSON; digest: keyed, of the line before and this one."""

    __tablename__ = "audit"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entry: Mapped[bytes]
    digest: Mapped[bytes]


class GalleryRow(Table):
    """The counts are kept by every write, so that no request counts millions of rows. name: its token. templates,
    shadow_templates: of template_version and of shadow_version; shadow_version and shadow_state
    (core.types.ShadowState) come together. data_key: version of the data key that seals ``sealed``; issue: counts the
    secret rotations of its templates in indexes, from 1."""

    __tablename__ = "galleries"
    __table_args__ = (UniqueConstraint("tenant", "name"), {"sqlite_autoincrement": True})

    key: Mapped[int] = mapped_column(Key, Identity(), primary_key=True)
    name: Mapped[str]
    template_version: Mapped[str]
    keep_photographs: Mapped[bool]
    revision: Mapped[int] = mapped_column(default=0)
    subjects: Mapped[int] = mapped_column(default=0)
    references: Mapped[int] = mapped_column(default=0)
    templates: Mapped[int] = mapped_column(default=0)
    shadow_version: Mapped[str | None]
    shadow_state: Mapped[str | None]
    shadow_templates: Mapped[int] = mapped_column(default=0)
    sealed: Mapped[bytes]
    data_key: Mapped[int]
    issue: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]


class SubjectRow(Table):
    """sealed_key: the subject's own key, wrapped by the tenant's data key of version ``data_key``: without it nothing
    of the subject can be opened. id: its token. expires_at: from then on the subject does not answer."""

    __tablename__ = "subjects"
    __table_args__ = (
        UniqueConstraint("gallery_key", "id"),
        Index(None, "tenant", "data_key"),
        Index(None, "tenant", "expires_at"),
        {"sqlite_autoincrement": True},
    )

    key: Mapped[int] = mapped_column(Key, Identity(), primary_key=True)
    gallery_key: Mapped[int] = mapped_column(ForeignKey("galleries.key", ondelete="CASCADE"))
    id: Mapped[str]
    references: Mapped[int] = mapped_column(default=0)
    sealed: Mapped[bytes]
    sealed_key: Mapped[bytes]
    data_key: Mapped[int]
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ReferenceRow(Table):
    """identity: token of photograph and box, which make a reference unique; see ``storage.sealing``."""

    __tablename__ = "face_references"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        UniqueConstraint("subject_key", "identity"),
        Index(None, "gallery_key", "key"),
        Index(None, "subject_key", "key"),
        {"sqlite_autoincrement": True},
    )

    key: Mapped[int] = mapped_column(Key, Identity(), primary_key=True)
    id: Mapped[str]
    gallery_key: Mapped[int] = mapped_column(ForeignKey("galleries.key", ondelete="CASCADE"))
    subject_key: Mapped[int] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"))
    identity: Mapped[str]
    sealed: Mapped[bytes]
    has_photograph: Mapped[bool]
    created_at: Mapped[datetime]


class TemplateRow(Table):
    """A reference's template of one version. vector: sealed; revision: the write that added it."""

    __tablename__ = "templates"
    __table_args__ = (Index(None, "gallery_key", "template_version", "revision"),)

    reference_key: Mapped[int] = mapped_column(
        ForeignKey("face_references.key", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    template_version: Mapped[str] = mapped_column(primary_key=True)
    gallery_key: Mapped[int] = mapped_column(ForeignKey("galleries.key", ondelete="CASCADE"))
    revision: Mapped[int]
    vector: Mapped[bytes]


class FailureRow(Table):
    """Why no template of this version could be made of a reference's photograph. code: of the error."""

    __tablename__ = "template_failures"

    reference_key: Mapped[int] = mapped_column(
        ForeignKey("face_references.key", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    template_version: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str]


class PhotographRow(Table):
    """content: photograph and media type, sealed."""

    __tablename__ = "photographs"

    reference_key: Mapped[int] = mapped_column(
        ForeignKey("face_references.key", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes]


class RevisionRow(Table):
    """The log: of which references each write added or removed a template. reference_key outlives its reference."""

    __tablename__ = "revisions"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    gallery_key: Mapped[int] = mapped_column(
        ForeignKey("galleries.key", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reference_key: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    template_version: Mapped[str] = mapped_column(primary_key=True)
    op: Mapped[str]


class AnswerRow(Table):
    """What an enrolment with an idempotency key was answered, so that the same request gets the same answer again.

    key, request: tokens of the caller's key and of the request. answer: sealed with the key of its subject; None
    while the request runs. Goes with its gallery and its subject; both are unknown until then.
    """

    __tablename__ = "idempotent_answers"
    __table_args__ = (Index(None, "tenant", "expires_at"), Index(None, "gallery_key"), Index(None, "subject_key"))

    tenant: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[str]
    gallery_key: Mapped[int | None] = mapped_column(ForeignKey("galleries.key", ondelete="CASCADE"))
    subject_key: Mapped[int | None] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"))
    answer: Mapped[bytes | None]
    expires_at: Mapped[datetime]


class ErasureRow(Table):
    """An erasure, from its deletion on until nobody asks for its receipt any more. subject: a stand-in of its id, see
    ``storage.erasures``. deleted: keys of subjects; keys and ids of references, and whether they had photographs.
    statement: of the receipt, without names; None while the erasure is under way. Nothing of that tells of anybody."""

    __tablename__ = "erasures"
    __table_args__ = (
        UniqueConstraint("gallery_key", "subject"),
        Index(None, "tenant", "expires_at"),
        {"sqlite_autoincrement": True},
    )

    key: Mapped[int] = mapped_column(Key, Identity(), primary_key=True)
    gallery_key: Mapped[int] = mapped_column(ForeignKey("galleries.key", ondelete="CASCADE"))
    subject: Mapped[str]
    deleted: Mapped[dict[str, Any]]
    statement: Mapped[dict[str, Any] | None]
    expires_at: Mapped[datetime]
