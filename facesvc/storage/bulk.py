"""A gallery out of the database and into it in bulk: one statement reads it all, one transaction stores some hundred
references, with the same revision log as any other write."""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence, Set
from datetime import UTC, datetime

from sqlalchemy import Result, insert, literal, null, select, tuple_
from sqlalchemy.orm import Session, join, outerjoin

from facesvc.core.compare import require_version
from facesvc.core.types import Added, Entry, KeptReference, NewReference
from facesvc.storage.galleries import advance, find_gallery, lock_gallery
from facesvc.storage.revisions import log_added
from facesvc.storage.sealing import Locker, Lockers, Who, data_key_of, new_subject, plain_identity, subject_names
from facesvc.storage.subjects import locked_subject, require_living
from facesvc.storage.tables import GalleryRow, PhotographRow, ReferenceRow, SubjectRow, TemplateRow
from facesvc.storage.templates import (
    as_reference,
    held_versions,
    insert_templates,
    new_id,
    photograph_values,
    reference_values,
    require_templates,
)
from facesvc.storage.transactions import Transactions

BATCH = 1_000
"""Rows fetched at a time without photographs, which is what is in memory."""
PHOTOGRAPHS = 16
"""Rows fetched at a time with their photographs."""

Owned = tuple[str, str, bytes]
"""Subject, image_sha256 and box: what makes a reference the same one when it is sent again."""


class SqlExchange(Transactions):
    """One tenant's galleries, whole, out and in. Raises as ``core.ports.ReferenceStore`` does."""

    def entries(
        self, gallery: str, photographs: bool = False, template_version: str | None = None
    ) -> Generator[Entry, None, None]:
        """Everything in the gallery at the moment of the first entry, by subject, oldest reference first; with the
        photographs' bytes where they are kept and asked for. Later writes neither wait nor show. References without a
        template of the version (by default the one that answers) stay out.

        Raises TemplateVersionMismatch where the gallery does not hold that version (any more)."""
        with self.reading() as session:
            if session.get_bind().dialect.name == "postgresql":  # one moment for both statements; SQLite's are always
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            home = find_gallery(session, self, gallery)
            wanted = template_version or home.template_version
            if wanted not in held_versions(home):
                require_version(wanted, home.template_version)
            lockers, last = Lockers(self.codec), None
            for owner, row, template, content, media_type in _everything(session, home, wanted, photographs):
                if owner.key != last:  # all of a subject come together: there is no need to remember more
                    lockers, last = Lockers(self.codec), owner.key
                yield _entry(lockers, owner, row, template, content, media_type)

    def add(self, gallery: str, entries: Sequence[Entry]) -> Added:
        """Stores entries in one transaction. Subjects that are there keep their name and metadata, and a reference of
        the same photograph (image_sha256 and box) is not repeated. A new one keeps its id unless the tenant has it.

        Raises TemplateVersionMismatch when a template's version is not the gallery's, SubjectExists for a subject that
        has expired and is still to be erased; nothing is stored then.
        """
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            require_templates(home, [entry.reference.new for entry in entries if entry.reference])
            return self._add(session, home, entries)

    def _add(self, session: Session, home: GalleryRow, entries: Sequence[Entry]) -> Added:
        owners = self._owners(session, home, entries)
        fresh = self._fresh(session, owners, entries)
        strangers = {entry.subject: entry for entry in reversed(entries) if entry.subject not in owners}
        if fresh or strangers:
            templates = Counter({home.template_version: len(fresh)})
            revision = advance(session, home, subjects=len(strangers), references=len(fresh), templates=templates)
            gained = Counter(subject for subject, _, _ in fresh)
            self._count(session, gained, owners)
            owners |= self._insert_subjects(session, home, list(strangers.values()), gained)
            self._insert(session, home, owners, fresh, revision)
        changed = len(fresh) + len(strangers.keys() - {subject for subject, _, _ in fresh})
        return Added(len(strangers), len(fresh), len(entries) - changed)

    def _insert(
        self,
        session: Session,
        home: GalleryRow,
        owners: Mapping[str, SubjectRow],
        fresh: Mapping[Owned, KeptReference],
        revision: int,
    ) -> None:
        if not fresh:
            return
        lockers = {subject: Locker.of(self.codec, owners[subject]) for subject, _, _ in fresh}
        given = dict(zip(_free_ids(session, home.tenant, list(fresh.values())), fresh.items(), strict=True))
        rows = [
            reference_values(
                home, owners[subject].key, lockers[subject], public_id, reference.new, reference.created_at
            )
            for public_id, ((subject, _, _), reference) in given.items()
        ]
        session.execute(insert(ReferenceRow), rows)
        own = (ReferenceRow.tenant == home.tenant, ReferenceRow.id.in_(list(given)))
        query = select(ReferenceRow.id, ReferenceRow.key).where(*own)
        keys = _keys(session.execute(query.order_by(ReferenceRow.key)))
        kept = [
            photograph_values(home, keys[i], lockers[owned[0]], i, reference.new)
            for i, (owned, reference) in given.items()
            if reference.new.photograph is not None and home.keep_photographs
        ]
        if kept:
            session.execute(insert(PhotographRow), kept)
        templates = [(key, i, lockers[given[i][0][0]], given[i][1].new.sample.template) for i, key in keys.items()]
        insert_templates(session, home, templates, revision)
        log_added(session, home, [(key, home.template_version) for key in keys.values()], revision)

    def _owners(self, session: Session, home: GalleryRow, entries: Sequence[Entry]) -> dict[str, SubjectRow]:
        """Those of the entries' subjects that are there, by id."""
        ids = sorted({entry.subject for entry in entries})
        wanted = {stored: name for name in ids for stored in subject_names(self.codec, home.key, name)}
        query = select(SubjectRow).where(SubjectRow.gallery_key == home.key, SubjectRow.id.in_(list(wanted)))
        found = {wanted[row.id]: row for row in session.scalars(query)}
        for name, row in found.items():
            require_living(name, row)
        return found

    def _fresh(
        self, session: Session, owners: Mapping[str, SubjectRow], entries: Sequence[Entry]
    ) -> dict[Owned, KeptReference]:
        """The references that are not there yet, each once."""
        wanted: dict[Owned, KeptReference] = {}
        for entry in entries:
            if entry.reference:
                wanted.setdefault((entry.subject, *plain_identity(entry.reference.new)), entry.reference)
        lockers = {subject: Locker.of(self.codec, owners[subject]) for subject, _, _ in wanted if subject in owners}
        named = {
            owned: {(owners[owned[0]].key, *i) for i in (owned[1:], lockers[owned[0]].identity(reference.new))}
            for owned, reference in wanted.items()
            if owned[0] in owners
        }
        stored = _stored(session, {(key, image) for names in named.values() for key, image, _ in names})
        return {owned: reference for owned, reference in wanted.items() if not named.get(owned, set()) & stored}

    def _insert_subjects(
        self, session: Session, home: GalleryRow, strangers: Sequence[Entry], gained: Mapping[str, int]
    ) -> dict[str, SubjectRow]:
        """Subjects with the references they are about to get."""
        if not strangers:
            return {}
        now, data_key = datetime.now(UTC), data_key_of(session, self)
        rows = [
            {
                "tenant": home.tenant,
                "gallery_key": home.key,
                "references": gained.get(entry.subject, 0),
                "created_at": entry.subject_created_at,
                "updated_at": now,
                **new_subject(self.codec, data_key, home.key, Who(entry.subject, entry.display_name, entry.metadata)),
            }
            for entry in strangers
        ]
        session.execute(insert(SubjectRow), rows)
        return self._owners(session, home, strangers)

    def _count(self, session: Session, gained: Mapping[str, int], owners: Mapping[str, SubjectRow]) -> None:
        """Notes how many references each of the subjects that were there before has gained."""
        now = datetime.now(UTC)
        for subject, owner in owners.items():
            if gained.get(subject):
                locked_subject(session, self, owner)
                owner.references += gained[subject]
                owner.updated_at = now
        session.flush()


