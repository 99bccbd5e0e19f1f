"""Which row each entry of a batch takes: the one that is there with its path or external id, or a new one.

The same in every store, which brings the rows that are there and gives new ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from base.errors import InputError
from index.entry import Entry, Modality


@dataclass(slots=True)
class Row:
    """A row as it is there, or as an entry before in the batch makes it."""

    id: int
    modality: Modality
    path: bytes | str | None  # as the store has it
    external_id: str | None
    metadata: str = "{}"


def check_wanted(entries: Sequence[Entry]) -> list[int]:
    """The ids that entries want. InputError unless they are positive and each stands once."""
    wanted = [entry.id for entry in entries if entry.id is not None]
    if wanted and (len(set(wanted)) < len(wanted) or min(wanted) < 1):
        raise InputError("wanted ids must be positive, and each stand once")
    return wanted


def taken(key: int) -> InputError:
    """What to raise for a wanted id that an entry has, or had."""
    return InputError(f"id {key} is taken, or was: leave `id` out to get a new one")


def take_rows(
    entries: Sequence[Entry],
    paths: Sequence[Any],
    by_path: dict[Any, Row],
    by_name: dict[Any, Row],
    new_id: Callable[[], int],
) -> list[Row]:
    """A row for each entry: the one that is there, or one with the id that it wants, or a new one.

    Args:
        entries: of one batch, in order.
        paths: theirs, as the store has them.
        by_path: the rows that are there, by path; brought up to date.
        by_name: the same by external id.
        new_id: gives one that no entry has, or had.

    Raises:
        InputError: an entry cannot take the row of its path or external id.
    """
    rows = []
    for entry, path in zip(entries, paths, strict=True):
        row = _row_of(entry, path, by_path, by_name)
        if row is None:
            row = Row(new_id() if entry.id is None else entry.id, entry.modality, path, entry.external_id)
        elif row.path != path:
            by_path.pop(row.path, None)  # it moves
        row.path, row.external_id = path, entry.external_id or row.external_id
        if path is not None:
            by_path[path] = row
        if row.external_id is not None:
            by_name[row.external_id] = row
        rows.append(row)
    return rows


def _row_of(entry: Entry, path: Any, by_path: dict[Any, Row], by_name: dict[Any, Row]) -> Row | None:
    """The row that an entry takes, if it is there. InputError if it cannot be the entry's."""
    at, named = by_path.get(path), by_name.get(entry.external_id)
    row = named or at
    if row is None:
        return None
    what = f"external_id {entry.external_id!r}" if named else entry.path
    if at is not None and entry.external_id not in (None, at.external_id) and (named or at.external_id is not None):
        raise InputError(f"{entry.path} is the path of another entry (id {at.id}): change or delete that one first")
    if row.modality != entry.modality:
        raise InputError(f"{what} is in the collection with another modality: delete that entry first")
    if entry.id is not None and row.id != entry.id:
        raise InputError(f"{what} is in the collection with id {row.id}, not {entry.id}: leave `id` out")
    return row
