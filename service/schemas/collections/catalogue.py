"""What goes in and out over REST: entries by their owner's own ids, one and many at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from index.collection import Modality
from service.errors import ErrorDetail
from service.schemas import examples
from service.schemas.base import ExternalId, Image, OfTexts, RequestModel, Schema, Text
from service.schemas.collections.entries import Described, PatchRequest
from service.schemas.search import RecordAnswer

MAX_SELECTED = 10_000  # external ids in one request
MAX_REFUSED = 100  # named in an answer

Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_192)]


def _web(address: str) -> str:
    if not address.lower().startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://; an image itself is sent as image, in base64")
    return address


class PutRequest(Described):
    """What an entry is: one of text, image and image_url, and all that is said of it."""

    model_config = ConfigDict(json_schema_extra=examples.PUT)

    text: Text | None = None
    image: Image | None = None
    image_url: Annotated[Address, AfterValidator(_web)] | None = Field(
        None, description="fetched now, and only from hosts that the operator allows"
    )

    @model_validator(mode="after")
    def _is_one(self) -> PutRequest:
        if sum(given is not None for given in (self.text, self.image, self.image_url)) != 1:
            raise ValueError("give exactly one of text, image and image_url")
        return self


class PutItem(PutRequest):
    """One entry of a manifest."""

    model_config = ConfigDict(json_schema_extra=examples.PUT_ITEM)

    external_id: ExternalId


class PutAnswer(OfTexts):
    """What became of an entry. `unchanged`: it was so already, and nothing was written."""

    status: Literal["created", "replaced", "unchanged"]
    entry: RecordAnswer
    cut_off: str | None = Field(
        None, description="of a file that ends before its picture, how; what there is was taken"
    )
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.PUT_DONE)


class PutResult(Schema):
    """What became of one entry of a manifest: it, or why there is none."""

    external_id: str | None = Field(description="null where none could be read")
    status: Literal["created", "replaced", "unchanged", "failed"]
    id: int | None = None
    error: ErrorDetail | None = None
    cut_off: str | None = Field(
        None, description="of a file that ends before its picture, how; what there is was taken"
    )


class ManifestAnswer(OfTexts):
    """One result an entry, in the order sent, and how many there are of each status."""

    results: list[PutResult]
    created: int
    replaced: int
    unchanged: int
    failed: int
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.MANIFEST_DONE)


class Selecting(RequestModel):
    """Which entries are meant: those that pass a filter, or those of external ids."""

    filter: dict[str, Any] | None = Field(None, description="conditions on metadata and file, in Qdrant's grammar")
    external_ids: Annotated[list[ExternalId], Field(min_length=1, max_length=MAX_SELECTED)] | None = None
    modality: Modality | None = Field(None, description="null: images and texts")
    all: bool = Field(False, description="say so where a filter without any condition is meant")
    dry_run: bool = Field(False, description="count what would be done, and do nothing")

    @model_validator(mode="after")
    def _is_one(self) -> Selecting:
        if (self.filter is None) == (self.external_ids is None):
            raise ValueError("give either filter or external_ids")
        return self


class DeleteRequest(Selecting):
    """Entries to be deleted."""

    model_config = ConfigDict(json_schema_extra=examples.DELETE_ENTRIES)


class DeleteAnswer(Schema):
    """How many entries were meant when it began, and how many were deleted."""

    matched: int
    deleted: int
    dry_run: bool
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.DELETED_ENTRIES)


class PatchManyRequest(Selecting, PatchRequest):
    """Changes to the metadata of many: `metadata` is merged in (RFC 7396), `tags` are replaced, `remove_tags` go from
    each one's own, and `add_tags` come to them.
    """

    list_changed: bool = Field(False, description="name those that were changed, to take it back from them alone")

    model_config = ConfigDict(json_schema_extra=examples.PATCH_ENTRIES)


class RefusedPatch(Schema):
    """An entry that stayed as it was, and why."""

    id: int
    external_id: str | None
    error: ErrorDetail


class PatchManyAnswer(Schema):
    """How many entries were meant when it began, and what was done with them; the first that were refused by name."""

    matched: int
    changed: int
    changed_ids: list[int] = Field([], description="of those, where list_changed is said")
    unchanged: int
    refused: int
    first_refused: list[RefusedPatch] = Field(description=f"{MAX_REFUSED} at most")
    dry_run: bool
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.PATCHED_ENTRIES)
