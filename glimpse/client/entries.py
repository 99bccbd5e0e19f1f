"""The entries of a service's collections: sending images and texts, listing, changing, deleting, fetching files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from base.errors import ImageError, InputError
from base.names import check_external_id
from glimpse.client.answers import Modality, Record, Uploaded, listed, read
from glimpse.client.batches import Image, in_batches, read_image, source_of, why
from glimpse.client.connection import ONCE, Connection, as_json, given, in_path
from glimpse.client.errors import ServiceError


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image for a collection, with what is said about it. `name` becomes `filename` of its metadata."""

    image: Image
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    name: str | None = None  # default: that of the file

    @property
    def filename(self) -> str:
        """Its name, in UTF-8 whatever the disk says."""
        given = self.name or ("" if isinstance(self.image, bytes) else Path(self.image).name)
        return os.fsencode(given).decode("utf-8", "replace")


class Entries(Connection):
    """The calls of `Client` on a collection's entries."""

    def add_images(
        self,
        collection: str,
        images: Iterable[Image | NewImage],
        *,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Uploaded]:
        """Send images; each becomes an entry. Bytes that were sent before keep their entry, so it can be run again.

        Args:
            collection: there must be one of that name.
            images: any number; read and sent in batches.
            metadata: of all of them; those of a `NewImage` come before.
            tags: likewise.
            progress: called with the number of images that are done.

        Returns:
            One result for each image, in order. One that cannot be read has an `error`, and the others go on.

        Raises:
            CollectionNotFound, ModelMismatch, ServiceError: what was sent before stays.
        """
        path = f"/v1/collections/{in_path(collection)}/images"

        def ask(batch: Sequence[tuple[NewImage, bytes]], patient: bool) -> Sequence[Any]:
            # in a request they are called 0, 1, ...: two folders may have files of the same name
            per_file = {str(i): _described(image, metadata, tags) for i, (image, _) in enumerate(batch)}
            files = [("file", (str(i), data, "application/octet-stream")) for i, (_, data) in enumerate(batch)]
            form = {"per_file": as_json(per_file)}
            return listed(self.ask("POST", path, files=files, data=form, patient=patient), "results")

        def content(image: NewImage) -> bytes:
            try:
                as_json(_described(image, metadata, tags))
            except InputError as error:
                raise ImageError(None, str(error)) from None
            return read_image(image.image)

        new = (image if isinstance(image, NewImage) else NewImage(image) for image in images)
        done: list[Uploaded] = []
        for image, said in in_batches(new, content, ask):
            own = source_of(image.image)
            refused = isinstance(said, ImageError | ServiceError)
            done.append(Uploaded(own, error=why(said)) if refused else read(Uploaded, said, image=own))
            if progress:
                progress(len(done))
        return done

    def add_texts(
        self,
        collection: str,
        texts: Sequence[str | Mapping[str, Any]],
        *,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> list[int]:
        """Make a new entry of each text; their ids, in order.

        Args:
            collection: there must be one of that name.
            texts: strings, or mappings with `text` and its own `metadata` and `tags`.
            metadata: of all of them.
            tags: likewise.
            idempotency_key: within a day the same texts sent again with it are not added again.
        """
        said = _said(metadata, tags)

        def ask(batch: Sequence[tuple[dict[str, Any], bytes]], patient: bool) -> Sequence[Any]:
            body = {"texts": [text for text, _ in batch], **said}
            path = f"/v1/collections/{in_path(collection)}/texts"
            headers = {}
            if idempotency_key is not None:  # a request may have one of its own alone
                own = hashlib.sha256(b"\n".join(data for _, data in batch)).hexdigest()[:16]
                headers[ONCE] = f"{idempotency_key}-{own}"
            return listed(self.ask("POST", path, json=body, headers=headers, patient=patient), "ids")

        new = ({"text": text} if isinstance(text, str) else dict(text) for text in texts)
        ids: list[int] = []
        for _, id in in_batches(new, as_json, ask):  # noqa: A001
            if isinstance(id, ImageError | ServiceError):
                raise id
            ids.append(id)
        return ids

    def entries(
        self,
        collection: str,
        modality: Modality = "image",
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        after: int = 0,
        signed_urls: int | None = None,
    ) -> Iterator[Record]:
        """Every entry in the order of ids, those behind `after`; pages are fetched as they are needed.

        `signed_urls`: seconds for which their addresses need no key; they are paths at its host.
        """
        wanted = None if filter is None else as_json(filter).decode()
        asked = {"filter": wanted, "after": after, "signed_urls": signed_urls}
        path = f"/v1/collections/{in_path(collection)}/{modality}s"
        return (read(Record, entry) for entry in self.pages(path, "entries", **asked))

    def entry(self, collection: str, id: int | str, modality: Modality = "image") -> Record:  # noqa: A002
        """One entry, by its id and modality, or by its external id, a string. EntryNotFound if there is none."""
        return read(Record, self.ask("GET", _path(collection, id, modality)))

    def update_entry(
        self,
        collection: str,
        id: int | str,  # noqa: A002
        *,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        modality: Modality = "image",
    ) -> Record:
        """Merge into its metadata (RFC 7396: None takes a key away); `tags` replace the ones it has, `remove_tags`
        go from them and `add_tags` come to them, whoever else changes some. As `entry`.
        """
        said = _said(metadata, tags) | given(add_tags=list(add_tags) or None, remove_tags=list(remove_tags) or None)
        return read(Record, self.ask("PATCH", _path(collection, id, modality), json=said))

    def delete_entry(self, collection: str, id: int | str, modality: Modality = "image") -> None:  # noqa: A002
        """Delete it, and its file if that was uploaded. As `entry`."""
        self.ask("DELETE", _path(collection, id, modality))

    def content(self, collection: str, id: int) -> bytes:  # noqa: A002
        """The image file as it is."""
        return self.send("GET", f"{_path(collection, id)}/content").content

    def thumbnail(self, collection: str, id: int, size: int = 256) -> bytes:  # noqa: A002
        """A WebP of the image, its longest side `size` pixels or the next of 128, 256, 512 and 1024 above."""
        return self.send("GET", f"{_path(collection, id)}/thumbnail", params={"size": size}).content

    def signed_url(self, collection: str, id: int, seconds: int = 3600, *, thumbnail: int | None = None) -> str:  # noqa: A002
        """The address of an image's file, for `<img>` in a page of any site: good without a key, for so many seconds.

        Args:
            collection: its collection.
            id: of the entry.
            seconds: up to a week; it is good for up to an eighth longer.
            thumbnail: longest side in pixels: the address of a small WebP instead.

        Raises:
            EntryNotFound, InputError: as the service says.
        """
        entry = read(Record, self.ask("GET", _path(collection, id), params={"signed_urls": seconds}))
        if thumbnail is None:
            return _whole(self.url, str(entry.content_url))
        return f"{_whole(self.url, str(entry.thumbnail_url))}&size={thumbnail}"


def _whole(url: str, path: str) -> str:
    """An address of a service: it names its paths with the prefix of its proxy, unless it does not know of that."""
    prefix = urlsplit(url).path
    return (url.removesuffix(prefix) if path.startswith(f"{prefix}/") else url) + path


def _path(collection: str, id: int | str, modality: Modality = "image") -> str:  # noqa: A002
    if isinstance(id, str):
        return f"/v1/collections/{in_path(collection)}/entries/{quote(check_external_id(id), safe='')}"
    return f"/v1/collections/{in_path(collection)}/{modality}s/{int(id)}"


def _said(metadata: Mapping[str, Any] | None, tags: Sequence[str] | None) -> dict[str, Any]:
    """Metadata and tags as a request says them. No tags leaves those that are there."""
    return given(metadata=dict(metadata or {}), tags=None if tags is None else list(tags))


def _described(image: NewImage, metadata: Mapping[str, Any] | None, tags: Sequence[str] | None) -> dict[str, Any]:
    """What the service is to say of an image: its name, unless the metadata have one, and what is said of all."""
    said = {"filename": image.filename or None, **(metadata or {}), **image.metadata}
    return _said(said, tags if image.tags is None else image.tags)
