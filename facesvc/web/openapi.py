"""The OpenAPI document's parts that FastAPI can't derive: problem responses, and bodies of two media types."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from facesvc.web.errors import PROBLEM
from facesvc.web.schemas import NothingEnrolled, Problem

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
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
