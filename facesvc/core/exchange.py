"""What moves when a gallery leaves one store for another."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from facesvc.core.types import NewReference


@dataclass(frozen=True, slots=True, eq=False)
class KeptReference:
    """A reference with what the store gave it when it was enrolled: its public id and its moment."""

    id: str
    new: NewReference
    created_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A subject and one of its references, or a subject that has none."""

    subject: str
    display_name: str | None
    metadata: Mapping[str, Any]
    subject_created_at: datetime
    reference: KeptReference | None


@dataclass(frozen=True, slots=True)
class Added:
    """What storing some entries changed: subjects and references that are new; entries of which all was there."""

    subjects: int = 0
    references: int = 0
    already: int = 0

    def __add__(self, other: "Added") -> "Added":
        return Added(self.subjects + other.subjects, self.references + other.references, self.already + other.already)
