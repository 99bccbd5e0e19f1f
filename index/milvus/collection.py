"""A collection on a Milvus server, as index.stored has it: what it is, and writes. It takes vectors, never a model.

A batch is one request to the server, in its log when it returns. One process writes, as on disk: the writer's lock lies
in the data folder, so that all who write share one. What is of this machine alone lies there too, beside the lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import (
    CollectionNotFound,
    EntryNotFound,
    InputError,
    NotInStore,
)
from base.files import write_whole
from base.names import check_title
from index.batch import Batch
from index.config import IndexConfig, Quota
from index.entry import (
    MODALITIES,
    CollectionInfo,
    Entry,
    Modality,
    known,
)
from index.milvus.identity import Identity, changes
from index.milvus.insert import Insert
from index.milvus.keepsakes import NoKeepsakes
from index.milvus.next_model import NextModel
from index.milvus.records import Records
from index.milvus.refused import Refused
from index.milvus.rows.expressions import EVERY
from index.milvus.rows.schema import (
    FIELDS,
    columns_of,
)
from index.milvus.server import Server
from index.milvus.vector_index import VectorIndex
from index.search.calibration import Rejection
from index.search.filters import parse_filter
from index.search.patience import Patience
from index.search.searches import Searches

PLACES = "places.json"


class MilvusCollection(Records, Refused, Searches):
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
        self._insert = Insert(self)
        self._vector_index = VectorIndex(self)
        self.next = NextModel(self, self._vector_index)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # perhaps of a server that is away: whoever writes next builds what is due
            self._let_go()

    def close(self) -> None:
        """Close it; a writer first builds the index that it has grown to. A second call does nothing."""
        try:
            self._vector_index.close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Let go of the lock once nothing is being built: a copy knows nothing of what others write."""
        with self._vector_index.given_up():
            super().close()

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

    def last_id(self) -> int:
        """The highest id that an entry has, or had; 0 if there was none."""
        return self.identity().next_id - 1

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless `fingerprint` is that of the model that made these vectors."""
        self.identity().check_model(fingerprint)

    # --- writing: acknowledged when it returns ---

    def upsert(self, entries: Sequence[Entry], fingerprint: str | None = None) -> list[int]:
        """Write entries and return their ids, as index.local.collection has it. InputError, and then none is written.

        Where the connection drops in the midst, what was written stays, and the same call again writes the rest.
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
            placed = self._insert.place(now, entries)
            self._vector_index.touch(placed.ids)
            self.server.upsert(now.table, placed.rows)
            if placed.gone:
                self._delete(now, placed.gone)
        self._vector_index.grow()
        return placed.ids

    def write(self, batch: Batch, fingerprint: str | None = None) -> list[int]:
        """As `upsert`, of entries as columns."""
        return self.upsert(batch.entries, fingerprint)

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
            self._insert.check_alone(now, columns)
            self._vector_index.touch(columns)
            if now.next_table:  # first: what fails there is not said to be done here
                self.next.update(now, columns)
            self.server.upsert(now.table, [rows[key] | new for key, new in columns.items()])

    def delete(self, ids: Iterable[int]) -> int:
        """Delete entries; unknown ids are passed over. Returns how many went."""
        self.check_writable()
        with self.writing:
            now = self.identity()
            there = [int(row["id"]) for row in self.view_of(now).rows(ids, ["id"])]
            self._delete(now, there)
            return len(there)

    def _delete(self, now: Identity, ids: Sequence[int]) -> None:
        self._vector_index.touch(ids, gone=True)
        for table in filter(None, (now.table, now.next_table)):
            self.server.delete(table, ids)
        self._has_read = False  # the client's sessions know of what was upserted, not of what was deleted

    def check(self) -> list[str]:
        """Every problem found by reading all entries; one line each. Its bytes are the server's to watch over."""
        problems, seen = [], {"path": set[str](), "external_id": set[str]()}
        for row in self.rows(EVERY, ["id", "path", "external_id", "modality", "vector"]):
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
        self._insert.check_quota(self.identity(), more)

    # --- its index: only speed depends on it ---

    @property
    def index_config(self) -> IndexConfig:
        """What its index is asked to be."""
        return self.identity().config

    def is_due(self) -> bool:
        """Whether it has grown so far that it should have another index, or be measured anew; `close` does that."""
        return self._vector_index.is_due()

    def compact(self, config: IndexConfig | None = None, rows: Path | None = None) -> None:
        """Build its index anew, tuned to the recall that is wished, if it is to have one; reads and writes go on.

        It happens by itself as a collection grows. Without a `config` one that grew is measured anew, and built only if
        it finds too little by now. NotInStore for a kind that Milvus has not, and for a place of its `rows`;
        CollectionError while another model is being gathered.
        """
        self.check_writable()
        if rows is not None:
            raise NotInStore(
                "Milvus says where its rows lie: leave --rows out, or move the collection to the local store"
            )
        self._vector_index.compact(config)

    def stop_building(self) -> None:
        """Have what is being built given up soon; nor does `close` build. Who writes next builds what is due then."""
        self._vector_index.stop()

    # --- searching ---

    def refresh(self) -> None:
        """Have the server load what the next search needs."""
        self.identity()

    def filter_ids(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        modality: Modality,
        patience: Patience | None = None,
    ) -> NDArray[np.int64]:
        """The ids (n,), ascending, that pass a filter. InputError, NotInStore, FilterTooSlow, GivenUp."""
        view = self.read_view()
        passing = view.select(parse_filter(filter), known(modality), patience)
        found = [key for some in view.ids(f'modality == "{modality}" and ({passing})') for key in some]
        return np.array(found, np.int64)

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
        with self.writing:  # else a new index's table might be put in place between
            self.server.set_properties(self.identity().table, changes(**values))
