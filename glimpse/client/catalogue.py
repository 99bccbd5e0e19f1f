"""A catalogue that is kept in step with another system's: entries put by that one's ids, many changed or deleted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from base.errors import ImageError, InputError
from glimpse.client.answers import Deleted, Modality, Patched, Put, listed, read
from glimpse.client.batches import Image, in_batches, read_image, why
from glimpse.client.connection import Connection, as_json, given, in_path
from glimpse.client.errors import ServiceError

TOGETHER = 1000  # external ids in one request


class Chosen(TypedDict, total=False):
    """Which entries are meant: those that pass `filter`, or those of `external_ids`.

    With `dry_run` they are counted and nothing is done; `all` says that a filter without a condition is meant.
    """

    filter: Mapping[str, Any] | None
    external_ids: Iterable[str] | None
    modality: Modality | None
    dry_run: bool
    all: bool


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry by its owner's own id: one of image, image_url (fetched by the service) and text, and all that is said.

    Metadata replace those that are there.
    """

    external_id: str
    image: Image | None = None
    image_url: str | None = None
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None


class Catalogue(Connection):
    """The calls of `Client` on entries by their owner's own ids; `Entries` has those on one that is there."""

    def put_entry(self, collection: str, external_id: str, **entry: Any) -> Put:
        """Make an entry what is given, or leave it if it is so already; the fields are those of `NewEntry`.

        Raises:
            ImageError, InputError, ModelMismatch, ServiceError: what was there stays.
        """
        [done] = self.put_entries(collection, [NewEntry(external_id, **entry)])
        if done.raised is not None:
            raise done.raised
        return done

    def put_entries(
        self, collection: str, entries: Iterable[NewEntry], *, progress: Callable[[int], None] | None = None
    ) -> list[Put]:
        """Put any number of entries, sent in batches. What is there already stays as it is, so it can be run again.

        Args:
            collection: there must be one of that name.
            entries: each external id once.
            progress: called with the number of entries that are done.

        Returns:
            One result for each, in order. One that cannot be put has `failed` and an `error`, and the others go on.

        Raises:
            CollectionNotFound, ModelMismatch, ServiceError: what was sent before stays.
        """
        path = f"/v1/collections/{in_path(collection)}/entries"

        def ask(batch: Sequence[tuple[NewEntry, bytes]], patient: bool) -> Sequence[Any]:
            body = b'{"entries": [' + b", ".join(data for _, data in batch) + b"]}"
            headers = {"Content-Type": "application/json"}
            return listed(self.ask("PUT", path, content=body, headers=headers, patient=patient), "results")

        done: list[Put] = []
        for entry, said in in_batches(entries, _content, ask):
            done.append(_put(entry.external_id, said))
            if progress:
                progress(len(done))
        return done

    def delete_entries(self, collection: str, **chosen: Unpack[Chosen]) -> Deleted:
        """Delete what passes a filter, or what has these external ids.

        Raises:
            InputError: the filter is none, or has no condition and `all` is not said.
        """
        path = f"/v1/collections/{in_path(collection)}/entries/delete"
        done = Deleted(0, 0, chosen.get("dry_run", False))
        for asked in _requests(chosen):
            one = read(Deleted, self.ask("POST", path, json=asked))
            done = Deleted(done.matched + one.matched, done.deleted + one.deleted, done.dry_run)
        return done

    def patch_entries(
        self,
        collection: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        list_changed: bool = False,
        **chosen: Unpack[Chosen],
    ) -> Patched:
        """Merge into the metadata of many, as `update_entry` does with one; chosen as by `delete_entries`.

        With `list_changed` the ids of those that were changed are told, so that it can be taken back from them alone.
        """
        path = f"/v1/collections/{in_path(collection)}/entries"
        replaced = None if tags is None else list(tags)
        change = given(
            metadata=dict(metadata or {}),
            tags=replaced,
            add_tags=list(add_tags) or None,
            remove_tags=list(remove_tags) or None,
            list_changed=list_changed or None,
        )
        done = Patched(0, 0, 0, 0, dry_run=chosen.get("dry_run", False))
        for asked in _requests(chosen):
            one = read(Patched, self.ask("PATCH", path, json=asked | change))
            done = Patched(
                done.matched + one.matched,
                done.changed + one.changed,
                done.unchanged + one.unchanged,
                done.refused + one.refused,
                done.first_refused + one.first_refused,
                done.dry_run,
                done.changed_ids + one.changed_ids,
            )
        return done


def _requests(chosen: Chosen) -> Iterator[dict[str, Any]]:
    """What requests say of which entries are meant: of many external ids some at a time."""
    if unknown := chosen.keys() - Chosen.__annotations__.keys():
        raise TypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(Chosen.__annotations__)}")
    asked = given(**chosen)
    ids = list(asked.pop("external_ids", ()))
    if "external_ids" not in chosen or chosen["external_ids"] is None:
        yield asked
    for start in range(0, len(ids), TOGETHER):
        yield asked | {"external_ids": ids[start : start + TOGETHER]}


def _content(entry: NewEntry) -> bytes:
    """An entry as JSON has it. ImageError if its image cannot be read, or it cannot be said in JSON."""
    said = given(
        external_id=entry.external_id,
        image=None if entry.image is None else base64.b64encode(read_image(entry.image)).decode(),
        image_url=entry.image_url,
        text=entry.text,
        metadata=dict(entry.metadata),
        tags=None if entry.tags is None else list(entry.tags),
    )
    try:
        return as_json(said)
    except InputError as error:
        raise ImageError(None, str(error)) from None


def _put(external_id: str, said: Any) -> Put:
    if isinstance(said, ImageError | ServiceError):
        param = getattr(said, "param", None)
        return Put(external_id, "failed", error={"message": why(said), "code": said.code, "param": param})
    return read(Put, said, external_id=external_id)
