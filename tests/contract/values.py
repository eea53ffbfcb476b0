"""What the contract tests of the store compare."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
from sqlalchemy import func, select

from facesvc.core.types import Page, Reference
from facesvc.storage.store import Store
from facesvc.storage.tables import Table

NAMES = ["Zoë", "ada", "Ada", "bob", "_", "Äbel", "日本", "😀", "a b", "a-b", "10", "9"]
JPEG = b"\xff\xd8 a photograph"


def rows(store: Store, table: type[Table]) -> int:
    with store.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def counts(store: Store, gallery: str = "staff") -> tuple[int, int, int]:
    """revision, subjects, references"""
    found = store.galleries.get(gallery)
    return found.revision, found.subjects, found.references


def assert_same(found: Reference, wanted: Reference) -> None:
    """All values, bit for bit."""
    for arrays in (
        (found.sample.template.vector, wanted.sample.template.vector),
        (found.sample.face.box, wanted.sample.face.box),
        (found.sample.face.landmarks, wanted.sample.face.landmarks),
    ):
        np.testing.assert_array_equal(*arrays, strict=True)
    assert plain(found) == plain(wanted)
    assert found.sample.quality == wanted.sample.quality
    assert found.sample.face.score == wanted.sample.face.score
    assert found.sample.template.version == wanted.sample.template.version


def plain(reference: Reference) -> dict[str, object]:
    """All but the sample."""
    return {field.name: getattr(reference, field.name) for field in fields(reference) if field.name != "sample"}


def paged(page: Callable[[str | None], Page], name: Callable) -> list:
    """All items of a listing, page after page."""
    found, cursor = [], None
    while True:
        answer = page(cursor)
        found += [name(item) for item in answer.items]
        cursor = answer.next_cursor
        if cursor is None:
            return found
