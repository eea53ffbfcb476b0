"""The store, whole, and its references: templates of subjects, and the photographs they were made from where those
are kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from facesvc.core.types import (
    Gallery,
    NewReference,
    Page,
    Photograph,
    Receipt,
    Reference,
)
from facesvc.errors import PhotographNotFound, ReferenceNotFound, TooManyReferences
from facesvc.storage.answers import Answers, Lapsing, forget_answers
from facesvc.storage.engine import wipe_log
from facesvc.storage.erasures import Erasures
from facesvc.storage.galleries import Galleries, advance, find_gallery, lock_gallery
from facesvc.storage.model_change import ModelChanges
from facesvc.storage.revisions import Revisions, log_added, log_removed
from facesvc.storage.sealing import SubjectCipher, SubjectCiphers, SubjectDetails
from facesvc.storage.search import Comparables
from facesvc.storage.subjects import (
    Subjects,
    find_subject,
    insert_subject,
    living,
    require_living,
    seek_subject,
)
from facesvc.storage.tables import GalleryRow, PhotographRow, ReferenceRow, SubjectRow, TemplateRow
from facesvc.storage.templates import (
    Owned,
    as_reference,
    count_templates,
    fewer,
    held_versions,
    insert_templates,
    known_versions,
    new_id,
    photograph_values,
    reference_values,
    require_templates,
    require_vector,
)
from facesvc.storage.transactions import BATCH, Locks, read_page


class SqlReferenceStore(Galleries, Subjects, Revisions, Comparables, Answers, Erasures, Lapsing, Locks, ModelChanges):
    """core.ports.ReferenceStore on SQLite or PostgreSQL, for one tenant: no method reads or writes another's rows.

    ``SqlReferenceStore(engine, tenant, codec)``. Thread-safe. Raises RequestError for text
    that can't be stored (over 256 characters, NUL, lone surrogates) and for metadata that is not JSON.
    """

    def seen_by(self, galleries: frozenset[str]) -> "SqlReferenceStore":
        """The same rows for who may use these galleries only: all others are not there."""
        return SqlReferenceStore(self.engine, self.tenant, self.codec, galleries)

    def add_references(
        self,
        gallery: str,
        subject: str,
        new: Sequence[NewReference],
        receipt: Receipt | None = None,
        versions: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Reference]:
        """Also raises StoreError for a template that is not (128,) finite numbers. Stores no subject when ``new``
        is empty."""
        for template in (template for reference in new for template in reference.templates):
            require_vector(template)
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            require_templates(home, new, versions)
            owner, created = self._find_or_insert(session, home, subject, bool(new))
            stored = self._add(session, home, owner, created, new, most) if owner else []
            if receipt:
                self.keep_answer(session, home, owner, receipt, receipt.answer(stored))
            return stored

    def _add(
        self,
        session: Session,
        home: GalleryRow,
        owner: SubjectRow,
        created: bool,
        new: Sequence[NewReference],
        most: int | None,
    ) -> list[Reference]:
        cipher = SubjectCipher.of(self.codec, owner)
        identities = [cipher.identity(reference) for reference in new]
        wanted = dict(zip(identities, new, strict=True))
        rows = _stored(session, owner, list(wanted))
        fresh = {identity: reference for identity, reference in wanted.items() if identity not in rows}
        _require_room(owner, len(fresh), most)
        rows |= self._insert(session, home, owner, cipher, fresh)
        templates = missing_templates(session, home, cipher, [(rows[name], wanted[name]) for name in wanted])
        if templates:
            counts = Counter(template.version for *_, template in templates)
            revision = advance(session, home, subjects=int(created), references=len(fresh), templates=counts)
            insert_templates(session, home, templates, revision)
            log_added(session, home, [(key, template.version) for key, *_, template in templates], revision)
        return self._read(session, home, owner, [rows[identity] for identity in identities])

    def _insert(
        self,
        session: Session,
        home: GalleryRow,
        owner: SubjectRow,
        cipher: SubjectCipher,
        fresh: Mapping[str, NewReference],
    ) -> dict[str, ReferenceRow]:
        """Insert references by their identities, with the photographs that are to be kept; return their rows."""
        if not fresh:
            return {}
        now = datetime.now(UTC)
        rows = {
            identity: ReferenceRow(**reference_values(home, owner.key, cipher, new_id(), identity, new, now))
            for identity, new in fresh.items()
        }
        session.add_all(rows.values())
        owner.references += len(fresh)
        owner.updated_at = now
        session.flush()  # gives the rows their keys
        for identity, row in rows.items():
            if row.has_photograph:
                session.add(PhotographRow(**photograph_values(home, row.key, cipher, row.id, fresh[identity])))
        return rows

    def _find_or_insert(
        self, session: Session, home: GalleryRow, subject: str, wanted: bool
    ) -> tuple[SubjectRow | None, bool]:
        """The subject, where it is ``wanted`` if need be a new one, and whether it is; the gallery's lock keeps others
        from adding it in between."""
        found = seek_subject(session, self, home, subject, expired=True)
        if found is None:
            return (
                (insert_subject(session, self, home, SubjectDetails(subject, None, {})), True)
                if wanted
                else (None, False)
            )
        require_living(subject, found)
        return found, False

    def _read(
        self, session: Session, home: GalleryRow, owner: SubjectRow, rows: Sequence[ReferenceRow]
    ) -> list[Reference]:
        """References with their templates of the version that answers."""
        version = home.template_version
        query = select(TemplateRow).where(TemplateRow.template_version == version)
        query = query.where(TemplateRow.reference_key.in_({row.key for row in rows}))
        templates = {row.reference_key: row for row in session.scalars(query)}
        ciphers = SubjectCiphers(self.codec)
        return [as_reference(row, owner, templates.get(row.key), version, ciphers) for row in rows]

    def references(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        with self.reading() as session:
            owner, ciphers = self._owner(session, gallery, subject), SubjectCiphers(self.codec)
            query, listing = _with_templates(owner.key), f"references/{owner.key}"
            rows, following = read_page(session, query, ReferenceRow.key, listing, limit, cursor)
            found = (as_reference(row, owner, template, version, ciphers) for row, template, version in rows)
            return Page(tuple(found), following)

    def reference(self, gallery: str, subject: str, reference: str) -> Reference:
        with self.reading() as session:
            owner = self._owner(session, gallery, subject)
            query = _with_templates(owner.key).where(ReferenceRow.id == reference)
            for row, template, version in session.execute(query):
                return as_reference(row, owner, template, version, SubjectCiphers(self.codec))
        raise ReferenceNotFound(f"no reference {reference!r} of subject {subject!r}")

    def references_by_key(self, gallery: Gallery, keys: Sequence[int]) -> list[Reference]:
        version = gallery.template_version
        query = (
            select(ReferenceRow, SubjectRow, TemplateRow)
            .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
            .join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
            .where(ReferenceRow.tenant == self.tenant, TemplateRow.template_version == version, living())
        )
        found: list[Reference] = []
        ciphers = SubjectCiphers(self.codec)
        with self.reading() as session:
            for start in range(0, len(keys), BATCH):
                rows = session.execute(query.where(ReferenceRow.key.in_(keys[start : start + BATCH])))
                # The gallery is compared here: in the query, SQLite would walk the whole gallery for it.
                found += [
                    as_reference(row, owner, template, version, ciphers)
                    for row, owner, template in rows
                    if row.gallery_key == gallery.key
                ]
        return found

    def delete_reference(self, gallery: str, subject: str, reference: str) -> None:
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            owner = find_subject(session, self, home, gallery, subject)
            this = ReferenceRow.key == find_reference(session, owner, subject, reference).key
            gone = fewer(count_templates(session, this))
            log_removed(session, home, this, advance(session, home, references=-1, templates=gone))
            forget_answers(session, owner)
            session.execute(delete(ReferenceRow).where(this))
            owner.references -= 1
            owner.updated_at = datetime.now(UTC)
        wipe_log(self.engine)

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        with self.reading() as session:
            owner = self._owner(session, gallery, subject)
            found = session.get(PhotographRow, find_reference(session, owner, subject, reference).key)
            if found is None:
                raise PhotographNotFound(f"no photograph kept of {reference!r}")
            return SubjectCipher.of(self.codec, owner).open_photograph(reference, found.content)

    def _owner(self, session: Session, gallery: str, subject: str) -> SubjectRow:
        return find_subject(session, self, find_gallery(session, self, gallery), gallery, subject)


def find_reference(session: Session, owner: SubjectRow, subject: str, reference: str) -> ReferenceRow:
    """subject: its id, as asked for. Raises ReferenceNotFound."""
    query = select(ReferenceRow).where(ReferenceRow.subject_key == owner.key, ReferenceRow.id == reference)
    row = session.scalar(query)
    if row is None:
        raise ReferenceNotFound(f"no reference {reference!r} of subject {subject!r}")
    return row


def _require_room(owner: SubjectRow, fresh: int, most: int | None) -> None:
    if most is not None and fresh and owner.references + fresh > most:
        raise TooManyReferences(f"a subject may have {most} references; this one has {owner.references}")


def _stored(session: Session, owner: SubjectRow, identities: Sequence[str]) -> dict[str, ReferenceRow]:
    """Return those of the references that the subject has, by identity."""
    found: dict[str, ReferenceRow] = {}
    for start in range(0, len(identities), BATCH):
        chunk = identities[start : start + BATCH]
        query = select(ReferenceRow).where(ReferenceRow.subject_key == owner.key, ReferenceRow.identity.in_(chunk))
        found |= {row.identity: row for row in session.scalars(query)}
    return found


def missing_templates(
    session: Session, home: GalleryRow, cipher: SubjectCipher, wanted: Sequence[tuple[ReferenceRow, NewReference]]
) -> list[Owned]:
    """Of what was sent, the templates of versions that the gallery holds which its references don't have yet: all of
    those that are new, and of those that a model change left behind."""
    held = held_versions(home)
    known = known_versions(session, [row.key for row, _ in wanted])
    return [
        (row.key, row.id, cipher, template)
        for row, new in wanted
        for template in new.templates
        if template.version in held and (row.key, template.version) not in known
    ]


def _with_templates(subject_key: int) -> Select[ReferenceRow, TemplateRow, str]:
    """A subject's references, with their templates of the version that answers, and that: one statement, so that no
    cut-over comes between."""
    answering = (TemplateRow.reference_key == ReferenceRow.key) & (
        TemplateRow.template_version == GalleryRow.template_version
    )
    return (
        select(ReferenceRow, TemplateRow, GalleryRow.template_version)
        .join(GalleryRow, GalleryRow.key == ReferenceRow.gallery_key)
        .outerjoin(TemplateRow, answering)
        .where(ReferenceRow.subject_key == subject_key)
    )
