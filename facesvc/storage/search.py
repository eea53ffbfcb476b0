"""What a search needs of stored templates, and no more of them: whose they are, and the vectors themselves."""

from collections.abc import Sequence

from sqlalchemy import exists, func, select

from facesvc.core.types import Gallery, Vectors
from facesvc.storage.galleries import find_gallery
from facesvc.storage.revisions import sealed_vectors
from facesvc.storage.sealing import SealedRows, SubjectCiphers
from facesvc.storage.subjects import find_subject, living
from facesvc.storage.tables import ReferenceRow, SubjectRow, TemplateRow
from facesvc.storage.transactions import BATCH


class SearchRows:
    """What searches and comparisons read of one tenant's templates: those of ``gallery.template_version``. They walk
    far through what is near, so each method reads no more than it says. Subjects that have expired are left out.
    Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def owners(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, int]:
        """Return the keys of the subjects by the keys of their references: of those that exist in the gallery and
        have a template. Nothing is opened."""
        query = (
            select(ReferenceRow.key, ReferenceRow.subject_key, ReferenceRow.gallery_key)
            .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
            .join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
            .where(ReferenceRow.tenant == self._rows.tenant, TemplateRow.template_version == gallery.template_version)
            .where(living())
        )
        found: dict[int, int] = {}
        with self._rows.reading() as session:
            for start in range(0, len(keys), BATCH):
                rows = session.execute(query.where(ReferenceRow.key.in_(keys[start : start + BATCH])))
                # The gallery is compared here: in the query, SQLite would walk the whole gallery for it.
                found.update((key, subject) for key, subject, home in rows if home == gallery.key)
        return found

    def vectors(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, Vectors]:
        """Return the vectors, (128,) float32, of those of ``keys``, all of this gallery, that have one."""
        version = gallery.template_version
        query = sealed_vectors().where(
            ReferenceRow.tenant == self._rows.tenant, TemplateRow.template_version == version
        )
        found: dict[int, Vectors] = {}
        ciphers = SubjectCiphers(self._rows.codec)
        with self._rows.reading() as session:
            for start in range(0, len(keys), BATCH):
                rows = session.execute(query.where(ReferenceRow.key.in_(keys[start : start + BATCH])))
                for key, public_id, stored, subject, token, wrapped, data_key in rows:
                    cipher = ciphers.at(subject, gallery.key, token, wrapped, data_key)
                    found[key] = cipher.open_vector(public_id, version, stored)
        return found

    def comparable(self, gallery: Gallery, subject: str) -> list[int]:
        """Return the keys of the subject's references that have a template, oldest first. Raises GalleryNotFound,
        SubjectNotFound."""
        with self._rows.reading() as session:
            home = find_gallery(session, self._rows, gallery.name)
            owner = find_subject(session, self._rows, home, gallery.name, subject)
            query = (
                select(ReferenceRow.key)
                .join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
                .where(ReferenceRow.subject_key == owner.key, TemplateRow.template_version == gallery.template_version)
            )
            return list(session.scalars(query.order_by(ReferenceRow.key)))

    def answering(self, gallery: Gallery, most: int) -> int:
        """Count the subjects that have a template, up to ``most``."""
        template = exists().where(
            ReferenceRow.subject_key == SubjectRow.key,
            TemplateRow.reference_key == ReferenceRow.key,
            TemplateRow.template_version == gallery.template_version,
        )
        there = select(SubjectRow.key).where(
            SubjectRow.tenant == self._rows.tenant, SubjectRow.gallery_key == gallery.key, living(), template
        )
        with self._rows.reading() as session:
            return session.scalar(select(func.count()).select_from(there.limit(most).subquery())) or 0