def _entry(
    lockers: Lockers,
    owner: SubjectRow,
    row: ReferenceRow | None,
    template: TemplateRow | None,
    content: bytes | None,
    media_type: str | None,
) -> Entry:
    kept, who = None, lockers.who(owner)
    if row is not None and template is not None:
        found, photograph = as_reference(row, owner, template, template.template_version, lockers), None
        if content is not None and media_type is not None:
            photograph = lockers.of(owner).photograph_of(row.id, content, media_type)
        new = NewReference(
            found.sample,
            found.image_sha256,
            photograph and photograph.content,
            photograph and photograph.media_type,
        )
        kept = KeptReference(row.id, new, row.created_at)
    return Entry(who.id, who.display_name, who.metadata, owner.created_at, kept)


def _everything(
    session: Session, home: GalleryRow, template_version: str, photographs: bool
) -> Result[SubjectRow, ReferenceRow, TemplateRow, bytes | None, str | None]:
    """Rows come as they are asked for; subjects without references that have such a template come alone."""
    kept = (PhotographRow.content, PhotographRow.media_type) if photographs else (null(), literal(None))
    wanted = (TemplateRow.reference_key == ReferenceRow.key) & (TemplateRow.template_version == template_version)
    templates = join(ReferenceRow, TemplateRow, wanted)
    query = (
        select(SubjectRow, ReferenceRow, TemplateRow, *kept)
        .select_from(outerjoin(SubjectRow, templates, ReferenceRow.subject_key == SubjectRow.key))
        .where(SubjectRow.gallery_key == home.key)
        .order_by(SubjectRow.id, ReferenceRow.key)
    )
    if photographs:
        query = query.outerjoin(PhotographRow, PhotographRow.reference_key == ReferenceRow.key)
    return session.execute(query, execution_options={"yield_per": PHOTOGRAPHS if photographs else BATCH})


def _keys(found: Result[str, int]) -> dict[str, int]:
    return {row[0]: row[1] for row in found}


def _stored(session: Session, images: Set[tuple[int, str]]) -> set[tuple[int, str, bytes]]:
    """Identities of the references of these subjects and photographs, as their columns say them."""
    if not images:
        return set()
    columns = ReferenceRow.subject_key, ReferenceRow.image_sha256
    query = select(*columns, ReferenceRow.box).where(tuple_(*columns).in_(sorted(images)))
    return {(key, image, box) for key, image, box in session.execute(query)}


def _free_ids(session: Session, tenant: str, fresh: Sequence[KeptReference]) -> list[str]:
    """Each reference's own id, or a new one where the tenant or a reference before it has that: what ids others have
    shows nowhere."""
    wanted = ReferenceRow.id.in_([reference.id for reference in fresh])
    query = select(ReferenceRow.id).where(ReferenceRow.tenant == tenant, wanted)
    taken, found = set(session.scalars(query)), []
    for reference in fresh:
        found.append(new_id() if reference.id in taken else reference.id)
        taken.add(found[-1])
    return found
