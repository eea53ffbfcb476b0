"""Errors as HTTP: RFC 9457 problem documents. The only place that knows HTTP status codes of errors.

What each error code means and what a caller can do about it, in plain words.
"""

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


class MethodNotAllowed(RequestError):
    code, title = "method_not_allowed", "Method not allowed"


class RequestTimeout(RequestError):
    code, title = "request_timeout", "Request took too long to arrive"


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


ADVICE = {
    "internal_error": "The service failed. Quote the X-Request-ID of the answer to whoever runs it.",
    "image_error": "The file can't be used as a photograph.",
    "not_an_image": "The bytes are not of any image format. Send the file itself, not a link or a thumbnail page.",
    "unsupported_format": "Send JPEG, PNG, WebP or HEIC.",
    "corrupt_image": "The file is cut short or damaged. Export or upload it again.",
    "image_too_large": "The file has too many bytes or pixels. Scale the photograph down; 2 megapixels are plenty.",
    "image_too_small": "The photograph has too few pixels to hold a usable face.",
    "sample_error": "The photograph holds no usable face.",
    "no_face": "Use a photograph in which the face is visible, upright and at least 40 pixels wide.",
    "several_faces": "Crop the photograph to one person, or send face=prominent to use the most prominent face.",
    "too_many_faces": "Crop the photograph, or split it.",
    "face_too_small": "Use a larger photograph or one taken from nearer.",
    "face_blurred": "Use a sharper photograph.",
    "face_turned": "Use a photograph that looks towards the camera.",
    "face_too_dark": "Use a photograph with more light on the face.",
    "face_too_bright": "Use a photograph that is not overexposed.",
    "face_cut_off": "Use a photograph that shows the whole face.",
    "model_error": "The model pack can't be used. Whoever runs the service should run `facesvc doctor`.",
    "pack_not_found": "No model pack has this name; see `facesvc models list`.",
    "carrier_missing": "The package that carries the model's weights is not installed; see `facesvc doctor`.",
    "pack_damaged": "The model pack's files do not have the digests of its manifest; build it again.",
    "pack_invalid": "The model pack's manifest is not valid.",
    "overloaded": "Too many photographs are waiting. Try again after the seconds in Retry-After.",
    "template_version_mismatch": "No model pack here makes such templates. Build it, or change the gallery's model.",
    "decision_error": "No decision is possible.",
    "invalid_threshold": "Give a threshold between 0 and 4, or a target FMR, not both.",
    "target_fmr_unsupported": "The calibration rests on too few comparisons for this rate. Ask for a higher one.",
    "calibration_missing": "This model pack was never calibrated. Give a threshold instead of a target FMR.",
    "store_error": "The database refused the operation.",
    "gallery_not_found": "Create the gallery first: POST /v1/galleries.",
    "gallery_exists": "Choose another name, or use the gallery that is there.",
    "subject_not_found": "No such subject in the gallery, or it has no references yet.",
    "subject_exists": "Choose another id, or change the subject that is there: PATCH.",
    "reference_not_found": "The subject has no such reference; it may have been deleted.",
    "photograph_not_found": "The gallery did not keep photographs when this reference was enrolled.",
    "invalid_cursor": "Use next_cursor of the page before, unchanged, or start without one.",
    "model_change_conflict": "GET the gallery's model-change shows where it is, and what can follow.",
    "model_change_incomplete": "Embed the rest first; or see who is left behind, and say leave_behind.",
    "idempotency_key_in_use": "The first request with this key is not done yet. Send it again after Retry-After.",
    "idempotency_key_reused": "This key came with another request within the last 24 hours. Make a key for each.",
    "store_unavailable": "The database does not answer. Try again after the seconds in Retry-After.",
    "index_unavailable": "The vector engine does not answer. Try again after the seconds in Retry-After.",
    "invalid_request": "The request has not the shape that the operation documents; see `errors` and /openapi.json.",
    "unsupported_media_type": "Send multipart/form-data with files, or application/json with base64.",
    "request_too_large": "Send fewer or smaller photographs in one request.",
    "cluster_unavailable": "Check the cluster's address, its token and whether it has free CPUs.",
    "worker_lost": "The photograph may need more memory than a worker has. Scale it down, or process it by itself.",
    "samples_unavailable": "pip could not fetch the sample photographs; use some of your own.",
    "remote_error": "Another server did not answer as expected.",
    "file_unreadable": "The file is not there, or may not be read.",
    "import_invalid": "The file is damaged, or nothing that `facesvc galleries import` reads.",
    "unauthenticated": "Send a valid API key: Authorization: Bearer facesvc_... It may have expired or been revoked.",
    "forbidden": "Ask whoever runs the service for a key with the role that this operation needs.",
    "rate_limited": "Ask less often. Try again after the seconds in Retry-After.",
    "identity_budget_spent": "This key has been told of all the subjects it may within a day; see Retry-After.",
    "image_url_refused": "Send the photograph itself, or the https address of a public image where URLs are allowed.",
    "too_many_references": "Delete references that are not needed; a few good photographs of a person are plenty.",
    "master_key_unavailable": "Whoever runs the service must give it the master key; see `facesvc doctor`.",
    "seal_broken": "A stored value was changed outside the service, or sealed with another key; restore a backup.",
    "api_key_not_found": "There is no API key with this id; GET /v1/api-keys lists them.",
    "tenant_not_found": "There is no such tenant; see `facesvc tenants list`.",
    "tenant_exists": "Choose another name, or use the tenant that is there.",
    "audit_broken": "The audit log was changed outside the service. Keep the database as it is, and investigate.",
    "receipt_invalid": "The receipt was not signed by this service, or was altered.",
    "not_found": "There is no such address; /openapi.json lists all.",
    "method_not_allowed": "The Allow header lists what is possible at this address.",
    "request_timeout": "The request's body arrived too slowly. Send smaller photographs or try again.",
}
