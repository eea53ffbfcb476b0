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


class Comparables(SealedRows):
    """The templates of one tenant's galleries, as comparisons want them; see core.ports.ReferenceStore."""

    def owners(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, int]:
        query = (
            select(ReferenceRow.key, ReferenceRow.subject_key, ReferenceRow.gallery_key)
            .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
            .join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
            .where(ReferenceRow.tenant == self.tenant, TemplateRow.template_version == gallery.template_version)
            .where(living())
        )
        found: dict[int, int] = {}
        with self.reading() as session:
            for start in range(0, len(keys), BATCH):
                rows = session.execute(query.where(ReferenceRow.key.in_(keys[start : start + BATCH])))
                # The gallery is compared here: in the query, SQLite would walk the whole gallery for it.
                found.update((key, subject) for key, subject, home in rows if home == gallery.key)
        return found

    def vectors(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, Vectors]:
        version = gallery.template_version
        query = sealed_vectors().where(ReferenceRow.tenant == self.tenant, TemplateRow.template_version == version)
        found: dict[int, Vectors] = {}
        ciphers = SubjectCiphers(self.codec)
        with self.reading() as session:
            for start in range(0, len(keys), BATCH):
                rows = session.execute(query.where(ReferenceRow.key.in_(keys[start : start + BATCH])))
                for key, public_id, stored, subject, token, wrapped, data_key in rows:
                    cipher = ciphers.at(subject, gallery.key, token, wrapped, data_key)
                    found[key] = cipher.open_vector(public_id, version, stored)
        return found

    def comparable(self, gallery: Gallery, subject: str) -> list[int]:
        with self.reading() as session:
            home = find_gallery(session, self, gallery.name)
            owner = find_subject(session, self, home, gallery.name, subject)
            query = (
                select(ReferenceRow.key)
                .join(TemplateRow, TemplateRow.reference_key == ReferenceRow.key)
                .where(ReferenceRow.subject_key == owner.key, TemplateRow.template_version == gallery.template_version)
            )
            return list(session.scalars(query.order_by(ReferenceRow.key)))

    def answering(self, gallery: Gallery, most: int) -> int:
        template = exists().where(
            ReferenceRow.subject_key == SubjectRow.key,
            TemplateRow.reference_key == ReferenceRow.key,
            TemplateRow.template_version == gallery.template_version,
        )
        there = select(SubjectRow.key).where(
            SubjectRow.tenant == self.tenant, SubjectRow.gallery_key == gallery.key, living(), template
        )
        with self.reading() as session:
            return session.scalar(select(func.count()).select_from(there.limit(most).subquery())) or 0
