"""Transactions over one tenant's rows, with the database's failures told in our own errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import Session

from facesvc.errors import FaceServiceError, RequestError, StoreError, StoreUnavailable
from facesvc.storage.cipher import Codec, PlainCodec
from facesvc.storage.engine import TENANT, WRITING, writers_turn

EVERY_TENANT = "*"
"""In place of a tenant where rows of all are looked through, such as API keys; no tenant's id."""


class Transactions:
    """What the parts of the store share: the engine, whose rows, and how bytes are stored. seen: names of the galleries
    that are there for who asks, None for all."""

    def __init__(
        self,
        engine: Engine,
        tenant: str = "default",
        codec: Codec | None = None,
        seen: frozenset[str] | None = None,
    ) -> None:
        self.engine = engine
        self.tenant = tenant
        self.codec = codec or PlainCodec()
        self.seen = seen
        self._reader = engine.execution_options(**{TENANT: tenant})
        self._writer = engine.execution_options(**{TENANT: tenant, WRITING: True})

    def sees(self, gallery: str) -> bool:
        return self.seen is None or gallery in self.seen

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that writes nothing."""
        with translated(), Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self, conflict: StoreError | None = None) -> Iterator[Session]:
        """A transaction committed at the end, rolled back on any exception; ``conflict`` is raised where the rows
        that exist forbid the write."""
        with translated(conflict), writers_turn(self.engine), Session(self._writer) as session, session.begin():
            yield session


@contextmanager
def translated(conflict: StoreError | None = None) -> Iterator[None]:
    """The database's failures within as our errors; see ``Transactions.writing`` for ``conflict``."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translate(error, conflict) from error


def _translate(error: SQLAlchemyError, conflict: StoreError | None) -> FaceServiceError:
    """Details stay in the exception's cause: they name hosts and hold values."""
    if isinstance(error, IntegrityError):
        return conflict or StoreError("write conflicts with what is stored")
    if isinstance(error, DataError):
        return RequestError("a value can't be stored")
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return RequestError(f"a value can't be stored: {error.orig}")
    return StoreUnavailable()


def require_limit(limit: int) -> None:
    """Raises RequestError for a page size below one."""
    if limit < 1:
        raise RequestError("limit must be at least 1")
