"""The image files behind hits: copied or linked to a name that is free, where they lie here or at a service.

A hit is the dict that `--json` prints. Chooses no names.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from base.errors import InputError

if TYPE_CHECKING:
    from glimpse.client import Client

Found = dict[str, Any]


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

    def _of(self, hit: Found) -> str:
        return str(hit.get("collection") or self._collection)


def _local(hit: Found) -> Path:
    from labelling.outputs.output import NotDone

    if hit["path"] is None:
        raise InputError(f"entry {hit['id']}: has no file")
    path = Path(os.path.abspath(hit["path"]))  # noqa: PTH100  links stay
    if not path.is_file():
        raise NotDone(path, "is no longer there")
    if not os.access(path, os.R_OK):
        raise NotDone(path, "may not be read")
    return path


def _leads_to(target: Path, source: Path) -> bool:
    return target.is_symlink() and target.readlink() == source


def _same_bytes(source: Path, target: Path) -> bool:
    return target.is_file() and not target.is_symlink() and filecmp.cmp(source, target, shallow=False)


def _has(target: Path, data: bytes) -> bool:
    return target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data
