"""Model changes as OpenAPI tells them; the values come from ``facesvc.views``."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from facesvc.web.requests import Body
from facesvc.web.schemas import Answer, Distance, OtherTemplates, TemplateVersion

LeaveBehind = Annotated[
    bool, Query(description="Go on although references lack a template: they don't answer until enrolled again.")
]
Sample = Annotated[int, Query(ge=2, le=5_000, description="References to compare, of whole subjects.")]
Seed = Annotated[int, Query(ge=0, le=2**31, description="Of the draw: the same one draws the same references.")]


class NewModel(Body):
    pack: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="The model pack to change to.", examples=["fusion"]
    )


class ModelChange(Answer):
    gallery: str
    template_version: TemplateVersion
    references: int = Field(ge=0)
    templates: int = Field(ge=0, description="References that have a template of template_version.")
    other: OtherTemplates | None = Field(description="null: no change is under way.")
    missing: int | None = Field(
        description="References without a template of the other version; what a cut-over waits for."
    )


class LeftBehind(Answer):
    reference: str = Field(examples=["ref_2b6c"])
    subject: str
    code: str | None = Field(
        description="Why it has none: photograph_not_found where none was kept, no_face, ...; null: not tried yet.",
        examples=["photograph_not_found"],
    )


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


class Disagreement(Answer):
    references: list[str] = Field(min_length=2, max_length=2)
    mated: bool = Field(description="Both are of one subject.")
    old_distance: Distance
    new_distance: Distance


class Agreement(Answer):
    old: ComparedModel
    new: ComparedModel
    references: int
    mated: DecisionTable = Field(description="Every two references of one subject: do they match?")
    non_mated: DecisionTable = Field(description="Every two references of different subjects: do they match?")
    rank_1: DecisionTable = Field(description="Is the nearest other reference one of the same subject?")
    worst: list[Disagreement] = Field(description="Furthest from both thresholds first.")
