"""The page at /: compare, identify and enrol by hand. Static files, no build step."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from facesvc.web.permissions import public

FOLDER = Path(__file__).parents[1] / "page"

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=FileResponse)
@public
def page() -> FileResponse:
    return FileResponse(FOLDER / "index.html")


def mount_page(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/page", StaticFiles(directory=FOLDER))
