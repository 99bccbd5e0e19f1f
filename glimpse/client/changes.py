"""The feed of changes of a service's collection, for a program that keeps what is in it somewhere else too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glimpse.client.answers import Record, listed, part, read
from glimpse.client.connection import Connection, given, in_path

LONGEST = 60.0  # seconds that one request may wait


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an entry last: created, updated or deleted. `cursor` is that of all changes up to this one."""

    event: str
    id: int
    cursor: str
    modality: str
    path: str | None = None
    external_id: str | None = None
    entry: Record | None = None  # as it is now; None: it was deleted


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in their order; `cursor` is where to go on, now if there are more, or later. Iterating goes over them."""

    changes: list[Change]
    cursor: str
    has_more: bool

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)


class Changes(Connection):
    """The calls of `Client` that follow a collection."""

    def changes(self, collection: str, after: str | None = None, *, limit: int = 100, wait: float = 0.0) -> ChangePage:
        """What was created, updated or deleted after a cursor, in the order of what happened to each entry last.

        Args:
            collection: its name.
            after: the cursor of the page before. None: from the beginning, which is every entry; "now": from now on.
            limit: changes of a page, 1,000 at most.
            wait: seconds to wait for a change where there is none yet, 60 at most.

        Raises:
            CursorGone: the collection was made anew or restored, or deletions since are forgotten: begin again without
                a cursor, and let go of what that does not name.
        """
        params = given(after=after, limit=limit, wait=wait or None)
        said = self.ask("GET", f"/v1/collections/{in_path(collection)}/changes", params=params, silence=wait)
        return read(ChangePage, said, changes=[_change(each) for each in listed(said, "changes")])

    def follow(self, collection: str, after: str | None = None, *, limit: int = 100) -> Iterator[ChangePage]:
        """Page after page without an end; where nothing changes, one without changes every minute. Raises as `changes`.

        Keep the `cursor` of a page together with what you made of it: a program that is killed goes on from there.
        """
        while True:
            page = self.changes(collection, after, limit=limit, wait=LONGEST)
            after = page.cursor
            yield page


def _change(said: Any) -> Change:
    entry = part(said, "entry")
    return read(Change, said, entry=None if entry is None else read(Record, entry))
