"""Searches of a service's collections: one at a time, many at once, several collections as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

from glimpse.client.answers import Hit, Modality, SearchResult, listed, part, read
from glimpse.client.batches import Image, base64_of
from glimpse.client.connection import Connection, given, in_path
from glimpse.client.errors import error_of

# What one request may have: searches, hits of all of them, images (GLIMPSE_MAX_BATCH).
SEARCHES, HITS, IMAGES = 100, 10_000, 64
STATUS = {"not_found_error": 404, "conflict_error": 409, "server_error": 500}  # of a search among many, by its type


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a weighted query: exactly one of text, image, id, external_id and vector.

    A negative weight leads away from it.
    """

    text: str | None = None
    image: Image | None = None
    id: int | None = None
    external_id: str | None = None
    vector: Iterable[float] | None = None
    weight: float = 1.0


class Shape(TypedDict, total=False):
    """What a list of hits is to be like; docs/api.md tells it, under Search. What is not given is the service's."""

    modality: Modality
    filter: Mapping[str, Any] | None
    limit: int
    offset: int
    score_threshold: float | None
    cutoff: Literal["auto"] | None
    group_by: str | None
    group_size: int
    collapse: float | None
    diversity: float
    signed_urls: int


class Search(Shape, total=False):
    """One of many searches: what `Client.search` takes beside the collection."""

    text: str | None
    image: Image | None
    id: int | None
    external_id: str | None
    vector: Iterable[float] | None
    query: Sequence[Part] | None


class Searches(Connection):
    """The calls of `Client` that find entries."""

    def search(
        self,
        collection: str | Sequence[str],
        text: str | None = None,
        *,
        image: Image | None = None,
        id: int | None = None,  # noqa: A002
        external_id: str | None = None,
        vector: Iterable[float] | None = None,
        query: Sequence[Part] | None = None,
        **shape: Unpack[Shape],
    ) -> SearchResult:
        """Find by any of text, image, id, external_id and vector (of several, their mean), or by weighted parts.

        Args:
            collection: its name; or names, of collections of one model that are searched as if they were one.
            text: words that describe it.
            image: a picture that it is like.
            id: an entry of the one collection that it is like.
            external_id: the same by its owner's own id.
            vector: as `embed_texts` and `embed_images` give them.
            query: weighted parts, instead of the five above.
            shape: what the list is to be like.

        Raises:
            CollectionNotFound, EntryNotFound, ImageError, InputError, ModelMismatch: as the service says.
        """
        looked = {"text": text, "image": image, "id": id, "external_id": external_id, "vector": vector}
        body = _body({**looked, "query": query, **shape})
        if isinstance(collection, str):
            said = self.ask("POST", f"/v1/collections/{in_path(collection)}/search", json=body)
        else:
            said = self.ask("POST", "/v1/search", json=body | {"collections": list(collection)})
        return read(SearchResult, said, hits=[read(Hit, hit) for hit in listed(said, "hits")], error=None)

    def search_many(self, collection: str, searches: Iterable[Search]) -> list[SearchResult]:
        """Many searches, a hundred a request: what each finds, in their order. Those of a request see one moment.

        One that the service refuses has the `error` in its result, and the others are answered.

        Raises:
            CollectionNotFound, ServiceError: as the service says of all of them.
        """
        path = f"/v1/collections/{in_path(collection)}/search/batch"
        results = []
        for some in _requests(_body(search) for search in searches):
            for said in listed(self.ask("POST", path, json={"searches": some}), "results"):
                error = part(said, "error")
                status = STATUS.get(error and error.get("type"), 422)
                results.append(
                    read(
                        SearchResult,
                        said,
                        hits=[read(Hit, hit) for hit in listed(said, "hits")],
                        error=None if error is None else error_of(self.url, status, said),
                    )
                )
        return results


def _requests(bodies: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """As many searches at a time as fit into a request."""
    some: list[dict[str, Any]] = []
    hits = images = 0
    for body in bodies:
        more = body.get("limit") or 10
        pictures = sum("image" in each for each in [body, *body.get("query", ())])
        if some and (len(some) == SEARCHES or hits + more > HITS or images + pictures > IMAGES):
            yield some
            some, hits, images = [], 0, 0
        some.append(body)
        hits, images = hits + more, images + pictures
    if some:
        yield some


def _body(search: Mapping[str, Any]) -> dict[str, Any]:
    """A search as JSON has it."""
    known = [*Search.__annotations__, *Shape.__annotations__]
    if unknown := search.keys() - set(known):
        raise TypeError(f"a search has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    given_parts: dict[str, Any] = {name: search.get(name) for name in LOOKED}
    looked = _looked(Part(**given_parts))
    if search.get("query") is not None:
        looked["query"] = [_looked(one) | {"weight": one.weight} for one in search["query"]]
    return looked | {name: value for name, value in search.items() if name not in (*LOOKED, "query")}


LOOKED = ("text", "image", "id", "external_id", "vector")


def _looked(one: Part) -> dict[str, Any]:
    """What is looked for, as JSON has it; only what is given."""
    return given(
        text=one.text,
        image=None if one.image is None else base64_of(one.image),
        id=one.id,
        external_id=one.external_id,
        vector=None if one.vector is None else [float(value) for value in one.vector],
    )
