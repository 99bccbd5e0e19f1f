"""Labels in the metadata of a collection, so that filters and search see them: a key with a list, one with the score.

`labels: ["dog", "indoors"]` and `labels_score: 0.93`, of the likeliest. Other keys stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from base.errors import EntryNotFound, InputError
from labelling.outputs.output import ChangesImages, NotDone, Plan, Step
from labelling.rows import Labelled

if TYPE_CHECKING:
    from index.collection import Collection


@dataclass(frozen=True)
class Tagged(Step):
    """Values of keys of one entry, before and after: [value], or [] for none."""

    kind: ClassVar[str] = "metadata"
    entry: int
    file: str
    before: dict[str, list[Any]]
    after: dict[str, list[Any]]

    @property
    def path(self) -> Path:
        """The image."""
        return Path(self.file)

    @property
    def counted(self) -> str:
        """As `Step.counted`."""
        return "entries changed"

    @property
    def said(self) -> str:
        """In words."""
        values = ", ".join(
            f"{key}: {json.dumps(value[0], ensure_ascii=False)}" for key, value in self.after.items() if value
        )
        return f"set {values or 'no ' + next(iter(self.after))} of entry {self.entry}, {self.file}"


class MetadataKey(ChangesImages):
    """A key of a collection's metadata.

    Args:
        collection: open for writing.
        key: the key; `<key>_score` is written too.
        overwrite: take the place of values that are not of this run.
    """

    kinds = (Tagged,)
    on_disk = False

    def __init__(self, collection: Collection, key: str, *, overwrite: bool = False) -> None:
        if not key or key != key.strip() or "." in key:
            raise InputError(f"--write-metadata {key!r}: give a name without dots and spaces around it, as labels")
        self.name = f"metadata {key}"
        self._collection = collection
        self._key = key
        self._overwrite = overwrite
        self._read: dict[int, dict[str, Any]] = {}  # metadata of entries, as they are; nobody else writes meanwhile
        self._changed: dict[int, dict[str, Any]] = {}  # metadata that flush will write

    def wanted(self, image: Labelled, stamp: str) -> str:
        """The labels and the score."""
        return json.dumps(self._values(image)) if image.answers else ""

    def look_up(self, stamps: Sequence[str]) -> None:
        """As `ChangesImages.look_up`."""
        found = self._collection.records_of(map(entry_of, stamps))
        self._read = {entry: record.metadata for entry, record in found.items()}

    def plan(self, image: Labelled, stamp: str, origin: Path | None, so_far: Sequence[Step]) -> Plan:
        """As `ChangesImages.plan`."""
        entry = entry_of(stamp)
        metadata = self._metadata(entry)
        if metadata is None:
            raise NotDone(image.path, f"entry {entry} is no longer there")
        after = {key: [value] for key, value in self._values(image).items()} if image.answers else self._none()
        before = {key: [metadata[key]] if key in metadata else [] for key in after}
        if before == after or (not image.answers and not so_far):  # what was there before is not ours
            return Plan()
        if any(before.values()) and not (so_far or self._overwrite):
            raise NotDone(image.path, f"has other metadata {self._key}; choose another key, or replace it with --force")
        return Plan(do=[Tagged(entry, str(image.path), before, after)])

    def reads(self, image: Labelled) -> Sequence[Path]:
        """As `ChangesImages.reads`: none."""
        return ()

    def do(self, step: Step) -> Step:
        """As `ChangesImages.do`; written by `flush`."""
        assert isinstance(step, Tagged)
        self._set(step.entry, step.after)
        return step

    def settle(self, step: Step) -> Step | None:
        """As `ChangesImages.settle`."""
        assert isinstance(step, Tagged)
        metadata = self._metadata(step.entry)
        return step if metadata is not None and _has(metadata, step.after) else None

    def undo(self, step: Step) -> None:
        """As `ChangesImages.undo`; written by `flush`."""
        assert isinstance(step, Tagged)
        metadata = self._metadata(step.entry)
        if metadata is None or _has(metadata, step.before):
            return
        if not _has(metadata, step.after):
            raise NotDone(step.path, f"{self._key} of entry {step.entry} was changed since; it stays")
        self._set(step.entry, step.before)

    def flush(self) -> None:
        """Write all that was done, in one transaction."""
        self._read |= self._changed
        while self._changed:
            try:
                self._collection.update({key: {"metadata": metadata} for key, metadata in self._changed.items()})
                self._changed.clear()
            except EntryNotFound:  # another process deleted one meanwhile
                there = self._collection.records_of(self._changed)
                self._changed = {key: metadata for key, metadata in self._changed.items() if key in there}

    def _values(self, image: Labelled) -> dict[str, Any]:
        score = round(image.answers[0].score, 4)
        return {self._key: [answer.label for answer in image.answers], f"{self._key}_score": score}

    def _none(self) -> dict[str, list[Any]]:
        return {self._key: [], f"{self._key}_score": []}

    def _metadata(self, entry: int) -> dict[str, Any] | None:
        for known in (self._changed, self._read):
            if entry in known:
                return known[entry]
        record = self._collection.records_of([entry]).get(entry)
        return record.metadata if record else None

    def _set(self, entry: int, values: dict[str, list[Any]]) -> None:
        metadata = dict(self._metadata(entry) or {})
        for key, value in values.items():
            metadata.pop(key, None)
            if value:
                metadata[key] = value[0]
        self._changed[entry] = metadata


def entry_of(stamp: str) -> int:
    """The entry that an image's stamp names."""
    return int(stamp.partition(" ")[0])


def _has(metadata: dict[str, Any], values: dict[str, list[Any]]) -> bool:
    return all(([metadata[key]] if key in metadata else []) == value for key, value in values.items())
