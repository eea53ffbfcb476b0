"""Column types that mean the same in every database."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, TypeDecorator

NAME_LENGTH = 256
"""Characters of the longest name, identifier or version that is stored."""


class Name(TypeDecorator[str]):
    """Text of at most NAME_LENGTH characters, ordered by code point in every database.

    Refuses what one of the databases would (NUL, lone surrogates, excess length) for all of them: ValueError,
    which SQLAlchemy wraps and ``storage.transactions`` turns into RequestError.
    """

    impl = String(NAME_LENGTH).with_variant(String(NAME_LENGTH, collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else require_text(value)


class Moment(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite has no time zones, so there it is kept as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Details(TypeDecorator[dict[str, Any]]):
    """A JSON object. Refuses here, with ValueError or TypeError, what the drivers would each refuse in their own
    way or not at all: NaN, lone surrogates, values that are not JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> dict[str, Any] | None:
        require_json(value)
        return value


def require_text(value: str) -> str:
    """Raises ValueError; see Name."""
    value.encode()  # UnicodeEncodeError, a ValueError, for lone surrogates
    if "\0" in value or len(value) > NAME_LENGTH:
        raise ValueError(f"text has a NUL or over {NAME_LENGTH} characters")
    return value


def require_json(value: object) -> bytes:
    """Raises ValueError or TypeError; see Details."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


Key = BigInteger().with_variant(Integer, "sqlite")  # AUTOINCREMENT wants the type INTEGER, which has 64 bits there
