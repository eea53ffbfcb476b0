"""What leaves with an answer: of how many subjects a key is told in a day, and whether one of them is a canary.

A canary is a subject that is nobody: nobody's photograph can match it, but for somebody who has stolen templates or
photographs and tries what they open. Its match is answered as any other, and raises an alarm.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from facesvc.core.access import Caller
from facesvc.core.answers import Identification, Verification
from facesvc.core.types import SECONDS_OF_A_DAY, Candidate, Subject
from facesvc.storage.disclosures import SqlDisclosures

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A canary matched. key, request: who asked, and with which request; references: of the canaries."""

    tenant: str
    key: str
    request: str | None
    action: str
    references: tuple[str, ...]


class Alarms:
    """Tells whoever listens; where nobody does, Python's log."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Alarm], None]] = []

    def listen(self, listener: Callable[[Alarm], None]) -> None:
        self._listeners.append(listener)

    def raise_alarm(self, alarm: Alarm) -> None:
        for listener in self._listeners or [_log]:
            listener(alarm)


class Watch:
    """Looks at every answer about subjects before it leaves. today: UTC, days since 1970."""

    def __init__(self, disclosures: SqlDisclosures, alarms: Alarms, today: Callable[[], int] | None = None) -> None:
        self.disclosures, self.alarms, self.today = disclosures, alarms, today or _today

    def identified(self, answer: Identification, caller: Caller, request: str | None) -> bool:
        """Whether a canary matched. Raises IdentityBudgetSpent: then nothing may be told."""
        told = [candidate for face in answer.faces for candidate in face.candidates]
        self.told_by({candidate.reference for candidate in told}, caller)
        matching = [candidate for candidate in told if answer.threshold.matches(candidate.distance)]
        return self._sound(matching, caller, request, "identify")

    def told(self, subjects: Collection[Subject], caller: Caller) -> None:
        """Before these subjects are listed or read. Raises IdentityBudgetSpent: then nothing may be told."""
        if caller.identities_per_day is not None and subjects:
            keys = {subject.key for subject in subjects}
            self.disclosures.reveal_subjects(keys, caller.key, self.today(), caller.identities_per_day)

    def told_by(self, references: Collection[str], caller: Caller) -> None:
        """Before their subjects are told of by these references, in whichever answer. Raises IdentityBudgetSpent."""
        if caller.identities_per_day is not None and references:
            self.disclosures.reveal(references, caller.key, self.today(), caller.identities_per_day)

    def verified(self, answer: Verification, caller: Caller, request: str | None) -> bool:
        """Whether a canary matched."""
        matching = [answer.reference] if isinstance(answer.reference, Candidate) and answer.match else []
        return self._sound(matching, caller, request, "verify")

    def _sound(self, matching: list[Candidate], caller: Caller, request: str | None, action: str) -> bool:
        found = self.disclosures.canaries({candidate.reference for candidate in matching}) if matching else ()
        if found:
            self.alarms.raise_alarm(Alarm(caller.tenant, caller.key, request, action, tuple(sorted(found))))
        return bool(found)


def _today() -> int:
    return int(datetime.now(UTC).timestamp()) // SECONDS_OF_A_DAY


def _log(alarm: Alarm) -> None:
    logger.warning(
        "alarm: a canary matched (%s, key %s, references %s)", alarm.action, alarm.key, ", ".join(alarm.references)
    )
