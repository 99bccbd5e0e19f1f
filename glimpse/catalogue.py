"""A catalogue in a file: its rows as entries by their owner's own ids, and how a collection is brought in step with it.

`LocalCatalogue` has for a collection of this machine what `glimpse.client.Client` has for a service's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from base.errors import GlimpseError, ImageError, InputError
from base.files import file_sha256
from base.sources.left_out import LeftOut
from base.sources.named_files import Names
from base.sources.tables import Table
from base.sources.texts import parse_json
from glimpse.client import Deleted, NewEntry, Patched, Put
from glimpse.client.answers import Modality
from glimpse.client.batches import read_image, why
from glimpse.client.catalogue import Chosen

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from index.collection import Collection, Record
    from service.collections import puts

FIELDS = ("image", "image_url", "text", "tags", "metadata")
_HALF = re.compile("[\ud800-\udfff]")
FOREVER = float("inf")
MODALITIES: tuple[Modality, ...] = ("image", "text")


class Known(Protocol):
    """What a listing says of an entry."""

    external_id: str | None
    sha256: str | None
    text: str | None
    metadata: dict[str, Any]


class Target(Protocol):
    """Where a catalogue goes: a `Client`, or a `LocalCatalogue`."""

    def entries(self, collection: str, modality: Modality = "image") -> Iterator[Any]:
        """Every entry."""

    def put_entries(
        self, collection: str, entries: Iterable[NewEntry], *, progress: Callable[[int], None] | None = None
    ) -> list[Put]:
        """Put entries; of one that cannot be put, why."""

    def delete_entries(self, collection: str, *, external_ids: Iterable[str] | None = None) -> Deleted:
        """Delete entries."""


@dataclass
class SyncReport:
    """What was done with the rows of a catalogue; `failed` has a dict of external_id, image and error each."""

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def read_catalogue(path: Path, *, id_key: str = "external_id") -> tuple[list[NewEntry], LeftOut]:
    """The rows of a table as entries, and which could not be used.

    `image` names a file, relative names starting at the table's folder; `image_url` and `text` are the same said
    otherwise; `tags` are split at commas, where they are text; `metadata` is a JSON object. Every other column that is
    not empty becomes a key of the metadata: text of a CSV, in JSON whatever it is.

    Raises:
        InputError: no such file, no table, no column of ids, or a column that is there twice.
    """
    table, names = Table(path, [(id_key, "--id-key")], each_once=True), Names(path.parent)
    found: dict[str, NewEntry] = {}
    left_out = LeftOut()
    for where, row in table.rows():
        key = row.pop(id_key, None)
        external_id = str(key).strip() if isinstance(key, str | int) and not isinstance(key, bool) else ""
        if not external_id:
            left_out.add("rows without an id", where)
        elif external_id in found:
            left_out.add("rows with the id of one before", f"{external_id} ({where})")
        else:
            try:
                found[external_id] = _entry(external_id, row, names)
            except InputError as error:
                left_out.add(f"rows that cannot be read: {error}", where)
    left_out.add_all(table.left_out)
    return list(found.values()), left_out


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What there is to do: entries to send, how many are as they are to be, and external ids that are no longer."""

    to_send: list[NewEntry]
    unchanged: int
    others: list[str]


def plan_sync(target: Target, collection: str, entries: list[NewEntry]) -> SyncPlan:
    """Hold a catalogue against a collection's listing. An entry without an external id is nobody's other."""
    known = {one.external_id: one for modality in MODALITIES for one in target.entries(collection, modality)}
    others = sorted(set(filter(None, known)) - {entry.external_id for entry in entries})
    to_send = [entry for entry in entries if not _is_known(entry, known.get(entry.external_id))]
    return SyncPlan(to_send, len(entries) - len(to_send), others)


