"""What each review changed of a run's images, so that the last one can be taken back. Decides nothing.

What was labelled anew by a review is not kept: that is decided again, by the examples of before.
"""

from __future__ import annotations

from labelling.runs.store import RunStore

KEPT = 100  # reviews that can be taken back
COLUMNS = "answers, guess, margin, reviewed"


def begin(store: RunStore) -> int:
    """The number of a new review, which none has had before. In a `writing`."""
    review = max(_last(store), int(store.get("reviews", 0))) + 1
    store.set(reviews=review)
    oldest = "SELECT review FROM (SELECT DISTINCT review FROM said ORDER BY review DESC) LIMIT 1 OFFSET :kept"
    store.change(f"DELETE FROM said WHERE review <= ({oldest})", kept=KEPT - 1)
    return review


def note(store: RunStore, review: int, where: str, **values: object) -> None:
    """Keep the images of a condition as they are before this review changes them. In a `writing`.

    GlimpseError if one of them is damaged.
    """
    store.check_some("images", where, **values)
    store.change(
        f"INSERT OR IGNORE INTO said SELECT :review, id, {COLUMNS} FROM images WHERE {where}", review=review, **values
    )


def known(store: RunStore) -> tuple[int, int | None]:
    """How many reviews can be taken back, and the number of the last of them; None: none can."""
    [(reviews, last)] = store.query("SELECT count(DISTINCT review), max(review) FROM said")
    return int(reviews), last


def restore(store: RunStore) -> list[tuple[int, str | None, str | None]]:
    """Have the images of the last review as they were: id, what was said of each until now, and what before.

    In a `writing`. GlimpseError if something of it is damaged.
    """
    last = _last(store)
    store.check_some("said", "review = :last", last=last)
    store.check_some("images", "id IN (SELECT image FROM said WHERE review = :last)", last=last)
    changed = store.query(
        "SELECT images.id, images.reviewed, said.reviewed FROM said JOIN images ON images.id = said.image"
        " WHERE review = :last ORDER BY images.id",
        last=last,
    )
    store.change(
        f"UPDATE images SET ({COLUMNS}) = (SELECT {COLUMNS} FROM said WHERE review = :last AND image = images.id)"
        " WHERE id IN (SELECT image FROM said WHERE review = :last)",
        last=last,
    )
    store.change("DELETE FROM said WHERE review = :last", last=last)
    return changed


def forget(store: RunStore) -> None:
    """Take nothing back any more: the images, or what is asked of them, may be others now. In a `writing`."""
    store.change("DELETE FROM said")


def _last(store: RunStore) -> int:
    [(review,)] = store.query("SELECT coalesce(max(review), 0) FROM said")
    return int(review)
