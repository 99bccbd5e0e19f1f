"""The journal of a run, as its store keeps it: steps begun and done, and what each output brought about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from labelling.runs.store import RunStore


@dataclass(frozen=True, slots=True)
class KeptStep:
    """A step of the journal: what an output does for an image, as JSON; begun, or done."""

    id: int
    output: str
    image: int | None
    kind: str
    what: dict[str, Any]
    done: bool


def begin(store: RunStore, output: str, image: int | None, kind: str, what: dict[str, Any]) -> int:
    """Note a step before it is done; its id. In a `writing`."""
    [(key,)] = store.query(
        "INSERT INTO steps (output, image, kind, what, done) VALUES (:output, :image, :kind, :what, 0) RETURNING id",
        output=output, image=image, kind=kind, what=json.dumps(what),
    )  # fmt: skip
    return int(key)


def end(store: RunStore, step: int, what: dict[str, Any] | None) -> None:
    """Note that a step is done, and as what; None: it is not, or no longer. In a `writing`."""
    if what is None:
        store.change("DELETE FROM steps WHERE id = :step", step=step)
    else:
        store.change("UPDATE steps SET what = :what, done = 1 WHERE id = :step", step=step, what=json.dumps(what))


def begun(store: RunStore) -> list[KeptStep]:
    """The steps that were begun, and of which nobody knows whether they were done."""
    return _steps(store, "WHERE NOT done ORDER BY id")


def steps_of(store: RunStore, output: str, image: int) -> list[KeptStep]:
    """What was done for an image, in the order it was."""
    return _steps(store, "WHERE image = :image AND output = :output AND done ORDER BY id", image=image, output=output)


def last_steps(store: RunStore, before: int | None = None, limit: int = 256) -> list[KeptStep]:
    """The last steps, the newest first, from below an id."""
    return _steps(store, "WHERE id < :before ORDER BY id DESC LIMIT :limit", before=before or 1 << 62, limit=limit)


def count_steps(store: RunStore) -> int:
    """How many steps the journal has."""
    return int(store.query("SELECT count(*) FROM steps")[0][0])


def applied(store: RunStore, output: str, image: int) -> str | None:
    """What an output last brought about for an image."""
    rows = store.query(
        "SELECT wanted FROM applied WHERE output = :output AND image = :image", output=output, image=image
    )
    return rows[0][0] if rows else None


def set_applied(store: RunStore, output: str, image: int, wanted: str | None) -> None:
    """Keep that, None: forget it. In a `writing`."""
    if wanted is None:
        store.change("DELETE FROM applied WHERE output = :output AND image = :image", output=output, image=image)
    else:
        store.change(
            "INSERT OR REPLACE INTO applied VALUES (:output, :image, :wanted)",
            output=output, image=image, wanted=wanted,
        )  # fmt: skip


def forget_applied(store: RunStore) -> None:
    """Forget what outputs brought about, but for the steps. In a `writing`."""
    store.change("DELETE FROM applied")


def _steps(store: RunStore, where: str, **values: object) -> list[KeptStep]:
    found = store.query(f"SELECT id, output, image, kind, what, done FROM steps {where}", **values)
    return [
        KeptStep(key, output, image, kind, json.loads(what), bool(done))
        for key, output, image, kind, what, done in found
    ]
