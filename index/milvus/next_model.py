"""Another model for a collection on Milvus: its vectors fill another collection there, until the alias leads to it.

Its rows are whole ones, kept in step with what is updated and deleted meanwhile; a row whose vector was written anew
has another stamp, and is due again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from base.errors import CollectionError, EntriesLeft, InputError
from index.entry import NextInfo, Record
from index.milvus.identity import Identity, alias_of, changes
from index.milvus.opened import Opened
from index.milvus.rows.expressions import EVERY, ids_among
from index.milvus.rows.schema import RECORD, fields_of, record_of
from index.milvus.tuning import index_of
from index.milvus.vector_index import VectorIndex
from index.rows import stored_rows

BLOCK = 1000  # rows in one request


class NextModel:
    """`MilvusCollection.next`."""

    def __init__(self, collection: Opened, index: VectorIndex) -> None:
        self._collection = collection
        self._index = index
        self._given: dict[int, int] = {}  # entries given to be encoded, and their stamps then

    def begin(self, model: str, fingerprint: str, dim: int) -> bool:
        """Begin to gather vectors of another model; True if what was gathered for that one before goes on."""
        self._collection.check_writable()
        with self._collection.writing:
            now = self._collection.identity()
            before = self._begun(now)
            if before is not None and (before.fingerprint, before.dim) == (fingerprint, dim):
                return True
            self.abandon()
            new = now.with_model(model, fingerprint, dim)
            server = self._collection.server
            server.create(new.table, fields_of(dim), new.properties(), index_of("exact"))
            server.set_properties(now.table, changes(next=new.table))
            return False

    def info(self) -> NextInfo | None:
        """The model whose vectors are being gathered, and how far that is; None if there is none."""
        now = self._collection.identity()
        begun = self._begun(now)
        if begun is None:
            return None
        server = self._collection.server
        done, total = server.count(begun.table, EVERY), server.count(now.table, EVERY)
        return NextInfo(begun.model, begun.fingerprint, begun.dim, done, max(0, total - done))

    def left(self, after_id: int = 0, limit: int = 1000) -> list[Record]:
        """Records that still lack the next model's vector, in the order of ids."""
        now = self._collection.identity()
        begun, found = self._needed(now), []
        for key in self._due(now, begun, after_id):
            found.append(key)
            if len(found) == limit:
                break
        rows = sorted(self._collection.view_of(now).rows(found, [*RECORD, "stamp"]), key=lambda row: int(row["id"]))
        self._given |= {row["id"]: row["stamp"] for row in rows}
        return [record_of(row) for row in rows]

    def write(self, ids: Sequence[int], x: ArrayLike) -> None:
        """Keep the next model's vectors (n, its dim) of these entries, as `left` gave them: one that has been written
        anew since is due again. Ids that are gone are passed over.
        """
        self._collection.check_writable()
        with self._collection.writing:
            now = self._collection.identity()
            begun = self._needed(now)
            rows32 = stored_rows(x, np.shape(x)[-1]).astype(np.float32)
            if rows32.shape != (len(ids), begun.dim):
                raise InputError(f"vectors must be ({len(ids)}, {begun.dim}), not {rows32.shape}")
            vectors = dict(zip(map(int, ids), rows32, strict=True))
            rows = [
                row | {"vector": vectors[row["id"]], "stamp": self._given.pop(row["id"], row["stamp"])}
                for row in self._collection.view_of(now).rows(
                    vectors, [name for name, *_ in fields_of(1) if name != "vector"]
                )
            ]
            if rows:
                self._collection.server.upsert(begun.table, rows)

    def update(self, now: Identity, columns: Mapping[int, Mapping[str, Any]]) -> None:
        """Set these columns of rows that are done as well."""
        server = self._collection.server
        rows = server.query(now.next_table, ids_among(list(columns)), ["*", "vector"])
        if rows:
            server.upsert(now.next_table, [row | dict(columns[row["id"]]) for row in rows])

    def swap(self, drop: Sequence[int] = ()) -> None:
        """Have the alias lead to the next model's vectors; entries in `drop` are deleted. Then they get their index.

        It is built as any other, of a copy: one that is cut off leaves a collection that compares all vectors.
        EntriesLeft if an entry has no next vector and is not in `drop`.
        """
        self._collection.check_writable()
        server, dropped = self._collection.server, set(drop)
        with self._collection.writing:
            now = self._collection.identity()
            begun = self._needed(now)
            self._check_done(now, begun, dropped)
            if dropped:
                server.delete(begun.table, sorted(dropped))
            # what was set meanwhile is said of the new one too
            after = now.with_model(begun.model, begun.fingerprint, begun.dim)
            server.set_properties(begun.table, after.properties())
            self._index.touch(dropped)  # all are new to it
            server.point(alias_of(now.name), begun.table, anew=False)
            with suppress(CollectionError):  # it is done: the next index that is built drops what is left
                server.drop(now.table)
        self._index.build_due()

    def abandon(self) -> None:
        """Forget the next model's vectors."""
        self._collection.check_writable()
        with self._collection.writing:
            now = self._collection.identity()
            if now.next_table:
                self._collection.server.set_properties(now.table, changes(next=""))
                if self._collection.server.describe(now.next_table):
                    self._collection.server.drop(now.next_table)

    def _begun(self, now: Identity) -> Identity | None:
        found = self._collection.server.describe(now.next_table) if now.next_table else None
        return Identity.of(now.name, found) if found else None

    def _needed(self, now: Identity) -> Identity:
        begun = self._begun(now)
        if begun is None:
            raise CollectionError("no change of model is under way: begin one first")
        return begun

    def _check_done(self, now: Identity, begun: Identity, dropped: set[int]) -> None:
        left = sum(1 for key in self._due(now, begun) if key not in dropped)
        if left:
            raise EntriesLeft(f"{left} entries have no vector of {begun.model} yet: finish the reindex first")

    def _due(self, now: Identity, begun: Identity, after: int = 0) -> Iterator[int]:
        """Ids of entries without a next vector of what they are now."""
        server = self._collection.server
        for every in server.ids(now.table, EVERY, after):
            for start in range(0, len(every), BLOCK):
                some = ids_among(every[start : start + BLOCK])
                stamps, done = (
                    {row["id"]: row["stamp"] for row in server.query(table, some, ["id", "stamp"])}
                    for table in (now.table, begun.table)
                )
                yield from sorted(key for key, stamp in stamps.items() if done.get(key) != stamp)
