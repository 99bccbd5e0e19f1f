"""The tools that an agent gets over MCP, over the client: search, similar_images, classify, and what there is.

They only read. What they take from this machine is image files that the agent names; nothing else is opened.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from base.errors import GlimpseError, ImageError, InputError
from base.files import place_of
from base.sources.walk import is_image_name
from glimpse import __version__, client
from glimpse.agents.answers import (
    Change,
    Changes,
    CollectionLine,
    Collections,
    FacetKey,
    Facets,
    FacetValue,
    Hit,
    Hits,
    Labels,
)
from glimpse.agents.server import Server

THUMBNAIL = 256  # pixels
BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # what ends a line, for one reader or another
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
INSTRUCTIONS = """Searches collections of images (and texts) by meaning. Ask list_collections first for what there is,
and facets for what a filter may say. Scores are cosines and say little by themselves; look at `relevance` (0 to 1)
where it is given."""


Collection = Annotated[str | None, Field(description="its name; may be left out where there is only one")]
Limit = Annotated[int, Field(ge=1, le=100, description="how many hits")]
Thumbnails = Annotated[
    int, Field(ge=0, le=10, description="for how many of the first hits a small picture comes along")
]
Conditions = Annotated[
    dict[str, Any] | None,
    Field(description='on metadata, in Qdrant\'s grammar: {"must": [{"key": "album", "match": {"value": "holiday"}}]}'),
]
ImagePath = Annotated[str | None, Field(description="path of an image file on this machine")]
EntryId = Annotated[int | None, Field(description="id of an entry, as in `hits`")]


def mcp_server(service: client.Client, folders: Sequence[Path] = ()) -> Server:
    """The server with its tools. `folders`: those whose images may be named; none are all."""
    server = Server("glimpse", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    tools = Tools(service, folders)
    for tool in (
        tools.search,
        tools.similar_images,
        tools.classify,
        tools.facets,
        tools.changes,
        tools.list_collections,
    ):
        server.add_tool(tool, annotations=READS)
    return server


class Tools:
    """What agents may ask, each a method: its signature and docstring are what they are told of it."""

    def __init__(self, service: client.Client, folders: Sequence[Path]) -> None:
        self._service = service
        self._folders = folders

    def _answer(self, collection: str, found: client.SearchResult, thumbnails: int) -> CallToolResult:
        lines = [f"{hit.id}: {hit.score:.3f} {_words(hit)}" for hit in found]
        lines = [*_warned(found.warnings), *(lines or [f"nothing found in {collection}"])]
        content: list[Any] = [_text(lines)]
        for hit in found.hits[:thumbnails]:
            content += _thumbnail(self._service, collection, hit)
        hits = [Hit(**{name: getattr(hit, name) for name in Hit.model_fields}) for hit in found]
        said = Hits(collection=collection, hits=hits, warnings=found.warnings)
        return CallToolResult(content=content, structured_content=said.model_dump(mode="json"))

    def search(
        self,
        text: Annotated[str, Field(description="what to look for, in a few words, as a caption would say it")],
        collection: Collection = None,
        limit: Limit = 10,
        filter: Conditions = None,  # noqa: A002
        modality: Annotated[Literal["image", "text"], Field(description="what to find")] = "image",
        only_relevant: Annotated[bool, Field(description="end the list where relevance ends; it may be empty")] = False,
        thumbnails: Thumbnails = 0,
    ) -> Annotated[CallToolResult, Hits]:
        """Find the images (or texts) of a collection that fit a description. Best first."""
        with _told():
            name = _named(self._service, collection)
            cutoff: Literal["auto"] | None = "auto" if only_relevant else None
            found = self._service.search(name, text, modality=modality, filter=filter, limit=limit, cutoff=cutoff)
            return self._answer(name, found, thumbnails if modality == "image" else 0)

    def similar_images(
        self,
        id: EntryId = None,  # noqa: A002
        image: ImagePath = None,
        collection: Collection = None,
        limit: Limit = 10,
        filter: Conditions = None,  # noqa: A002
        thumbnails: Thumbnails = 0,
    ) -> Annotated[CallToolResult, Hits]:
        """Find the images of a collection that look like one of its entries, or like a file. Give `id` or `image`."""
        with _told():
            name = _named(self._service, collection)
            if (id is None) == (image is None):
                raise InputError("give either id or image")
            file = None if image is None else _allowed(image, self._folders)
            return self._answer(
                name, self._service.search(name, id=id, image=file, filter=filter, limit=limit), thumbnails
            )

    def classify(
        self,
        labels: Annotated[
            list[str] | None, Field(min_length=2, description="what to choose from, as nouns: cat, dog")
        ] = None,
        image: ImagePath = None,
        id: EntryId = None,  # noqa: A002
        collection: Collection = None,
        label_set: Annotated[str | None, Field(description="name of labels that the service keeps, instead")] = None,
        templates: Annotated[list[str], Field(description="sentences with {} for the label; leave it out")] = [],  # noqa: B006
    ) -> Annotated[CallToolResult, Labels]:
        """Choose the likeliest of your labels, or what fits of a kept label set, for a file or an entry (`id`)."""
        with _told():
            if (id is None) == (image is None):
                raise InputError("give either image or id")
            given = (
                self._service.thumbnail(_named(self._service, collection), id, 1024)
                if id is not None
                else _allowed(str(image), self._folders)
            )
            [found] = self._service.classify([given], labels, label_set=label_set, templates=templates)
            if found.error is not None:
                raise ImageError(image, found.error)
            none = ["none of these"] * found.abstained
            lines = [
                *_warned(found.warnings),
                *none,
                *(f"{score:.3f} {label}" for label, score in found.scores.items()),
            ]
            said = Labels(
                label=found.label,
                score=found.score,
                labels=found.labels,
                scores=found.scores,
                warnings=found.warnings,
            )
            return _answered(lines, said)

    def facets(
        self,
        keys: Annotated[
            list[str], Field(max_length=20, description="whose values to count; leave it out to be told the keys")
        ] = [],  # noqa: B006
        collection: Collection = None,
        filter: Conditions = None,  # noqa: A002
        modality: Annotated[Literal["image", "text"], Field(description="of which entries")] = "image",
        limit: Annotated[int, Field(ge=1, le=100, description="how many values of each key")] = 20,
    ) -> Annotated[CallToolResult, Facets]:
        """Say which metadata keys a collection has, or how many entries have which values of some of them."""
        with _told():
            name = _named(self._service, collection)
            if filter is not None and not keys:
                raise InputError("a filter counts values: give the keys too")
            if keys:
                counted = self._service.facets(name, keys, filter=filter, limit=limit, modality=modality)
                found = Facets(
                    collection=name,
                    keys=[],
                    values={
                        key: [FacetValue(value=each.value, count=each.count) for each in values]
                        for key, values in counted.items()
                    },
                )
                lines = [f"{key}: {value.value} ({value.count})" for key, of in found.values.items() for value in of]
            else:
                known = [FacetKey(**asdict(key)) for key in self._service.facet_keys(name, modality)]
                found = Facets(collection=name, keys=known, values={})
                lines = [f"{key.key}: {key.values} values in {key.entries} entries" for key in known]
            return _answered(lines or ["no entry has any"], found)

    def changes(
        self,
        after: Annotated[
            str | None, Field(description="the `cursor` of the answer before; now: from now on; left out: every entry")
        ] = None,
        collection: Collection = None,
        limit: Annotated[int, Field(ge=1, le=100, description="how many changes")] = 20,
    ) -> Annotated[CallToolResult, Changes]:
        """Say which entries were created, updated or deleted after a cursor, and give the next cursor."""
        with _told():
            name = _named(self._service, collection)
            page = self._service.changes(name, after, limit=limit)
            changes = [
                Change(
                    **{field: getattr(each, field) for field in Change.model_fields if field != "metadata"},
                    metadata=each.entry.metadata if each.entry else None,
                )
                for each in page
            ]
            lines = [f"{each.event} {each.id} {each.external_id or each.path or ''}".rstrip() for each in changes]
            more = "; there are more" if page.has_more else ""
            said = Changes(collection=name, changes=changes, cursor=page.cursor, has_more=page.has_more)
            return _answered([*(lines or ["nothing changed"]), f"cursor: {page.cursor}{more}"], said)

    def list_collections(self) -> Annotated[CallToolResult, Collections]:
        """List the collections there are, with the number of their images and texts."""
        with _told():
            lines = [
                CollectionLine(
                    name=one.name,
                    images=one.counts.get("image", 0),
                    texts=one.counts.get("text", 0),
                    model=one.model,
                    problem=one.problem,
                )
                for one in self._service.collections()
            ]
            text = [f"{one.name}: {one.images} images, {one.texts} texts" for one in lines]
            return _answered(text or ["there are none"], Collections(collections=lines))


def _answered(lines: Sequence[str], said: BaseModel) -> CallToolResult:
    """An answer in words and as data."""
    return CallToolResult(content=[_text(lines)], structured_content=said.model_dump(mode="json"))


def _text(lines: Sequence[str]) -> TextContent:
    """Lines, each of which is one: whoever wrote a name or a caption into an entry cannot write another entry."""
    return TextContent(text="\n".join(BREAKS.sub(" ", line) for line in lines))


@contextmanager
def _told() -> Iterator[None]:
    """Errors of ours reach the agent as their one line."""
    try:
        yield
    except GlimpseError as error:
        raise ToolError(str(error)) from error


def _named(service: client.Client, collection: str | None) -> str:
    if collection:
        return collection
    names = [one.name for one in service.collections()]
    if len(names) != 1:
        raise InputError(f"give the collection: there are {', '.join(names) or 'none yet'}")
    return names[0]


def _allowed(image: str, folders: Sequence[Path]) -> bytes:
    """The file behind a path that an agent gave, if it is an image by name, links followed, and in an allowed folder.

    It is opened first, and then the system is asked where that leads: nothing is won by exchanging it in between.

    Raises:
        InputError: it is not. The same words for what is not there, so that no file can be probed for.
    """
    with suppress(OSError, ValueError, RuntimeError):  # a loop of links, a NUL, no home
        fd = os.open(Path(image).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # waits for no pipe
        try:
            place = place_of(fd)
            is_ours = not folders or any(place.is_relative_to(folder.resolve()) for folder in folders)
            if is_ours and is_image_name(place.name) and stat.S_ISREG(os.fstat(fd).st_mode):
                with open(fd, "rb", closefd=False) as file:
                    return file.read()
        finally:  # of a folder too, of which no file is made
            os.close(fd)
    where = f" in {', '.join(map(str, folders))}" if folders else ""
    raise InputError(f"{image} is no image file{where}")


def _thumbnail(service: client.Client, collection: str, hit: client.Hit) -> list[ImageContent]:
    """A small picture of a hit, none if its file is gone."""
    try:
        data = service.thumbnail(collection, hit.id, THUMBNAIL)
    except client.ServiceError:
        return []
    return [ImageContent(data=base64.b64encode(data).decode(), mime_type="image/webp")]


def _warned(warnings: Sequence[str]) -> list[str]:
    """What the service warns of, as lines."""
    return [f"warning: {line}" for line in warnings]


def _words(hit: client.Hit) -> str:
    """What a hit is: its owner's own id, or the name that its image was sent under, else its path; text and caption."""
    named = hit.external_id or (None if hit.text else hit.metadata.get("filename") or hit.path)
    caption = hit.metadata.get("caption") or hit.metadata.get("title")
    return " ".join(said for said in (named, hit.text, caption) if isinstance(said, str))
