"""A collection's vector index on Milvus: chosen, built in another table, measured before the alias leads there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionError, StoreUnavailable
from index.config import CONCEPT, QUERIES, IndexConfig, IndexKind, K
from index.entry import MODALITIES
from index.milvus.identity import Identity, alias_of, changes, is_table_of, new_table
from index.milvus.read_view import ReadView
from index.milvus.records import Records
from index.milvus.rows.expressions import EVERY
from index.milvus.rows.schema import fields_of, vectors_of
from index.milvus.tuning import Tuning, choose, exactly, index_of, tuned
from index.rows import unit_rows


class VectorIndex:
    """That of one collection."""

    def __init__(self, collection: Records) -> None:
        self._collection = collection
        self._server = collection.server

    def compact(self, config: IndexConfig | None = None) -> None:
        """As `MilvusCollection.compact`."""
        with self._collection.writing:
            now = self._collection.identity()
            wanted = config or now.config
            kind = choose(self._collection.count(), wanted)
            if kind != "exact" or now.tuning is not None:
                self._rebuild(now, kind, wanted)
            if config is not None:  # only now: one that cannot be built must not stand in the way of the next times
                self._server.set_properties(self._collection.identity().table, changes(index=asdict(config)))

    def _rebuild(self, now: Identity, kind: IndexKind, wanted: IndexConfig) -> None:
        name, total = self._collection.name, self._collection.count()
        if now.next_table:
            raise CollectionError(
                f"collection {name!r} changes its model: finish that first, or forget it (glimpse reindex "
                f"--collection {name} --abandon)"
            )
        for left in self._server.names():  # by a kill
            if is_table_of(left, name) and left != now.table:
                self._server.drop(left)
        new = replace(now, table=new_table(name), tuning=None)
        self._server.create(new.table, fields_of(now.dim), new.properties(), index_of(kind, total), load=False)
        try:
            for rows in self._collection.blocks(EVERY, ["*", "vector"]):
                self._server.upsert(new.table, rows)
            self._server.build(new.table)
            if (copied := self._server.count(new.table, EVERY)) != total:
                raise StoreUnavailable(
                    f"{self._server.address} has {copied} of {total} entries of {name!r} in the new index: the old "
                    "one is used; try again"
                )
            if kind != "exact":
                new = replace(new, tuning=self._tuned(new, kind, wanted.recall))
            finds_too_little = wanted.kind == "auto" and new.tuning is not None and new.tuning.recall < wanted.recall
            if finds_too_little and now.tuning is None:  # these data are no easier to find so: compare them all
                self._server.drop(new.table)
                return
            self._server.set_properties(new.table, new.properties())
        except BaseException:
            self._server.drop(new.table)
            raise
        # where the answer is lost the alias may lead to either: the next time drops the other one
        self._server.point(alias_of(name), new.table, anew=False)
        self._server.drop(now.table)
        if finds_too_little:
            self._rebuild(new, "exact", wanted)

    def _tuned(self, new: Identity, kind: IndexKind, target: float) -> Tuning:
        """What the index finds, measured on rows and on means of their neighbours."""
        counts = {modality: self._collection.count(modality) for modality in MODALITIES}
        modality = max(MODALITIES, key=lambda one: counts[one])
        view = self._collection.read_view()

        def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            for rows in self._collection.blocks(f'modality == "{modality}"', ["id", "vector"]):
                yield np.array([row["id"] for row in rows], np.int64), unit_rows(vectors_of(rows, new.dim), new.dim)

        _, own = view.sample(modality, min(QUERIES, counts[modality] // 4))
        near = exactly(blocks(), own, CONCEPT)
        means = np.stack([view.vectors(ids, modality).mean(axis=0) for ids in near])
        xq = np.concatenate([own, unit_rows(means, new.dim)])

        def found_by(tuning: Tuning) -> list[list[int]]:
            asked = ReadView(self._server, replace(new, tuning=tuning), {}, "Session")
            return [ids.tolist() for _, ids in asked.nearest(xq, K, modality)]

        return tuned(kind, sum(counts.values()), target, found_by, near + exactly(blocks(), xq[len(own) :], K))
