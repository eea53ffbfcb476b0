"""What a change of a gallery's model pack knows of references, and needs of the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import ReferenceStore
from facesvc.core.types import Gallery, Page, ShadowState, Template


@dataclass(frozen=True, slots=True, eq=False)
class Unembedded:
    """A reference that lacks a template of the shadow's version. box: (4,) float32 px, of its face."""

    key: int
    id: str
    subject: str
    box: NDArray[np.float32]
    has_photograph: bool


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A reference without a template of the version in question. code: of the error that says why; None where it was
    not tried yet."""

    reference: str
    subject: str
    code: str | None


class ModelChangeStore(ReferenceStore, Protocol):
    """A store whose galleries can hold two template versions. Raises ModelChangeConflict for what is not possible in
    the state that a gallery is in."""

    def seen_by(self, galleries: frozenset[str]) -> "ModelChangeStore":
        """The same store for who may use these galleries only: all others are not there."""
        ...

    def start_model_change(self, gallery: str, template_version: str) -> Gallery:
        """The gallery holds this version too, FILLING, from now on; it may already."""
        ...

    def unembedded(self, gallery: Gallery, after: int, limit: int) -> list[Unembedded]:
        """References whose key is above ``after`` and which lack the shadow's version, by key."""
        ...

    def add_templates(
        self, gallery: Gallery, template_version: str, made: Mapping[int, Template], failed: Mapping[int, str]
    ) -> None:
        """Stores templates, by the key of their reference, and the codes of why there are none; passes over references
        that have one by now or are gone. One transaction."""
        ...

    def swap_versions(self, gallery: str, before: ShadowState, leave: bool) -> Gallery:
        """The version that answers and the shadow, which is in state ``before``, change places: FILLING becomes
        STANDBY, and STANDBY becomes FILLING. Raises ModelChangeIncomplete where references lack the shadow's version,
        unless ``leave``."""
        ...

    def release_shadow(self, gallery: str, before: ShadowState) -> Gallery:
        """The shadow, which is in state ``before``, or LEAVING already, is LEAVING."""
        ...

    def delete_shadow(self, gallery: Gallery, limit: int) -> bool:
        """Deletes so many templates of a shadow that is LEAVING, and the shadow with the last of them: True then."""
        ...

    def left_behind(self, gallery: str, limit: int, cursor: str | None = None) -> Page[LeftBehind]:
        """References without a template of the version that is to follow or, where none is, of the one that answers;
        oldest first. Raises InvalidCursor."""
        ...

    def paired_references(self, gallery: Gallery) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Keys (n,), ascending, of the references with templates of both versions, and (n,) numbers of their
        subjects."""
        ...
