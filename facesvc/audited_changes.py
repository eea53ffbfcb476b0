"""Model changes, and the end of who has expired, with lines in the audit log for each step: see ``facesvc.trail``."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from facesvc.core.erasure import Deleted, Expired
from facesvc.core.model_change import ModelChangeStore
from facesvc.core.ports import ReferenceStore, VersionedExtractors
from facesvc.core.types import Gallery
from facesvc.expiry import Expiry
from facesvc.model_change import ModelChanges
from facesvc.trail import Trail


class AuditedModelChanges(ModelChanges):
    """The steps by which a gallery comes to be answered by another model."""

    def __init__(self, extractors: VersionedExtractors, store: ModelChangeStore, trail: Trail) -> None:
        super().__init__(extractors, store)
        self.trail = trail

    def start(self, gallery: str, pack: str) -> Gallery:
        return self._noted("start_model_change", gallery, partial(super().start, gallery, pack))

    def cut_over(self, gallery: str, leave_behind: bool = False) -> Gallery:
        return self._noted("cut_over", gallery, partial(super().cut_over, gallery, leave_behind))

    def roll_back(self, gallery: str, leave_behind: bool = False) -> Gallery:
        return self._noted("roll_back", gallery, partial(super().roll_back, gallery, leave_behind))

    def finish(self, gallery: str) -> Gallery:
        return self._noted("finish_model_change", gallery, partial(super().finish, gallery))

    def abandon(self, gallery: str) -> Gallery:
        return self._noted("abandon_model_change", gallery, partial(super().abandon, gallery))

    def _noted(self, action: str, gallery: str, change: Callable[[], Gallery]) -> Gallery:
        with self.trail.changing(action, gallery) as outcome:
            changed = change()
            outcome.told = {"template_version": changed.template_version}
        return changed


class AuditedExpiry(Expiry):
    """The erasure of who has expired."""

    def __init__(self, store: ReferenceStore, trail: Trail) -> None:
        self.store, self.trail = store, trail

    def erase_expired(self, expired: Expired) -> Sequence[Deleted]:
        with self.trail.changing("erase", expired.gallery, expired.subject) as outcome:
            gone = super().erase_expired(expired)
            outcome.told = {"expired": True, **counted(gone)}
        return gone


def counted(references: Sequence[Deleted]) -> dict[str, Any]:
    """What a line says of them."""
    return {"references": len(references), "photographs": sum(deleted.had_photograph for deleted in references)}
