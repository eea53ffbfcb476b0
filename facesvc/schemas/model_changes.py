"""A gallery's change to another model pack: where it is, whom it leaves behind, how far both packs agree."""

from dataclasses import asdict
from typing import Self

from pydantic import Field

from facesvc.core import agreement, types
from facesvc.schemas.base import Answer, TemplateVersion
from facesvc.schemas.decisions import Distance
from facesvc.schemas.galleries import OtherTemplates


class ModelChange(Answer):
    gallery: str
    template_version: TemplateVersion
    references: int = Field(ge=0)
    templates: int = Field(ge=0, description="References that have a template of template_version.")
    other: OtherTemplates | None = Field(description="null: no change is under way.")
    missing: int | None = Field(
        description="References without a template of the other version; what a cut-over waits for."
    )

    @classmethod
    def of(cls, gallery: types.Gallery) -> Self:
        """Return where the change of ``gallery`` is. ``missing`` is None while no other version is to answer."""
        shadow, comes = gallery.shadow, len(gallery.versions) > 1
        return cls(
            gallery=gallery.name,
            template_version=gallery.template_version,
            references=gallery.references,
            templates=gallery.templates,
            other=OtherTemplates.of(shadow) if shadow else None,
            missing=gallery.references - shadow.templates if shadow and comes else None,
        )


class LeftBehind(Answer):
    reference: str = Field(examples=["ref_2b6c"])
    subject: str
    code: str | None = Field(
        description="Why it has none: photograph_not_found where none was kept, no_face, ...; null: not tried yet.",
        examples=["photograph_not_found"],
    )

    @classmethod
    def of(cls, found: types.LeftBehind) -> Self:
        return cls(reference=found.reference, subject=found.subject, code=found.code)


class ComparedModel(Answer):
    template_version: TemplateVersion
    threshold: float


class DecisionTable(Answer):
    """Yes or no by the old model and by the new."""

    both: int
    old_only: int
    new_only: int
    neither: int
    total: int
    changed: float | None = Field(description="Share that is decided otherwise.")
    changed_interval: list[float] = Field(min_length=2, max_length=2, description="95 % (Wilson).")

    @classmethod
    def of(cls, counted: agreement.Table) -> Self:
        return cls(
            **asdict(counted),
            total=counted.total,
            changed=counted.changed,
            changed_interval=list(counted.interval),
        )


class Disagreement(Answer):
    references: list[str] = Field(min_length=2, max_length=2)
    mated: bool = Field(description="Both are of one subject.")
    old_distance: Distance
    new_distance: Distance

    @classmethod
    def of(cls, found: agreement.Disagreement) -> Self:
        return cls(
            references=list(found.references),
            mated=found.mated,
            old_distance=found.old_distance,
            new_distance=found.new_distance,
        )


class Agreement(Answer):
    old: ComparedModel
    new: ComparedModel
    references: int
    mated: DecisionTable = Field(description="Every two references of one subject: do they match?")
    non_mated: DecisionTable = Field(description="Every two references of different subjects: do they match?")
    rank_1: DecisionTable = Field(description="Is the nearest other reference one of the same subject?")
    worst: list[Disagreement] = Field(description="Furthest from both thresholds first.")

    @classmethod
    def of(cls, found: agreement.Agreement) -> Self:
        return cls(
            old=ComparedModel(template_version=found.old_version, threshold=found.old_threshold),
            new=ComparedModel(template_version=found.new_version, threshold=found.new_threshold),
            references=found.references,
            mated=DecisionTable.of(found.mated),
            non_mated=DecisionTable.of(found.non_mated),
            rank_1=DecisionTable.of(found.rank_1),
            worst=[Disagreement.of(disagreement) for disagreement in found.worst],
        )
