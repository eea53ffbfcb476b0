"""What is wrong with a database, seen by a process that had no part in it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, func, select

from drills.faults.contents import LIMIT, Content, Reader
from drills.faults.journal import History
from drills.faults.worker import open_home, open_service
from drills.faults.world import World, differences
from facesvc.core.compare import squared_l2
from facesvc.core.types import Gallery, Vectors
from facesvc.errors import GalleryNotFound, PhotographNotFound, ReferenceNotFound, SealBroken, SubjectNotFound
from facesvc.index.exact import ExactIndex
from facesvc.index.sweep import Sweep
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
from facesvc.storage.tables import GalleryRow, PhotographRow, ReferenceRow, RevisionRow, SubjectRow, Table, TemplateRow
from tests.support.databases import open_store, unit_vectors

PROBES, NEAREST = 3, 10
RECENT = 20
"""Of a worker's deletions, those that are asked for by id; all of them are looked for among what is stored."""


@dataclass
class Findings:
    """violations: a sentence each; worlds: what each worker's world has turned out to be; broken: nothing more can be
    read."""

    violations: list[str] = field(default_factory=list)
    worlds: list[World] = field(default_factory=list)
    broken: bool = False


def inspect(
    url: str, histories: Sequence[History], content: Content | None = None, snapshots: Path | None = None
) -> Findings:
    """Every invariant, after the workers of ``histories`` ended. content: the bytes that a photograph's name stands
    for; without it photographs are ready-made, and their templates known too. snapshots: the folder of theirs. Run it
    in a process of its own."""
    findings = structure(url)
    if findings.broken:
        findings.worlds = [history.world for history in histories]
        return findings
    findings.violations += [f"{h.world.owner} failed: {h.failed}" for h in histories if h.failed]
    findings.violations += [wrong for history in histories for wrong in history.wrong]
    with open_service(open_engine(url)) as service:
        compare(service, histories, content, findings)
        findings.violations += resurrected(service, histories)
    if snapshots:
        findings.violations += misplaced(url, snapshots)
    return findings


def structure(url: str) -> Findings:
    """The invariants that hold whatever was stored: of the database itself, and of an index made from it."""
    engine = open_engine(url)
    with open_service(engine) as service, engine.connect() as connection:
        if damage := list(broken_files(connection)):
            return Findings(damage, broken=True)
        findings = Findings()
        for check in (orphans, miscounted, strayed, unlogged):
            findings.violations += check(connection)
        findings.violations += [f"new index: {wrong}" for wrong in misled(service)]
    return findings


# --- what is stored, and what ought to be ----------------------------------------------------------------------


def compare(service: FaceService, histories: Sequence[History], content: Content | None, findings: Findings) -> None:
    """Each worker's part must be what it was told, or that with the request in flight wholly done; nothing else
    may be there."""
    reader = Reader(service, histories, content)
    found = reader.contents()
    findings.violations += reader.violations
    accounted: set[tuple[str, str]] = set()
    for history in histories:
        part = history.world.part(found)
        accounted |= {(gallery, person) for gallery, place in part.items() for person in place.people}
        wrong = [list(differences(world.places, part)) for world in history.possible]
        fitting = next((world for world, faults in zip(history.possible, wrong, strict=True) if not faults), None)
        if fitting is None:
            flight = f" (in flight: {history.in_flight})" if history.in_flight else ""
            findings.violations += [f"{fault}{flight}" for fault in wrong[0]]
        used = max(world.used for world in history.possible)
        findings.worlds.append(replace(fitting or history.world, places=part, used=used))
    everything = {(gallery, person) for gallery, place in found.items() for person in place.people}
    findings.violations += [f"{gallery}/{person} is nobody's" for gallery, person in everything - accounted]


def resurrected(service: FaceService, histories: Sequence[History]) -> Iterator[str]:
    """What was acknowledged as deleted may not answer: not by its id, nor its photograph."""
    for history in histories:
        for public_id, (gallery, person, _) in list(history.world.erased.items())[-RECENT:]:
            for read in (service.references.get, service.resources.store.references.photograph):
                with suppress(GalleryNotFound, SubjectNotFound, ReferenceNotFound, PhotographNotFound):
                    read(gallery, person, public_id)
                    yield f"{gallery}/{person}: {public_id} was deleted and answers to {read.__name__}"


