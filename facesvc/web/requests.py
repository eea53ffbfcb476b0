"""What callers send. Each operation on photographs has two notations, a form and a JSON document, of one meaning.

Both are documented in OpenAPI, and ``Body.asked`` of both gives the same value, so that routes don't know which one
came.

The shapes of names and metadata that callers choose, as OpenAPI states them.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from facesvc.core import types
from facesvc.core.access import LABEL_LENGTH, MAX_GALLERIES, Rights, Role
from facesvc.core.decide import DecisionRule
from facesvc.core.names import (
    CONSENT_LENGTH,
    DISPLAY_NAME_LENGTH,
    METADATA_BYTES,
    NAME_PATTERN,
    RESERVED,
    TEXT_PATTERN,
    require_metadata,
)
from facesvc.core.types import FaceChoice, Retention
from facesvc.errors import RequestError


def _addressable(name: str) -> str:
    if name in RESERVED:
        raise ValueError('"." and ".." can\'t be names: clients and proxies take them out of addresses')
    return name


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        require_metadata(metadata)
    except RequestError as error:
        raise ValueError(error.detail) from error
    return metadata


Name = Annotated[
    str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=128), AfterValidator(_addressable)
]
DisplayName = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=DISPLAY_NAME_LENGTH)]
Consent = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=CONSENT_LENGTH)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_storable),
    Field(description=f"Yours to use: a JSON object of at most {METADATA_BYTES} bytes.", examples=[{"team": "night"}]),
]

_in_path: Any = {"pattern": NAME_PATTERN, "min_length": 1, "max_length": 128}
GalleryPath = Annotated[str, Path(alias="gallery", examples=["staff"], **_in_path), AfterValidator(_addressable)]
SubjectPath = Annotated[str, Path(alias="subject", examples=["ada"], **_in_path), AfterValidator(_addressable)]
ReferencePath = Annotated[str, Path(alias="reference", examples=["ref_01"], **_in_path), AfterValidator(_addressable)]


def _decoded(text: Any) -> bytes:
    """Strict base64 (RFC 4648, section 4): foreign characters are an error, not noise to skip."""
    if not isinstance(text, str):
        raise ValueError("base64 must be a string")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("not valid base64 (RFC 4648, without line breaks or a data: prefix)") from None


def _file(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("must be one file part (with a filename)")
    return value


def _files(value: Any) -> Any:
    """A form knows no lists: one file comes alone."""
    return value if isinstance(value, list) else [value]


Upload = Annotated[bytes, BeforeValidator(_file), WithJsonSchema({"type": "string", "format": "binary"})]
Base64 = Annotated[
    bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "format": "byte", "contentEncoding": "base64"})
]
OneFace = Literal["prominent", "largest", "only"]
AnyFace = Literal["all", "prominent", "largest", "only"]
ONE_FACE = "The face to use: the most prominent (large and near the centre), the largest, or the only one."
Number = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """Unknown fields are refused: a misspelt option must not be ignored."""

    model_config = ConfigDict(extra="forbid")

    def asked(self) -> Any:
        """Return what the body asks for, as its route takes it: by default the body itself."""
        return self


class EncodedPhotograph(Body):
    """A photograph inside a JSON document, or its address."""

    base64: Base64 = Field(b"", description="The file's bytes in base64: JPEG, PNG, WebP or HEIC.")
    url: str | SkipJsonSchema[None] = Field(
        None,
        description="In place of it: the https address of a public image, where the service fetches such.",
        examples=["https://example.org/a.jpg"],
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "EncodedPhotograph":
        if len(self.model_fields_set) != 1 or (self.url is None and "url" in self.model_fields_set):
            raise ValueError("give either base64 or url")
        return self

    def fetched(self, content: bytes) -> None:
        """It has its address's content from now on."""
        self.base64, self.url = content, None


class Linked(Body):
    """What a JSON document may hold photographs in."""

    def links(self) -> list[EncodedPhotograph]:
        """Those of its photographs that are to be fetched."""
        values = [getattr(self, name) for name in type(self).model_fields]
        held = [item for value in values for item in (value if isinstance(value, list) else [value])]
        return [item for item in held if isinstance(item, EncodedPhotograph) and item.url is not None]


class KnownSubject(Body):
    """A subject of a gallery, in place of a second photograph."""

    subject: Name = Field(examples=["ada"])
    gallery: Name | None = Field(None, description="By default the service's default gallery.", examples=["staff"])


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """A probe, what to compare it with (a photograph or a subject), and how to decide."""

    photograph: bytes
    against: bytes | KnownSubject
    choice: FaceChoice
    rule: DecisionRule


