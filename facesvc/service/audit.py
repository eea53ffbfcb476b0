"""What goes into the audit log: who asked for what, with which key, and what was decided. No photographs, no vectors,
and names by their stand-ins alone.

A question is one line, written before its answer leaves: where the log can't be written, there is no answer. A change
is two: one before it is made, so that none goes unnoted whatever is killed in between, and one of how it ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from facesvc.core.access import Caller
from facesvc.core.audit import Chain, Head, Line, canonical
from facesvc.errors import FaceServiceError, Overloaded
from facesvc.storage.audit import SqlAuditLog

BEGUN = "begun"


@dataclass(slots=True)
class Outcome:
    """What became of it, to be filled in. head: the log's end after the last line about it."""

    told: dict[str, Any] = field(default_factory=dict)
    head: Head = field(default_factory=Head)


class Trail:
    """Writes one tenant's lines, for one caller. request: the id by which logs and answers know what was asked."""

    def __init__(self, log: SqlAuditLog, chain: Chain, caller: Caller, request: str | None = None) -> None:
        self.log, self.chain, self.caller, self.request = log, chain, caller, request

    def by(self, caller: Caller, request: str | None = None) -> "Trail":
        """The same log, for another caller."""
        mine = copy(self)
        mine.caller, mine.request = caller, request
        return mine

    @contextmanager
    def question(self, action: str, gallery: str | None = None, subject: str | None = None) -> Iterator[Outcome]:
        """Around a question, whose outcome is filled in within. An error ends it with its code; but where the service
        was too busy to look at it, nothing was told, and a line for each would cost most when there is least to spare.
        """
        with self._until_end(action, gallery, subject, unsaid=(Overloaded,)) as outcome:
            yield outcome

    @contextmanager
    def change(self, action: str, gallery: str | None = None, subject: str | None = None) -> Iterator[Outcome]:
        """The same around a change that begins at once; however it ends is said."""
        self.begin(action, gallery, subject)
        with self._until_end(action, gallery, subject) as outcome:
            yield outcome

    def begin(self, action: str, gallery: str | None = None, subject: str | None = None) -> None:
        """The line before a change. For one that begins within ``question``, which says how it ended."""
        self._write(action, gallery, subject, {"state": BEGUN})

    @contextmanager
    def _until_end(
        self, action: str, gallery: str | None, subject: str | None, unsaid: tuple[type[FaceServiceError], ...] = ()
    ) -> Iterator[Outcome]:
        outcome = Outcome()
        try:
            yield outcome
        except FaceServiceError as error:
            if not isinstance(error, unsaid):
                self._write(action, gallery, subject, {"error": error.code})
            raise
        outcome.head = self._write(action, gallery, subject, outcome.told)

    def lines(self, after: int = 0, until: int | None = None) -> Iterator[Line]:
        """Read the log's lines after number ``after``, up to and with ``until``; None for all there are."""
        return iter(self.log.lines(after, until))

    def gallery(self, name: str) -> str:
        """Return the stand-in of a gallery's name in the log."""
        return gallery_token(self.chain, name)

    def subject(self, gallery: str, name: str) -> str:
        """Return the stand-in of a subject's id in the log."""
        return subject_token(self.chain, gallery, name)

    def _write(self, action: str, gallery: str | None, subject: str | None, told: dict[str, Any]) -> Head:
        line: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "key": self.caller.key,
            "request": self.request,
            "action": action,
            "outcome": told,
        }
        if gallery is not None:
            line["gallery"] = self.gallery(gallery)
            if subject is not None:
                line["subject"] = self.subject(gallery, subject)
        return self.log.append([canonical(line)])


def gallery_token(chain: Chain, name: str) -> str:
    return chain.token("gallery", name)


def subject_token(chain: Chain, gallery: str, name: str) -> str:
    return chain.token("subject", gallery, name)
