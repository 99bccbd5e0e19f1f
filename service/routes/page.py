"""The page at `/` and the docs at `/docs`: static files, all from this machine."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from service.http.gateway import prefix_of

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parent.parent / "static"


@router.get("/")
async def page() -> FileResponse:
    """The search page."""
    return FileResponse(STATIC / "index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    """Swagger UI over /openapi.json. FastAPI's own page needs a CDN and an inline script; this one neither."""
    return FileResponse(STATIC / "docs.html")


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document; behind a proxy with a prefix its paths lie below that."""
    prefix = prefix_of(request)
    return JSONResponse(request.app.openapi() | ({"servers": [{"url": prefix}]} if prefix else {}))


def mount_static(app: FastAPI) -> None:
    """Serve our files, and those of Swagger UI, which the fastapi-offline package carries."""
    app.mount("/static/swagger", StaticFiles(directory=str(files("fastapi_offline").joinpath("static"))))
    app.mount("/static", StaticFiles(directory=STATIC))
