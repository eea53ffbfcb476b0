"""The store, whole: what ``bootstrap`` opens."""

from facesvc.storage.galleries import Galleries
from facesvc.storage.references import References
from facesvc.storage.revisions import Revisions
from facesvc.storage.subjects import Subjects


class SqlReferenceStore(Galleries, Subjects, References, Revisions):
    """core.ports.ReferenceStore on SQLite or PostgreSQL, for one tenant: no method reads or writes another's rows.

    ``SqlReferenceStore(engine, tenant="default", codec=PlainCodec())``. Thread-safe. Raises RequestError for text
    that can't be stored (over 256 characters, NUL, lone surrogates) and for metadata that is not JSON.
    """

    def scoped(self, tenant: str) -> "SqlReferenceStore":
        """The same database, another tenant."""
        return SqlReferenceStore(self.engine, tenant, self.codec)
