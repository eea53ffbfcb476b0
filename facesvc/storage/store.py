"""The database as the layers above use it: one object with a part for each kind of row."""

from sqlalchemy import Engine, select

from facesvc.crypto.codec import Codec
from facesvc.storage.answers import Answers
from facesvc.storage.erasures import Erasures
from facesvc.storage.galleries import Galleries
from facesvc.storage.model_change import ModelChanges
from facesvc.storage.references import References
from facesvc.storage.revisions import Revisions
from facesvc.storage.sealing import SealedRows
from facesvc.storage.search import SearchRows
from facesvc.storage.subjects import Subjects
from facesvc.storage.tables import GalleryRow
from facesvc.storage.transactions import Locks


class Store:
    """The truth: galleries, subjects, references and photographs of one tenant, on SQLite or PostgreSQL. Thread-safe.

    No method reads or writes another tenant's rows. Every write is one transaction that also appends to the revision
    log. All methods raise StoreUnavailable when the database can't be reached, and RequestError for text that can't be
    stored (over 256 characters, NUL, lone surrogates) and for metadata that is not JSON.
    """

    def __init__(self, engine: Engine, tenant: str, codec: Codec, seen: frozenset[str] | None = None) -> None:
        """seen: names of the galleries that the caller may use, None for all; the others are treated as not there."""
        self.engine, self.tenant, self.codec = engine, tenant, codec
        self.rows = rows = SealedRows(engine, tenant, codec, seen)
        self.locks = Locks(engine, tenant)
        self.galleries, self.subjects, self.revisions = Galleries(rows), Subjects(rows), Revisions(rows)
        self.search, self.answers, self.erasures = SearchRows(rows), Answers(rows), Erasures(rows)
        self.references, self.model_changes = References(rows, self.answers), ModelChanges(rows)

    def seen_by(self, galleries: frozenset[str]) -> "Store":
        """Return the same store for a caller who may use these galleries only."""
        return Store(self.engine, self.tenant, self.codec, galleries)

    def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers and has its tables."""
        with self.rows.reading() as session:
            session.execute(select(GalleryRow.key).limit(1))
