"""The keys of tenants, as they lie in the database, wrapped by the master key.

Each tenant has a root secret, from which keys for single purposes are derived, and numbered data keys, which wrap the
keys of its subjects and seal what belongs to it as a whole. They are made with the tenant; the installation's and the
default tenant's when they are first needed.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facesvc.core.access import DEFAULT_TENANT
from facesvc.core.audit import Chain, Head
from facesvc.crypto.envelope import Envelope
from facesvc.crypto.master import KEY_BYTES, MasterKey
from facesvc.errors import MasterKeyUnavailable, SealBroken, TenantNotFound

INSTALLATION = "/"
"""In place of a tenant: the keys of the installation as a whole. No tenant can be called so."""
FIRST = 1
"""Version of a tenant's first data key."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The root secret, None where there is none, and the data keys by version."""

    root: bytes | None = None
    data_keys: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What a tenant begins with. root, data_key: wrapped; audit_head: the end of its empty audit log, signed."""

    root: bytes
    data_key: bytes
    audit_head: bytes


class KeyRows(Protocol):
    """Where one tenant's wrapped keys lie: rows in ``facesvc.storage``, which stands above; a test's memory."""

    def read(self) -> Wrapped: ...

    def found(self, maker: "Maker") -> None:
        """Makes the first keys of all, unless there are some: the installation's, and those of the tenants that are
        there. Of two processes that are at it, one's count for both. Raises SealBroken where something is sealed
        already: its keys were taken away."""
        ...

    def change(self, maker: "Maker", renew: Callable[[Wrapped], Wrapped]) -> None:
        """Puts what ``renew`` makes of the tenant's keys in their place, while nobody else writes any. Raises
        MasterKeyUnavailable where the master key was replaced meanwhile."""
        ...


FOUNDED = (INSTALLATION, DEFAULT_TENANT)
"""Are there once anything is; other tenants may be unknown."""


class Maker:
    """Makes and checks keys under one master key."""

    def __init__(self, master: MasterKey) -> None:
        self.master = master

    def made(self, tenant: str) -> NewKeys:
        """Return new keys of a tenant, wrapped."""
        root = secrets.token_bytes(KEY_BYTES)
        wrapped = wrap_root(self.master, tenant, root), new_data_key(self.master, tenant, FIRST)
        return NewKeys(*wrapped, audit_head=chain_of(root).signed(Head()))

    def require(self, installation: Wrapped) -> None:
        """Raise MasterKeyUnavailable where another master key wrapped the installation's keys, and so all others."""
        if installation.root is None:
            raise taken_away(INSTALLATION)
        open_root(self.master, INSTALLATION, installation.root)

    def with_data_key(self, tenant: str, wrapped: Wrapped) -> Wrapped:
        """With one more, unless there are several: a rotation that was interrupted goes on with the newest."""
        if len(wrapped.data_keys) != 1:
            return wrapped
        new = max(wrapped.data_keys) + 1
        return replace(wrapped, data_keys={**wrapped.data_keys, new: new_data_key(self.master, tenant, new)})


