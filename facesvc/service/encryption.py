"""What the database is encrypted with: data keys and the master key are replaced, templates are issued anew.

All of it while servers run, and resumable: what was killed half way is gone on with by the next run. Each leaves its
lines in the audit log.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial

from facesvc.core.types import every
from facesvc.crypto.keyring import Maker, rewrap
from facesvc.crypto.master import MasterKey
from facesvc.errors import GalleryNotFound
from facesvc.service.audit import Trail
from facesvc.storage.keys import SqlKeyRows, rewrap_all
from facesvc.storage.rewrapping import Rewrapping
from facesvc.storage.store import Store
from facesvc.storage.transactions import Transactions


class Encryption:
    """Encrypt one tenant's rows with other keys. Raises StoreUnavailable, MasterKeyUnavailable, SealBroken."""

    def __init__(self, store: Store, rows: SqlKeyRows, rewrapping: Rewrapping, maker: Maker, audit: Trail) -> None:
        """rows: the tenant's keys; rewrapping: its rows, under other keys; maker: makes keys with the master key."""
        self._store, self._rows, self._rewrapping, self._maker = store, rows, rewrapping, maker
        self._audit = audit

    def rotate_data_key(self) -> Iterator[int]:
        """Make a new data key, bring all under it that was under the one before, and delete that at the end. Yields
        the number of rows of each step. Continues a rotation that was interrupted."""
        with self._store.locks.alone("keys"), self._audit.change("rotate_data_key"):
            self._rows.change(self._maker, partial(self._maker.with_data_key, self._rows.tenant))
            while True:
                yield from self._rewrapping.rewrap()
                if self._rewrapping.drop_old_keys():
                    return

    def reissue(self, gallery: str | None = None) -> list[str]:
        """Turn the templates of one gallery anew, or of all, and return the galleries' names. Raises GalleryNotFound
        for one that is not there."""
        names = [gallery] if gallery is not None else [gallery.name for gallery in every(self._store.galleries.list)]
        done: list[str] = []
        for name in names:
            try:
                with self._audit.change("reissue_templates", name):
                    self._rewrapping.reissue(name)
            except GalleryNotFound:
                if gallery is not None:
                    raise
                continue  # deleted since it was listed
            done.append(name)
        return done

    def data_keys(self) -> dict[int, int]:
        """Count rows by the version of the data key that seals them."""
        return self._rewrapping.by_data_key()


def rotate_master(rows: Transactions, old: MasterKey, new: MasterKey, trails: Iterable[Trail]) -> int:
    """Wrap all tenants' keys with another master key, in one transaction, and return how many have some.

    rows: of every tenant; trails: of each of them. Processes that run keep what they have opened; they have to be
    started again with the new key before they meet keys that it wrapped. Raises MasterKeyUnavailable, and changes
    nothing, where the one in use is not the right one.
    """
    with ExitStack() as noted:
        for audit in trails:
            noted.enter_context(audit.change("rotate_master_key"))
        return rewrap_all(rows, lambda tenant, wrapped: rewrap(old, new, tenant, wrapped))
