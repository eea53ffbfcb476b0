"""Errors as HTTP: RFC 9457 problem documents. The only place that knows HTTP status codes of errors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from facesvc import errors
from facesvc.errors import FaceServiceError, RequestError
from facesvc.schemas.base import Answer
from facesvc.schemas.galleries import RejectedPhotograph

PROBLEM = "application/problem+json"
INVALID = ', error="invalid_token"'


class FieldError(Answer):
    field: str = Field(examples=["probe.base64"])
    detail: str


class InvalidFields(RequestError):
    """The request's fields failed validation. ``fields``: what is wrong, field by field."""

    def __init__(self, fields: list[FieldError]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.detail}" for fault in fields[:3]))
        self.fields = fields


class PathNotFound(RequestError):
    code, title = "not_found", "No such address"
    advice = "There is no such address; /openapi.json lists all."


class MethodNotAllowed(RequestError):
    code, title = "method_not_allowed", "Method not allowed"
    advice = "The Allow header lists what is possible at this address."


class RequestTimeout(RequestError):
    code, title = "request_timeout", "Request took too long to arrive"
    advice = "The request's body arrived too slowly. Send smaller photographs or try again."


STATUS: dict[type[FaceServiceError], int] = {
    FaceServiceError: 500,
    errors.ImageError: 422,
    errors.UnsupportedFormat: 415,
    errors.ImageTooLarge: 413,
    errors.SampleError: 422,
    errors.ModelError: 503,
    errors.Overloaded: 503,
    errors.TemplateVersionMismatch: 409,
    errors.DecisionError: 422,
    errors.StoreError: 500,
    errors.GalleryNotFound: 404,
    errors.GalleryExists: 409,
    errors.SubjectNotFound: 404,
    errors.SubjectExists: 409,
    errors.ReferenceNotFound: 404,
    errors.PhotographNotFound: 404,
    errors.InvalidCursor: 422,
    errors.IdempotencyKeyInUse: 409,
    errors.IdempotencyKeyReused: 422,
    errors.ModelChangeConflict: 409,
    errors.ModelChangeIncomplete: 409,
    errors.StoreUnavailable: 503,
    errors.IndexUnavailable: 503,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RateLimited: 429,
    errors.TooManyReferences: 409,
    errors.MasterKeyUnavailable: 503,
    errors.ApiKeyNotFound: 404,
    errors.TenantNotFound: 404,
    errors.TenantExists: 409,
    RequestError: 422,
    errors.UnsupportedMediaType: 415,
    errors.RequestTooLarge: 413,
    errors.RemoteError: 502,
    PathNotFound: 404,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
}
"""Status by kind of error; a kind that is not listed has its parent's."""

RETRY_AFTER: dict[type[FaceServiceError], int] = {
    errors.Overloaded: 1,
    errors.IdempotencyKeyInUse: 1,
    errors.StoreUnavailable: 5,
    errors.IndexUnavailable: 5,
}
"""Seconds after which asking again makes sense."""


def status_of(kind: type[FaceServiceError]) -> int:
    """Return the HTTP status of a kind of error, which may be its parent's."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def kinds() -> Iterator[type[FaceServiceError]]:
    """Every kind of error that the service can answer with, parents first; not those of programs built on it."""
    waiting = [FaceServiceError]
    while waiting:
        kind = waiting.pop(0)
        yield kind
        waiting.extend(child for child in kind.__subclasses__() if child.__module__.startswith("facesvc."))


def kind_of(code: str) -> type[FaceServiceError]:
    """Return the kind of error that has this code. Raises PathNotFound."""
    for kind in kinds():
        if kind.code == code:
            return kind
    raise PathNotFound(f"there is no error code {code!r}")


def type_uri(code: str) -> str:
    """Return a problem's type: the address at which the code is explained."""
    return f"/errors/{code}"


class Problem(BaseModel):
    """RFC 9457. ``code`` is stable; switch on it, not on the texts."""

    type: str = Field(description="Where the code is explained.", examples=["/errors/no_face"])
    title: str = Field(examples=["No face found"])
    status: int = Field(examples=[422])
    code: str = Field(examples=["no_face"])
    detail: str = Field(examples=["no face was found in the photograph"])
    source: str | None = Field(None, description="The input it is about, where there were several.")
    errors: list[FieldError] | None = Field(None, description="invalid_request: field by field.")

    @classmethod
    def of(cls, error: FaceServiceError, **members: Any) -> Self:
        """Return the document of ``error``; ``members`` extend it (RFC 9457, section 3.2)."""
        return cls(
            type=type_uri(error.code),
            title=error.title,
            status=status_of(type(error)),
            code=error.code,
            detail=error.detail,
            source=error.source,
            errors=error.fields if isinstance(error, InvalidFields) else None,
            **members,
        )


class NothingEnrolled(Problem):
    """Every photograph was rejected; code and status are those of the first."""

    gallery: str
    subject: str
    enrolled: Literal[0]
    results: list[RejectedPhotograph]


class ErrorExplained(Answer):
    code: str = Field(examples=["no_face"])
    title: str
    status: int
    advice: str

    @classmethod
    def of(cls, kind: type[FaceServiceError]) -> Self:
        return cls(code=kind.code, title=kind.title, status=status_of(kind), advice=kind.advice)


def problem(
    error: FaceServiceError, headers: Mapping[str, str] | None = None, document: Problem | None = None
) -> JSONResponse:
    """Return the answer to a request that met ``error``; document: in place of the plain one."""
    shown = document or Problem.of(error)
    wait = error.retry_after if isinstance(error, errors.RateLimited) else RETRY_AFTER.get(type(error))
    retry = {"Retry-After": str(wait)} if wait else {}
    body = shown.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, shown.status, {**(headers or {}), **retry}, media_type=PROBLEM)


def invalid_fields(found: Iterable[Mapping[str, Any]]) -> InvalidFields:
    """From pydantic's list of errors; the values sent are never repeated, they may be photographs."""
    return InvalidFields([FieldError(field=_path(e["loc"]), detail=_sentence(e["msg"])) for e in found])


def _path(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) or "body"


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FaceServiceError)
    return problem(error, _challenge(request, error))


def _challenge(request: Request, error: FaceServiceError) -> dict[str, str]:
    """Return the header that tells a refused caller what to bring (RFC 6750, section 3)."""
    sent = "authorization" in request.headers
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": f'Bearer realm="facesvc"{INVALID if sent else ""}'}
    if isinstance(error, errors.Forbidden) and sent:
        return {"WWW-Authenticate": 'Bearer realm="facesvc", error="insufficient_scope"'}
    return {}


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return await _service_error(request, invalid_fields(error.errors()))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return problem(PathNotFound(f"there is nothing at {request.url.path}"), headers)
    if error.status_code == 405:
        return problem(MethodNotAllowed(f"{request.method} is not possible here"), headers)
    return problem(RequestError(str(error.detail)), headers)


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(FaceServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
