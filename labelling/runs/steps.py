"""The journal of a run, as its store keeps it: steps begun and done, and what each output brought about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labelling.runs.store import RunStore
from labelling.runs.tables import SEALS


@dataclass(frozen=True, slots=True)
class KeptStep:
    """A step of the journal: what an output does for an image, as JSON; begun, or done. Not `sound`: it is damaged."""

    id: int
    output: str
    image: int | None
    kind: str
    what: dict[str, Any]
    done: bool
    sound: bool = True


def begin(store: RunStore, output: str, begun: Sequence[tuple[int | None, str, dict[str, Any]]]) -> range:
    """Note steps, as (image, kind, what), before they are done; their ids. In a `writing`."""
    [(last,)] = store.query("SELECT coalesce(max(id), 0) FROM steps")
    ids = range(last + 1, last + 1 + len(begun))
    store.change_many(
        "INSERT INTO steps (id, output, image, kind, what, done) VALUES (?, ?, ?, ?, ?, 0)",
        ((key, output, image, kind, json.dumps(what)) for key, (image, kind, what) in zip(ids, begun, strict=True)),
    )
    return ids


def end(store: RunStore, ended: Sequence[tuple[int, dict[str, Any] | None]]) -> None:
    """Note that steps, by their ids, are done, and as what; None: it is not, or no longer. In a `writing`."""
    store.change_many("DELETE FROM steps WHERE id = ?", ((step,) for step, what in ended if what is None))
    store.change_many(
        "UPDATE steps SET what = ?, done = 1 WHERE id = ?",
        ((json.dumps(what), step) for step, what in ended if what is not None),
    )


def begun(store: RunStore) -> list[KeptStep]:
    """The steps that were begun, and of which nobody knows whether they were done."""
    return _steps(store, "WHERE NOT done ORDER BY id")


def steps_of(store: RunStore, output: str, image: int) -> list[KeptStep]:
    """What was done for an image, in the order it was."""
    return _steps(store, "WHERE image = :image AND output = :output AND done ORDER BY id", image=image, output=output)


def folders_made(store: RunStore, output: str) -> list[KeptStep]:
    """The folders that an output has made, in the order it did; they are of no image alone."""
    return _steps(
        store, "WHERE image IS NULL AND output = :output AND kind = 'folder' AND done ORDER BY id", output=output
    )


def last_steps(store: RunStore, before: int | None = None, limit: int = 256) -> list[KeptStep]:
    """The last steps, the newest first, from below an id; those that are damaged as well, without what they did."""
    return _read(store, "WHERE id < :before ORDER BY id DESC LIMIT :limit", before=before or 1 << 62, limit=limit)


def count_steps(store: RunStore) -> int:
    """How many steps the journal has."""
    return int(store.query("SELECT count(*) FROM steps")[0][0])


def so_far(store: RunStore, output: str, images: Sequence[int]) -> tuple[dict[int, str], dict[int, list[KeptStep]]]:
    """What an output last brought about for images, and what was done for each, in the order it was."""
    among = "image IN (SELECT value FROM json_each(:images)) AND output = :output"
    asked = {"images": json.dumps(images), "output": output}
    done: dict[int, list[KeptStep]] = {}
    for step in _steps(store, f"WHERE {among} AND done ORDER BY id", **asked):
        done.setdefault(step.image or 0, []).append(step)
    return dict(store.query(f"SELECT image, wanted FROM applied WHERE {among}", **asked)), done


def set_applied(store: RunStore, output: str, applied: Sequence[tuple[int, str]]) -> None:
    """Keep what an output brought about, as (image, wanted). In a `writing`."""
    store.change_many(
        "INSERT OR REPLACE INTO applied VALUES (?, ?, ?)", ((output, image, wanted) for image, wanted in applied)
    )


def forget_applied_for(store: RunStore, output: str, image: int) -> None:
    """Forget that of one image. In a `writing`."""
    store.change("DELETE FROM applied WHERE output = :output AND image = :image", output=output, image=image)


def forget_applied(store: RunStore) -> None:
    """Forget what outputs brought about, but for the steps. In a `writing`."""
    store.change("DELETE FROM applied")


def _steps(store: RunStore, where: str, **values: object) -> list[KeptStep]:
    """GlimpseError if one of them is damaged."""
    found = _read(store, where, **values)
    if not all(step.sound for step in found):
        raise store.damaged("a step of the journal is not as it was written")
    return found


def _read(store: RunStore, where: str, **values: object) -> list[KeptStep]:
    sound = f"checksum IS {SEALS['steps']}"
    found = store.query(f"SELECT id, output, image, kind, what, done, {sound} FROM steps {where}", **values)
    return [
        KeptStep(key, output, image, kind, json.loads(what) if sound else {}, bool(done), bool(sound))
        for key, output, image, kind, what, done, sound in found
    ]
