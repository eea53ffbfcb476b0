"""The care of keys: what is in the clear is sealed, data keys and the master key are replaced, templates issued anew.

All of it while servers run, and resumable: what was killed half way is gone on with by the next run. Each leaves its
lines in the audit log.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from facesvc.bootstrap.database import Database
from facesvc.core.types import every
from facesvc.crypto.keyring import rewrap
from facesvc.crypto.master import MasterKey
from facesvc.errors import GalleryNotFound
from facesvc.storage.keys import SqlKeyRows, rewrap_all
from facesvc.storage.resealing import Resealing
from facesvc.storage.transactions import EVERY_TENANT, Transactions


class KeyCare:
    """Of one tenant, by its id. Raises StoreUnavailable, MasterKeyUnavailable, SealBroken."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.tenant = tenant
        self._maker, self._store = database.keyring.maker, database.store(tenant)
        self._rows, self._trail = SqlKeyRows(database.engine, tenant), database.trail(tenant)
        self._resealing = Resealing(database.engine, tenant, self._store.codec)

    def seal(self) -> Iterator[int]:
        """Seals what was stored before the tenant had keys; the rows of each step. From then on nothing in the clear is
        believed any more."""
        with self._store.alone("keys"), self._trail.changing("seal"):
            yield from self._resealing.seal()
            if not self._resealing.holds_plain():
                self._rows.change(self._maker, partial(self._maker.said_whole, self.tenant))

    def rotate_data_key(self) -> Iterator[int]:
        """A new data key, under which all is brought that was under the one before, which is deleted at the end; the
        rows of each step. Goes on with a rotation that was interrupted."""
        with self._store.alone("keys"), self._trail.changing("rotate_data_key"):
            self._rows.change(self._maker, partial(self._maker.with_data_key, self.tenant))
            while True:
                yield from self._resealing.rewrap()
                if self._resealing.drop_old_keys():
                    return

    def reissue(self, gallery: str | None = None) -> list[str]:
        """Turns the templates of one gallery anew, or of all; their names. Raises GalleryNotFound for one that is not
        there."""
        names = [gallery] if gallery is not None else [gallery.name for gallery in every(self._store.galleries)]
        done: list[str] = []
        for name in names:
            try:
                with self._trail.changing("reissue_templates", name):
                    self._resealing.reissue(name)
            except GalleryNotFound:
                if gallery is not None:
                    raise
                continue  # deleted since it was listed
            done.append(name)
        return done

    def data_keys(self) -> dict[int, int]:
        """Rows by the version of the data key that seals them."""
        return self._resealing.by_data_key()

    def plain(self) -> dict[str, int]:
        """Rows that are in the clear, by what they are."""
        return self._resealing.plain()


def rotate_master(database: Database, new: MasterKey) -> int:
    """Wraps all tenants' keys with another master key, in one transaction; how many have some. Processes that run keep
    what they have opened; they have to be started again with the new key before they meet keys that it wrapped.
    Raises MasterKeyUnavailable, and changes nothing, where the one in use is not the right one."""
    old = database.keyring.master
    every = Transactions(database.engine, EVERY_TENANT)
    with ExitStack() as noted:
        for tenant in database.register.ids():
            noted.enter_context(database.trail(tenant).changing("rotate_master_key"))
        return rewrap_all(every, lambda tenant, wrapped: rewrap(old, new, tenant, wrapped))