def carry_out(
    target: Target, collection: str, plan: SyncPlan, *, delete_others: bool, progress: Callable[[int, int], None]
) -> SyncReport:
    """Put what is to be sent; with `delete_others` delete what is no longer."""
    same, total = plan.unchanged, plan.unchanged + len(plan.to_send)
    progress(same, total)
    done = target.put_entries(collection, plan.to_send, progress=lambda sent: progress(same + sent, total))
    counts = Counter(one.status for one in done)
    failures = [
        {"external_id": one.external_id, "image": _image_of(entry), "error": one.error}
        for entry, one in zip(plan.to_send, done, strict=True)
        if one.status == "failed"
    ]
    report = SyncReport(counts["created"], counts["replaced"], same + counts["unchanged"], failed=failures)
    if delete_others and plan.others:
        report.deleted = target.delete_entries(collection, external_ids=plan.others).deleted
    return report


class LocalCatalogue:
    """A collection of this machine, open for writing."""

    def __init__(self, data: Path, collection: Collection, encoder: Encoder | None = None) -> None:
        from service.collections.uploads import Uploads

        self._collection = collection
        self._encoder = encoder
        self._files = Uploads(data, collection.name)

    def entries(self, collection: str, modality: Modality = "image") -> Iterator[Record]:
        """Every entry in the order of ids."""
        return self._collection.records(modality)

    def entry(self, collection: str, external_id: str) -> Record:
        """One entry. EntryNotFound."""
        from service.collections.entries import find_external

        return find_external(self._collection, external_id)

    def put_entries(
        self, collection: str, entries: Iterable[NewEntry], *, progress: Callable[[int], None] | None = None
    ) -> list[Put]:
        """As `Client.put_entries`; what is new is encoded here."""
        from base.read_ahead import read_batches
        from index.ingest.rejection import measure_rejection

        assert self._encoder is not None
        self._collection.check_model(self._encoder.fingerprint)
        done: list[Put] = []
        for batch in read_batches(self._read, entries, self._encoder.batch_size, overlap=self._encoder.overlap):
            done += self._write(batch)
            if progress:
                progress(len(done))
        if any(one.status in ("created", "replaced") for one in done):
            measure_rejection(self._collection, self._encoder)
        return done

    def delete_entries(self, collection: str, **chosen: Unpack[Chosen]) -> Deleted:
        """As `Client.delete_entries`."""
        from service.collections.entries import delete_all

        ids = self._selected(chosen)
        is_dry = chosen.get("dry_run", False)
        gone = [] if is_dry else delete_all(self._collection, self._files, ids)
        return Deleted(len(ids), len(gone), is_dry)

    def patch_entries(
        self,
        collection: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        list_changed: bool = False,
        **chosen: Unpack[Chosen],
    ) -> Patched:
        """As `Client.patch_entries`."""
        from service.collections.entries import change_all
        from service.collections.metadata import Patch, tag_of

        patch = Patch(metadata or {}, [tag_of(tag) for tag in add_tags], remove_tags)
        ids = self._selected(chosen)
        if chosen.get("dry_run", False):
            return Patched(len(ids), 0, 0, 0, dry_run=True)
        done = change_all(self._collection, ids, patch)
        refused = [
            {"id": record.id, "external_id": record.external_id, "error": {"message": str(error), "code": error.code}}
            for record, error in done.refused
        ]
        told = done.changed if list_changed else []
        return Patched(len(ids), len(done.changed), done.unchanged, len(refused), refused[:100], changed_ids=told)

    def _selected(self, chosen: Chosen) -> list[int]:
        from index.search.filters import has_condition, parse_filter
        from index.search.patience import Patience
        from service.collections.entries import Selection

        wanted, external_ids = chosen.get("filter"), chosen.get("external_ids")
        if wanted is not None and not chosen.get("all") and not has_condition(parse_filter(wanted)):
            raise InputError("--filter has no condition, so all entries are meant: say so with --all, or give it one")
        ids = None if external_ids is None else list(external_ids)
        return Selection(wanted, ids, chosen.get("modality")).ids(self._collection, Patience(FOREVER))

    def _read(self, entry: NewEntry) -> puts.Put | Put:
        """One entry, read; or why it cannot be put."""
        from base.names import check_external_id
        from encoder.image import decode_picture
        from service.collections import puts
        from service.collections.metadata import merge_patch

        encoder = self._encoder
        assert encoder is not None
        try:
            if entry.image_url is not None:
                raise InputError("image_url is fetched by a service alone: give --url, or the file as image")
            if (entry.image is None) == (entry.text is None):
                raise InputError("give exactly one of text, image and image_url")
            if _HALF.search(entry.text or ""):
                raise InputError("text holds half a character (a lone surrogate)")
            metadata = merge_patch({}, described(entry))
            data = None if entry.image is None else read_image(entry.image)
            put = puts.Put(check_external_id(entry.external_id), metadata, entry.text, data)
            puts.read(
                self._collection,
                self._files,
                put,
                lambda image: decode_picture(image, encoder.preprocess, resize=encoder.resize),
            )
        except InputError as error:
            return failed(entry.external_id, error)
        return put

    def _write(self, batch: list[puts.Put | Put]) -> list[Put]:
        import numpy as np

        from service.collections import puts

        assert self._encoder is not None
        ready = [one for one in batch if isinstance(one, puts.Put)]
        pictures = [one for one in ready if one.picture is not None]
        texts = [one for one in ready if one.vector is None and one.text is not None]
        if pictures:
            pixels = np.stack([one.picture.pixels for one in pictures if one.picture])
            for one, vector in zip(pictures, self._encoder.encode_pixels(pixels), strict=True):
                one.vector = vector
        if texts:
            for one, vector in zip(texts, self._encoder.encode_texts([one.text or "" for one in texts]), strict=True):
                one.vector = vector
        written = iter(puts.write(self._collection, self._files, ready, self._encoder.fingerprint))
        return [
            one if isinstance(one, Put) else replace(_done(one), status=(now := next(written)).status, id=now.id)
            for one in batch
        ]


