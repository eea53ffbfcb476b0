"""Whole galleries out of a database and into one, by values, on every database."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.types import Added, Entry, NewGallery, NewSubject, Photograph
from facesvc.errors import GalleryNotFound, PhotographNotFound, TemplateVersionMismatch
from facesvc.exchange.reader import CHUNK, GalleryFile, Import, RowRules
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome
from facesvc.pipeline.decode import sniff
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.store import Store
from tests.contract.values import NAMES, counts
from tests.support.databases import VERSION, new_reference, new_tenant, unit_vectors
from tests.support.galleryfiles import JPEG, MOMENT, bare, entry, people, values, write_file

RULES = RowRules(VERSION, 1.0, 10**6, sniff)


@pytest.fixture
def exchange(store: Store) -> SqlExchange:
    return SqlExchange(store.engine, store.tenant, store.codec)


def by_subject(exchange: SqlExchange, entries: Iterable[Entry]) -> list[Entry]:
    """Sorted: sealed names come in no order that says anything."""
    return sorted(entries, key=lambda each: each.subject)


def test_what_goes_in_comes_out(exchange: SqlExchange) -> None:
    """References in the order they came in; names in code point order, but for sealed ones: these stay together."""
    went = [each for i, name in enumerate(sorted(NAMES)) for each in (entry(3 * i + 1, name), entry(3 * i, name))]
    went.insert(0, bare("!"))
    assert exchange.add("staff", went) == Added(subjects=13, references=24)
    found = [*exchange.entries("staff")]
    assert len([*groupby(each.subject for each in found)]) == 13
    assert values(by_subject(exchange, found)) == values(went)


def test_the_counts_and_the_log_follow(store: Store, exchange: SqlExchange) -> None:
    """One revision a transaction, from which an index catches up as after any other write."""
    store.references.add("staff", "ada", [new_reference(1000)])
    index = GalleryIndexes(store, MemoryHome(FlatIndex))
    probes = unit_vectors(3, seed=9)
    index.search(store.galleries.get("staff"), probes, 1)
    exchange.add("staff", people(40)[:31])
    exchange.add("staff", [bare("eve")])
    assert counts(store) == (3, 18, 32)
    assert [store.subjects.get("staff", name).references for name in ("ada", "subject 000000", "subject 000015")] == [
        1,
        2,
        1,
    ]
    log = store.revisions.changes(store.galleries.get("staff"), 0)
    assert log.revision == 3
    turned = store.revisions.issued(store.galleries.get("staff"), probes)
    wanted = log.added[np.argsort(squared_l2(turned, log.vectors), axis=1)[:, :5]].tolist()
    assert index.search(store.galleries.get("staff"), probes, 5) == wanted


def test_what_is_there_stays_and_is_not_repeated(store: Store, exchange: SqlExchange) -> None:
    store.subjects.create("staff", NewSubject("ada", "Ada Lovelace", {"own": 1}))
    (kept,) = store.references.add("staff", "ada", [new_reference(1)])
    before = counts(store)
    assert exchange.add("staff", [entry(1), bare("ada")]) == Added(already=2)
    assert counts(store) == before
    assert exchange.add("staff", [entry(1), entry(2), entry(2)]) == Added(references=1, already=2)
    found = store.subjects.get("staff", "ada")
    assert (found.display_name, found.metadata, found.references) == ("Ada Lovelace", {"own": 1}, 2)
    assert [reference.id for reference in store.references.list("staff", "ada", 10).items] == [kept.id, f"ref_{2:026x}"]
    assert exchange.add("staff", []) == Added()


def test_one_photograph_with_two_faces(exchange: SqlExchange) -> None:
    """What tells references apart is the photograph and the box."""
    first, second = entry(1), entry(2)
    assert first.reference is not None
    assert second.reference is not None
    same = replace(second.reference.new, image_sha256=first.reference.new.image_sha256)
    second = replace(second, reference=replace(second.reference, new=same))
    assert exchange.add("staff", [first, second]) == Added(subjects=1, references=2)
    assert exchange.add("staff", [second, first]) == Added(already=2)


def test_an_id_that_is_taken_is_given_out_anew(store: Store, exchange: SqlExchange) -> None:
    """A copy beside the original; an id twice in one file."""
    store.galleries.create(NewGallery("copy"), VERSION)
    exchange.add("staff", [entry(1), entry(2)])
    double = entry(4)
    assert double.reference is not None
    double = replace(double, reference=replace(double.reference, id=f"ref_{3:026x}"))
    exchange.add("copy", [entry(1), entry(3), double])
    original = [reference.id for reference in store.references.list("staff", "ada", 10).items]
    copied = [reference.id for reference in store.references.list("copy", "ada", 10).items]
    assert original == [f"ref_{1:026x}", f"ref_{2:026x}"]
    assert copied[1] == f"ref_{3:026x}"
    assert len({*original, *copied}) == 5
    assert values(exchange.entries("copy"), ids=False) == values([entry(1), entry(3), double], ids=False)


def test_photographs_move_where_they_are_kept(store: Store, exchange: SqlExchange) -> None:
    store.galleries.create(NewGallery("album", True), VERSION)
    went = [entry(1, photograph=JPEG), entry(2)]
    exchange.add("album", went)
    exchange.add("staff", [entry(3, photograph=JPEG)])
    assert store.references.photograph("album", "ada", f"ref_{1:026x}") == Photograph(JPEG, "image/jpeg")
    assert values(exchange.entries("album", photographs=True)) == values(went)
    (first, _) = exchange.entries("album")
    assert first.reference is not None
    assert first.reference.new.photograph is None
    with pytest.raises(PhotographNotFound):
        store.references.photograph("staff", "ada", f"ref_{3:026x}")


def test_another_template_version_is_refused_whole(store: Store, exchange: SqlExchange) -> None:
    other = entry(2)
    assert other.reference is not None
    other = replace(other, reference=replace(other.reference, new=new_reference(2, version="sha256:other")))
    with pytest.raises(TemplateVersionMismatch, match="sha256:other can't be compared with sha256:test"):
        exchange.add("staff", [entry(1), other])
    assert counts(store) == (0, 0, 0)


def test_an_export_shows_one_moment(other: Store, exchange: SqlExchange) -> None:
    """Writes of others neither wait for it nor show in it."""
    went = people(3000)
    for start in range(0, len(went), CHUNK):
        exchange.add("staff", went[start : start + CHUNK])
    entries = exchange.entries("staff")
    found = [next(entries)]
    other.subjects.delete("staff", "subject 001400")
    other.references.add("staff", "subject 001499", [new_reference(9999)])
    found += entries
    assert values(by_subject(exchange, found)) == values(went)


def test_another_tenants_gallery_is_unknown(store: Store, exchange: SqlExchange) -> None:
    other = new_tenant(store.engine, "theirs")
    theirs = SqlExchange(store.engine, other.tenant, other.codec)
    exchange.add("staff", [entry(1)])
    for call in (lambda: list(theirs.entries("staff")), lambda: theirs.add("staff", [entry(2)])):
        with pytest.raises(GalleryNotFound):
            call()
    assert counts(store) == (1, 1, 1)


def test_one_export_into_two_tenants(store: Store, exchange: SqlExchange) -> None:
    """Each keeps the references' own ids: neither learns from its own of what the other has."""
    went = [entry(1, photograph=JPEG), entry(2), entry(3, "bob")]
    for tenant in ("acme", "theirs"):
        theirs = new_tenant(store.engine, tenant)
        theirs.galleries.create(NewGallery("staff", True), VERSION)
        into = SqlExchange(store.engine, tenant, theirs.codec)
        assert into.add("staff", went) == Added(subjects=2, references=3)
        assert values(by_subject(into, into.entries("staff", photographs=True))) == values(went)
    assert counts(store) == (0, 0, 0)


