"""Keys are replaced while others read and write: on SQLite and PostgreSQL."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Engine, select, text

from facesvc.core.compare import squared_l2
from facesvc.core.types import NewGallery, NewSubject, Receipt, SubjectChange, Ticket
from facesvc.crypto.master import MasterKey
from facesvc.errors import MasterKeyUnavailable, SealBroken
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome, version_of
from facesvc.storage.store import Store
from facesvc.storage.tables import GalleryRow, PhotographRow, ReferenceRow, SubjectRow, TemplateRow
from tests.contract.values import JPEG, assert_same
from tests.support.databases import VERSION, new_reference, process, unit_vectors
from tests.support.galleryfiles import bare

TICKET = Ticket("a" * 64, "b" * 64)


def fill(store: Store) -> None:
    store.galleries.create(NewGallery("staff", True, {"floor": 3}), VERSION)
    store.subjects.create("staff", NewSubject("ada", "Ada", {"born": 1815}))
    assert store.answers.claim(TICKET) is None
    new = [new_reference(1, photograph=JPEG), new_reference(2)]
    store.references.add("staff", "ada", new, Receipt(TICKET, lambda stored: b"told"))
    store.references.add("staff", "bob", [new_reference(3)])


def test_nothing_in_the_clear_is_believed(engine: Engine) -> None:
    """Else a thief who can write would put in his own face."""
    fill(process(engine).store("default"))
    with engine.begin() as connection:
        forged = unit_vectors(1, 99)[0].astype("<f4").tobytes()
        connection.execute(TemplateRow.__table__.update().values(vector=forged))  # type: ignore[attr-defined]
    with pytest.raises(SealBroken, match="is not sealed as it should be"):
        process(engine).store("default").references.list("staff", "ada", 10)


def test_no_column_tells_of_anybody(engine: Engine) -> None:
    store = process(engine).store("default")
    store.galleries.create(NewGallery("the night shift", True, {"building": "north wing"}), VERSION)
    store.subjects.create(
        "the night shift", NewSubject("ada lovelace", "Countess of Lovelace", {"born": "in Marylebone"})
    )
    (seen,) = store.references.add("the night shift", "ada lovelace", [new_reference(1, photograph=JPEG)])
    told = b""
    with engine.connect() as connection:
        for table in (GalleryRow, SubjectRow, ReferenceRow, TemplateRow, PhotographRow):
            for row in connection.execute(select(table.__table__)):
                told += b" ".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
    for secret in (b"night shift", b"north wing", b"lovelace", b"Countess", b"Marylebone", JPEG, b"image/jpeg"):
        assert secret not in told
    assert seen.image_sha256.encode() not in told
    assert seen.sample.template.vector.tobytes()[:16] not in told
    assert seen.sample.face.box.tobytes() not in told


def test_no_column_tells_canaries_from_others(engine: Engine) -> None:
    database = process(engine)
    store = database.store("default")
    fill(store)
    with engine.connect() as connection:
        before = list(connection.execute(select(SubjectRow.__table__)).mappings())
    store.subjects.mark_canary("staff", "bob", True)
    with engine.connect() as connection:
        after = list(connection.execute(select(SubjectRow.__table__)).mappings())
    assert [len(subject["sealed"]) for subject in after] == [len(subject["sealed"]) for subject in before]
    assert [subject["updated_at"] for subject in after] == [subject["updated_at"] for subject in before]
    references = [store.references.list("staff", subject, 9).items[0].id for subject in ("ada", "bob")]
    assert database.disclosures("default").canaries(references) == references[1:]
    assert store.subjects.update("staff", "bob", SubjectChange(display_name="Robert")).display_name == "Robert"
    assert process(engine).disclosures("default").canaries(references) == references[1:]


def test_a_new_data_key_takes_over(engine: Engine) -> None:
    """A process that was there before, and one that comes after, read on; rows are under the new key alone."""
    before = process(engine).store("default")
    fill(before)
    before.answers.claim(replace(TICKET, key="c" * 64))
    before.references.add("staff", "bob", [], Receipt(replace(TICKET, key="c" * 64), lambda _: b"none"))
    wanted = before.references.list("staff", "ada", 10).items
    care = process(engine).encryption("default")
    assert care.data_keys() == {1: 3}
    assert sum(care.rotate_data_key()) == 3  # the gallery and two subjects, whose answers are under their own keys
    assert care.data_keys() == {2: 3}
    for store in (before, process(engine).store("default")):
        found = store.references.list("staff", "ada", 10).items
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
        assert store.answers.claim(replace(TICKET, key="c" * 64)) == b"none"
    before.references.add("staff", "new", [new_reference(7)])
    assert care.data_keys() == {2: 4}


def test_a_rotation_that_stopped_goes_on(engine: Engine) -> None:
    store = process(engine).store("default")
    store.galleries.create(NewGallery("staff"), VERSION)
    process(engine).exchange("default").add("staff", [bare(f"subject {number}") for number in range(450)])
    steps = process(engine).encryption("default").rotate_data_key()
    assert [next(steps), next(steps)] == [1, 200]
    steps.close()
    care = process(engine).encryption("default")
    assert care.data_keys() == {1: 250, 2: 201}
    assert store.subjects.create("staff", NewSubject("meanwhile")).id == "meanwhile"
    assert [*care.rotate_data_key()] == [200, 50]
    assert care.data_keys() == {2: 452}


def test_a_key_that_seals_something_is_not_deleted(engine: Engine) -> None:
    fill(process(engine).store("default"))
    care = process(engine).encryption("default")
    next(care.rotate_data_key())  # the new key is there, the subjects are under the old
    assert care._rewrapping.drop_old_keys() is False
    assert sorted(care.data_keys()) == [1, 2]


def test_a_new_master_key(engine: Engine) -> None:
    running, new = process(engine), MasterKey(bytes(range(32)))
    fill(running.store("default"))
    derived = running.keyring.derive("api keys")
    assert process(engine).rotate_master(new) == 2  # the installation, and the tenant
    assert running.store("default").subjects.get("staff", "ada").display_name == "Ada"
    with pytest.raises(MasterKeyUnavailable):  # else it would wrap keys that no other process can open
        running.register.create("acme")
    with pytest.raises(MasterKeyUnavailable, match="it is the wrong one, or was rotated"):
        process(engine).store("default")
    with pytest.raises(MasterKeyUnavailable):
        process(engine).rotate_master(MasterKey(bytes([7] * 32)))
    after = process(engine, new)
    assert after.store("default").subjects.get("staff", "ada").metadata == {"born": 1815}
    assert after.keyring.derive("api keys") == derived, "API keys stay valid"
    list(after.encryption("default").rotate_data_key())
    with pytest.raises(MasterKeyUnavailable):  # it was not started again, and meets a key that the new one wrapped
        running.store("default").subjects.get("staff", "ada")


def test_templates_are_issued_anew(engine: Engine) -> None:
    """What an index held before links with nothing; distances, and answers, are the same."""
    store = process(engine).store("default")
    fill(store)
    indexes, probes = GalleryIndexes(store, MemoryHome(FlatIndex)), unit_vectors(3, 9)
    before = store.galleries.get("staff")
    old, found = store.revisions.changes(before, 0).vectors, indexes.search(before, probes, 3)
    assert process(engine).encryption("default").reissue("staff") == ["staff"]
    after = store.galleries.get("staff")
    new = store.revisions.changes(after, 0).vectors
    assert (version_of(before)[2], version_of(after)[2]) == (1, 2)
    assert indexes.search(after, probes, 3) == found
    np.testing.assert_allclose(squared_l2(new, new), squared_l2(old, old), atol=1e-6)
    assert np.abs((new * old).sum(axis=1)).max() < 0.5, "one person's vectors are as far apart as two people's"


def test_the_audit_log_tells_of_it(engine: Engine) -> None:
    fill(process(engine).store("default"))
    care = process(engine).encryption("default")
    list(care.rotate_data_key())
    care.reissue()
    new = MasterKey(bytes(range(32)))
    process(engine).rotate_master(new)
    log = process(engine, new).audit("default")
    told = [(line["action"], line["outcome"]) for line in (json.loads(line.entry) for line in log.lines())]
    actions = ["rotate_data_key", "reissue_templates", "rotate_master_key"]
    assert told == [(action, outcome) for action in actions for outcome in ({"state": "begun"}, {})]
    assert log.verify({}) == len(told)


def test_a_row_of_another_subject_does_not_open(engine: Engine) -> None:
    store = process(engine).store("default")
    fill(store)
    with engine.begin() as connection:
        connection.execute(text("UPDATE face_references SET subject_key = 2 WHERE subject_key = 1"))
    with pytest.raises(SealBroken):
        store.references.list("staff", "bob", 10)