def described(entry: NewEntry) -> dict[str, Any]:
    """The metadata of an entry, its tags among them."""
    return dict(entry.metadata) | ({} if entry.tags is None else {"tags": list(dict.fromkeys(entry.tags)) or None})


def failed(external_id: str, error: GlimpseError) -> Put:
    """An entry that cannot be put, and why."""
    message = why(error) if isinstance(error, ImageError) else str(error)
    return Put(external_id, "failed", error={"message": message, "code": error.code, "param": None})


def _image_of(entry: NewEntry) -> str | None:
    return entry.image_url or (str(entry.image) if isinstance(entry.image, str | Path) else None)


def _done(put: puts.Put) -> Put:
    return Put(put.external_id, "", cut_off=(put.picture.cut_off or None) if put.picture else None)


def _entry(external_id: str, row: dict[str, Any], names: Names) -> NewEntry:
    given = {name: row.pop(name, None) for name in FIELDS}
    for name in ("image", "image_url", "text"):
        if given[name] is not None and not isinstance(given[name], str):
            raise InputError(f"{name} must be text")
    image = (given["image"] or "").strip()
    metadata = {key: value for key, value in row.items() if value not in (None, "") and key}
    if isinstance(said := given["metadata"], str) and said.strip():
        try:
            said = parse_json(said)
        except ValueError:
            raise InputError("metadata must be a JSON object") from None
    if said and not isinstance(said, dict):
        raise InputError("metadata must be a JSON object")
    tags = given["tags"]
    if isinstance(tags, str):
        tags = [tag.strip() for tag in tags.split(",") if tag.strip()] or None
    return NewEntry(
        external_id,
        image=(names.find(image) or names.likely(image)) if image else None,
        image_url=(given["image_url"] or "").strip() or None,
        text=given["text"] or None,
        metadata=metadata | (said or {}),
        tags=tags,
    )


def _is_known(entry: NewEntry, known: Known | None) -> bool:
    """Whether what is there is what would be put; where it cannot be told it is not."""
    if known is None or known.metadata != described(entry):
        return False
    if entry.text is not None:
        return known.text == entry.text
    if isinstance(entry.image, str | Path) and known.sha256 is not None:
        try:
            return file_sha256(entry.image) == known.sha256
        except (OSError, ValueError):
            return False
    return False
