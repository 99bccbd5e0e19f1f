"""What requests look for, as queries of a collection: the texts and images of all of them are encoded together.

A query that cannot be made has its error in its place: routes raise it, or say it beside the answers of the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from base.errors import EntryNotFound, GlimpseError, ImageError, InputError, ModelMismatch
from encoder.encoder import Vectors
from encoder.unread import UnreadWords
from index.collection import Collection, Hit
from index.search.query import Query, mix
from index.search.searchable import Readable
from index.search.stages import run_each
from service.deps import in_use_for
from service.errors import Refusal
from service.inference.inference import Inference
from service.schemas.search import QueryInputs, SearchRequest

KINDS = ("text", "image", "id", "vector")  # of what becomes a vector; an external id becomes an id

Failed = Refusal | GlimpseError
VectorsOf = Callable[[list[int]], Vectors]  # ids to their vectors (n, dim); EntryNotFound
IdsOf = Callable[[list[str]], Mapping[str, int]]  # of those that are there


class QueryPart(NamedTuple):
    """One part of a query: a text, an image, an entry or a vector, and its weight."""

    place: str  # in the request
    kind: str  # text, image, id, external_id or vector
    value: Any
    weight: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; `choices` are more fields of a `Query`, `place` is where the request says it."""

    parts: Sequence[QueryPart]
    choices: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    @classmethod
    def of(cls, asked: SearchRequest, place: str = "", **choices: Any) -> Wanted:
        """Of either form of a request."""
        if asked.query is None:
            parts = [QueryPart(f"{place}{kind}", kind, value, 1.0) for kind, value in asked.given().items()]
        else:
            parts = [
                QueryPart(f"{place}query.{i}.{kind}", kind, value, part.weight)
                for i, part in enumerate(asked.query)
                for kind, value in part.given().items()
            ]
        # what is left of the request are the fields of a Query, by their names
        fields = {name: getattr(asked, name) for name in SHAPE}
        return cls(parts, fields | choices, place)

    def values(self, kind: str) -> list[Any]:
        """Those of its parts of one kind."""
        return [part.value for part in self.parts if part.kind == kind]


SHAPE = tuple(
    name for name in SearchRequest.model_fields if name not in (*QueryInputs.model_fields, "query", "signed_urls")
)


@dataclass(frozen=True, slots=True)
class Place:
    """What is searched.

    Attributes:
        dim: how many values its vectors have.
        model: the model that made them, loaded if it is not; asked for where there are texts or images.
        vectors: of its entries.
        ids: of its entries, by the ids of their owner's own.
        check_model: of a fingerprint; ModelMismatch where not all that is searched is of that model.
    """

    dim: int
    model: Callable[[], Awaitable[Inference]]
    vectors: VectorsOf | None = None
    ids: IdsOf | None = None
    check_model: Callable[[str], None] = lambda fingerprint: None


async def model_of(collection: Collection, request: Request) -> Inference:
    """The model that made a collection, in use until the answer begins. ModelMismatch: the service does not have it."""
    return (await in_use_for(request, collection)).inference


async def queries_of(wanted: Sequence[Wanted], place: Place) -> tuple[list[Query | Failed], UnreadWords]:
    """A query for each, or why there is none; and the words of all their texts that the model has never read.

    Raises:
        Busy, ModelUnavailable: the model cannot be had now.
        Overloaded: as many texts or images wait as may.
    """
    asked = await _with_ids(wanted, place)
    parts = [part for each in asked if isinstance(each, Wanted) for part in each.parts]
    found, fingerprint, unread = await _vectors_of(parts, place)
    vectors = iter(found)
    made: list[Query | Failed] = []
    for each in asked:
        if not isinstance(each, Wanted):
            made.append(each)
            continue
        own = [next(vectors) for _ in each.parts]
        try:
            made.append(_query_of(each, own, place, fingerprint, unread))
        except (Refusal, GlimpseError) as error:
            made.append(error)
    return made, unread


async def _with_ids(wanted: Sequence[Wanted], place: Place) -> list[Wanted | Failed]:
    """Each with ids in place of those of its owner's own, or the error that one is not there."""
    externals = list(dict.fromkeys(own for each in wanted for own in each.values("external_id")))
    if not externals or place.ids is None:
        return list(wanted)
    ids = await run_in_threadpool(place.ids, externals)
    return [_with_id(each, ids) for each in wanted]


