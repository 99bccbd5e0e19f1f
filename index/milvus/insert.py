"""Entries that come into a collection on Milvus: each takes the row that is there, or a new id. Writes none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from base.errors import InputError, QuotaExceeded
from index.entry import Entry
from index.matching import Row, check_wanted, take_rows, taken
from index.milvus.identity import Identity, changes
from index.milvus.records import LOOKUP, Records
from index.milvus.rows.expressions import EVERY, among, ids_among
from index.milvus.rows.schema import row_of
from index.rows import stored_rows


@dataclass(frozen=True, slots=True)
class Placed:
    """A batch as it is to be written: the id of each entry, the rows of all, and the ids of entries that go."""

    ids: list[int]
    rows: list[dict[str, Any]]
    gone: list[int]


class Insert:
    """Finds the rows of one collection's entries; who calls it holds `writing`."""

    def __init__(self, collection: Records) -> None:
        self._collection = collection
        self._unseen = True  # whether there are rows above the next id

    def place(self, now: Identity, entries: Sequence[Entry]) -> Placed:
        """What to write and what to delete for these entries. InputError, QuotaExceeded."""
        x = stored_rows([entry.vector for entry in entries], now.dim).astype(np.float32)
        columns = [row_of(entry) for entry in entries]
        rows, gone, fresh = self._take_rows(now, entries, columns)
        self.check_quota(now, fresh - len(gone))
        stamp, last = time.time_ns(), {row.id: i for i, row in enumerate(rows)}
        written = [
            columns[i] | {"id": key, "external_id": rows[i].external_id or "", "vector": x[i], "stamp": stamp}
            for key, i in last.items()
        ]
        return Placed([row.id for row in rows], written, gone)

    def check_quota(self, now: Identity, more: int) -> None:
        """QuotaExceeded if so many more entries would be too many."""
        most = now.quota.entries
        if most is not None and more > 0 and (before := self._collection.count()) + more > most:
            raise QuotaExceeded(
                f"collection {now.name!r} has {before} entries and may have {most}, so {more} more do not fit; "
                "delete some, or have its quota raised (glimpse collections quota, PATCH /v1/collections/NAME)"
            )

    def check_alone(self, now: Identity, columns: Mapping[int, Mapping[str, Any]]) -> None:
        """InputError if by such changes, of rows by id, two entries would have the same path or external id."""
        for field in ("path", "external_id"):
            wanted = {key: new[field] for key, new in columns.items() if new.get(field)}
            others = self._rows_with(now, field, list(wanted.values()))
            stay = {row.id for row in others.values() if field not in columns.get(row.id, {})}
            if len(set(wanted.values())) < len(wanted) or stay - wanted.keys():
                raise InputError(f"another entry has the same {field}: change or delete that one first")

    def _take_rows(
        self, now: Identity, entries: Sequence[Entry], columns: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Row], list[int], int]:
        """A row for each entry (index.matching), the ids of entries that go, and how many are new."""
        paths = [column["path"] or None for column in columns]
        by_path = self._rows_with(now, "path", [path for path in paths if path])
        by_name = self._rows_with(now, "external_id", [entry.external_id for entry in entries if entry.external_id])
        both = {row.id: row for row in [*by_path.values(), *by_name.values()]}
        by_path, by_name = ({key: both[row.id] for key, row in there.items()} for there in (by_path, by_name))
        gone = {
            row.id for entry in entries if (row := by_name.get(entry.external_id)) and row.modality != entry.modality
        }
        for there in (by_path, by_name):
            for key in [key for key, found in there.items() if found.id in gone]:
                del there[key]
        wanted = check_wanted(entries)
        if wanted:
            for before in self._collection.server.query(now.table, ids_among(wanted), ["id"], self._collection.fresh()):
                raise taken(before["id"])
        next_id = max([now.next_id, *(key + 1 for key in wanted)])
        if self._unseen:  # a server that is killed may lose a property that it said was set, and keep the rows
            above = self._collection.server.ids(now.table, EVERY, next_id - 1)
            next_id = max([next_id, *(key + 1 for some in above for key in some)])
            self._unseen = False

        def new_id() -> int:
            nonlocal next_id
            next_id += 1
            return next_id - 1

        rows = take_rows(entries, paths, by_path, by_name, new_id)
        if next_id > now.next_id:  # before any row has one of them
            self._collection.server.set_properties(now.table, changes(next_id=next_id))
        return rows, sorted(gone), len({row.id for row in rows} - both.keys())

    def _rows_with(self, now: Identity, field: str, values: Sequence[str]) -> dict[Any, Row]:
        """The rows that are there with those paths or external ids, by them."""
        there: dict[Any, Row] = {}
        for start in range(0, len(values), LOOKUP):
            where = among(field, values[start : start + LOOKUP])
            fields, fresh = ["id", "modality", "path", "external_id"], self._collection.fresh()
            for found in self._collection.server.query(now.table, where, fields, fresh):
                row = Row(found["id"], found["modality"], found["path"] or None, found["external_id"] or None)
                there[found[field]] = row
        return there
