"""A gallery out of the database and into it in bulk: one statement reads it all, one transaction stores some hundred
references, with the same revision log as any other write."""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence, Set
from datetime import UTC, datetime

from sqlalchemy import Result, insert, null, select, tuple_
from sqlalchemy.orm import Session, join, outerjoin

from facesvc.core.compare import require_version
from facesvc.core.types import Added, Entry, KeptReference, NewReference
from facesvc.storage.galleries import advance, find_gallery, lock_gallery
from facesvc.storage.keys import latest_data_key
from facesvc.storage.revisions import log_added
from facesvc.storage.sealing import (
    SealedRows,
    SubjectCipher,
    SubjectCiphers,
    SubjectDetails,
    new_subject,
    pack,
    subject_token,
)
from facesvc.storage.subjects import require_living
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
from facesvc.storage.transactions import BATCH

PHOTOGRAPHS = 16
"""Rows fetched at a time with their photographs."""

Owned = tuple[str, str, bytes]
"""Subject, image_sha256 and box: what makes a reference the same one when it is sent again."""


class SqlExchange(SealedRows):
    """One tenant's galleries, whole, out and in. Raises as ``storage.store.Store`` does."""

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
            ciphers, last = SubjectCiphers(self.codec), None
            for owner, row, template, content in _everything(session, home, wanted, photographs):
                if owner.key != last:  # all of a subject come together: there is no need to remember more
                    ciphers, last = SubjectCiphers(self.codec), owner.key
                yield _entry(ciphers, owner, row, template, content)

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
        ciphers = {subject: SubjectCipher.of(self.codec, owners[subject]) for subject, _, _ in fresh}
        given = dict(zip(_free_ids(session, home.tenant, list(fresh.values())), fresh.items(), strict=True))
        rows = [
            reference_values(
                home,
                owners[subject].key,
                ciphers[subject],
                public_id,
                ciphers[subject].identity(reference.new),
                reference.new,
                reference.created_at,
            )
            for public_id, ((subject, _, _), reference) in given.items()
        ]
        session.execute(insert(ReferenceRow), rows)
        own = (ReferenceRow.tenant == home.tenant, ReferenceRow.id.in_(list(given)))
        query = select(ReferenceRow.id, ReferenceRow.key).where(*own)
        keys = _keys(session.execute(query.order_by(ReferenceRow.key)))
        kept = [
            photograph_values(home, keys[i], ciphers[owned[0]], i, reference.new)
            for i, (owned, reference) in given.items()
            if reference.new.photograph is not None and home.keep_photographs
        ]
        if kept:
            session.execute(insert(PhotographRow), kept)
        templates = [(key, i, ciphers[given[i][0][0]], given[i][1].new.sample.template) for i, key in keys.items()]
        insert_templates(session, home, templates, revision)
        log_added(session, home, [(key, home.template_version) for key in keys.values()], revision)

    def _owners(self, session: Session, home: GalleryRow, entries: Sequence[Entry]) -> dict[str, SubjectRow]:
        """Those of the entries' subjects that are there, by id."""
        ids = sorted({entry.subject for entry in entries})
        wanted = {subject_token(self.codec, home.key, name): name for name in ids}
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
                new = entry.reference.new
                wanted.setdefault((entry.subject, new.image_sha256, pack(new.sample.face.box)), entry.reference)
        ciphers = {
            subject: SubjectCipher.of(self.codec, owners[subject]) for subject, _, _ in wanted if subject in owners
        }
        named = {
            owned: (owners[owned[0]].key, ciphers[owned[0]].identity(reference.new))
            for owned, reference in wanted.items()
            if owned[0] in owners
        }
        stored = _stored(session, set(named.values()))
        return {owned: reference for owned, reference in wanted.items() if named.get(owned) not in stored}

    def _insert_subjects(
        self, session: Session, home: GalleryRow, strangers: Sequence[Entry], gained: Mapping[str, int]
    ) -> dict[str, SubjectRow]:
        """Subjects with the references they are about to get."""
        if not strangers:
            return {}
        now, data_key = datetime.now(UTC), latest_data_key(session, self.tenant)
        rows = [
            {
                "tenant": home.tenant,
                "gallery_key": home.key,
                "references": gained.get(entry.subject, 0),
                "created_at": entry.subject_created_at,
                "updated_at": now,
                **new_subject(self.codec, data_key, home.key, _details(entry)),
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
                owner.references += gained[subject]
                owner.updated_at = now
        session.flush()


def _details(entry: Entry) -> SubjectDetails:
    return SubjectDetails(entry.subject, entry.display_name, entry.metadata)


def _entry(
    ciphers: SubjectCiphers,
    owner: SubjectRow,
    row: ReferenceRow | None,
    template: TemplateRow | None,
    content: bytes | None,
) -> Entry:
    kept, subject = None, ciphers.details(owner)
    if row is not None and template is not None:
        found, photograph = as_reference(row, owner, template, template.template_version, ciphers), None
        if content is not None:
            photograph = ciphers.of(owner).open_photograph(row.id, content)
        new = NewReference(
            found.sample,
            found.image_sha256,
            photograph and photograph.content,
            photograph and photograph.media_type,
        )
        kept = KeptReference(row.id, new, row.created_at)
    return Entry(subject.id, subject.display_name, subject.metadata, owner.created_at, kept)


def _everything(
    session: Session, home: GalleryRow, template_version: str, photographs: bool
) -> Result[SubjectRow, ReferenceRow, TemplateRow, bytes | None]:
    """Rows come as they are asked for; subjects without references that have such a template come alone."""
    content = PhotographRow.content if photographs else null()
    wanted = (TemplateRow.reference_key == ReferenceRow.key) & (TemplateRow.template_version == template_version)
    templates = join(ReferenceRow, TemplateRow, wanted)
    query = (
        select(SubjectRow, ReferenceRow, TemplateRow, content)
        .select_from(outerjoin(SubjectRow, templates, ReferenceRow.subject_key == SubjectRow.key))
        .where(SubjectRow.gallery_key == home.key)
        .order_by(SubjectRow.id, ReferenceRow.key)
    )
    if photographs:
        query = query.outerjoin(PhotographRow, PhotographRow.reference_key == ReferenceRow.key)
    return session.execute(query, execution_options={"yield_per": PHOTOGRAPHS if photographs else BATCH})


def _keys(found: Result[str, int]) -> dict[str, int]:
    return {row[0]: row[1] for row in found}


def _stored(session: Session, wanted: Set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return those of the references that are there: subject's key and identity."""
    if not wanted:
        return set()
    columns = ReferenceRow.subject_key, ReferenceRow.identity
    query = select(*columns).where(tuple_(*columns).in_(sorted(wanted)))
    return {(key, identity) for key, identity in session.execute(query)}


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