def _with_id(wanted: Wanted, ids: Mapping[str, int]) -> Wanted | Failed:
    parts = []
    for part in wanted.parts:
        if part.kind == "external_id":
            if part.value not in ids:
                return EntryNotFound(f"no entry with external_id {part.value!r}")
            part = part._replace(kind="id", value=ids[part.value])
        parts.append(part)
    return replace(wanted, parts=parts)


def find_each(readable: Readable, queries: Sequence[Query | Failed], places: Sequence[str]) -> list[list[Hit] | Failed]:
    """The hits of each query, all of one moment; the errors stay where they are, and those of searching join them."""
    found = iter(run_each(readable, [query for query in queries if isinstance(query, Query)]))
    answers: list[list[Hit] | Failed] = []
    for query, place in zip(queries, places, strict=True):
        answer = next(found) if isinstance(query, Query) else query
        answers.append(_placed(answer, place) if isinstance(answer, InputError) else answer)
    return answers


def _placed(error: InputError, place: str) -> Refusal:
    """The error of a filter with its place."""
    where = str(error).partition(": ")[0]
    return Refusal(422, str(error), code=error.code, param=f"{place}{where}" if where.startswith("filter") else None)


def _query_of(
    wanted: Wanted, found: Sequence[Vectors | Failed], place: Place, fingerprint: str | None, unread: UnreadWords
) -> Query:
    vectors: list[Any] = []
    for part, vector in zip(wanted.parts, found, strict=True):
        if isinstance(vector, ImageError):
            raise Refusal(422, vector.reason, code=vector.code, param=part.place)
        if isinstance(vector, Refusal | GlimpseError):
            raise vector
        if len(vector) != place.dim and part.kind in ("text", "image"):
            raise ModelMismatch("the collection was given another model in this moment: ask again")
        if len(vector) != place.dim:
            message = f"{part.place}: must have the collection's {place.dim} values, not {len(vector)}"
            raise Refusal(422, message, code=InputError.code, param=part.place)
        vectors.append(vector)
    encoded = any(part.kind in ("text", "image") for part in wanted.parts)
    return Query(
        mix(vectors, [part.weight for part in wanted.parts]),
        text=all(part.kind == "text" and part.weight > 0 for part in wanted.parts),
        says_nothing=all(
            part.kind == "text" and part.value in unread.empty for part in wanted.parts if part.weight > 0
        ),
        # the collection may get another model before the search begins
        fingerprint=fingerprint if encoded else None,
        exclude=wanted.values("id"),
        **wanted.choices,
    )


async def _vectors_of(
    parts: Sequence[QueryPart], place: Place
) -> tuple[list[Vectors | Failed], str | None, UnreadWords]:
    """The vector (dim,) of each part, or why it has none; the fingerprint of the model, if it was asked; the words that
    it has never read.
    """
    fingerprint, unread = None, UnreadWords()
    values = {kind: [part.value for part in parts if part.kind == kind] for kind in KINDS}
    made: dict[str, Sequence[Any]] = {"vector": values["vector"]}
    if values["text"] or values["image"]:
        try:
            model = await place.model()
            fingerprint = model.encoder.fingerprint
            place.check_model(fingerprint)
            texts, images = await model.both(values["text"], values["image"])
            made |= {"text": list(texts), "image": images}
            unread = await model.unread_words(values["text"])
        except ModelMismatch as error:
            made |= {kind: [error] * len(values[kind]) for kind in ("text", "image")}
    if values["id"] and place.vectors:
        made["id"] = await run_in_threadpool(_of_entries, values["id"], place.vectors)
    following = {kind: iter(vectors) for kind, vectors in made.items()}
    return [next(following[part.kind]) for part in parts], fingerprint, unread


def _of_entries(ids: list[int], vectors: VectorsOf) -> list[Vectors | Failed]:
    try:
        return list(vectors(ids))
    except EntryNotFound as error:
        if len(ids) == 1:
            return [error]
    return [vector for key in ids for vector in _of_entries([key], vectors)]
