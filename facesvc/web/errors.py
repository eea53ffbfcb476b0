"""Errors as HTTP: RFC 9457 problem documents. The only place that knows HTTP status codes of errors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from facesvc import errors, views
from facesvc.errors import FaceServiceError, RequestError

PROBLEM = "application/problem+json"
INVALID = ', error="invalid_token"'


class InvalidFields(RequestError):
    """The request's fields failed validation. ``fields``: what is wrong, field by field."""

    def __init__(self, fields: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{f['field']}: {f['detail']}" for f in fields[:3]))
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
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def kinds() -> Iterator[type[FaceServiceError]]:
    """Every kind of error that the service can answer with, parents first; not those of programs built on it."""
    waiting = [FaceServiceError]
    while waiting:
        kind = waiting.pop(0)
        yield kind
        waiting.extend(child for child in kind.__subclasses__() if child.__module__.startswith("facesvc."))


def kind_of(code: str) -> type[FaceServiceError]:
    """The kind of error that has this code. Raises PathNotFound."""
    for kind in kinds():
        if kind.code == code:
            return kind
    raise PathNotFound(f"there is no error code {code!r}")


def type_uri(code: str) -> str:
    """The problem's type: a reference that dereferences to an explanation of the code."""
    return f"/errors/{code}"


def problem(error: FaceServiceError, headers: Mapping[str, str] | None = None, **members: Any) -> JSONResponse:
    """The problem document of ``error``; ``members`` extend it (RFC 9457, section 3.2)."""
    status = status_of(type(error))
    shaped = views.error(error)
    body = {"type": type_uri(error.code), "title": shaped["title"], "status": status, **shaped, **members}
    wait = error.retry_after if isinstance(error, errors.RateLimited) else RETRY_AFTER.get(type(error))
    retry = {"Retry-After": str(wait)} if wait else {}
    return JSONResponse(body, status, {**(headers or {}), **retry}, media_type=PROBLEM)


def invalid_fields(found: Iterable[Mapping[str, Any]]) -> InvalidFields:
    """From pydantic's list of errors; the values sent are never repeated, they may be photographs."""
    return InvalidFields([{"field": _path(e["loc"]), "detail": _sentence(e["msg"])} for e in found])


def _path(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) or "body"


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FaceServiceError)
    if isinstance(error, InvalidFields):
        return problem(error, errors=error.fields)
    return problem(error, _challenge(request, error))


def _challenge(request: Request, error: FaceServiceError) -> dict[str, str]:
    """How a refused caller is told what to bring (RFC 6750, section 3)."""
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
