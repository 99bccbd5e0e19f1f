"""One entry of a collection, by its id, its owner's own id or its path; and as a person reads it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from json import dumps
from typing import TYPE_CHECKING, Any

from base.errors import EntryNotFound, InputError
from base.names import check_external_id

if TYPE_CHECKING:
    from glimpse.client import Client
    from glimpse.client import Record as ServedRecord
    from index.collection import Collection, Record

FIELDS = ("external_id", "id", "modality", "path", "text", "width", "height", "taken")
DIGITS = 18  # of an id at most
LONGEST = 500  # characters of a value that a person is shown
KEYS = 100  # of metadata


def entry_here(source: Collection, what: str) -> Record:
    """An entry of a collection of this machine; what is both an id and something else is the id. EntryNotFound."""
    if (number := _number(what)) is not None:
        with suppress(EntryNotFound):
            return source.get(number)
    if (external := _external(what)) and (found := source.find_external([external])):
        return found[external]
    for path in _paths(what):
        if (record := source.find_path(path)) is not None:
            return record
    raise _not_found(what)


def entry_there(client: Client, collection: str, what: str) -> ServedRecord:
    """The same of a service. EntryNotFound; GlimpseError: as it says."""
    if (number := _number(what)) is not None:
        for modality in ("image", "text"):
            with suppress(EntryNotFound):
                return client.entry(collection, number, modality)
    if external := _external(what):
        with suppress(EntryNotFound):
            return client.entry(collection, external)
    for path in _paths(what):
        is_it = {"must": [{"key": "file.path", "match": {"value": path}}]}
        for record in client.entries(collection, filter=is_it):
            return record
    raise _not_found(what)


def entry_as_json(record: Record | ServedRecord) -> dict[str, Any]:
    """What is known of it here and at a service alike."""
    return {name: getattr(record, name) for name in (*FIELDS, "sha256", "metadata")}


def print_entry(entry: Mapping[str, Any]) -> None:
    """A line for each thing that is known of it, none longer than a screen and not of all keys where there are many."""
    from glimpse import console

    for name in FIELDS:
        if entry[name] is not None:
            console.out.print(f"{name}: {_cut(str(entry[name]))}")
    metadata = entry["metadata"]
    for key, value in islice(metadata.items(), KEYS):
        shown = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
        console.out.print(f"metadata.{_cut(key)}: {_cut(shown)}")
    if len(metadata) > KEYS:
        console.err.print(f"... and {len(metadata) - KEYS:,} more keys of metadata; --json has all")


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}... ({len(text):,} characters; --json has all)"


def _number(what: str) -> int | None:
    is_number = what.isascii() and what.isdigit() and len(what) <= DIGITS
    return int(what) or None if is_number else None  # there is no entry 0


def _external(what: str) -> str | None:
    with suppress(InputError):
        return check_external_id(what)
    return None


def _paths(what: str) -> Iterator[str]:
    """As it was given, and from here on; with accents of the other form too, which look the same."""
    whole = os.path.abspath(os.path.expanduser(what))  # noqa: PTH100, PTH111  links stay
    paths = [what, whole] if os.path.isabs(what) else [whole]  # noqa: PTH117
    forms = (unicodedata.normalize(form, path) for path in paths for form in ("NFC", "NFD"))
    yield from dict.fromkeys([*paths, *forms])


def _not_found(what: str) -> EntryNotFound:
    return EntryNotFound(f"no entry {what}: it is neither an id, nor an external id, nor the path of one")