def test_through_a_file(store: Store, exchange: SqlExchange, tmp_path: Path) -> None:
    """Out, into a file, into another gallery in several transactions: the same, bit for bit."""
    went: list[Entry] = sorted([*people(700), bare("nobody"), entry(9000, "last", JPEG)], key=lambda e: e.subject)
    store.galleries.create(NewGallery("album", True), VERSION)
    for start in range(0, len(went), CHUNK):
        exchange.add("album", went[start : start + CHUNK])
    written = write_file(tmp_path / "album.parquet", exchange.entries("album", photographs=True))
    assert (written.subjects, written.references, written.photographs) == (352, 701, 1)
    store.galleries.delete("album")
    store.galleries.create(NewGallery("album", True), VERSION)
    for added in (Added(352, 701, 0), Added(0, 0, 702)):
        run, done = Import(RULES), []
        with closing(GalleryFile(tmp_path / "album.parquet")) as file:
            run.run(file, partial(exchange.add, "album"), partial(done.append, 1))
        assert (run.added, dict(run.refused), len(done)) == (added, {}, 702)
    assert values(by_subject(exchange, exchange.entries("album", photographs=True))) == values(went)
    assert store.subjects.get("album", "nobody").created_at == MOMENT
    assert counts(store, "album") == (2, 352, 701)
