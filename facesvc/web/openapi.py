"""The OpenAPI document's parts that FastAPI can't derive: problem responses, and bodies of two media types."""

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from facesvc.core.access import Role
from facesvc.web.access import permission_of
from facesvc.web.errors import PROBLEM, NothingEnrolled, Problem

REF = "#/components/schemas/{model}"
PROBLEM_REF, NOTHING_ENROLLED_REF = (REF.format(model=model.__name__) for model in (Problem, NothingEnrolled))
Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """``responses`` of a route: each status answers a problem document."""
    return {status: problem_response(HTTPStatus(status).phrase, {"$ref": PROBLEM_REF}) for status in statuses}


def problem_response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM: {"schema": schema}}}


READ = problems(404, 422, 503)
"""What a route that reads a named thing may answer."""
BODY = problems(408, 413, 415, 422, 503)
"""What a route that takes a body may answer."""
CHANGE = BODY | problems(404, 409)
"""What a route that takes a body and works on a named thing may answer."""


KEY = "apiKey"
"""Name of the security scheme."""
SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "facesvc_<id>_<secret>",
    "description": "An API key, see /v1/api-keys. Its roles decide what it may do.",
}
REFUSALS = {
    401: "Without an API key that is valid",
    403: "The API key may not do that",
    429: "Too often, or of too many people: see Retry-After",
    503: "The service can't look at the moment",
}


def install_openapi(app: FastAPI, models: Iterable[type[BaseModel]]) -> None:
    """Documents ``models``, which routes refer to by name."""
    _, extra = models_json_schema(
        [(model, "validation") for model in (*models, Problem, NothingEnrolled)], ref_template=REF
    )

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schemas = made["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form; ours is Problem
                schemas.pop(unused, None)
            made["components"]["schemas"] = dict(sorted((schemas | extra["$defs"]).items()))
            _declare_permissions(made, app.routes)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _declare_permissions(made: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    """Of each operation: which roles a key needs (any of them; the specification allows to name roles where the scheme
    is no OAuth), and how it is refused."""
    made["components"]["securitySchemes"] = {KEY: SCHEME}
    for route in iter_route_contexts(routes):
        permission = permission_of(route.endpoint) if route.endpoint else None
        for operation in _operations(made, route.path or "", route.methods or ()):
            if permission is None or permission.public:
                operation["security"] = []
                continue
            roles = sorted(permission.roles | {Role.ADMINISTER})
            operation["security"] = [{KEY: [role]} for role in roles]
            refused = {str(status): problem_response(why, {"$ref": PROBLEM_REF}) for status, why in REFUSALS.items()}
            operation["responses"] = dict(sorted((refused | operation["responses"]).items()))


def _operations(made: dict[str, Any], path: str, methods: Iterable[str]) -> Iterator[dict[str, Any]]:
    known = made["paths"].get(path, {})
    yield from (known[method.lower()] for method in methods if method.lower() in known)