@dataclass(frozen=True, slots=True)
class IdentifyRequest:
    """A photograph, the gallery to search (None for the default one), and how to decide."""

    photograph: bytes
    gallery: str | None
    top_k: int
    choice: FaceChoice
    rule: DecisionRule


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """Photographs of one subject. strict: refuse faces that fail a quality check."""

    photographs: Sequence[bytes]
    choice: FaceChoice
    strict: bool


class Options(Body):
    """How to decide; neither given means the threshold of the model pack."""

    threshold: Number | None = Field(None, description="Match below this squared L2 (0 to 4, for unit templates).")
    target_fmr: Number | None = Field(None, description="Choose the threshold for this false match rate instead.")

    @property
    def rule(self) -> DecisionRule:
        return DecisionRule(self.threshold, self.target_fmr)


class VerifyOptions(Options):
    face: OneFace = Field("prominent", description=ONE_FACE)

    def _against(self, photograph: bytes, against: bytes | KnownSubject) -> VerifyRequest:
        return VerifyRequest(photograph, against, FaceChoice(self.face), self.rule)


class VerifyForm(VerifyOptions):
    """A probe, and either a reference photograph or a subject."""

    probe: Upload
    reference: Upload | None = None
    subject: Name | None = None
    gallery: Name | None = Field(None, description="Of the subject; by default the service's default gallery.")

    @model_validator(mode="after")
    def _one_reference(self) -> "VerifyForm":
        if (self.reference is None) == (self.subject is None):
            raise ValueError("give either a reference photograph or a subject")
        if self.subject is None and self.gallery is not None:
            raise ValueError("a gallery goes with a subject")
        return self

    def asked(self) -> VerifyRequest:
        if self.subject is not None:
            return self._against(self.probe, KnownSubject(subject=self.subject, gallery=self.gallery))
        assert self.reference is not None  # _one_reference
        return self._against(self.probe, self.reference)


class VerifyJson(VerifyOptions, Linked):
    """A probe, and either a reference photograph or a subject."""

    probe: EncodedPhotograph
    reference: EncodedPhotograph | KnownSubject

    def asked(self) -> VerifyRequest:
        against = self.reference.base64 if isinstance(self.reference, EncodedPhotograph) else self.reference
        return self._against(self.probe.base64, against)


class IdentifyOptions(Options):
    gallery: Name | None = Field(None, description="By default the service's default gallery.", examples=["staff"])
    top_k: int = Field(5, ge=1, le=100, description="Candidates for each face, nearest first.")
    face: AnyFace = Field("all", description="All faces of the photograph, or one as in verify.")

    def _of(self, photograph: bytes) -> IdentifyRequest:
        return IdentifyRequest(photograph, self.gallery, self.top_k, FaceChoice(self.face), self.rule)


class IdentifyForm(IdentifyOptions):
    image: Upload

    def asked(self) -> IdentifyRequest:
        return self._of(self.image)


class IdentifyJson(IdentifyOptions, Linked):
    image: EncodedPhotograph

    def asked(self) -> IdentifyRequest:
        return self._of(self.image.base64)


class DetectForm(Body):
    image: Upload

    def asked(self) -> bytes:
        return self.image


class DetectJson(Linked):
    image: EncodedPhotograph

    def asked(self) -> bytes:
        return self.image.base64


class EnrolOptions(Body):
    face: OneFace = Field(
        "only", description="Refuse photographs of several people, or use one of their faces as in verify."
    )
    strict: bool = Field(True, description="Refuse faces that fail a quality check.")


class EnrolForm(EnrolOptions):
    images: Annotated[list[Upload], BeforeValidator(_files), Field(min_length=1)]

    def asked(self) -> EnrolRequest:
        return EnrolRequest(self.images, FaceChoice(self.face), self.strict)


class EnrolJson(EnrolOptions, Linked):
    images: list[EncodedPhotograph] = Field(min_length=1)

    def asked(self) -> EnrolRequest:
        return EnrolRequest([image.base64 for image in self.images], FaceChoice(self.face), self.strict)


class NewGallery(Body):
    name: Name = Field(examples=["staff"])
    keep_photographs: bool = Field(False, description="Keep enrolled photographs beside their templates.")
    metadata: Metadata = {}

    def asked(self) -> types.NewGallery:
        return types.NewGallery(self.name, self.keep_photographs, self.metadata)


