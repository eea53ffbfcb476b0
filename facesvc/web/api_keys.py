"""API keys as requests and answers show them."""

from datetime import timedelta
from typing import Annotated

from fastapi import Path
from pydantic import Field

from facesvc.core.access import LABEL_LENGTH, MAX_GALLERIES, Rights, Role
from facesvc.web.requests import TEXT_PATTERN, Body, Name
from facesvc.web.schemas import Answer

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
    return None if days is None else timedelta(days=days)


class ApiKey(Answer):
    id: str = Field(examples=["4be07c1a99d2"], description="Public: it names the key in lists, logs and the audit log.")
    label: str
    roles: list[Role]
    galleries: list[str] | None = Field(description="null: all.")
    identities_per_day: int | None
    requests_per_minute: int | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    replaced_by: str | None = Field(description="Id of the key that takes its place.")
    valid: bool


class IssuedApiKey(ApiKey):
    key: str = Field(description="The key itself. It is told this once and stored nowhere: keep it.")


class ApiKeys(Answer):
    items: list[ApiKey] = Field(description="Oldest first; also those that are not valid any more.")


class Caller(Answer):
    """Who asks."""

    key: str = Field(description="Id of the API key.")
    tenant: str = Field(description="Id of the tenant.")
    roles: list[Role]
    galleries: list[str] | None = Field(description="Those it may use; null: all.")
    development: bool = Field(description="The service runs in development mode: nobody needs a key.")
