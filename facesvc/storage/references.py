"""References: templates of subjects, and the photographs they were made from where those are stored."""

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
from facesvc.storage.answers import Answers, forget_answers
from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import advance, find_gallery, lock_gallery
from facesvc.storage.revisions import log_added, log_removed
from facesvc.storage.sealing import SealedRows, SubjectCipher, SubjectCiphers, SubjectDetails
from facesvc.storage.subjects import (
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
from facesvc.storage.transactions import BATCH, read_page


class References:
    """The references of one tenant's subjects: templates, and the photographs they were made from where those are
    stored. Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows, answers: Answers) -> None:
        self._rows, self._answers = rows, answers

    def add(
        self,
        gallery: str,
        subject: str,
        new: Sequence[NewReference],
        receipt: Receipt | None = None,
        versions: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Reference]:
        """Store references, and the subject if it is new; return them in the order of ``new``. Stores no subject when
        ``new`` is empty. A reference of the same photograph (image_sha256 and box) that the subject has already is
        returned, not repeated; it is given the templates that it lacks.

        receipt: its answer is stored with the subject, where there is one; raises IdempotencyKeyInUse, and stores
        nothing, where another request's answer has been stored meanwhile. versions: of which templates were made, where
        they could be. most: references that a subject may have.

        Raises GalleryNotFound; TemplateVersionMismatch for a reference without a template of the gallery's version, and
        where the gallery holds a version that is not among ``versions`` (any more); TooManyReferences; SubjectExists
        where the subject has expired and was not deleted yet; StoreError for a template that is not (128,) finite
        numbers."""
        for template in (template for reference in new for template in reference.templates):
            require_vector(template)
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            require_templates(home, new, versions)
            owner, created = self._find_or_insert(session, home, subject, bool(new))
            stored = self._add(session, home, owner, created, new, most) if owner else []
            if receipt:
                self._answers.keep(session, home, owner, receipt, receipt.answer(stored))
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
        cipher = SubjectCipher.of(self._rows.codec, owner)
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
        found = seek_subject(session, self._rows, home, subject, expired=True)
        if found is None:
            return (
                (insert_subject(session, self._rows, home, SubjectDetails(subject, None, {})), True)
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
        ciphers = SubjectCiphers(self._rows.codec)
        return [as_reference(row, owner, templates.get(row.key), version, ciphers) for row in rows]

    def list(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        """Return a page of a subject's references, oldest first. Raises GalleryNotFound, SubjectNotFound,
        InvalidCursor."""
        with self._rows.reading() as session:
            owner, ciphers = self._owner(session, gallery, subject), SubjectCiphers(self._rows.codec)
            query, listing = _with_templates(owner.key), f"references/{owner.key}"
            rows, following = read_page(session, query, ReferenceRow.key, listing, limit, cursor)
            found = (as_reference(row, owner, template, version, ciphers) for row, template, version in rows)
            return Page(tuple(found), following)

    def get(self, gallery: str, subject: str, reference: str) -> Reference:
        """Return a reference. Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        with self._rows.reading() as session:
            owner = self._owner(session, gallery, subject)
            query = _with_templates(owner.key).where(ReferenceRow.id == reference)
            for row, template, version in session.execute(query):
                return as_reference(row, owner, template, version, SubjectCiphers(self._rows.codec))
        raise ReferenceNotFound(f"no reference {reference!r} of subject {subject!r}")

    def by_key(self, gallery: Gallery, keys: Sequence[int]) -> Sequence[Reference]:
        """Return those of the references that exist in the gallery and have a template of ``gallery.template_version``,
        in any order; those of expired subjects don't."""
        version = gallery.template_version
        query = (
            select(ReferenceRow, SubjectRow, TemplateRow)
            .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
            .join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
            .where(ReferenceRow.tenant == self._rows.tenant, TemplateRow.template_version == version, living())
        )
        found: list[Reference] = []
        ciphers = SubjectCiphers(self._rows.codec)
        with self._rows.reading() as session:
            for start in range(0, len(keys), BATCH):
                rows = session.execute(query.where(ReferenceRow.key.in_(keys[start : start + BATCH])))
                # The gallery is compared here: in the query, SQLite would walk the whole gallery for it.
                found += [
                    as_reference(row, owner, template, version, ciphers)
                    for row, owner, template in rows
                    if row.gallery_key == gallery.key
                ]
        return found

    def delete(self, gallery: str, subject: str, reference: str) -> None:
        """Delete a reference. Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            owner = find_subject(session, self._rows, home, gallery, subject)
            this = ReferenceRow.key == find_reference(session, owner, subject, reference).key
            gone = fewer(count_templates(session, this))
            log_removed(session, home, this, advance(session, home, references=-1, templates=gone))
            forget_answers(session, owner)
            session.execute(delete(ReferenceRow).where(this))
            owner.references -= 1
            owner.updated_at = datetime.now(UTC)
        wipe_log(self._rows.engine)

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        """Return the photograph of a reference. Raises ReferenceNotFound, and PhotographNotFound where none was
        kept."""
        with self._rows.reading() as session:
            owner = self._owner(session, gallery, subject)
            found = session.get(PhotographRow, find_reference(session, owner, subject, reference).key)
            if found is None:
                raise PhotographNotFound(f"no photograph kept of {reference!r}")
            return SubjectCipher.of(self._rows.codec, owner).open_photograph(reference, found.content)

    def _owner(self, session: Session, gallery: str, subject: str) -> SubjectRow:
        return find_subject(session, self._rows, find_gallery(session, self._rows, gallery), gallery, subject)


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