# --- snapshots --------------------------------------------------------------------------------------------------


def misplaced(url: str, folder: Path) -> Iterator[str]:
    """A kill leaves every snapshot whole; what a new process makes of it is its gallery, and no file holds more."""
    told: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger("facesvc.index")
    logger.addHandler(listener)
    engine = open_engine(url)
    try:
        store = open_store(engine)
        for found in Sweep(store, open_home(store, folder)).galleries():
            if not found.clean:
                yield f"index or snapshot is not its gallery: {found}"
        yield from (f"snapshot: {message}" for message in told)
    finally:
        engine.dispose()
        logger.removeHandler(listener)


# --- the database itself ----------------------------------------------------------------------------------------


def broken_files(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"integrity_check: {line}"


def orphans(connection: Connection) -> Iterator[str]:
    """Rows whose owner is gone or another tenant's. Asked for as any reader would: constraints may be off."""
    if connection.dialect.name == "sqlite":
        for line in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"foreign_key_check: {tuple(line)}"
    for table in Table.metadata.sorted_tables:
        for key in table.foreign_keys:
            owner = key.column.table.alias("owner")
            mine = (key.parent == owner.c[key.column.name]) & (table.c.tenant == owner.c.tenant)
            joined = table.outerjoin(owner, mine)
            lost = select(func.count()).select_from(joined).where(owner.c[key.column.name].is_(None))
            lost = lost.where(key.parent.is_not(None))
            if count := connection.execute(lost).scalar_one():
                yield f"{count} rows of {table.name} have no owner in {key.column.table.name}"


def miscounted(connection: Connection) -> Iterator[str]:
    """The counts that writes keep must be those of the rows."""
    subjects = select(func.count()).where(SubjectRow.gallery_key == GalleryRow.key).scalar_subquery()
    references = select(func.count()).where(ReferenceRow.gallery_key == GalleryRow.key).scalar_subquery()
    galleries = select(GalleryRow.name, GalleryRow.subjects, subjects, GalleryRow.references, references)
    for name, *counts in connection.execute(galleries):
        if counts[0::2] != counts[1::2]:
            yield f"gallery {name} counts {counts[0::2]} subjects and references, has {counts[1::2]}"
    own = select(func.count()).where(ReferenceRow.subject_key == SubjectRow.key).scalar_subquery()
    for name, counted, there in connection.execute(select(SubjectRow.id, SubjectRow.references, own)):
        if counted != there:
            yield f"subject {name} counts {counted} references, has {there}"
    yield from miscounted_templates(connection)


def miscounted_templates(connection: Connection) -> Iterator[str]:
    """A gallery must have the templates that it counts, and none of a version that it does not hold."""
    grouped = select(TemplateRow.gallery_key, TemplateRow.template_version, func.count())
    grouped = grouped.group_by(TemplateRow.gallery_key, TemplateRow.template_version)
    stored = {(gallery, version): count for gallery, version, count in connection.execute(grouped)}
    for row in connection.execute(select(GalleryRow.__table__)).mappings():
        held = {row["template_version"]: row["templates"]}
        if row["shadow_version"]:
            held[row["shadow_version"]] = row["shadow_templates"]
        elif row["shadow_templates"] or row["shadow_state"]:
            yield f"gallery {row['name']} has {row['shadow_state']} {row['shadow_templates']} of no version"
        there = {version: count for (gallery, version), count in stored.items() if gallery == row["key"]}
        if {version: count for version, count in held.items() if count} != there:
            yield f"gallery {row['name']} counts templates {held}, has {there}"


def strayed(connection: Connection) -> Iterator[str]:
    """References and subjects must agree on the gallery, references and photographs on being kept."""
    moved = select(ReferenceRow.id).join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
    for (name,) in connection.execute(moved.where(SubjectRow.gallery_key != ReferenceRow.gallery_key)):
        yield f"reference {name} is in another gallery than its subject"
    kept = select(ReferenceRow.id, ReferenceRow.has_photograph, PhotographRow.reference_key).outerjoin(
        PhotographRow, PhotographRow.reference_key == ReferenceRow.key
    )
    astray = select(ReferenceRow.id).join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
    for (name,) in connection.execute(astray.where(TemplateRow.gallery_key != ReferenceRow.gallery_key)):
        yield f"a template of {name} is in another gallery"
    for name, said, there in connection.execute(kept):
        if said != (there is not None):
            yield f"reference {name} says has_photograph {said}, and {'has one' if there is not None else 'has none'}"


def unlogged(connection: Connection) -> Iterator[str]:
    """The log must lead to the templates: additions net of removals, none beyond the gallery's revision."""
    revisions = dict(iter(connection.execute(select(GalleryRow.key, GalleryRow.revision))))
    log = select(
        RevisionRow.gallery_key,
        RevisionRow.revision,
        RevisionRow.reference_key,
        RevisionRow.template_version,
        RevisionRow.op,
    )
    living: dict[tuple[int, str], tuple[int, int]] = {}
    ordered = log.order_by(RevisionRow.gallery_key, RevisionRow.revision)
    for gallery, revision, key, version, op in connection.execute(ordered):
        if revision > revisions.get(gallery, -1):
            yield f"the log is at revision {revision} of gallery {gallery}, the gallery is not"
        if op == "add":
            living[key, version] = gallery, revision
        else:
            living.pop((key, version), None)
    rows = connection.execute(
        select(TemplateRow.reference_key, TemplateRow.template_version, TemplateRow.gallery_key, TemplateRow.revision)
    )
    stored = {(key, version): (gallery, revision) for key, version, gallery, revision in rows}
    for key, version in sorted(stored.keys() ^ living.keys()):
        where = "rows" if (key, version) in stored else "log"
        yield f"template {version} of reference {key} is in the {where} alone"
    for both in sorted(both for both in stored.keys() & living.keys() if stored[both] != living[both]):
        yield f"template {both} was added at {living[both]} by the log, at {stored[both]} by its row"


# --- the index --------------------------------------------------------------------------------------------------


def vectors(service: FaceService, gallery: Gallery) -> dict[int, Vectors]:
    """Key and vector of every template of ``gallery.template_version``, found one subject at a time and not through the
    log."""
    subjects = service.resources.store.subjects.list(gallery.name, LIMIT).items
    keys = [r.key for s in subjects for r in service.resources.store.references.list(gallery.name, s.id, LIMIT).items]
    references = service.resources.store.references.by_key(gallery, keys)
    return {reference.key: reference.sample.template.vector for reference in references}


def probes() -> Vectors:
    return unit_vectors(PROBES, seed=10**6)


def oracle(rows: Mapping[int, Vectors]) -> list[list[int]]:
    """Keys of the nearest rows of each probe, nearest first."""
    index = ExactIndex()
    if rows:
        index.add(np.array(list(rows), np.int64), np.stack(list(rows.values())))
    return index.search(probes(), NEAREST)[1].tolist()


def misled(service: FaceService) -> Iterator[str]:
    """An index must hold its gallery's rows of its version and no others, and its shortlists the nearest of them."""
    for gallery in (
        g.of(version) for g in service.resources.store.galleries.list(LIMIT).items for version in g.versions
    ):
        try:
            yield from misled_about(service, gallery)
        except SealBroken as error:
            yield f"index of {gallery.name} can't be compared: {error.detail}"


def misled_about(service: FaceService, gallery: Gallery) -> Iterator[str]:
    rows = vectors(service, gallery)
    everything = service.resources.indexes.search(gallery, probes()[:1], max(len(rows), 1) + NEAREST)[0]
    if sorted(everything) != sorted(rows):
        yield f"index of {gallery.name} holds {sorted(everything)}, the rows are {sorted(rows)}"
        return
    shortlists = service.resources.indexes.search(gallery, probes(), NEAREST)
    for probe, wanted, found in zip(probes(), oracle(rows), shortlists, strict=True):
        if nearest(probe, found, rows) != wanted:
            yield f"index of {gallery.name} answers {found}, the rows {wanted}"


def nearest(probe: Vectors, keys: Sequence[int], rows: Mapping[int, Vectors]) -> list[int]:
    """A shortlist, rescored exactly."""
    if not keys:
        return []
    distances = squared_l2(probe[None], np.stack([rows[key] for key in keys]))[0]
    return [keys[i] for i in np.argsort(distances, kind="stable")[:NEAREST]]
