"""A stored image: its record, its file, its thumbnail. Found by id alone: no path from a request touches the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse

from index.collection import Record
from service.deps import CollectionDep, DecodersDep, RecordDep, SettingsDep
from service.errors import Refusal, documented
from service.images import CONTENT_TYPES, thumbnail
from service.schemas import RecordAnswer

router = APIRouter(prefix="/v1/collections/{collection}/images/{id}", tags=["images"])

CACHE = {"Cache-Control": "private, max-age=3600"}


@router.get("", summary="An entry's record", responses=documented(404, 422))
def get_record(record: RecordDep, collection: CollectionDep) -> RecordAnswer:
    """Path, caption or text, and metadata as they were indexed."""
    return RecordAnswer(**RecordAnswer.fields_of(record, collection.name))


@router.get(
    "/content",
    summary="The image file",
    response_class=FileResponse,
    responses=documented(404, 415, 422) | {200: {"content": {"image/*": {}}, "description": "the file as it is"}},
)
def content(record: RecordDep) -> FileResponse:
    """The original bytes. HEIC and TIFF are sent as they are, though few browsers show them; thumbnails are JPEG."""
    path = _file(record)
    media_type = CONTENT_TYPES.get(path.suffix.lower())
    if media_type is None:
        message = f"files that end in {path.suffix} are not sent to browsers; there is a thumbnail"
        raise Refusal(415, message, code="unsupported_media_type")
    headers = CACHE | {"Content-Security-Policy": "default-src 'none'; sandbox"}
    return FileResponse(
        path, media_type=media_type, headers=headers, stat_result=path.stat(), content_disposition_type="inline"
    )


@router.get(
    "/thumbnail",
    summary="A small JPEG of the image",
    response_class=Response,
    responses=documented(404, 422, 429)
    | {200: {"content": {"image/jpeg": {}}, "description": "the thumbnail"}, 304: {"description": "as you have it"}},
)
async def get_thumbnail(
    record: RecordDep,
    decoders: DecodersDep,
    settings: SettingsDep,
    size: Annotated[int, Query(ge=16, le=1024, description="longest side in pixels")] = 256,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Upright, in RGB, no side longer than `size`."""
    headers = dict(CACHE)
    if version := record.sha256 or record.mtime_ns:
        headers["ETag"] = f'"{version}-{size}"'
        if if_none_match is not None and headers["ETag"] in if_none_match:
            return Response(status_code=304, headers=headers)
    jpeg = await decoders.run(lambda: thumbnail(_file(record), size, settings.max_pixels))
    return Response(jpeg, media_type="image/jpeg", headers=headers)


def _file(record: Record) -> Path:
    if record.path is None:
        raise Refusal(404, "this entry is a text, it has no file", code="no_file")
    path = Path(record.path)
    if not path.is_file():
        raise Refusal(404, "the file of this image is no longer where it was indexed", code="file_gone")
    return path
