"""The keys of tenants, as they lie in the database, wrapped by the master key.

Each tenant has a root secret, from which keys for single purposes are derived, and numbered data keys, which wrap the
keys of its subjects and seal what belongs to it as a whole. They are made when they are first needed.
"""

import secrets
from collections.abc import Callable
from threading import Lock

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facesvc.core.keys import FIRST, INSTALLATION, KeyRows, Wrapped
from facesvc.crypto.envelope import Envelope
from facesvc.crypto.master import KEY_BYTES, MasterKey
from facesvc.refusals import MasterKeyUnavailable, SealBroken, TenantNotFound


class TenantKeys:
    """One tenant's keys, read when they are first needed. Thread-safe.

    Raises MasterKeyUnavailable for keys that another master key wrapped, TenantNotFound."""

    def __init__(self, tenant: str, rows: KeyRows, master: MasterKey, check: Callable[[], None] | None = None) -> None:
        """check: whether ``master`` is the database's still, asked before it wraps anything new."""
        self.tenant = tenant
        self._rows, self._master, self._check = rows, master, check
        self._lock = Lock()
        self._root: bytes | None = None
        self._sealed_whole = False
        self._data_keys: dict[int, Envelope] = {}

    def __repr__(self) -> str:
        return f"TenantKeys({self.tenant!r})"

    @property
    def admits_plain(self) -> bool:
        """Whether some of the tenant may still be stored in the clear: it was there before its keys were. A thief who
        can write can't bring this about, since the wrapped root secret says it."""
        self._opened()
        return not self._sealed_whole

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose alone (HKDF-SHA-256, RFC 5869); the same as long as the tenant is there."""
        return HKDF(SHA256(), KEY_BYTES, None, f"facesvc/tenant/{purpose}".encode()).derive(self._opened())

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
            if self._check:
                self._check()
            whole = not self._rows.holds_plain()
            self._rows.add(*new_keys(self._master, self.tenant, whole))
            wrapped = self._rows.read()
        if wrapped.root is None:
            raise TenantNotFound(f"no tenant {self.tenant!r}")
        self._take(wrapped)  # data keys first: whoever has a root has them, too
        self._root, self._sealed_whole = open_root(self._master, self.tenant, wrapped.root)

    def _take(self, wrapped: Wrapped) -> None:
        """Versions that are gone meanwhile are kept: rows that were read before may still want them."""
        for version, key in wrapped.data_keys.items():
            if version not in self._data_keys:
                self._data_keys[version] = Envelope(open_data_key(self._master, self.tenant, version, key), self.tenant)


class Keyring:
    """All tenants' keys. rows_of: where those of a tenant lie. Thread-safe."""

    def __init__(self, master: MasterKey, rows_of: Callable[[str], KeyRows]) -> None:
        self.master = master
        self._rows_of = rows_of
        self._tenants: dict[str, TenantKeys] = {}
        self._lock = Lock()

    def tenant(self, tenant: str) -> TenantKeys:
        with self._lock:
            if tenant not in self._tenants:
                check = None if tenant == INSTALLATION else self.require_master
                self._tenants[tenant] = TenantKeys(tenant, self._rows_of(tenant), self.master, check)
            return self._tenants[tenant]

    def derive(self, purpose: str) -> bytes:
        """32 bytes for a purpose of the installation as a whole, such as the digests of API keys. Unlike what the
        master key derives, they are the same after its rotation."""
        return self.tenant(INSTALLATION).derive(purpose)

    def require_master(self) -> None:
        """Raises MasterKeyUnavailable unless the database is sealed with this master key; makes the installation's keys
        where it is sealed with none yet."""
        TenantKeys(INSTALLATION, self._rows_of(INSTALLATION), self.master).derive("check")


def new_keys(master: MasterKey, tenant: str, whole: bool) -> tuple[bytes, bytes]:
    """A new root secret and first data key, wrapped."""
    root = wrap_root(master, tenant, secrets.token_bytes(KEY_BYTES), whole)
    return root, new_data_key(master, tenant, FIRST)


def new_data_key(master: MasterKey, tenant: str, version: int) -> bytes:
    return master.wrap(secrets.token_bytes(KEY_BYTES), _data_key(tenant, version))


def wrap_root(master: MasterKey, tenant: str, root: bytes, whole: bool) -> bytes:
    """whole: everything of the tenant is sealed."""
    return master.wrap(root, _root(tenant, whole))


def open_root(master: MasterKey, tenant: str, wrapped: bytes) -> tuple[bytes, bool]:
    """The root secret, and whether everything of the tenant is sealed. Raises MasterKeyUnavailable."""
    try:
        return master.unwrap(wrapped, _root(tenant, whole=True)), True
    except SealBroken:
        return _unwrap(master, wrapped, _root(tenant, whole=False)), False


def open_data_key(master: MasterKey, tenant: str, version: int, wrapped: bytes) -> bytes:
    """Raises MasterKeyUnavailable."""
    return _unwrap(master, wrapped, _data_key(tenant, version))


def rewrap(old: MasterKey, new: MasterKey, tenant: str, wrapped: Wrapped) -> Wrapped:
    """The same keys, wrapped by another master key. Raises MasterKeyUnavailable where ``old`` did not wrap them."""
    root = None
    if wrapped.root is not None:
        root = wrap_root(new, tenant, *open_root(old, tenant, wrapped.root))
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


def _root(tenant: str, whole: bool) -> str:
    return f"tenant {tenant!r}, root secret, {'sealed' if whole else 'partly sealed'}"


def _data_key(tenant: str, version: int) -> str:
    return f"tenant {tenant!r}, data key {version}"
