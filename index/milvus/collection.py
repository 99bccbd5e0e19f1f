"""A collection on a Milvus server, as index.stored has it. It takes vectors, never a model.

A batch is one request to the server, in its log when it returns. One process writes, as on disk: the writer's lock lies
in the data folder, so that all who write share one. What is of this machine alone lies there too, beside the lock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import (
    CollectionError,
    CollectionNotFound,
    EntryNotFound,
    InputError,
    NotInStore,
    QuotaExceeded,
    StoreUnavailable,
)
from base.files import write_whole
from base.names import check_external_id, check_title
from base.read_ahead import batches
from index.batch import Batch
from index.columns import AllVectors, Columns
from index.config import CONCEPT, QUERIES, IndexConfig, IndexKind, K, Quota
from index.entry import (
    MODALITIES,
    ChangePage,
    CollectionInfo,
    Entry,
    FacetKey,
    FacetValue,
    Folder,
    ImageRow,
    Modality,
    Record,
    known,
)
from index.matching import Row, check_wanted, take_rows, taken
from index.milvus import facet_counts, folders
from index.milvus.expressions import EVERY, among, ids_among, quoted
from index.milvus.identity import Identity, alias_of, changes, is_table_of, new_table
from index.milvus.keepsakes import NoKeepsakes
from index.milvus.next_model import NextModel
from index.milvus.opened import Opened
from index.milvus.read_view import ReadView
from index.milvus.schema import (
    FIELDS,
    RECORD,
    columns_of,
    fields_of,
    inside_of,
    path_text,
    record_of,
    row_of,
    vectors_of,
)
from index.milvus.server import Server
from index.milvus.tuning import Tuning, choose, exactly, index_of, tuned
from index.rows import stored_rows, unit_rows
from index.search.calibration import Rejection
from index.search.filters import parse_filter, parse_key
from index.search.patience import Patience
from index.search.searches import Searches

LOOKUP = 500  # paths or external ids in one expression
TOGETHER = 2000  # rows in one request
PLACES = "places.json"


class MilvusCollection(Opened, Searches):
    """An open collection. Every method may be called from any thread. `MilvusStore` creates and opens them.

    Attributes:
        is_near: it is asked of a server.
        next: another model's vectors, beside the present ones until the alias leads to them.
        keepsakes: none are kept.
    """

    is_near = False

    def __init__(self, server: Server, identity: Identity, folder: Path, lock: int | None) -> None:
        super().__init__(server, identity, folder, lock)
        self.keepsakes = NoKeepsakes()
        self._unseen = True  # whether there are rows above the next id
        self.next = NextModel(self)

    # --- what it is ---

    @property
    def model(self) -> str:
        """The reference of the model whose vectors these are."""
        return self.identity().model

    @property
    def fingerprint(self) -> str:
        """Of that model's weights and preprocessing."""
        return self.identity().fingerprint

    def made_by(self) -> tuple[str, str]:
        """That model's reference and its fingerprint, of one moment."""
        now = self.identity()
        return now.model, now.fingerprint

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return self.identity().dim

    def is_there(self) -> bool:
        """Whether it was neither deleted nor made anew under its name since it was opened."""
        try:
            return bool(self.identity())
        except CollectionNotFound:
            return False

    def info(self) -> CollectionInfo:
        """Its model and counts, now. Its bytes are those of its vectors: Milvus does not say what it takes on disk."""
        now = self.identity()
        counts = {modality: self.count(modality) for modality in MODALITIES}
        size = sum(counts.values()) * now.dim * 4
        return CollectionInfo(
            self.name, now.model, now.fingerprint, now.dim, counts, now.created_at, size, self._index(now, counts),
            self.next.info(), quota=now.quota, title=now.title,
        )  # fmt: skip

    @staticmethod
    def _index(now: Identity, counts: Mapping[Modality, int]) -> dict[str, dict[str, Any]]:
        """For each modality that has entries what its index is; it lacks none of them."""
        known = {"kind": "exact", "recall": 1.0} if now.tuning is None else asdict(now.tuning)
        return {modality: known | {"rows": n, "fresh": 0} for modality, n in counts.items() if n}

    def count(self, modality: Modality | None = None) -> int:
        """How many entries it has, of one modality or of all."""
        where = EVERY if modality is None else f'modality == "{known(modality)}"'
        return self.server.count(self.identity().table, where, self.fresh())

    def last_id(self) -> int:
        """The highest id that an entry has, or had; 0 if there was none."""
        return self.identity().next_id - 1

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless `fingerprint` is that of the model that made these vectors."""
        self.identity().check_model(fingerprint)

    # --- writing: acknowledged when it returns ---

    def upsert(self, entries: Sequence[Entry], fingerprint: str | None = None) -> list[int]:
        """Write entries and return their ids, as index.local.collection has it. InputError, and then none is written.

        They are written in requests of some thousands; where the connection drops between two, what the first wrote
        stays, and the same call again writes the rest.
        """
        self.check_writable()
        if not entries:
            return []
        for entry in entries:
            known(entry.modality)
        with self.writing:
            now = self.identity()
            if fingerprint is not None:
                now.check_model(fingerprint)
            x = stored_rows([entry.vector for entry in entries], now.dim).astype(np.float32)
            columns = [row_of(entry) for entry in entries]
            rows, gone, fresh = self._take_rows(now, entries, columns)
            self._check_quota(now, fresh - len(gone))
            stamp, last = time.time_ns(), {row.id: i for i, row in enumerate(rows)}
            written = [
                columns[i] | {"id": key, "external_id": rows[i].external_id or "", "vector": x[i], "stamp": stamp}
                for key, i in last.items()
            ]
            for start in range(0, len(written), TOGETHER):
                self.server.upsert(now.table, written[start : start + TOGETHER])
            if gone:
                self._delete(now, gone)
            return [row.id for row in rows]

    def write(self, batch: Batch, fingerprint: str | None = None) -> list[int]:
        """As `upsert`, of entries as columns."""
        return self.upsert(batch.entries, fingerprint)

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
            for before in self.server.query(now.table, ids_among(wanted), ["id"], self.fresh()):
                raise taken(before["id"])
        next_id = max([now.next_id, *(key + 1 for key in wanted)])
        if self._unseen:  # a server that is killed may lose a property that it said was set, and keep the rows
            next_id = max(
                [next_id, *(key + 1 for some in self.server.ids(now.table, EVERY, next_id - 1) for key in some)]
            )
            self._unseen = False

        def new_id() -> int:
            nonlocal next_id
            next_id += 1
            return next_id - 1

        rows = take_rows(entries, paths, by_path, by_name, new_id)
        if next_id > now.next_id:  # before any row has one of them
            self.server.set_properties(now.table, changes(next_id=next_id))
        return rows, sorted(gone), len({row.id for row in rows} - both.keys())

    def _rows_with(self, now: Identity, field: str, values: Sequence[str]) -> dict[Any, Row]:
        """The rows that are there with those paths or external ids, by them."""
        there: dict[Any, Row] = {}
        for start in range(0, len(values), LOOKUP):
            where = among(field, values[start : start + LOOKUP])
            for found in self.server.query(now.table, where, ["id", "modality", "path", "external_id"], self.fresh()):
                row = Row(found["id"], found["modality"], found["path"] or None, found["external_id"] or None)
                there[found[field]] = row
        return there

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Set fields of rows by id, as index.local.collection has it; each row is read and written whole."""
        self.check_writable()
        names = set(FIELDS) - {"modality"}
        for fields in changes.values():
            if unknown := set(fields) - names:
                raise InputError(f"cannot update {', '.join(sorted(unknown))}; fields are {', '.join(sorted(names))}")
        columns = {int(key): columns_of(fields) for key, fields in changes.items()}
        if not columns:
            return
        with self.writing:
            now = self.identity()
            view = self.view_of(now)
            rows = {row["id"]: row for row in view.rows(columns, ["*", "vector"])}
            for key in columns:
                if key not in rows:
                    raise EntryNotFound(f"no entry with id {key}")
            for field in ("path", "external_id"):
                self._check_alone(
                    now, field, {key: new[field] for key, new in columns.items() if new.get(field)}, columns
                )
            self.server.upsert(now.table, [rows[key] | new for key, new in columns.items()])
            if now.next_table:
                self.next.update(now, columns)

    def _check_alone(self, now: Identity, field: str, wanted: Mapping[int, str], moved: Mapping[int, Any]) -> None:
        """InputError if two entries would have the same path or external id."""
        others = self._rows_with(now, field, list(wanted.values()))
        stay = {row.id for row in others.values() if field not in moved.get(row.id, {})}
        if len(set(wanted.values())) < len(wanted) or stay - wanted.keys():
            raise InputError(f"another entry has the same {field}: change or delete that one first")

    def delete(self, ids: Iterable[int]) -> int:
        """Delete entries; unknown ids are passed over. Returns how many went."""
        self.check_writable()
        with self.writing:
            now = self.identity()
            there = [int(row["id"]) for row in self.view_of(now).rows(ids, ["id"])]
            self._delete(now, there)
            return len(there)

    def _delete(self, now: Identity, ids: Sequence[int]) -> None:
        for table in (now.table, now.next_table):
            for start in range(0, len(ids) if table else 0, TOGETHER):
                self.server.delete(table, ids[start : start + TOGETHER])
        self._has_read = False  # the client's sessions know of what was upserted, not of what was deleted

    def check(self) -> list[str]:
        """Every problem found by reading all entries; one line each. Its bytes are the server's to watch over."""
        problems, seen = [], {"path": set[str](), "external_id": set[str]()}
        for row in self._rows(EVERY, ["id", "path", "external_id", "modality", "vector"]):
            for field, before in seen.items():
                if row[field] and row[field] in before:
                    problems.append(f"entry {row['id']}: another entry has the same {field} {row[field]!r}: delete one")
                before.add(row[field])
            if not abs(float(np.linalg.norm(row["vector"])) - 1) < 0.01:
                problems.append(f"entry {row['id']}: its vector is not of length 1: it was not written by glimpse")
        return problems

    # --- what it is called, and how much it may hold ---

    @property
    def title(self) -> str | None:
        """What it is called where people read; None: by its name."""
        return self.identity().title

    def set_title(self, title: str | None) -> None:
        """Have it called so, or by its name. InputError for what cannot be a title."""
        self._set(title="" if title is None else check_title(title))

    @property
    def quota(self) -> Quota:
        """How much it may hold."""
        return self.identity().quota

    def set_quota(self, quota: Quota) -> None:
        """Have it hold so much at most, from now on. What is there stays, even if it is more."""
        self._set(quota=asdict(quota))

    def check_room(self, more: int) -> None:
        """QuotaExceeded if so many more entries would be too many; `upsert` asks as well, of what is there then."""
        self._check_quota(self.identity(), more)

    def _check_quota(self, now: Identity, more: int) -> None:
        most = now.quota.entries
        if most is not None and more > 0 and (before := self.count()) + more > most:
            raise QuotaExceeded(
                f"collection {self.name!r} has {before} entries and may have {most}, so {more} more do not fit; "
                "delete some, or have its quota raised (glimpse collections quota, PATCH /v1/collections/NAME)"
            )

    def bytes_inside(self, folder: str | Path) -> int:
        """Bytes of the files inside a folder that its entries name."""
        return sum(max(0, row["size"]) for row in self._rows(_inside(folder), ["id", "size"]))

    # --- its index: only speed depends on it ---

    @property
    def index_config(self) -> IndexConfig:
        """What its index is asked to be."""
        return self.identity().config

    def is_due(self) -> bool:
        """Never: the server builds its indexes as it grows."""
        return False

    def compact(self, config: IndexConfig | None = None, rows: Path | None = None) -> None:
        """Build its index anew, tuned to the recall that is wished, if it is to have one; writes wait meanwhile.

        It is built in another collection of Milvus's, to which the alias leads once it was measured. NotInStore for a
        kind that Milvus has not, and for a place of its `rows`; CollectionError while another model is being gathered.
        """
        self.check_writable()
        if rows is not None:
            raise NotInStore(
                "Milvus says where its rows lie: leave --rows out, or move the collection to the local store"
            )
        with self.writing:
            now = self.identity()
            wanted = config or now.config
            kind = choose(self.count(), wanted)
            if kind != "exact" or now.tuning is not None:
                self._rebuild(now, kind, wanted)
            if config is not None:  # only now: one that cannot be built must not stand in the way of the next times
                self._set(index=asdict(config))

    def _rebuild(self, now: Identity, kind: IndexKind, wanted: IndexConfig) -> None:
        if now.next_table:
            raise CollectionError(
                f"collection {self.name!r} changes its model: finish that first, or forget it (glimpse reindex "
                f"--collection {self.name} --abandon)"
            )
        for left in self.server.names():  # by a kill
            if is_table_of(left, self.name) and left != now.table:
                self.server.drop(left)
        new = replace(now, table=new_table(self.name), tuning=None)
        self.server.create(new.table, fields_of(now.dim), new.properties(), index_of(kind, self.count()), load=False)
        try:
            for rows in self._blocks(EVERY, ["*", "vector"]):
                self.server.upsert(new.table, rows)
            self.server.build(new.table)
            if (copied := self.server.count(new.table, EVERY)) != (total := self.count()):
                raise StoreUnavailable(
                    f"{self.server.address} has {copied} of {total} entries of {self.name!r} in the new index: the old "
                    "one is used; try again"
                )
            if kind != "exact":
                new = replace(new, tuning=self._tuned(new, kind, wanted.recall))
            finds_too_little = wanted.kind == "auto" and new.tuning is not None and new.tuning.recall < wanted.recall
            if finds_too_little and now.tuning is None:  # these data are no easier to find so: compare them all
                self.server.drop(new.table)
                return
            self.server.set_properties(new.table, new.properties())
        except BaseException:
            self.server.drop(new.table)
            raise
        # where the answer is lost the alias may lead to either: the next time drops the other one
        self.server.point(alias_of(self.name), new.table, anew=False)
        self.server.drop(now.table)
        if finds_too_little:
            self._rebuild(new, "exact", wanted)

    def _tuned(self, new: Identity, kind: IndexKind, target: float) -> Tuning:
        """What the index finds, measured on rows and on means of their neighbours."""
        counts = {modality: self.count(modality) for modality in MODALITIES}
        modality = max(MODALITIES, key=lambda one: counts[one])
        view = self.read_view()

        def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            for rows in self._blocks(f'modality == "{modality}"', ["id", "vector"]):
                yield np.array([row["id"] for row in rows], np.int64), unit_rows(vectors_of(rows, new.dim), new.dim)

        _, own = view.sample(modality, min(QUERIES, counts[modality] // 4))
        near = exactly(blocks(), own, CONCEPT)
        means = np.stack([view.vectors(ids, modality).mean(axis=0) for ids in near])
        xq = np.concatenate([own, unit_rows(means, new.dim)])

        def found_by(tuning: Tuning) -> list[list[int]]:
            asked = ReadView(self.server, replace(new, tuning=tuning), {}, "Session")
            return [ids.tolist() for _, ids in asked.nearest(xq, K, modality)]

        return tuned(kind, sum(counts.values()), target, found_by, near + exactly(blocks(), xq[len(own) :], K))

    # --- reading ---

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Vectors (n, dim) in the order of `ids`. EntryNotFound if one is not there."""
        return self.read_view().stored([int(key) for key in ids])

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there."""
        return {row["id"]: record_of(row) for row in self.read_view().rows(ids, RECORD)}

    def records(
        self,
        modality: Modality | None = None,
        under: str | Path | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Stream records in the order of ids, from above `after_id`; `under`: only paths inside that folder."""
        parts = [f'modality == "{known(modality)}"'] if modality else []
        parts += [_inside(under)] if under is not None else []
        return map(record_of, self._rows(" and ".join(parts) or EVERY, RECORD, after_id, limit))

    def _rows(
        self, where: str, fields: list[str], after: int = 0, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Stream rows in the order of ids; one that goes meanwhile is passed over."""
        for rows in self._blocks(where, fields, after, limit):
            yield from rows

    def _blocks(
        self, where: str, fields: list[str], after: int = 0, limit: int | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """The same, some thousands at a time."""
        now = self.identity()
        view, left = self.view_of(now), limit
        for ids in self.server.ids(now.table, where, after, self.fresh()):
            some = ids if left is None else ids[:left]
            for start in range(0, len(some), TOGETHER):
                rows = view.rows(some[start : start + TOGETHER], fields, "Eventually")
                yield sorted(rows, key=lambda row: int(row["id"]))
            if left is not None and (left := left - len(some)) <= 0:
                return

    def images(self) -> Iterator[ImageRow]:
        """Stream the images as rows, in the order of ids."""
        for record in self.records("image"):
            path = None if record.path is None else os.fsencode(record.path)
            yield record.id, path, record.size, record.mtime_ns, record.sha256, record.width, record.height

    def paths(self, under: str | Path) -> Iterator[tuple[str, int, int | None, int | None]]:
        """Stream (path, id, mtime_ns, size) of the images inside that folder, in the order of the paths' bytes."""
        found = [
            (record.path or "", record.id, record.mtime_ns, record.size) for record in self.records("image", under)
        ]
        yield from sorted(found, key=lambda one: os.fsencode(one[0]))  # Milvus has no order but that of ids

    def paths_with_dots(self) -> list[tuple[str, int]]:
        """(path, id) of the entries whose path has a part `..`."""
        found = ((str(row["path"]), int(row["id"])) for row in self._rows('path != ""', ["id", "path"]))
        return [(path, key) for path, key in found if ".." in path.split("/")]

    def find_path(self, path: str | Path) -> Record | None:
        """The record of that path."""
        try:
            text = path_text(path)
        except InputError:  # no entry has it
            return None
        return next(self._rows_as_records(f"path == {quoted(text or '')}"), None)

    def find_sha256(self, sha256: str, limit: int = -1) -> list[Record]:
        """The records of that hash, in the order of ids, `limit` at most; copies of a file are several."""
        rows = self._rows(f"sha256 == {quoted(sha256)}", RECORD, limit=None if limit < 0 else limit)
        return [record_of(row) for row in rows]

    def find_paths(self, paths: Iterable[str]) -> dict[str, Record]:
        """The records of those paths that are there, by them."""
        return {str(record.path): record for record in self._records_with("path", paths)}

    def find_external(self, external_ids: Iterable[str]) -> dict[str, Record]:
        """The records of those external ids that are there, by them."""
        wanted = [check_external_id(one) for one in external_ids]
        return {str(record.external_id): record for record in self._records_with("external_id", wanted)}

    def _records_with(self, field: str, values: Iterable[str]) -> Iterator[Record]:
        for some in batches(dict.fromkeys(values), LOOKUP):
            yield from self._rows_as_records(among(field, some))

    def _rows_as_records(self, where: str) -> Iterator[Record]:
        return map(record_of, self.server.query(self.identity().table, where, RECORD, self.fresh()))

    # --- searching ---

    def refresh(self) -> None:
        """Have the server load what the next search needs."""
        self.identity()

    def read_view(self) -> ReadView:
        """The vectors: every write acknowledged before this call."""
        return self.view_of(self.identity())

    def filter_ids(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        modality: Modality,
        patience: Patience | None = None,
    ) -> NDArray[np.int64]:
        """The ids, ascending, that pass a filter. InputError, NotInStore, FilterTooSlow, GivenUp."""
        now = self.identity()
        passing = self.view_of(now).select(parse_filter(filter), known(modality), patience)
        found = [
            key for some in self.server.ids(now.table, f'modality == "{modality}" and ({passing})') for key in some
        ]
        return np.array(found, np.int64)

    def all_vectors(self) -> AllVectors:
        """NotInStore."""
        raise self._no_columns()

    def vectors_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """NotInStore."""
        raise self._no_columns()

    def written_since(self, version: int) -> tuple[int, NDArray[np.int64]]:
        """NotInStore."""
        raise self._no_columns()

    def columns_state(self) -> str:
        """NotInStore."""
        raise self._no_columns()

    def columns(self) -> Columns:
        """NotInStore."""
        raise self._no_columns()

    def columns_among(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        patience: Patience | None = None,
    ) -> tuple[Columns, NDArray[np.bool_]]:
        """NotInStore."""
        raise self._no_columns()

    def _no_columns(self) -> NotInStore:
        return NotInStore(
            f"collection {self.name!r} lies on Milvus, which gives no columns of all pictures and no map: search it, "
            "read its entries page by page, or move it to the local store (glimpse collections move)"
        )

    def changes_after(self, after: str | None = None, limit: int = 1000) -> ChangePage:
        """NotInStore."""
        raise NotInStore(
            f"collection {self.name!r} lies on Milvus, which keeps no feed of changes: read all entries again now and "
            "then, or move it to the local store (glimpse collections move)"
        )

    def facet(
        self,
        key: str,
        limit: int = 10,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        modality: Modality = "image",
        patience: Patience | None = None,
    ) -> list[FacetValue]:
        """The most frequent values of a key, as index.local.collection has it; it reads the metadata of all entries."""
        if limit < 1:
            raise InputError(f"limit: must be at least 1, not {limit}")
        asked, where = parse_key(key), f'modality == "{known(modality)}"'
        if filter is not None:
            where += f" and ({self.read_view().select(parse_filter(filter), modality, patience)})"
        return facet_counts.values(self._metadata(where, patience), asked, limit)

    def facet_keys(self, modality: Modality = "image", patience: Patience | None = None) -> list[FacetKey]:
        """Every key of the metadata, by name. Raises as `facet`."""
        return facet_counts.keys(self._metadata(f'modality == "{known(modality)}"', patience))

    def folder_of(
        self, path: str | None = None, without: str | None = None, patience: Patience | None = None
    ) -> Folder:
        """As index.local.collection has it; it reads the paths of all entries."""
        paths = []
        for row in self._rows('path != ""', ["id", "path"]):
            if patience is not None and (reason := patience.over()):
                raise reason
            paths.append(row["path"])
        return folders.folder_of(paths, path, without)

    def _metadata(self, where: str, patience: Patience | None) -> Iterator[Mapping[str, Any]]:
        for row in self._rows(where, ["id", "metadata"]):
            if patience is not None and (reason := patience.over()):
                raise reason
            yield row["metadata"]

    def rejection(self) -> Rejection | None:
        """What was last measured (index.ingest.rejection)."""
        return self.identity().rejection

    def set_rejection(self, measured: Rejection) -> None:
        """Keep what was measured."""
        self._set(rejection=asdict(measured))

    def places(self) -> dict[str, Any]:
        """What runs over folders of this machine remember of them (index.ingest.places)."""
        try:
            kept = json.loads((self.folder / PLACES).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept.get("places", {}) if isinstance(kept, dict) and kept.get("life") == self._life else {}

    def set_places(self, places: Mapping[str, Any]) -> None:
        """Keep what they are to remember."""
        self.check_writable()
        write_whole(self.folder / PLACES, json.dumps({"life": self._life, "places": dict(places)}))

    def _set(self, **values: object) -> None:
        self.check_writable()
        self.server.set_properties(self.identity().table, changes(**values))


def _inside(folder: str | Path) -> str:
    low, high = inside_of(folder)
    return f"path >= {quoted(low)} and path < {quoted(high)}"
