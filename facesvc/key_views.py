"""The JSON shapes of API keys and tenants; see ``facesvc.views``."""

from datetime import UTC, datetime

from facesvc.core.access import ApiKey, Caller, IssuedKey, Tenant
from facesvc.views import View, moment


def caller(asking: Caller) -> View:
    return {
        "key": asking.key,
        "tenant": asking.tenant,
        "roles": sorted(asking.roles),
        "galleries": None if asking.galleries is None else sorted(asking.galleries),
    }


def api_key(kept: ApiKey) -> View:
    return {
        "id": kept.id,
        "label": kept.rights.label,
        "roles": sorted(kept.rights.roles),
        "galleries": None if kept.rights.galleries is None else sorted(kept.rights.galleries),
        "identities_per_day": kept.rights.identities_per_day,
        "requests_per_minute": kept.rights.requests_per_minute,
        "created_at": moment(kept.created_at),
        "expires_at": _moment(kept.expires_at),
        "revoked_at": _moment(kept.revoked_at),
        "replaced_by": kept.replaced_by,
        "valid": kept.is_valid(datetime.now(UTC)),
    }


def issued_key(issued: IssuedKey) -> View:
    return api_key(issued.key) | {"key": issued.text}


def tenant(kept: Tenant) -> View:
    return {"id": kept.id, "name": kept.name, "created_at": moment(kept.created_at)}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
