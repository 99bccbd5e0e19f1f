"""What goes in and out over REST: the entries of collections, as they come, are listed, and change.

Also the request and answer of clip-retrieval's knn-service.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, FiniteFloat, RootModel, StringConstraints

from base.sources.texts import why_no_json
from index.collection import Modality
from index.search.query import MAX_LIMIT
from service.collections.metadata import MAX_METADATA, MAX_TAG, Patch, check_metadata, composed
from service.schemas import examples
from service.schemas.base import Image, ImitatingModel, OfTexts, RequestModel, Schema, Text
from service.schemas.search import RecordAnswer

MAX_TAGS = 100


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    check_metadata(metadata)
    return metadata


def _from_json(value: Any) -> Any:
    """Of a form's field, which is text. Null counts as absent, and so does an empty field."""
    try:
        parsed = json.loads(value or "null") if isinstance(value, str) else value
        return {} if parsed is None else parsed
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read as JSON ({why_no_json(error)})") from None


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Tag = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TAG), AfterValidator(composed)
]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]
# metadata may hold longer ones, which can be taken away too
AnyTags = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_METADATA)]], Field(max_length=MAX_TAGS)
]


class Described(RequestModel):
    """What is said about an entry. Tags are the list `tags` of its metadata."""

    metadata: Metadata = Field({}, description="any JSON object, up to 16 KiB")
    tags: Tags | None = Field(None, description="short for tags in the metadata")

    def patch(self) -> dict[str, Any]:
        """As a merge patch of metadata; no tags at all take the key away."""
        if "tags" not in self.model_fields_set:
            return self.metadata
        return self.metadata | {"tags": list(dict.fromkeys(self.tags or ())) or None}


class PatchRequest(Described):
    """Changes: `metadata` is merged in (RFC 7396: null takes a key away), `tags` are replaced, then `remove_tags` go
    from those that are there, and `add_tags` come to them.
    """

    add_tags: Tags = Field([], description="those that it lacks; whoever adds some at the same time loses none")
    remove_tags: AnyTags = Field([], description="those that it has; all others stay, whoever adds some meanwhile")

    model_config = ConfigDict(json_schema_extra=examples.PATCH)

    def change(self) -> Patch:
        """As it is done to an entry."""
        return Patch(self.patch(), self.add_tags, self.remove_tags)


class TextEntry(Described):
    """A text with what is said about it."""

    text: Text


def _as_entry(given: Any) -> Any:
    if not isinstance(given, str | dict | TextEntry):
        raise ValueError("must be a text, or an object with text")
    return {"text": given} if isinstance(given, str) else given


class TextsRequest(Described):
    """Texts to become entries; `metadata` and `tags` here are those of all, a text's own come before them."""

    model_config = ConfigDict(json_schema_extra=examples.ADD_TEXTS)

    texts: list[Annotated[TextEntry, BeforeValidator(_as_entry, json_schema_input_type=Text | TextEntry)]] = Field(
        min_length=1
    )


class TextsAnswer(OfTexts):
    """The ids of the new entries, in the order sent."""

    ids: list[int]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.ADDED_TEXTS)


class DescribedForm(Described):
    """The same as the fields of a form."""

    metadata: Annotated[Metadata, BeforeValidator(_from_json)] = Field({})


class UploadFields(DescribedForm):
    """The fields of an upload's form beside its files."""

    per_file: Annotated[dict[str, Described], BeforeValidator(_from_json)] = Field({})


class UploadResult(Schema):
    """Of one file: its entry, or why there is none."""

    name: str = Field(description="as the client called the file")
    id: int | None = None
    created: bool = Field(False, description="false: the same bytes had been uploaded before, and keep their entry")
    error: str | None = None
    cut_off: str | None = Field(
        None, description="of a new file that ends before its picture, how; what there is was taken"
    )


class UploadAnswer(Schema):
    """One result a file, in the order sent."""

    results: list[UploadResult]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.UPLOADED)


class PageAnswer(Schema):
    """A page of entries, in the order of their ids."""

    entries: list[RecordAnswer]
    next: int | None = Field(description="give it as `after` for the next page; null: this is the last")

    model_config = ConfigDict(json_schema_extra=examples.PAGE)


class KnnRequest(ImitatingModel):
    """clip-retrieval's request: one of text, image, image_url and embedding_input.

    What else its clients send (`use_mclip`, `aesthetic_score`, `use_safety_model`, ...) is passed over: there is no
    other model, no aesthetic score and no safety filter here.
    """

    model_config = ConfigDict(json_schema_extra=examples.KNN)

    text: Text | None = None
    image: Image | None = None
    image_url: str | None = Field(None, description="fetched only from hosts that the operator allows")
    embedding_input: list[FiniteFloat] | None = Field(None, min_length=1)
    modality: Modality = "image"
    num_images: int = Field(40, ge=1, le=MAX_LIMIT, description="results with caption and address")
    num_result_ids: int | None = Field(None, ge=1, le=MAX_LIMIT, description="results in all; if null, num_images")
    indice_name: str | None = Field(None, description="the collection; if null, the first by name")
    deduplicate: bool = Field(False, description="leave out what is nearly the same as a better result")


class KnnAnswer(RootModel[list[dict[str, Any]]]):
    """The results, best first: id, similarity, and for the first num_images caption, url and image_path."""

    model_config = ConfigDict(json_schema_extra=examples.KNN_FOUND)
