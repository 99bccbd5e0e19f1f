"""The image files behind hits: copied or linked to a name that is free, or small, where they lie here or at a service.

A hit is the dict that `--json` prints. Chooses no names.
"""

from __future__ import annotations

import base64
import filecmp
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from base.errors import InputError
from base.read_ahead import read_batches

if TYPE_CHECKING:
    from glimpse.client import Client

Found = dict[str, Any]

SIDE = 256  # pixels of a small picture's longer side, which a service keeps
BATCH = 16


class Placing(NamedTuple):
    """One file on its way: how it is put at a free name, and whether what has a name already is the same."""

    put: Callable[[Path], None]
    is_same: Callable[[Path], bool]


class Files(Protocol):
    """Where the files of hits are."""

    def placing(self, hit: Found, *, link: bool) -> Placing:
        """The file of a hit, to be copied or linked. GlimpseError: there is none."""

    def address(self, hit: Found) -> str:
        """What a viewer opens. GlimpseError."""

    def link(self, hit: Found) -> str | None:
        """A URL of the file that a page or a terminal may keep; None: there is none."""

    def thumbnail(self, hit: Found, side: int) -> str | None:
        """The picture, its longer side about `side` pixels, as a data URI; None: it cannot be had."""


def thumbnails(
    hits: Sequence[Found],
    files: Files,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[str | None]:
    """A picture for each hit, as `Files.thumbnail`; None for texts, too.

    Raises:
        NoService: nobody answers any more.
    """
    pictures: list[str | None] = []
    for some in read_batches(partial(_thumbnail, files), hits, BATCH, overlap=1):
        pictures += some
        progress(len(pictures), len(hits))
    return pictures


def _thumbnail(files: Files, hit: Found) -> str | None:
    return files.thumbnail(hit, SIDE) if hit["modality"] == "image" else None


class LocalFiles:
    """Files of this machine."""

    def placing(self, hit: Found, *, link: bool) -> Placing:
        """As `Files`. NotDone: it is gone, or may not be read."""
        from labelling.outputs.files import copy, link_to

        source = _local(hit)
        if link:
            return Placing(lambda target: link_to(source, target), lambda target: _leads_to(target, source))
        return Placing(lambda target: copy(source, target), lambda target: _same_bytes(source, target))

    def address(self, hit: Found) -> str:
        """Its path. NotDone as `placing`."""
        return str(_local(hit))

    def link(self, hit: Found) -> str | None:
        """As `Files`, whether it is still there or not."""
        return None if hit["path"] is None else _absolute(hit["path"]).as_uri()

    def thumbnail(self, hit: Found, side: int) -> str | None:
        """As `Files`."""
        from encoder.image import thumbnail_uri

        return None if hit["path"] is None else thumbnail_uri(hit["path"], side)


class ServedFiles:
    """Files of a service, which sends them; `collection` is that of hits which name none."""

    def __init__(self, client: Client, collection: str) -> None:
        self._client = client
        self._collection = collection

    def placing(self, hit: Found, *, link: bool) -> Placing:
        """As `Files`; nothing can be linked. GlimpseError: as the service says."""
        from labelling.outputs.files import write

        assert not link
        data = self._client.content(self._of(hit), hit["id"])
        return Placing(lambda target: write(data, target), lambda target: _has(target, data))

    def address(self, hit: Found) -> str:
        """Its address, which for an hour needs no key."""
        return self._client.signed_url(self._of(hit), hit["id"])

    def link(self, hit: Found) -> str | None:
        """None: an address at a service wants a key, or ends."""
        return None

    def thumbnail(self, hit: Found, side: int) -> str | None:
        """As `Files`: the service's own. NoService: nobody answers."""
        from glimpse.client import ServiceError

        try:
            picture = self._client.thumbnail(self._of(hit), hit["id"], side)
        except ServiceError:
            return None
        return "data:image/webp;base64," + base64.b64encode(picture).decode()

    def _of(self, hit: Found) -> str:
        return str(hit.get("collection") or self._collection)


def _local(hit: Found) -> Path:
    from labelling.outputs.output import NotDone

    if hit["path"] is None:
        raise InputError(f"entry {hit['id']}: has no file")
    path = _absolute(hit["path"])
    if not path.is_file():
        raise NotDone(path, "is no longer there")
    if not os.access(path, os.R_OK):
        raise NotDone(path, "may not be read")
    return path


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  links stay


def _leads_to(target: Path, source: Path) -> bool:
    return target.is_symlink() and target.readlink() == source


def _same_bytes(source: Path, target: Path) -> bool:
    return target.is_file() and not target.is_symlink() and filecmp.cmp(source, target, shallow=False)


def _has(target: Path, data: bytes) -> bool:
    return target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data
