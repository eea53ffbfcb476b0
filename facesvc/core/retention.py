"""For how long a subject may be kept, and what allows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """consent: the caller's reference to what allows it, such as a document's number; expires_at: from then on the
    subject does not answer, and is deleted soon. What is None stays as it is."""

    consent: str | None = None
    expires_at: datetime | None = None


NO_LIMIT = Retention()
