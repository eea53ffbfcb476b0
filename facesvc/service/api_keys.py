"""The use cases of API keys: created, found by what a request brings, replaced, revoked.

A key's text is ``facesvc_<id>_<secret>``: the id is public and names the key in lists and logs, the secret is 32
random bytes. Stored is HMAC-SHA-256 of tenant, id and secret with a key that is not in the database, so that whoever
writes rows can't give one key's secret to another; a secret of 256 bits can't be guessed, so that a slow hash would
only slow down requests (NIST SP 800-63B, section 3.1.2, look-up secrets). All else is sealed: rights, limits, expiry,
revocation.
"""

import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from facesvc.core.access import ApiKey, IssuedKey, Rights, Role, StoredKey
from facesvc.crypto.keyring import TenantKeys
from facesvc.errors import ApiKeyNotFound, RequestError, Unauthenticated
from facesvc.service.audit import Trail
from facesvc.storage.access import SqlApiKeys

TEXT = re.compile(r"facesvc_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
SECRET_BYTES = 32
FIRST_LIFETIME = timedelta(days=1)
REFUSED = "the API key is not valid: unknown, expired or revoked"


def claimed_id(text: str) -> str | None:
    """The id of which a text says that it is the key; None where the text is of no key at all."""
    parsed = TEXT.fullmatch(text)
    return parsed[1] if parsed else None


class ApiKeys:
    """Of all tenants. secrets: of the installation; the same after the master key was changed."""

    def __init__(self, store: SqlApiKeys, secrets: TenantKeys) -> None:
        self._store = store
        self._key, self._envelope = secrets.derive("api keys"), secrets.envelope("api key rights")

    def authenticate(self, text: str) -> ApiKey:
        """The key of this text. Raises Unauthenticated: an unknown id and a wrong secret cost and answer the same;
        StoreUnavailable."""
        parsed = TEXT.fullmatch(text)
        if parsed is None:
            raise Unauthenticated(REFUSED)
        stored = self._store.find(parsed[1])
        digest = self._digest(stored.tenant if stored else "", parsed[1], parsed[2])
        known = hmac.compare_digest(digest, stored.digest if stored else bytes(SECRET_BYTES))
        if not known or stored is None:
            raise Unauthenticated(REFUSED)
        key = self._opened(stored)
        if not key.is_valid(datetime.now(UTC)):
            raise Unauthenticated(REFUSED)
        return key

    def issue(self, tenant: str, rights: Rights, lifetime: timedelta | None = None) -> IssuedKey:
        """A new key; its text is told this once."""
        issued = self._made(tenant, rights, lifetime)
        self._store.add(self._stored(issued))
        return issued

    def issue_first(self, tenant: str) -> IssuedKey | None:
        """An administrator's key where there is no key at all, of any tenant; None where there is. Whatever keeps what
        a service prints keeps it too: it is for making others, and soon expires."""
        rights = Rights(frozenset({Role.ADMINISTER}), label="first administrator")
        issued = self._made(tenant, rights, FIRST_LIFETIME)
        return issued if self._store.add_first(self._stored(issued)) else None

    def of_tenant(self, tenant: str) -> list[ApiKey]:
        """All that were ever made, oldest first."""
        return [self._opened(stored) for stored in self._store.of_tenant(tenant)]

    def find(self, tenant: str, key: str) -> ApiKey:
        """Raises ApiKeyNotFound."""
        stored = self._store.find(key)
        if stored is None or stored.tenant != tenant:
            raise ApiKeyNotFound(f"no API key {key!r}")
        return self._opened(stored)

    def revoke(self, tenant: str, key: str) -> ApiKey:
        """For every process at once; revoked again, nothing changes. Raises ApiKeyNotFound."""

        def revoked(stored: StoredKey) -> bytes:
            old = self._opened(stored)
            return self._sealed(replace(old, revoked_at=old.revoked_at or datetime.now(UTC)))

        return self._opened(self._store.change(tenant, key, revoked))

    def rotate(self, tenant: str, key: str, overlap: timedelta, lifetime: timedelta | None = None) -> IssuedKey:
        """A new key with the rights of another, which stays valid for ``overlap``, or until it would have expired
        anyway. Raises ApiKeyNotFound, also for one that is not valid or is replaced already; RequestError for a
        negative overlap."""
        if overlap < timedelta(0):
            raise RequestError("an overlap can't be negative")
        issued = self._made(tenant, self.find(tenant, key).rights, lifetime)

        def replaced(stored: StoredKey) -> bytes:
            old, now = self._opened(stored), datetime.now(UTC)
            _require_replaceable(old, now)
            until = min(filter(None, (now + overlap, old.expires_at)))
            return self._sealed(replace(old, replaced_by=issued.key.id, expires_at=until))

        self._store.change(tenant, key, replaced, self._stored(issued))
        return issued

    def _made(self, tenant: str, rights: Rights, lifetime: timedelta | None) -> IssuedKey:
        if lifetime is not None and lifetime <= timedelta(0):
            raise RequestError("a key's lifetime must be positive")
        now, id_ = datetime.now(UTC), secrets.token_hex(6)
        key = ApiKey(id_, tenant, rights, now, now + lifetime if lifetime else None)
        return IssuedKey(key, f"facesvc_{id_}_{_new_secret()}")

    def _stored(self, issued: IssuedKey) -> StoredKey:
        key, parsed = issued.key, TEXT.fullmatch(issued.text)
        assert parsed is not None
        digest = self._digest(key.tenant, key.id, parsed[2])
        return StoredKey(key.id, key.tenant, digest, self._sealed(key), key.created_at)

    def _sealed(self, key: ApiKey) -> bytes:
        return self._envelope.seal(_packed(key), _owner(key.tenant, key.id))

    def _opened(self, stored: StoredKey) -> ApiKey:
        """Raises SealBroken where anything of it was changed, or it was given to another tenant."""
        return _unpacked(stored, self._envelope.open(stored.sealed, _owner(stored.tenant, stored.id)))

    def _digest(self, tenant: str, key: str, secret: str) -> bytes:
        """JSON keeps the three apart, whatever is in them."""
        return hmac.digest(self._key, json.dumps([tenant, key, secret]).encode(), "sha256")


def _require_replaceable(key: ApiKey, now: datetime) -> None:
    """Raises ApiKeyNotFound."""
    if not key.is_valid(now):
        raise ApiKeyNotFound(f"API key {key.id} is not valid any more")
    if key.replaced_by is not None:
        raise ApiKeyNotFound(f"API key {key.id} was replaced before")


def _new_secret() -> str:
    return urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")


def _owner(tenant: str, key: str) -> str:
    return f"API key {key} of {tenant}"


def _packed(key: ApiKey) -> bytes:
    rights, galleries = key.rights, key.rights.galleries
    told = {
        "roles": sorted(rights.roles),
        "galleries": None if galleries is None else sorted(galleries),
        "label": rights.label,
        "identities_per_day": rights.identities_per_day,
        "requests_per_minute": rights.requests_per_minute,
        "created_at": _text(key.created_at),
        "expires_at": _text(key.expires_at),
        "revoked_at": _text(key.revoked_at),
        "replaced_by": key.replaced_by,
    }
    return json.dumps(told).encode()


def _unpacked(stored: StoredKey, packed: bytes) -> ApiKey:
    told = json.loads(packed)
    galleries = None if told["galleries"] is None else frozenset(told["galleries"])
    limits = told["identities_per_day"], told["requests_per_minute"]
    return ApiKey(
        id=stored.id,
        tenant=stored.tenant,
        rights=Rights(frozenset(map(Role, told["roles"])), galleries, told["label"], *limits),
        created_at=datetime.fromisoformat(told["created_at"]),
        expires_at=_moment(told["expires_at"]),
        revoked_at=_moment(told["revoked_at"]),
        replaced_by=told["replaced_by"],
    )


def _text(moment: datetime | None) -> str | None:
    return moment and moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class TenantApiKeys:
    """The API keys of one tenant, as administrators care for them. Each change writes its lines in the audit log. All
    raise what ``ApiKeys`` raises."""

    def __init__(self, keys: ApiKeys, tenant: str, audit: Trail) -> None:
        self.keys, self.tenant, self.audit = keys, tenant, audit

    def list(self) -> Sequence[ApiKey]:
        """Return all keys, also those that are not valid any more, oldest first."""
        return self.keys.of_tenant(self.tenant)

    def get(self, key: str) -> ApiKey:
        """Return a key by its id. Raises ApiKeyNotFound."""
        return self.keys.find(self.tenant, key)

    def issue(self, rights: Rights, lifetime: timedelta | None) -> IssuedKey:
        """Create a key. lifetime: None for ever. Raises RequestError for a lifetime that is not positive."""
        with self.audit.change("create_api_key") as outcome:
            issued = self.keys.issue(self.tenant, rights, lifetime)
            outcome.told = {"api_key": issued.key.id, "roles": sorted(rights.roles)}
        return issued

    def issue_first(self) -> IssuedKey | None:
        """Create an administrator's key where there is none at all; see ``ApiKeys.issue_first``. Its line comes after
        it, so that starts that make none leave none; until then nobody knows its text."""
        issued = self.keys.issue_first(self.tenant)
        if issued is not None:
            with self.audit.question("create_api_key") as outcome:
                outcome.told = {"api_key": issued.key.id, "roles": sorted(issued.key.rights.roles)}
        return issued

    def rotate(self, key: str, overlap: timedelta, lifetime: timedelta | None) -> IssuedKey:
        """Create a key with the rights of another, which stays valid for ``overlap``. Raises ApiKeyNotFound,
        RequestError for a negative overlap."""
        with self.audit.change("rotate_api_key") as outcome:
            issued = self.keys.rotate(self.tenant, key, overlap, lifetime)
            outcome.told = {"api_key": key, "replaced_by": issued.key.id}
        return issued

    def revoke(self, key: str) -> None:
        """Revoke a key, for every process at once. Raises ApiKeyNotFound."""
        with self.audit.change("revoke_api_key") as outcome:
            outcome.told = {"api_key": key}
            self.keys.revoke(self.tenant, key)
