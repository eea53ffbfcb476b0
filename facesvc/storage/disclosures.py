"""Of which subjects an API key was told on a day, and which subjects are canaries."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.orm import Session

from facesvc.core.types import SECONDS_OF_A_DAY
from facesvc.errors import IdentityBudgetSpent
from facesvc.storage.sealing import SealedRows, SubjectCiphers
from facesvc.storage.tables import ReferenceRow, RevealedRow, SubjectRow

DAYS_KEPT = 1
"""Besides the present one: of whom a key was told is nobody's business for longer."""


class SqlDisclosures(SealedRows):
    """Note which subjects API keys were told of, and know which are canaries, for one tenant.

    All methods raise StoreUnavailable.
    """

    def reveal(self, references: Collection[str], key: str, day: int, most: int) -> None:
        """Note that the API key ``key`` is told of the subjects of these references on ``day`` (UTC, days since 1970).

        Raises IdentityBudgetSpent, and notes nothing, where it would then know of more than ``most``.
        """
        owners = select(ReferenceRow.subject_key)
        owners = owners.where(ReferenceRow.tenant == self.tenant, ReferenceRow.id.in_(references))
        self._reveal(owners, key, day, most)

    def reveal_subjects(self, subjects: Collection[int], key: str, day: int, most: int) -> None:
        """Note the same of subjects by their keys in the database, with references or without."""
        there = select(SubjectRow.key).where(SubjectRow.tenant == self.tenant, SubjectRow.key.in_(subjects))
        self._reveal(there, key, day, most)

    def _reveal(self, told: Select[int], key: str, day: int, most: int) -> None:
        """Counted in the same transaction, one after the other for each key, so that no two processes both take the
        last place."""
        known = select(RevealedRow.subject_key).where(RevealedRow.api_key == key, RevealedRow.day == day)
        with self.writing() as session:
            _one_at_a_time(session, key)
            before = set(session.scalars(known))
            new = set(session.scalars(told)) - before
            if len(before) + len(new) > most:
                raise IdentityBudgetSpent(f"this key may be told of {most} subjects a day", _until_tomorrow(day))
            if new:
                session.execute(
                    delete(RevealedRow).where(RevealedRow.api_key == key, RevealedRow.day < day - DAYS_KEPT)
                )
                rows = [{"tenant": self.tenant, "api_key": key, "day": day, "subject_key": subject} for subject in new]
                session.execute(insert(RevealedRow), rows)

    def canaries(self, references: Collection[str]) -> Collection[str]:
        """Return those of these references that belong to canaries."""
        query = (
            select(ReferenceRow.id, SubjectRow)
            .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
            .where(ReferenceRow.tenant == self.tenant, ReferenceRow.id.in_(references))
        )
        ciphers = SubjectCiphers(self.codec)
        with self.reading() as session:
            return [reference for reference, row in session.execute(query) if ciphers.details(row).canary]


def _one_at_a_time(session: Session, key: str) -> None:
    """A lock until the transaction's end. On SQLite whoever writes is alone already."""
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(sha256(f"revealed\0{key}".encode()).digest()[:8], signed=True)
        session.execute(select(func.pg_advisory_xact_lock(number)))


def _until_tomorrow(day: int) -> int:
    """Seconds until the day after ``day`` begins (UTC)."""
    tomorrow = datetime.fromtimestamp(0, UTC) + timedelta(seconds=(day + 1) * SECONDS_OF_A_DAY)
    return max(int((tomorrow - datetime.now(UTC)).total_seconds()), 1)
