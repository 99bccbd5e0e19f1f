"""Images as entries of a collection: uploading them, their files, their thumbnails.

A file is found by its entry's id alone: no path from a request touches the disk. What lies there is sent if it is what
was indexed.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from base.errors import ImageError
from base.files import mtime_ns
from encoder.image import sha256_of
from encoder.zero_shot.prompts import split_labels
from index.collection import Collection, Record
from index.local.layout import uploads_folder
from index.uploads import file_of
from service.collections.thumbnails import SIZES, size_for
from service.collections.uploads import Upload, Uploads, add
from service.deps import (
    CollectionDep,
    DecodersDep,
    InferenceDep,
    RecordDep,
    RejectionsDep,
    ServiceDep,
    SettingsDep,
    WriterDep,
)
from service.errors import Refusal, documented
from service.http.auth import is_foreign
from service.http.bodies import FILES, form_of, from_fields, images_of
from service.http.conditions import names
from service.http.headers import media_type
from service.inference.images import (
    CONTENT_TYPES,
    FileChanged,
    decode,
    open_indexed,
    read_indexed,
    small_picture,
)
from service.routes.collections.entries import entry_routes
from service.schemas.base import Absent, Whole, binary
from service.schemas.collections.entries import UploadAnswer, UploadFields, UploadResult
from service.settings import Settings
from service.state import Service

router = entry_routes("image")

PIECE = 65_536  # bytes of a file that are sent at a time
MAX_NAME = 255  # characters of a file's name
SIDE = f"longest side in pixels; it is given in the next of {', '.join(map(str, SIZES))} that is not smaller"
AGAIN = "it was deleted while it was being sent again; send it once more"

BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": FILES,
                    "metadata": {"type": "string", "description": "a JSON object, for every file"},
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "for every file; one field is split at commas, repeated ones are not",
                    },
                    "per_file": {
                        "type": "string",
                        "description": "a JSON object: metadata and tags by the name of the file, over those for all",
                    },
                },
            },
            "example": {
                "file": ["bicycle.jpg", "boat.jpg"],
                "metadata": '{"album": "holiday"}',
                "tags": ["sea", "summer"],
                "per_file": '{"boat.jpg": {"metadata": {"caption": "a red boat"}, "tags": ["boat"]}}',
            },
        }
    },
}


@dataclass(frozen=True)
class Form:
    """The files of an upload, as (name, bytes), and what is said about them."""

    files: list[tuple[str, bytes]]
    fields: UploadFields


async def upload_form(request: Request, settings: SettingsDep) -> Form:
    """Read the form. 403 to pages of other sites: browsers let them post forms, and ours need no key on loopback."""
    if media_type(request) != "multipart/form-data":
        raise Refusal(415, "send multipart/form-data", code="unsupported_media_type")
    if is_foreign(request.scope, settings.cors_origins):
        raise Refusal(403, "pages of other sites may not upload here", code="foreign_origin")
    async with form_of(request, settings.max_batch) as form:
        files = [
            (Path(part.filename or "").name[:MAX_NAME], await part.read())
            for part in images_of(form, UploadFields.model_fields)
        ]
        fields: dict[str, Any] = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        if tags := [tag for tag in form.getlist("tags") if isinstance(tag, str)]:
            fields["tags"] = split_labels(tags[0]) if len(tags) == 1 else tags
    said = from_fields(UploadFields, fields)
    if strange := said.per_file.keys() - {name for name, _ in files}:
        raise Refusal(422, f"per_file: no file is called {min(strange)!r}", code="invalid_request", param="per_file")
    return Form(files, said)


@router.post(
    "",
    summary="Upload images",
    responses=documented(400, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": BODY},
)
async def upload(
    form: Annotated[Form, Depends(upload_form)],
    collection: CollectionDep,
    writer: WriterDep,
    inference: InferenceDep,
    decoders: DecodersDep,
    settings: SettingsDep,
    rejections: RejectionsDep,
) -> UploadAnswer:
    """Each image becomes an entry; searches find it at once. Bytes that were uploaded before keep their entry.

    Metadata are merged into what an entry has, `filename` among them unless they say otherwise. Among several files,
    one that cannot be read has `error` in place of its id; if none can be read, it is a 422.

    409: the collection was built by another model; or others write to it, and Retry-After says when to try again.
    """
    started = time.perf_counter()
    fingerprint = inference.encoder.fingerprint
    await run_in_threadpool(collection.check_model, fingerprint)
    files = Uploads(settings.data, collection.name)

    def read(name: str, data: bytes) -> Upload | ImageError:
        own = form.fields.per_file.get(name)
        metadata = {"filename": name} | form.fields.patch() | (own.patch() if own else {})
        path = files.path(data)
        try:
            known = collection.find_path(path) is not None
            picture = None if known else decode(data, inference.encoder.preprocess, settings.max_pixels)
            return Upload(data, path, metadata, picture)
        except ImageError as error:
            return error

    decoders.check_room()
    made = await asyncio.gather(*(decoders.run(read, name, data) for name, data in form.files))
    uploads = [upload for upload in made if isinstance(upload, Upload)]
    if not uploads:
        raise next(error for error in made if isinstance(error, ImageError))
    new = [upload for upload in uploads if upload.picture is not None]
    await run_in_threadpool(collection.check_room, len({upload.path for upload in new}))  # before the model works
    if pixels := [upload.picture.pixels for upload in new if upload.picture]:
        for upload, vector in zip(new, await inference.pixels(pixels), strict=True):
            upload.vector = vector

    def write(writable: Collection) -> list[tuple[int, bool] | None]:
        return add(writable, files, uploads, fingerprint)

    added = iter(await writer(write))
    rejections.measure_soon(collection.name)
    results = []
    for (name, _), one in zip(form.files, made, strict=True):
        if isinstance(one, ImageError):
            results.append(UploadResult(name=name, error=one.reason))
        elif (entry := next(added)) is None:
            results.append(UploadResult(name=name, error=AGAIN))
        else:
            cut_off = one.picture.cut_off if one.picture else None
            results.append(UploadResult(name=name, id=entry[0], created=entry[1], cut_off=cut_off or None))
    return UploadAnswer(results=results, seconds=round(time.perf_counter() - started, 6))


async def file_headers(request: Request, record: RecordDep, settings: SettingsDep) -> dict[str, str]:
    """The headers of an image's file and of its thumbnail. 404 if a signed address is of other bytes."""
    version = request.query_params.get("v", "")
    if getattr(request.state, "signed", False) and not (record.sha256 or "").startswith(version):
        raise Refusal(404, "this address was signed for another picture than is there now", code="file_changed")
    return picture_headers(settings)


