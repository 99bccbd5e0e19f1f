"""The feed of changes, for a second system that follows a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from base.errors import InputError, Overloaded
from base.words import counted
from index.collection import ChangePage
from index.search.query import MAX_LIMIT
from service.deps import CollectionDep, CollectionsDep, ServiceDep
from service.errors import Refusal, documented
from service.routes.collections.entries import SignDep
from service.schemas.base import Absent, Whole, Written
from service.schemas.collections.changes import ChangesAnswer
from service.state import Service

router = APIRouter(prefix="/v1/collections/{collection}", tags=["changes"])

LONGEST = 60  # seconds that a request may wait for a change
LOOK = 0.25  # seconds between two looks for one
LATER = 5  # seconds after which who may not wait should ask again

After = Annotated[
    str | None,
    Query(
        max_length=100,
        description="the `cursor` of the answer before; none: from the beginning, every entry; now: from now on",
        examples=["now"],
    ),
    Absent,
]
Wait = Annotated[
    float, Written, Query(ge=0, le=LONGEST, description="seconds to wait for a change where there is none yet"), Absent
]


@router.get("/changes", summary="What changed", responses=documented(404, 410, 422, 429))
async def changes(
    collection: CollectionDep,
    collections: CollectionsDep,
    service: ServiceDep,
    sign: SignDep,
    after: After = None,
    limit: Annotated[Whole, Query(ge=1, le=MAX_LIMIT), Absent] = 100,
    wait: Wait = 0.0,
) -> ChangesAnswer:
    """Entries that were created, updated or deleted after a cursor, in the order of what happened to each last.

    Without `after` it begins with every entry that there is; whoever reads on until there is no more, and later from
    that cursor, has what the collection has. An entry that changes while it is read stands once more, further behind.
    `created` and `updated` both say what an entry is now: updated may well be one that you never saw. Another model
    (reindex) is no change of an entry.

    410: the collection was deleted and made anew, or restored from a backup, or more was deleted since than is kept
    (the last 100,000 deletions): begin again without `after`, and let go of what that does not name. 429: as many wait
    already as may; without `wait` it is answered at once.
    """

    def page_after(cursor: str | None) -> ChangePage:  # the collection may be deleted, or made anew, while it waits
        return collections.get(collection.name).changes_after(cursor, limit)

    try:
        page = await run_in_threadpool(page_after, after)
        if wait and not page.changes:
            with _a_place_to_wait(service):
                end = asyncio.get_running_loop().time() + wait
                while not page.changes and asyncio.get_running_loop().time() < end and not service.is_stopping():
                    await asyncio.sleep(LOOK)
                    page = await run_in_threadpool(page_after, page.cursor)
    except InputError as error:
        raise Refusal(422, str(error), code=error.code, param=str(error).partition(": ")[0]) from error
    return ChangesAnswer.of(page, collection.name, sign)


@contextmanager
def _a_place_to_wait(service: Service) -> Iterator[None]:
    """One of those that may wait at once, for each looks into its collection four times a second. Overloaded."""
    most = service.settings.max_waiting
    if service.waiting >= most:
        raise Overloaded(
            f"{counted(most, 'request')} wait for changes already (GLIMPSE_MAX_WAITING): ask without wait, or later",
            seconds=LATER,
        )
    service.waiting += 1
    try:
        yield
    finally:
        service.waiting -= 1
