"""What all JSON shapes share: a strict base, pages of listings, and how a moment is written."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from facesvc.core import types

T = TypeVar("T")
V = TypeVar("V")

TemplateVersion = Annotated[
    str,
    Field(description="Digest of the model pack; only templates of one version compare.", examples=["sha256:4e1f0c3b"]),
]
FmrInterval = Annotated[
    Annotated[list[float], Field(min_length=2, max_length=2)] | None,
    Field(
        description="95 % interval of that rate, low and high, over the people it was measured on.",
        examples=[[3e-4, 1.6e-3]],
    ),
]


class Answer(BaseModel):
    """Base of the shapes. Fields that a shape does not name are refused."""

    model_config = ConfigDict(extra="forbid")


class Page(Answer, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last page.")

    @classmethod
    def of(cls, listed: types.Page[V], shape: Callable[[V], T]) -> Self:
        """Return the page ``listed`` with each item in the form that ``shape`` makes of it."""
        return cls(items=[shape(item) for item in listed.items], next_cursor=listed.next_cursor)


def moment(at: datetime) -> str:
    """Return ``at``, which is in UTC, as ISO 8601 with milliseconds: 2026-11-21T08:00:00.000Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def optional_moment(at: datetime | None) -> str | None:
    """Return ``at`` as ``moment`` writes it, or None where there is none."""
    return None if at is None else moment(at)