def picture_headers(settings: Settings) -> dict[str, str]:
    """Of any picture that is sent: a browser keeps it for an hour; pages of other origins show it if they may ask."""
    headers = {"Cache-Control": "private, max-age=3600"}
    if settings.cors_origins:
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return headers


def own_uploads(collection: CollectionDep, settings: SettingsDep) -> Path:
    """The folder of the collection's uploads."""
    return uploads_folder(settings.data, collection.name)


HeadersDep = Annotated[dict[str, str], Depends(file_headers)]
UploadsDep = Annotated[Path, Depends(own_uploads)]


@router.get(
    "/{id}/content",
    summary="The image file",
    response_class=StreamingResponse,
    responses=documented(404, 415, 422) | {200: {"content": binary("image/*"), "description": "the file as it is"}},
)
def content(record: RecordDep, uploads: UploadsDep, headers: HeadersDep) -> StreamingResponse:
    """The original bytes; 404 once other bytes lie there than were indexed. A signed address of it needs no key.

    HEIC and TIFF are sent as they are, though few browsers show them; thumbnails are WebP.
    """
    path = _path(record, uploads)
    media_type = media_type_of(path)
    with _as_indexed():
        file = open_indexed(path, record.sha256)
    return sent(file, media_type, headers)


def media_type_of(path: Path) -> str:
    """As what a browser is given an image file. 415 for one that browsers are not sent."""
    media_type = CONTENT_TYPES.get(path.suffix.lower())
    if media_type is None:
        message = f"files that end in {path.suffix} are not sent to browsers; there is a thumbnail"
        raise Refusal(415, message, code="unsupported_media_type")
    return media_type


