"""CompreFace's PostgreSQL database, read only: who is in it, and the photographs that it kept.

Its schema since version 0.6: ``model`` is a service with its ``api_key``, ``subject`` a person of one of these,
``embedding`` a vector of a subject and of ``img``, the photograph, or of none where ``save_images_to_db`` was off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, ProgrammingError, SQLAlchemyError

from facesvc.errors import FileUnreadable, ImageTooLarge, ImportInvalid, StoreUnavailable

CONNECT_SECONDS = 5

COLLECTIONS = """
SELECT a.name, m.name, m.api_key FROM model m JOIN app a ON a.id = m.app_id
WHERE EXISTS (SELECT 1 FROM subject s WHERE s.api_key = m.api_key) ORDER BY 1, 2
"""
PHOTOGRAPHS = """
SELECT DISTINCT s.subject_name, e.img_id FROM subject s JOIN embedding e ON e.subject_id = s.id
WHERE s.api_key = :key AND e.img_id IS NOT NULL ORDER BY 1, 2
"""
BARE = """
SELECT count(*) FROM subject s JOIN embedding e ON e.subject_id = s.id WHERE s.api_key = :key AND e.img_id IS NULL
"""
CONTENT = """
SELECT octet_length(content), CASE WHEN octet_length(content) <= :limit THEN content END FROM img WHERE id = :id
"""


@dataclass(frozen=True, slots=True)
class Collection:
    """A recognition service's people. key: its API key, a secret."""

    application: str
    service: str
    key: str

    def __str__(self) -> str:
        return f"{self.application}/{self.service}"


class CompreFace:
    """Thread-safe. Every question is a transaction of its own that the database holds to reading. Raises ImportInvalid
    for a database that is not CompreFace's, StoreUnavailable where it does not answer."""

    def __init__(self, url: str) -> None:
        try:
            target = make_url(url)
        except ArgumentError:
            target = None
        if target is None or target.get_backend_name() != "postgresql":
            raise ImportInvalid(
                "CompreFace is read from its database: give postgresql://user:password@host:port/frs, "
                "of a server into which a dump was restored where you have only that"
            )
        self._engine = create_engine(
            target.set(drivername="postgresql+psycopg"),
            isolation_level="REPEATABLE READ",
            connect_args={"connect_timeout": CONNECT_SECONDS},
        )

    def close(self) -> None:
        self._engine.dispose()

    def collection(self, name: str | None) -> Collection:
        """The one that is called "service" or "application/service", or the only one that has people. Raises
        ImportInvalid, naming all, where that is none or several."""
        with self._reading() as connection:
            found = [Collection(*row) for row in connection.execute(text(COLLECTIONS))]
        chosen = [each for each in found if name in (None, str(each), each.service)]
        if len(chosen) != 1:
            known = ", ".join(map(str, found)) or "none"
            raise ImportInvalid(f"--collection chooses one of CompreFace's services with people: {known}")
        return chosen[0]

    def photographs(self, collection: Collection) -> dict[str, list[Any]]:
        """Ids of the photographs, by subject's name."""
        found: dict[str, list[Any]] = {}
        with self._reading() as connection:
            for subject, image in connection.execute(text(PHOTOGRAPHS), {"key": collection.key}):
                found.setdefault(subject, []).append(image)
        return found

    def embeddings_without_photograph(self, collection: Collection) -> int:
        with self._reading() as connection:
            return connection.execute(text(BARE), {"key": collection.key}).scalar_one()

    def content(self, image: Any, limit: int) -> bytes:
        """The file of a photograph. Raises FileUnreadable where it is gone, ImageTooLarge above ``limit`` bytes."""
        with self._reading() as connection:
            row = connection.execute(text(CONTENT), {"id": image, "limit": limit}).one_or_none()
        if row is None:
            raise FileUnreadable("the photograph was deleted meanwhile")
        if row[1] is None:
            raise ImageTooLarge(f"the photograph has more than {limit} bytes")
        return bytes(row[1])

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(postgresql_readonly=True) as connection:
                yield connection
        except ProgrammingError as error:  # such as: no table of that name
            raise ImportInvalid("the database does not have CompreFace's tables") from error
        except SQLAlchemyError as error:
            raise StoreUnavailable("CompreFace's database does not answer") from error