class TenantKeys:
    """One tenant's keys, read when they are first needed. Thread-safe.

    Raises MasterKeyUnavailable for keys that another master key wrapped, TenantNotFound, SealBroken where the root
    secret was taken away."""

    def __init__(self, tenant: str, rows: KeyRows, maker: Maker) -> None:
        self.tenant = tenant
        self._rows, self._maker = rows, maker
        self._lock = Lock()
        self._root: bytes | None = None
        self._data_keys: dict[int, Envelope] = {}

    def __repr__(self) -> str:
        return f"TenantKeys({self.tenant!r})"

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose alone (HKDF-SHA-256, RFC 5869); the same as long as the tenant is there."""
        return derived(self._opened(), purpose)

    def chain(self) -> Chain:
        """That of its audit log."""
        return chain_of(self._opened())

    def envelope(self, purpose: str) -> Envelope:
        """Seals what is of one purpose, with a key that no rotation of data keys concerns."""
        return Envelope(self.derive(purpose), self.tenant)

    def data_key(self, version: int) -> Envelope:
        """What data key ``version`` seals. One that was made since by another process is looked up. Raises SealBroken
        where there is none of that version."""
        self._opened()
        found = self._data_keys.get(version)
        if found is None:
            with self._lock:
                self._take(self._rows.read())
            found = self._data_keys.get(version)
        if found is None:
            raise SealBroken(f"tenant {self.tenant!r} has no data key {version}")
        return found

    def _opened(self) -> bytes:
        if self._root is None:
            with self._lock:
                if self._root is None:
                    self._open()
        assert self._root is not None
        return self._root

    def _open(self) -> None:
        wrapped = self._rows.read()
        if wrapped.root is None:
            self._rows.found(self._maker)
            wrapped = self._rows.read()
        if wrapped.root is None:
            raise taken_away(self.tenant) if self.tenant in FOUNDED else TenantNotFound(f"no tenant {self.tenant!r}")
        self._take(wrapped)  # data keys first: whoever has a root has them, too
        self._root = open_root(self._maker.master, self.tenant, wrapped.root)

    def _take(self, wrapped: Wrapped) -> None:
        """Versions that are gone meanwhile are kept: rows that were read before may still want them."""
        for version, key in wrapped.data_keys.items():
            if version not in self._data_keys:
                opened = open_data_key(self._maker.master, self.tenant, version, key)
                self._data_keys[version] = Envelope(opened, self.tenant)


class Keyring:
    """All tenants' keys. rows_of: where those of a tenant lie. Thread-safe."""

    def __init__(self, master: MasterKey, rows_of: Callable[[str], KeyRows]) -> None:
        self.master, self.maker = master, Maker(master)
        self._rows_of = rows_of
        self._tenants: dict[str, TenantKeys] = {}
        self._lock = Lock()

    def tenant(self, tenant: str) -> TenantKeys:
        with self._lock:
            if tenant not in self._tenants:
                self._tenants[tenant] = TenantKeys(tenant, self._rows_of(tenant), self.maker)
            return self._tenants[tenant]

    def derive(self, purpose: str) -> bytes:
        """32 bytes for a purpose of the installation as a whole, such as the digests of API keys. Unlike what the
        master key derives, they are the same after its rotation."""
        return self.tenant(INSTALLATION).derive(purpose)

    def require_master(self) -> None:
        """Raises MasterKeyUnavailable unless the database is sealed with this master key; makes the first keys where it
        is sealed with none yet."""
        self.tenant(INSTALLATION).derive("check")


def derived(root: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, None, f"facesvc/tenant/{purpose}".encode()).derive(root)


def chain_of(root: bytes) -> Chain:
    return Chain(derived(root, "audit"))


def taken_away(tenant: str) -> SealBroken:
    return SealBroken(f"tenant {tenant!r} has no root secret: it was taken away")


def new_data_key(master: MasterKey, tenant: str, version: int) -> bytes:
    return master.wrap(secrets.token_bytes(KEY_BYTES), _data_key(tenant, version))


def wrap_root(master: MasterKey, tenant: str, root: bytes) -> bytes:
    """Wrap a tenant's root secret."""
    return master.wrap(root, _root(tenant))


def open_root(master: MasterKey, tenant: str, wrapped: bytes) -> bytes:
    """Open a tenant's root secret. Raises MasterKeyUnavailable."""
    return _unwrap(master, wrapped, _root(tenant))


def open_data_key(master: MasterKey, tenant: str, version: int, wrapped: bytes) -> bytes:
    """Raises MasterKeyUnavailable."""
    return _unwrap(master, wrapped, _data_key(tenant, version))


def rewrap(old: MasterKey, new: MasterKey, tenant: str, wrapped: Wrapped) -> Wrapped:
    """The same keys, wrapped by another master key. Raises MasterKeyUnavailable where ``old`` did not wrap them."""
    root = None
    if wrapped.root is not None:
        root = wrap_root(new, tenant, open_root(old, tenant, wrapped.root))
    data_keys = {
        version: new.wrap(open_data_key(old, tenant, version, key), _data_key(tenant, version))
        for version, key in wrapped.data_keys.items()
    }
    return Wrapped(root, data_keys)


def _unwrap(master: MasterKey, wrapped: bytes, owner: str) -> bytes:
    try:
        return master.unwrap(wrapped, owner)
    except SealBroken as error:
        reason = f"{owner} was not sealed with this master key ({master.id}): it is the wrong one, or was rotated"
        raise MasterKeyUnavailable(reason) from error


def _root(tenant: str) -> str:
    return f"tenant {tenant!r}, root secret"


def _data_key(tenant: str, version: int) -> str:
    return f"tenant {tenant!r}, data key {version}"