def sent(file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
    """An open file as it is, closed at the end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    headers = {**headers, "Content-Security-Policy": "default-src 'none'; sandbox", "Content-Length": str(size)}
    pieces = _pieces(file)
    weakref.finalize(pieces, file.close)  # of a client that left before the first of them nobody asks for any
    return StreamingResponse(pieces, media_type=media_type, headers=headers)


@router.get(
    "/{id}/thumbnail",
    summary="A small WebP of the image",
    response_class=Response,
    responses=documented(404, 422, 429)
    | {200: {"content": binary("image/webp"), "description": "the thumbnail"}, 304: {"description": "as you have it"}},
)
async def get_thumbnail(
    record: RecordDep,
    uploads: UploadsDep,
    service: ServiceDep,
    headers: HeadersDep,
    size: Annotated[Whole, Query(ge=16, le=SIZES[-1], description=SIDE), Absent] = 256,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Upright, in sRGB. It is made once and kept. A signed address of it needs no key."""
    side = size_for(size)
    if version := record.sha256 or record.mtime_ns:
        headers["ETag"] = f'"{version}-{side}.webp"'
        if names(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
    with _as_indexed():
        webp = await run_in_threadpool(_kept, record, uploads, side, service)
        if webp is None:
            key = record.path, record.sha256, side
            if not service.flights.under_way(key):
                service.decoders.check_room()
            webp = await service.flights.run(key, service.decoders.run(_made, record, uploads, side, service))
    return Response(webp, media_type="image/webp", headers=headers)


def _kept(record: Record, uploads: Path, side: int, service: Service) -> bytes | None:
    """The thumbnail that is kept, if the file is by its time and size the one that was indexed."""
    stat = _path(record, uploads).stat()
    if record.sha256 is None or (mtime_ns(stat), stat.st_size) != (record.mtime_ns, record.size):
        return None
    return service.thumbnails.get(record.sha256, side)


def _made(record: Record, uploads: Path, side: int, service: Service) -> bytes:
    """The thumbnail of the file; it is decoded unless one of its bytes is kept."""
    return thumbnail_of(read_indexed(_path(record, uploads), record.sha256), record.sha256, side, service)


def thumbnail_of(data: bytes, sha256: str | None, side: int, service: Service) -> bytes:
    """The thumbnail of a file's bytes, which have that hash; they are decoded unless it is kept. ImageError."""
    sha256 = sha256 or sha256_of(data)
    webp = service.thumbnails.get(sha256, side)
    if webp is None:
        webp = small_picture(data, side, service.settings.max_pixels)
        service.thumbnails.put(sha256, side, webp)
    return webp


def _path(record: Record, uploads: Path) -> Path:
    if record.path is None:
        raise Refusal(404, "this entry is a text, it has no file", code="no_file")
    path = file_of(record.path, uploads)
    if not path.is_file():
        raise _gone()
    return path


@contextmanager
def _as_indexed() -> Iterator[None]:
    """Answer 404 where the file is another one now, or cannot be opened."""
    try:
        yield
    except FileChanged:
        message = "the file of this image is not the one that was indexed; index its folder again"
        raise Refusal(404, message, code="file_changed") from None
    except OSError:
        raise _gone() from None


def _gone() -> Refusal:
    return Refusal(404, "the file of this image is no longer where it was indexed", code="file_gone")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece
