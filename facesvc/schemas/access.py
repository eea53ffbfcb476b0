"""API keys, callers and tenants, and the lines of the audit log."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import Field

from facesvc.core import access, audit
from facesvc.core.access import Role
from facesvc.schemas.base import Answer, moment, optional_moment


class KeyFields(Answer):
    """Fields of every shape that shows an API key."""

    id: str = Field(examples=["4be07c1a99d2"], description="Public: it names the key in lists, logs and the audit log.")
    label: str
    roles: list[Role]
    galleries: list[str] | None = Field(description="null: all.")
    identities_per_day: int | None
    requests_per_minute: int | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    replaced_by: str | None = Field(description="Id of the key that takes its place.")
    valid: bool


def key_fields(stored: access.ApiKey) -> dict[str, Any]:
    """Return the values of KeyFields for ``stored``, as it is at this moment."""
    rights = stored.rights
    return {
        "id": stored.id,
        "label": rights.label,
        "roles": sorted(rights.roles),
        "galleries": None if rights.galleries is None else sorted(rights.galleries),
        "identities_per_day": rights.identities_per_day,
        "requests_per_minute": rights.requests_per_minute,
        "created_at": moment(stored.created_at),
        "expires_at": optional_moment(stored.expires_at),
        "revoked_at": optional_moment(stored.revoked_at),
        "replaced_by": stored.replaced_by,
        "valid": stored.is_valid(datetime.now(UTC)),
    }


class ApiKey(KeyFields):
    @classmethod
    def of(cls, stored: access.ApiKey) -> Self:
        return cls(**key_fields(stored))


class IssuedApiKey(KeyFields):
    key: str = Field(description="The key itself. It is told this once and stored nowhere: keep it.")

    @classmethod
    def of(cls, issued: access.IssuedKey) -> Self:
        return cls(**key_fields(issued.key), key=issued.text)


class ApiKeys(Answer):
    items: list[ApiKey] = Field(description="Oldest first; also those that are not valid any more.")

    @classmethod
    def of(cls, stored: Iterable[access.ApiKey]) -> Self:
        return cls(items=[ApiKey.of(key) for key in stored])


class Caller(Answer):
    """Who asks."""

    key: str = Field(description="Id of the API key.")
    tenant: str = Field(description="Id of the tenant.")
    roles: list[Role]
    galleries: list[str] | None = Field(description="Those it may use; null: all.")
    development: bool = Field(description="The service runs in development mode: nobody needs a key.")

    @classmethod
    def of(cls, caller: access.Caller, development: bool) -> Self:
        return cls(
            key=caller.key,
            tenant=caller.tenant,
            roles=sorted(caller.roles),
            galleries=None if caller.galleries is None else sorted(caller.galleries),
            development=development,
        )


class Tenant(Answer):
    id: str
    name: str
    created_at: str

    @classmethod
    def of(cls, stored: access.Tenant) -> Self:
        return cls(id=stored.id, name=stored.name, created_at=moment(stored.created_at))


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

    @classmethod
    def of(cls, written: audit.Line) -> Self:
        return cls(line=written.sequence, **written.told, digest=written.digest.hex())


class AuditLines(Answer):
    items: list[AuditLine]

    @classmethod
    def of(cls, written: Iterable[audit.Line]) -> Self:
        return cls(items=[AuditLine.of(line) for line in written])
