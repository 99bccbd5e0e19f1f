"""What people said of the images of a run, as its store keeps it: pages to look through, verdicts, examples.

A page is found by an index, in a run of any size. `labelling.review` says what a verdict means.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from base.errors import InputError
from labelling.rows import Answer
from labelling.runs import taking_back
from labelling.runs.counts import per_label
from labelling.runs.store import RunStore
from labelling.runs.tables import Row

Order = Literal["uncertain", "certain", "path"]
ORDERS: dict[Order, tuple[str, str]] = {  # order, and what comes after a row of margin, id and path
    "uncertain": ("margin, id", "(margin, id) > (:margin, :id)"),
    "certain": ("margin DESC, id DESC", "(margin, id) < (:margin, :id)"),
    "path": ("path", "path > :path"),
}
BY_PERSON = "('accepted', 'corrected', 'none')"  # looked at one by one; "by rule" was not
RULED = "reviewed IS NULL AND answers <> '[]' AND error = ''"  # what a rule may accept
LOWEST = "json_extract(answers, '$[#-1][1]')"  # of the scores of an image's labels
PLACES = 100  # of a slider
HAS_LABEL = "EXISTS (SELECT 1 FROM json_each(answers) AS given WHERE given.value ->> 0 = :label)"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images of a run, and in which order.

    Attributes:
        order: least clear first, or last, or by paths; those that could not be read are in the last alone.
        label: those that have it.
        abstained: those that have none, or some.
        reviewed: those that were, or were not.
        after: the id of the last image of the page before.
    """

    order: Order = "uncertain"
    label: str | None = None
    abstained: bool | None = None
    reviewed: bool | None = None
    limit: int = 100
    after: int | None = None


class Summary(NamedTuple):
    """What a run has: images, how many have each label, none, wait, or could not be read; reviews by their kind.

    `undoable`: how many reviews can be taken back; `last_review` is the number of the last of them.
    """

    images: int
    per_label: dict[str, int]
    abstained: int
    undecided: int
    unread: int
    reviewed: dict[str, int]
    undoable: int
    last_review: int | None


class Bar(NamedTuple):
    """How many images a rule would accept that asks for such a score, and the id of one that has no higher one."""

    score: float
    images: int
    least: int


def page(store: RunStore, wanted: Wanted) -> list[Row]:
    """Some images. InputError: `after` is none of the run."""
    order, later = ORDERS[wanted.order]
    conditions = [] if wanted.order == "path" else ["margin IS NOT NULL"]
    values: dict[str, object] = {"limit": wanted.limit, "label": wanted.label}
    if wanted.label is not None:
        conditions.append(HAS_LABEL)
    if wanted.abstained is not None:
        conditions.append("answers = '[]'" if wanted.abstained else "answers <> '[]'")
    if wanted.reviewed is not None:
        conditions.append("reviewed IS NOT NULL" if wanted.reviewed else "reviewed IS NULL")
    if wanted.after is not None:
        last = store.row(wanted.after)
        if last is None or (last.margin is None and wanted.order != "path"):
            raise InputError(f"image {wanted.after} is no longer in this order: begin with the first page again")
        conditions.append(later)
        values |= {"margin": last.margin, "id": last.id, "path": os.fsencode(last.image.path)}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return store.rows_where(f"{where} ORDER BY {order} LIMIT :limit", **values)


def summary(store: RunStore) -> Summary:
    """What a run has by now."""
    [(images, abstained, undecided, unread)] = store.query(
        "SELECT count(*), coalesce(sum(answers = '[]' AND error = ''), 0),"
        " coalesce(sum(answers IS NULL AND error = ''), 0), coalesce(sum(error <> ''), 0) FROM images"
    )
    reviewed = store.query("SELECT reviewed, count(*) FROM images WHERE reviewed IS NOT NULL GROUP BY 1")
    return Summary(images, per_label(store), abstained, undecided, unread, dict(reviewed), *taking_back.known(store))


def say(store: RunStore, review: int, image: int, said: str, answers: Sequence[Answer] | None = None) -> None:
    """Keep what a person said of an image; with the answers of before, unless others are given. In a `writing`."""
    taking_back.note(store, review, "id = :image", image=image)
    given = None if answers is None else json.dumps(answers)
    store.change(
        "UPDATE images SET reviewed = :said, answers = coalesce(:given, answers) WHERE id = :image",
        said=said, given=given, image=image,
    )  # fmt: skip


def accept_above(store: RunStore, review: int, score: float, label: str | None) -> int:
    """Accept whatever nobody has looked at and whose labels all have that score; how many. In a `writing`."""
    which = f"{_ruled(label)} AND {LOWEST} >= :score"
    taking_back.note(store, review, which, score=score, label=label)
    return store.change(f"UPDATE images SET reviewed = 'by rule' WHERE {which}", score=score, label=label)


def bars(store: RunStore, label: str | None = None) -> list[Bar]:
    """What rules would accept: scores at even places among those of the images, the highest first; empty: nothing."""
    found = store.query(f"SELECT {LOWEST}, id FROM images WHERE {_ruled(label)} ORDER BY 1 DESC, 2", label=label)
    asked = {max(1, len(found) * place // PLACES) for place in range(1, PLACES + 1)} if found else set()
    wanted = {found[images - 1][0] for images in asked}
    # equal scores are accepted together: the last of them counts
    reached = {score: Bar(score, images, image) for images, (score, image) in enumerate(found, 1) if score in wanted}
    return list(reached.values())


def _ruled(label: str | None) -> str:
    return RULED if label is None else f"{RULED} AND {HAS_LABEL}"


def examples(store: RunStore) -> tuple[list[int], list[bytes | None], list[list[str]]]:
    """Ids, kept vectors and labels of the images that a person has looked at."""
    where = f"WHERE reviewed IN {BY_PERSON} AND error = '' ORDER BY id"
    ids, vectors = store.vectors(where)
    rows = store.query(f"SELECT answers FROM images {where}")
    return ids, vectors, [[label for label, _ in json.loads(answers)] for (answers,) in rows]


def keep_of(store: RunStore, names: Sequence[str]) -> None:
    """Forget reviews that say nothing among other labels than those asked before. In a `writing`."""
    before = store.get("names")
    store.set(names=list(names))
    if before is None or set(before) == set(names):
        return
    store.change(
        "UPDATE images SET reviewed = NULL WHERE reviewed = 'none' OR EXISTS (SELECT 1 FROM json_each(answers) AS given"
        " WHERE given.value ->> 0 NOT IN (SELECT value FROM json_each(:names)))",
        names=json.dumps(names),
    )
