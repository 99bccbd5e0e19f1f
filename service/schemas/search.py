"""Searches over REST, and the entries that they find. Names are the field's (`limit`, `score`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from base.words import readable
from encoder.cut import CutTexts
from encoder.unread import UnreadWords
from index.collection import Hit, Modality, Record
from index.search.query import MAX_LIMIT, MAX_OFFSET, Cutoff
from index.search.together import MOST, PlacedRecord
from service.errors import ErrorDetail
from service.schemas import examples
from service.schemas.base import (
    MAX_ID,
    CollectionName,
    ExternalId,
    Image,
    OfTexts,
    RequestModel,
    Schema,
    SignedSeconds,
    Text,
)

MAX_PARTS = 32
MAX_SEARCHES = 256  # in one request
MAX_HITS = 10_000  # of them together
VERSION = 12  # digits of the SHA-256 in an address

Sign = Callable[[str], str]  # makes an address, as it is asked for, out of a path


class RecordAnswer(Schema):
    """An image or text of a collection."""

    model_config = ConfigDict(json_schema_extra=examples.RECORD)

    id: int
    external_id: str | None = Field(description="its owner's own, if it has one")
    modality: Modality
    path: str | None
    text: str | None
    metadata: dict[str, Any]
    width: int | None
    height: int | None
    taken: str | None = Field(
        description="when, by its file: ISO 8601, on the clock of that place; with an offset where it names one"
    )
    sha256: str | None = Field(description="of the image file")
    content_url: str | None = Field(description="the image file itself")
    thumbnail_url: str | None

    @classmethod
    def of_record(cls, record: Record, collection: str, sign: Sign) -> RecordAnswer:
        """Of a record of `collection`, with its addresses as `sign` makes them."""
        return RecordAnswer(**cls.fields_of(record, collection, sign))

    @classmethod
    def fields_of(cls, record: Record, collection: str, sign: Sign) -> dict[str, Any]:
        """The fields for a record of `collection`."""
        is_image = record.modality == "image"
        base = f"/v1/collections/{collection}/images/{record.id}"
        # the version changes with the file, so browsers may keep what they have without asking
        version = f"?v={record.sha256[:VERSION]}" if record.sha256 else ""
        return {
            "id": record.id,
            "external_id": record.external_id,
            "modality": record.modality,
            "path": None if record.path is None else readable(record.path),
            "text": record.text,
            "metadata": record.metadata,
            "width": record.width,
            "height": record.height,
            "taken": record.taken,
            "sha256": record.sha256,
            "content_url": sign(f"{base}/content{version}") if is_image else None,
            "thumbnail_url": sign(f"{base}/thumbnail{version}") if is_image else None,
        }


class HitAnswer(RecordAnswer):
    """One result of a search."""

    model_config = ConfigDict(json_schema_extra=examples.HIT)

    score: float = Field(description="cosine of query and entry, -1 to 1")
    z: float | None = Field(description="standard deviations above what the query scores against anything")
    relevance: float | None = Field(description="estimate, 0 to 1; null, like z, while the collection is small")

    @classmethod
    def of(cls, hit: Hit, collection: str, sign: Sign) -> HitAnswer:
        """Of a hit in `collection`, with its addresses as `sign` makes them."""
        return cls(score=hit.score, z=hit.z, relevance=hit.relevance, **cls.fields_of(hit.record, collection, sign))


class QueryInputs(RequestModel):
    """What can be looked for."""

    text: Text | None = None
    image: Image | None = None
    id: Annotated[int, Field(ge=1, le=MAX_ID)] | None = Field(None, description="an entry; it is left out of the hits")
    external_id: ExternalId | None = Field(None, description="the same by its owner's own id")
    vector: list[FiniteFloat] | None = Field(None, min_length=1, description="as /v1/embeddings gives them")

    def given(self) -> dict[str, Any]:
        """The fields of these five that are given."""
        fields = {name: getattr(self, name) for name in QueryInputs.model_fields}
        return {name: value for name, value in fields.items() if value is not None}


class Part(QueryInputs):
    """One part of a query: exactly one of text, image, id, external_id and vector."""

    weight: FiniteFloat = Field(1.0, ge=-100, le=100, description="negative leads away from it")

    @model_validator(mode="after")
    def _is_one(self) -> Part:
        if len(self.given()) != 1:
            raise ValueError("give exactly one of text, image, id, external_id and vector")
        return self


class SearchRequest(QueryInputs):
    """What to look for: text, image, id, external_id, vector (of several the mean), or weighted parts in `query`."""

    model_config = ConfigDict(json_schema_extra=examples.SEARCH)

    query: list[Part] | None = Field(None, min_length=1, max_length=MAX_PARTS)
    modality: Modality = Field("image", description="what to find")
    filter: dict[str, Any] | None = Field(None, description="conditions on metadata and file, in Qdrant's grammar")
    limit: int = Field(10, ge=1, le=MAX_LIMIT)
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="hits passed over, for the next page")
    score_threshold: FiniteFloat | None = Field(None, ge=-1, le=1, description="the least cosine")
    cutoff: Cutoff | None = Field(None, description="auto: end where relevance ends")
    group_by: str | None = Field(
        None, min_length=1, description="a key of the metadata, as product.id; hits without it are not grouped"
    )
    group_size: int = Field(1, ge=1, le=MAX_LIMIT, description="hits a group")
    collapse: FiniteFloat | None = Field(None, gt=0, le=1, description="the cosine from which two hits are the same")
    diversity: FiniteFloat = Field(
        0.0, ge=0, le=1, description="0: by score alone; 1: each as unlike those before as can be"
    )
    signed_urls: SignedSeconds | None = None

    @model_validator(mode="after")
    def _has_query(self) -> SearchRequest:
        if bool(self.given()) == bool(self.query):
            raise ValueError("give either query, or any of text, image, id, external_id and vector")
        return self


class TogetherRequest(SearchRequest):
    """The same for several collections of one model, searched as if they were one."""

    model_config = ConfigDict(json_schema_extra=examples.TOGETHER)

    collections: list[CollectionName] = Field(min_length=1, max_length=MOST, description="names")

    @model_validator(mode="after")
    def _has_no_ids(self) -> TogetherRequest:
        if any(each.id is not None or each.external_id is not None for each in (self, *(self.query or ()))):
            raise ValueError("an id is of one collection: search with the entry's vector, image or text instead")
        return self


class PlacedHit(HitAnswer):
    """One result of a search of several collections."""

    model_config = ConfigDict(json_schema_extra=examples.PLACED_HIT)

    collection: str

    @classmethod
    def of_placed(cls, hit: Hit, sign: Sign = str) -> PlacedHit:
        """Of a hit among several collections, whose record says which."""
        assert isinstance(hit.record, PlacedRecord)
        name = hit.record.collection
        fields = cls.fields_of(hit.record, name, sign)
        return cls(score=hit.score, z=hit.z, relevance=hit.relevance, collection=name, **fields)


class OfQueries(OfTexts):
    """Base of answers to searches: also whether the model knows their words."""

    unread_words: list[str] = Field([], description="words of the query that the model has never read in its training")

    @staticmethod
    def told_of(cut: CutTexts, unread: UnreadWords) -> dict[str, Any]:
        """What there is to say of its texts."""
        warnings = [*unread.warnings(), *cut.warnings()]
        return OfTexts.told(cut) | {"unread_words": unread.words, "warnings": warnings}


class TogetherAnswer(OfQueries):
    """The nearest entries of all of them, best first."""

    hits: list[PlacedHit]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.FOUND_TOGETHER)


class SearchAnswer(OfQueries):
    """The nearest entries, best first."""

    hits: list[HitAnswer]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.FOUND)


@dataclass(frozen=True, slots=True)
class Misspelt:
    """One of many searches that is none; `problems` as pydantic names them."""

    problems: list[Any]


def _search_or_problems(given: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(given)
    except ValidationError as error:
        return Misspelt(error.errors(include_input=False, include_context=False, include_url=False))


class BatchRequest(RequestModel):
    """Many searches of one collection."""

    model_config = ConfigDict(json_schema_extra=examples.BATCH)

    searches: list[Annotated[SearchRequest, WrapValidator(_search_or_problems)]] = Field(
        min_length=1, max_length=MAX_SEARCHES, description="each as the body of a single search"
    )


class AnswerOfOne(OfQueries):
    """What one of many searches found, or why it found nothing."""

    hits: list[HitAnswer] = Field([], description="best first")
    error: ErrorDetail | None = Field(None, description="as of a single search; then there are no hits")


class BatchAnswer(Schema):
    """A result for each search, in their order."""

    results: list[AnswerOfOne]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.BATCH_FOUND)
