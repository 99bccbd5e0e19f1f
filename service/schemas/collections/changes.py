"""The feed of changes over REST."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from base.words import readable
from index.collection import Change, ChangePage, Modality
from index.entry import Event
from service.schemas import examples
from service.schemas.base import Schema
from service.schemas.search import RecordAnswer, Sign


class ChangeAnswer(Schema):
    """What happened to an entry last."""

    event: Event
    id: int
    external_id: str | None = Field(description="its owner's own, if it has or had one")
    modality: Modality
    path: str | None
    entry: RecordAnswer | None = Field(description="as it is now; null: it was deleted")
    cursor: str = Field(description="of all changes up to this one")

    @classmethod
    def of(cls, change: Change, collection: str, sign: Sign = str) -> ChangeAnswer:
        """Of a change in `collection`, with the entry's addresses as `sign` makes them."""
        path = None if change.path is None else readable(change.path)
        entry = change.record and RecordAnswer.of_record(change.record, collection, sign)
        return cls(
            event=change.event,
            id=change.id,
            external_id=change.external_id,
            modality=change.modality,
            path=path,
            entry=entry,
            cursor=change.cursor,
        )


class ChangesAnswer(Schema):
    """Changes in their order."""

    model_config = ConfigDict(json_schema_extra=examples.CHANGES)

    changes: list[ChangeAnswer]
    cursor: str = Field(description="`after` of the next request, now or later")
    has_more: bool

    @classmethod
    def of(cls, page: ChangePage, collection: str, sign: Sign = str) -> ChangesAnswer:
        """Of a page of changes in `collection`."""
        changes = [ChangeAnswer.of(change, collection, sign) for change in page.changes]
        return cls(changes=changes, cursor=page.cursor, has_more=page.has_more)
