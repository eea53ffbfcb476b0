"""The use cases of API keys: made, found by what a request brings, replaced, revoked.

A key's text is ``facesvc_<id>_<secret>``: the id is public and names the key in lists and logs, the secret is 32
random bytes. Stored is HMAC-SHA-256 of the secret with a key that is not in the database; a secret of 256 bits can't
be guessed, so that a slow hash would only slow down requests (NIST SP 800-63B, section 3.1.2, look-up secrets).
"""

import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from facesvc.core.access import Role
from facesvc.core.api_keys import ApiKey, ApiKeyStore, IssuedKey, Rights, StoredKey
from facesvc.crypto.envelope import Envelope
from facesvc.errors import RequestError
from facesvc.refusals import ApiKeyNotFound, Unauthenticated

TEXT = re.compile(r"facesvc_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
SECRET_BYTES = 32
FIRST_LIFETIME = timedelta(days=1)
REFUSED = "the API key is not valid: unknown, expired or revoked"


class Secrets(Protocol):
    """What the service knows and its database does not, such as ``crypto.keyring.TenantKeys``."""

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose alone."""
        ...

    def envelope(self, purpose: str) -> Envelope:
        """Seals what is of one purpose."""
        ...


class ApiKeys:
    """Of all tenants. secrets: of the installation; the same after the master key was changed."""

    def __init__(self, store: ApiKeyStore, secrets: Secrets) -> None:
        self._store = store
        self._key, self._envelope = secrets.derive("api keys"), secrets.envelope("api key rights")

    def authenticate(self, text: str) -> ApiKey:
        """The key of this text. Raises Unauthenticated: an unknown id and a wrong secret cost and answer the same;
        StoreUnavailable."""
        parsed = TEXT.fullmatch(text)
        if parsed is None:
            raise Unauthenticated(REFUSED)
        stored = self._store.find(parsed[1])
        known = hmac.compare_digest(self._digest(parsed[2]), stored.digest if stored else bytes(SECRET_BYTES))
        if not known or stored is None:
            raise Unauthenticated(REFUSED)
        key = self._opened(stored)
        if not key.is_valid(datetime.now(UTC)):
            raise Unauthenticated(REFUSED)
        return key

    def issue(self, tenant: str, rights: Rights, lifetime: timedelta | None = None) -> IssuedKey:
        """A new key; its text is told this once."""
        stored, issued = self._made(tenant, rights, lifetime)
        self._store.add(stored)
        return issued

    def issue_first(self, tenant: str) -> IssuedKey | None:
        """An administrator's key where there is no key at all, of any tenant; None where there is. Whatever keeps what
        a service prints keeps it too: it is for making others, and soon expires."""
        rights = Rights(frozenset({Role.ADMINISTER}), label="first administrator")
        stored, issued = self._made(tenant, rights, FIRST_LIFETIME)
        return issued if self._store.add_first(stored) else None

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
        """For every process at once. Raises ApiKeyNotFound."""
        return self._opened(self._store.revoke(tenant, key, datetime.now(UTC)))

    def rotate(self, tenant: str, key: str, overlap: timedelta, lifetime: timedelta | None = None) -> IssuedKey:
        """A new key with the rights of another, which stays valid for ``overlap``. Raises ApiKeyNotFound, also for one
        that is not valid or is replaced already; RequestError for a negative overlap."""
        if overlap < timedelta(0):
            raise RequestError("an overlap can't be negative")
        now, old = datetime.now(UTC), self.find(tenant, key)
        if not old.is_valid(now):
            raise ApiKeyNotFound(f"API key {key} is not valid any more")
        stored, issued = self._made(tenant, old.rights, lifetime)
        self._store.replace(key, stored, now + overlap)
        return issued

    def _made(self, tenant: str, rights: Rights, lifetime: timedelta | None) -> tuple[StoredKey, IssuedKey]:
        if lifetime is not None and lifetime <= timedelta(0):
            raise RequestError("a key's lifetime must be positive")
        now, id_, secret = datetime.now(UTC), secrets.token_hex(6), _new_secret()
        key = ApiKey(id_, tenant, rights, now, now + lifetime if lifetime else None)
        stored = StoredKey(
            id=id_,
            tenant=tenant,
            digest=self._digest(secret),
            sealed=self._envelope.seal(_packed(rights), _owner(tenant, id_)),
            created_at=now,
            identities_per_day=rights.identities_per_day,
            requests_per_minute=rights.requests_per_minute,
            expires_at=key.expires_at,
        )
        return stored, IssuedKey(key, f"facesvc_{id_}_{secret}")

    def _opened(self, stored: StoredKey) -> ApiKey:
        """Raises SealBroken where its rights were changed, or it was given to another tenant."""
        packed = self._envelope.open(stored.sealed, _owner(stored.tenant, stored.id))
        limits = {"identities_per_day": stored.identities_per_day, "requests_per_minute": stored.requests_per_minute}
        return ApiKey(
            id=stored.id,
            tenant=stored.tenant,
            rights=replace(_unpacked(packed), **limits),
            created_at=stored.created_at,
            expires_at=stored.expires_at,
            revoked_at=stored.revoked_at,
            replaced_by=stored.replaced_by,
        )

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._key, secret.encode(), "sha256")


def _new_secret() -> str:
    return urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")


def _owner(tenant: str, key: str) -> str:
    return f"API key {key} of {tenant}"


def _packed(rights: Rights) -> bytes:
    galleries = None if rights.galleries is None else sorted(rights.galleries)
    return json.dumps({"roles": sorted(rights.roles), "galleries": galleries, "label": rights.label}).encode()


def _unpacked(packed: bytes) -> Rights:
    kept = json.loads(packed)
    galleries = None if kept["galleries"] is None else frozenset(kept["galleries"])
    return Rights(frozenset(map(Role, kept["roles"])), galleries, kept["label"])
