"""What an error code means: the address that every problem's `type` points to."""

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as PathParameter

from facesvc.web import schemas
from facesvc.web.advice import ADVICE
from facesvc.web.errors import kind_of, status_of
from facesvc.web.openapi import problems
from facesvc.web.permissions import public

router = APIRouter(tags=["operations"])


@router.get("/errors/{code}", response_model=schemas.ErrorExplained, responses=problems(404, 422))
@public
async def explain_error(
    code: Annotated[str, PathParameter(max_length=64, examples=["no_face"])],
) -> dict[str, str | int]:
    """The meaning of an error code and what to do about it."""
    kind = kind_of(code)
    return {"code": code, "title": kind.title, "status": status_of(kind), "advice": ADVICE[code]}