class GalleryChange(Body):
    """Fields left out stay as they are."""

    keep_photographs: bool | SkipJsonSchema[None] = Field(
        None, description="Turning it off deletes the photographs that were kept."
    )
    metadata: Metadata | SkipJsonSchema[None] = None

    def asked(self) -> types.GalleryChange:
        return types.GalleryChange(self.keep_photographs, self.metadata)


class Retained(Body):
    consent: Consent | SkipJsonSchema[None] = Field(
        None, description="Your reference to what allows the subject to be kept.", examples=["form 2026-117"]
    )
    expires_at: AwareDatetime | SkipJsonSchema[None] = Field(
        None,
        description="From then on the subject does not answer; it is erased soon after.",
        examples=["2027-11-21T00:00:00Z"],
    )

    @field_validator("expires_at")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("there is no such moment in UTC") from None

    @property
    def retention(self) -> Retention:
        return Retention(self.consent, self.expires_at)


class NewSubject(Retained):
    id: Name = Field(description="Your own identifier of the person, unique in the gallery.", examples=["ada"])
    display_name: DisplayName | None = Field(None, examples=["Ada Lovelace"])
    metadata: Metadata = {}

    def asked(self) -> types.NewSubject:
        return types.NewSubject(self.id, self.display_name, self.metadata, self.retention)


class SubjectChange(Retained):
    """Fields left out stay as they are."""

    display_name: DisplayName | SkipJsonSchema[None] = None
    metadata: Metadata | SkipJsonSchema[None] = None

    def asked(self) -> types.SubjectChange:
        return types.SubjectChange(self.display_name, self.metadata, self.retention)


LeaveBehind = Annotated[
    bool, Query(description="Go on although references lack a template: they don't answer until enrolled again.")
]
SampleSize = Annotated[int, Query(ge=2, le=5_000, description="References to compare, of whole subjects.")]
Seed = Annotated[int, Query(ge=0, le=2**31, description="Of the draw: the same one draws the same references.")]


class NewModel(Body):
    pack: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="The model pack to change to.", examples=["fusion"]
    )


KeyPath = Annotated[str, Path(alias="key", pattern=r"^[0-9a-f]{12}$", description="The key's id, not its text.")]
Days = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=8_760, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31)]
EXPIRY = "Days until the key expires; by default it does not."


class NewApiKey(Body):
    roles: list[Role] = Field(min_length=1, max_length=len(Role), description="What it is for.", examples=[["verify"]])
    galleries: list[Name] | None = Field(
        None,
        min_length=1,
        max_length=MAX_GALLERIES,
        description="Names of the galleries it may use, there already or not; by default all. To it, others are not "
        "there. Not with administer.",
    )
    label: str = Field("", max_length=LABEL_LENGTH, pattern=TEXT_PATTERN, description="Your own note on it.")
    expires_in_days: Days | None = Field(None, description=EXPIRY)
    identities_per_day: Count | None = Field(
        None, description="Subjects it may be told of in a day; by default the service's."
    )
    requests_per_minute: Count | None = Field(None, description="By default the service's.")

    @property
    def rights(self) -> Rights:
        galleries = None if self.galleries is None else frozenset(self.galleries)
        limits = self.identities_per_day, self.requests_per_minute
        return Rights(frozenset(self.roles), galleries, self.label, *limits)

    @property
    def lifetime(self) -> timedelta | None:
        return in_days(self.expires_in_days)


class Rotation(Body):
    overlap_hours: Hours = Field(24, description="Hours for which the old key stays valid.")
    expires_in_days: Days | None = Field(None, description=EXPIRY)

    @property
    def overlap(self) -> timedelta:
        return timedelta(hours=self.overlap_hours)

    @property
    def lifetime(self) -> timedelta | None:
        return in_days(self.expires_in_days)


def in_days(days: float | None) -> timedelta | None:
    """Return so many days as a length of time, None for None."""
    return None if days is None else timedelta(days=days)


def gallery_address(gallery: str) -> str:
    return f"/v1/galleries/{quote(gallery, safe='')}"


def subject_address(gallery: str, subject: str) -> str:
    return f"{gallery_address(gallery)}/subjects/{quote(subject, safe='')}"


def references_address(gallery: str, subject: str) -> str:
    return f"{subject_address(gallery, subject)}/references"


def reference_address(gallery: str, subject: str, reference: str) -> str:
    return f"{references_address(gallery, subject)}/{quote(reference, safe='')}"


Limit = Annotated[int, Query(ge=1, le=500, description="Items on a page.")]
Cursor = Annotated[str | None, Query(max_length=1024, description="next_cursor of the page before.")]
