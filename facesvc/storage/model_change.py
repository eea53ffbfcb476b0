"""A gallery's way from one template version to another: both are held, then the two change places."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, delete, insert, select
from sqlalchemy.orm import Session

from facesvc.core.types import Gallery, LeftBehind, Page, ShadowState, Template, Unembedded
from facesvc.errors import GalleryNotFound, ModelChangeConflict, ModelChangeIncomplete, PhotographNotFound
from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import advance, as_gallery, find_gallery, lock_gallery
from facesvc.storage.revisions import log_added, log_removed
from facesvc.storage.sealing import SealedRows, SubjectCiphers
from facesvc.storage.tables import FailureRow, GalleryRow, ReferenceRow, SubjectRow, TemplateRow
from facesvc.storage.templates import Owned, held_versions, insert_templates, known_versions, require_vector
from facesvc.storage.transactions import read_page


class ModelChanges:
    """The model changes of one tenant's galleries. Raises ModelChangeConflict for what is not possible in the state
    that a gallery is in, StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def start(self, gallery: str, template_version: str) -> Gallery:
        """Have the gallery hold this template version too, FILLING; it may already. Raises ModelChangeConflict."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            if (home.shadow_version, home.shadow_state) == (template_version, ShadowState.FILLING):
                return as_gallery(self._rows.codec, home)
            if home.shadow_version is not None:
                raise ModelChangeConflict(f"gallery {gallery!r} holds templates of {home.shadow_version} already")
            if template_version == home.template_version:
                raise ModelChangeConflict(f"gallery {gallery!r} has template version {template_version} already")
            home.shadow_version, home.shadow_state = template_version, ShadowState.FILLING
            return self._advanced(session, home)

    def unembedded(self, gallery: Gallery, after: int, limit: int) -> list[Unembedded]:
        """Return references whose key is above ``after`` and which lack the shadow's version, by key."""
        assert gallery.shadow is not None
        query = (
            _lacking(ReferenceRow, gallery.key, gallery.shadow.template_version)
            .add_columns(SubjectRow)
            .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
            .where(ReferenceRow.key > after, ReferenceRow.tenant == self._rows.tenant)
        )
        ciphers = SubjectCiphers(self._rows.codec)
        with self._rows.reading() as session:
            return [
                _unembedded(row, owner, ciphers)
                for row, owner in session.execute(query.order_by(ReferenceRow.key).limit(limit))
            ]

    def add_templates(
        self, gallery: Gallery, template_version: str, made: Mapping[int, Template], failed: Mapping[int, str]
    ) -> None:
        """Store templates by the key of their reference, and the codes of why there are none. Pass over references that
        have one by now or are gone. One transaction."""
        for template in made.values():
            require_vector(template)
        with self._rows.writing() as session:
            home = _lock(session, self._rows, gallery)
            if template_version not in held_versions(home):
                raise ModelChangeConflict(f"gallery {gallery.name!r} no longer changes to {template_version}")
            living = _living(session, home, [*made, *failed])
            known = known_versions(session, list(living))
            lacking = {key: of for key, of in living.items() if (key, template_version) not in known}
            ciphers = SubjectCiphers(self._rows.codec)
            new = [(key, i, ciphers.of(owner), made[key]) for key, (i, owner) in lacking.items() if key in made]
            self._insert_made(session, home, new)
            _note(session, home, template_version, {key: failed[key] for key in lacking if key in failed})

    def _insert_made(self, session: Session, home: GalleryRow, new: Sequence[Owned]) -> None:
        if not new:
            return
        version = new[0][3].version
        revision = advance(session, home, templates=Counter({version: len(new)}))
        insert_templates(session, home, new, revision)
        log_added(session, home, [(key, version) for key, *_ in new], revision)

    def swap_versions(self, gallery: str, before: ShadowState, leave: bool) -> Gallery:
        """Exchange the version that answers and the shadow, which is in state ``before``: FILLING becomes STANDBY, and
        STANDBY becomes FILLING. Raises ModelChangeConflict, and ModelChangeIncomplete where references lack the
        shadow's version, unless ``leave``."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            if home.shadow_version is None or home.shadow_state != before:
                raise ModelChangeConflict(_at(home, gallery))
            if not leave and (lacking := home.references - home.shadow_templates):
                raise ModelChangeIncomplete(f"{lacking} references have no template of {home.shadow_version}")
            after = ShadowState.STANDBY if before is ShadowState.FILLING else ShadowState.FILLING
            home.template_version, home.shadow_version = home.shadow_version, home.template_version
            home.templates, home.shadow_templates = home.shadow_templates, home.templates
            home.shadow_state = after
            return self._advanced(session, home)

    def release_shadow(self, gallery: str, before: ShadowState) -> Gallery:
        """Set the shadow, which is in state ``before`` or LEAVING already, to LEAVING. Raises ModelChangeConflict."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            if home.shadow_state not in (before, ShadowState.LEAVING):
                raise ModelChangeConflict(_at(home, gallery))
            home.shadow_state = ShadowState.LEAVING
            return self._advanced(session, home)

    def delete_shadow(self, gallery: Gallery, limit: int) -> bool:
        """Delete up to ``limit`` templates of a shadow that is LEAVING, and the shadow with the last of them: True
        then."""
        with self._rows.writing() as session:
            home = _lock(session, self._rows, gallery)
            if home.shadow_version is None or home.shadow_state != ShadowState.LEAVING:
                return True
            version = home.shadow_version
            query = select(TemplateRow.reference_key).where(
                TemplateRow.gallery_key == home.key, TemplateRow.template_version == version
            )
            keys = list(session.scalars(query.order_by(TemplateRow.revision).limit(limit)))
            if keys:
                revision = advance(session, home, templates=Counter({version: -len(keys)}))
                which = TemplateRow.reference_key.in_(keys) & (TemplateRow.template_version == version)
                log_removed(session, home, which, revision)
                session.execute(delete(TemplateRow).where(which).execution_options(synchronize_session=False))
                return False
            home.shadow_version, home.shadow_state = None, None
            _forget(session, home, version)
        wipe_log(self._rows.engine)
        return True

    def left_behind(self, gallery: str, limit: int, cursor: str | None = None) -> Page[LeftBehind]:
        """Return a page of the references without a template of the version that is to follow or, where none is, of the
        one that answers; oldest first. Raises InvalidCursor."""
        with self._rows.reading() as session:
            home = find_gallery(session, self._rows, gallery)
            filling = home.shadow_state == ShadowState.FILLING
            version = home.shadow_version if filling and home.shadow_version else home.template_version
            listing = f"left-behind/{home.key}/{version}"
            query, ciphers = _with_failures(home.key, version), SubjectCiphers(self._rows.codec)
            rows, following = read_page(session, query, ReferenceRow.key, listing, limit, cursor)
            found = (LeftBehind(row.id, ciphers.details(of).id, _why(row, code)) for row, of, code in rows)
            return Page(tuple(found), following)

    def _advanced(self, session: Session, home: GalleryRow) -> Gallery:
        session.flush()
        advance(session, home)
        session.refresh(home)
        return as_gallery(self._rows.codec, home)

    def paired_references(self, gallery: Gallery) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the keys (n,), ascending, of the references with templates of both versions, and the (n,) keys of
        their subjects."""
        assert gallery.shadow is not None
        query = select(ReferenceRow.key, ReferenceRow.subject_key).order_by(ReferenceRow.key)
        query = query.where(ReferenceRow.gallery_key == gallery.key, ReferenceRow.tenant == self._rows.tenant)
        for version in (gallery.template_version, gallery.shadow.template_version):
            query = query.where(_has_template(version))
        with self._rows.reading() as session:
            pairs = np.array(session.execute(query).all(), np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


def _unembedded(row: ReferenceRow, owner: SubjectRow, ciphers: SubjectCiphers) -> Unembedded:
    box = ciphers.of(owner).open_reference(row).face.box
    return Unembedded(row.key, row.id, ciphers.details(owner).id, box, row.has_photograph)


def _has_template(template_version: str) -> ColumnElement[bool]:
    own = (TemplateRow.reference_key == ReferenceRow.key) & (TemplateRow.template_version == template_version)
    return select(TemplateRow.reference_key).where(own).exists()


def _lacking(of: type[ReferenceRow], gallery_key: int, template_version: str) -> Select[ReferenceRow]:
    """Select the references without a template of this version."""
    return select(of).where(of.gallery_key == gallery_key, ~_has_template(template_version))


def _with_failures(gallery_key: int, template_version: str) -> Select[ReferenceRow, SubjectRow, str]:
    failure = (FailureRow.reference_key == ReferenceRow.key) & (FailureRow.template_version == template_version)
    return (
        _lacking(ReferenceRow, gallery_key, template_version)
        .add_columns(SubjectRow, FailureRow.code)
        .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
        .outerjoin(FailureRow, failure)
    )


def _why(row: ReferenceRow, code: str | None) -> str | None:
    return code if row.has_photograph else PhotographNotFound.code


def _lock(session: Session, rows: SealedRows, gallery: Gallery) -> GalleryRow:
    """As lock_gallery; another gallery of the same name, made since, is not the one that was meant."""
    home = lock_gallery(session, rows, gallery.name)
    if home.key != gallery.key:
        raise GalleryNotFound(f"gallery {gallery.name!r} was deleted")
    return home


def _living(session: Session, home: GalleryRow, keys: Sequence[int]) -> dict[int, tuple[str, SubjectRow]]:
    """Of those that are still there, by key: public id and subject."""
    query = select(ReferenceRow.key, ReferenceRow.id, SubjectRow)
    query = query.join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
    rows = session.execute(query.where(ReferenceRow.key.in_(keys), ReferenceRow.gallery_key == home.key))
    return {key: (public_id, owner) for key, public_id, owner in rows}


def _note(session: Session, home: GalleryRow, template_version: str, failed: Mapping[int, str]) -> None:
    """Keeps why there is no template of these references, in place of what was known before."""
    if not failed:
        return
    known = FailureRow.reference_key.in_(list(failed)) & (FailureRow.template_version == template_version)
    session.execute(delete(FailureRow).where(known).execution_options(synchronize_session=False))
    row = {"tenant": home.tenant, "template_version": template_version}
    session.execute(insert(FailureRow), [row | {"reference_key": key, "code": code} for key, code in failed.items()])


def _forget(session: Session, home: GalleryRow, template_version: str) -> None:
    """Why templates of a version that the gallery no longer holds could not be made."""
    own = select(ReferenceRow.key).where(ReferenceRow.gallery_key == home.key)
    which = (FailureRow.template_version == template_version) & FailureRow.reference_key.in_(own)
    session.execute(delete(FailureRow).where(which).execution_options(synchronize_session=False))


def _at(home: GalleryRow, gallery: str) -> str:
    at = {
        None: "no model change is under way",
        ShadowState.FILLING: "it has not been cut over",
        ShadowState.STANDBY: "it has been cut over already",
        ShadowState.LEAVING: "templates of the other model are being deleted",
    }
    return f"gallery {gallery!r}: {at[home.shadow_state and ShadowState(home.shadow_state)]}"
