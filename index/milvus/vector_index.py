"""A collection's vector index on Milvus: when another one is due, and how it comes to it.

The server grows an index with its rows, so what is due as a collection grows is another kind, or to measure anew how
hard it must search. Another kind is another table: rows are copied while reads and writes go on, the index is built and
measured there, and then the alias leads to it. One process writes, so what is written meanwhile is known here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection as Several
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionError, GlimpseError, StoreUnavailable
from index.config import BACKGROUND_ROWS, CONCEPT, QUERIES, IndexConfig, IndexKind, K
from index.entry import MODALITIES
from index.milvus.identity import Identity, alias_of, changes, is_table_of, new_table
from index.milvus.read_view import ReadView
from index.milvus.records import Records
from index.milvus.rows.expressions import EVERY
from index.milvus.rows.schema import fields_of, vectors_of
from index.milvus.server import TOGETHER
from index.milvus.tuning import Tuning, choose, exactly, index_of, is_due, tuned
from index.rows import unit_rows

log = logging.getLogger(__name__)

ROUNDS = 3  # in which a copy catches up with what is written meanwhile, before writes wait for the rest


class VectorIndex:
    """That of one collection."""

    def __init__(self, collection: Records) -> None:
        self._collection = collection
        self._server = collection.server
        self._building = threading.Lock()
        self._touched: set[int] | None = None  # ids written or deleted since a copy was begun
        self._written = self._deleted = False  # since it was last built
        self._unasked = 0  # rows written since it was last asked whether another one is due
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    # --- what is written to the collection ---

    def touch(self, ids: Several[int], *, gone: bool = False) -> None:
        """Be told of rows before they are written, or deleted: a copy that is being made must have them too."""
        if self._touched is not None:
            self._touched |= set(ids)
        self._written, self._deleted = True, self._deleted or gone
        self._unasked += len(ids)

    def grow(self) -> None:
        """Build what is due beside further writes, if so many rows were written that a search feels it."""
        if self._unasked < BACKGROUND_ROWS or self._collection.is_apart or self._is_at_work():
            return
        self._unasked = 0
        with suppress(CollectionError):  # the write is done: what the server says of its index now does not undo it
            if self._has_become_due():
                thread = threading.Thread(target=self._build_due, daemon=True)
                thread.start()
                self._thread = thread  # only now: `close` waits for it

    def is_due(self) -> bool:
        """Whether what this process wrote has made another one due, or one is being built: the lock must stay."""
        return self._is_at_work() or self._has_become_due()

    def build_due(self) -> None:
        """Build what is due; where it cannot be built, a line in the log says so."""
        try:
            due = self._has_become_due()
        except CollectionError:  # a server that is away, or a collection that is gone: whoever writes next asks again
            return
        if due:
            self._build_due()

    def close(self) -> None:
        """Build what is due, and wait for it, unless another thread builds: `given_up` ends that."""
        if self._thread is not None:
            self._thread.join()
        if not (self._building.locked() or self._stop.is_set()):
            self.build_due()

    def stop(self) -> None:
        """Have what is being built given up soon, and build nothing more."""
        self._stop.set()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """While the block runs nothing is built, nor ever after; what is being built is given up before."""
        self.stop()
        with self._building:
            yield

    def _is_at_work(self) -> bool:
        return self._building.locked() or (self._thread is not None and self._thread.is_alive())

    def _has_become_due(self) -> bool:
        if not self._written or self._collection.is_apart:
            return False
        now = self._collection.identity()
        if now.next_table:
            return False
        if not self._deleted and not is_due(now.next_id - 1, now.config, now.tuning, now.tried):
            return False  # there are no more rows than ids: so nobody need count them
        return is_due(self._collection.count(), now.config, now.tuning, now.tried)

    def _build_due(self) -> None:
        try:
            self.compact()
        except GlimpseError as error:
            if self._stop.is_set():
                return
            log.warning("%s: its index was not built, searches go on without: %s", self._collection.name, error)

    # --- building ---

    def compact(self, config: IndexConfig | None = None) -> None:
        """As `MilvusCollection.compact`."""
        waits = self._building.locked()
        with self._building:
            self._collection.check_writable()  # only now: who closes it waits for `_building` too
            if waits and config is None and not self._has_become_due():
                return  # it was built just now
            self._written = self._deleted = False
            now = self._collection.identity()
            wanted = config or now.config
            total = self._collection.count()
            kind = choose(total, wanted)
            if self._collection.is_apart:
                built = self.built_apart(now, wanted)
                self._server.set_properties(now.table, built.properties())
            elif (kind != "exact" or now.tuning is not None) and (config or not self._measured_anew(now, kind)):
                self._rebuild(kind, wanted, total)
            if config is not None:  # only now: one that cannot be built must not stand in the way of the next times
                with self._collection.writing:
                    self._server.set_properties(self._collection.identity().table, changes(index=asdict(config)))

    def built_apart(self, table: Identity, wanted: IndexConfig) -> Identity:
        """Give a table to which no alias leads its index; what it is then. Its properties are the caller's to set."""
        total = self._server.count(table.table, EVERY)
        kind = choose(total, wanted)
        self._server.reindex(table.table, index_of(kind, total), self._check_going_on)
        return self._tuned_to(table, kind, wanted, total)

    def _measured_anew(self, now: Identity, kind: IndexKind) -> bool:
        """Measure an index of that kind that has grown; False if there is none, or it finds too little by now."""
        if now.tuning is None or now.tuning.kind != kind:
            return False
        self._server.build(now.table, self._check_going_on)
        tuning = self._measured(now, kind, now.config.recall)
        if tuning.recall < now.config.recall:
            return False
        with self._collection.writing:
            self._server.set_properties(now.table, changes(tuning=asdict(tuning)))
        return True

    def _rebuild(self, kind: IndexKind, wanted: IndexConfig, total: int) -> None:
        with self._collection.writing:
            old = self._unchanging()
            for left in self._server.names():  # by a kill
                if is_table_of(left, old.name) and left != old.table:
                    self._server.drop(left)
            new = replace(old, table=new_table(old.name), tuning=None)
            self._server.create(new.table, fields_of(old.dim), {}, index_of(kind, total), load=False)
            self._touched = set()
        is_led = False
        try:
            for rows in self._collection.blocks(EVERY, ["*", "vector"]):
                self._check_going_on()
                self._server.upsert(new.table, rows)
            self._server.build(new.table, self._check_going_on)
            new = self._tuned_to(new, kind, wanted, total)
            for _ in range(ROUNDS):
                self._catch_up(old, new)
            with self._collection.writing:
                self._catch_up(old, new)
                self._check_whole(old, new)
                self._check_going_on()
                now = self._unchanging()
                if now.table != old.table:
                    raise CollectionError(f"collection {old.name!r} has another model: its index is left as it is")
                now = replace(now, table=new.table, tuning=new.tuning, tried=new.tried)
                self._server.set_properties(new.table, now.properties())
                is_led = True  # where the answer is lost the alias may lead to either: the next time drops the other
                self._server.point(alias_of(old.name), new.table, anew=False)
                with suppress(CollectionError):  # it is done: the next time drops what is left
                    self._server.drop(old.table)
        except BaseException:
            if not is_led:
                with suppress(CollectionError):  # of a server that is away: the next time drops it
                    self._server.drop(new.table)
            raise
        finally:
            with self._collection.writing:  # who writes just now must not bring it back
                self._touched = None

    def _check_going_on(self) -> None:
        self._collection.check_writable()
        if self._stop.is_set():  # the writer's lock is about to be let go of
            raise CollectionError(f"collection {self._collection.name!r} is being closed: its index is left as it is")

    def _unchanging(self) -> Identity:
        now = self._collection.identity()
        if now.next_table:
            raise CollectionError(
                f"collection {now.name!r} changes its model: finish that first, or forget it (glimpse reindex "
                f"--collection {now.name} --abandon)"
            )
        return now

    def _catch_up(self, old: Identity, new: Identity) -> None:
        """Bring a copy in step with what was written and deleted since it was last."""
        with self._collection.writing:
            some, self._touched = sorted(self._touched or ()), set()
        for start in range(0, len(some), TOGETHER):
            ids = some[start : start + TOGETHER]
            rows = list(self._collection.view_of(old).rows(ids, ["*", "vector"]))
            if rows:
                self._server.upsert(new.table, rows)
            if gone := sorted({*ids} - {row["id"] for row in rows}):
                self._server.delete(new.table, gone)

    def _check_whole(self, old: Identity, new: Identity) -> None:
        copied, total = (self._server.count(table.table, EVERY) for table in (new, old))
        if copied != total:
            raise StoreUnavailable(
                f"{self._server.address} has {copied} of {total} entries of {old.name!r} in the new index: the old one "
                "is used; try again"
            )

    # --- measuring ---

    def _tuned_to(self, table: Identity, kind: IndexKind, wanted: IndexConfig, total: int) -> Identity:
        """A table with its index measured, or with none where these data are no easier to find by one."""
        if kind == "exact":
            return replace(table, tuning=None, tried=0)
        tuning = self._measured(table, kind, wanted.recall)
        if wanted.kind == "auto" and tuning.recall < wanted.recall:
            self._server.reindex(table.table, index_of("exact"), self._check_going_on)
            return replace(table, tuning=None, tried=total)
        return replace(table, tuning=tuning, tried=0)

    def _measured(self, table: Identity, kind: IndexKind, target: float) -> Tuning:
        """What an index finds, measured on rows and on means of their neighbours."""
        counts = {
            modality: self._server.count(table.table, f'modality == "{modality}"', "Session") for modality in MODALITIES
        }
        modality = max(MODALITIES, key=lambda one: counts[one])
        view = ReadView(self._server, table, {}, "Session")

        def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            for ids in self._server.ids(table.table, f'modality == "{modality}"', 0, "Session"):
                self._check_going_on()
                rows = list(view.rows(ids, ["id", "vector"], "Eventually"))
                x = unit_rows(vectors_of(rows, table.dim), table.dim)
                yield np.array([row["id"] for row in rows], np.int64), x

        _, own = view.sample(modality, min(QUERIES, counts[modality] // 4))
        near, means, there = exactly(blocks(), own, CONCEPT), [], []
        for i, ids in enumerate(near):
            rows = {row["id"]: row for row in view.rows(ids, ["id", "vector"], "Eventually")}
            near[i] = [key for key in ids if key in rows]  # some are deleted meanwhile
            if rows:
                means.append(unit_rows(vectors_of(list(rows.values()), table.dim), table.dim).mean(axis=0))
                there.append(i)
        if not there:
            raise CollectionError(f"entries of {table.name!r} are deleted faster than its index can be measured")
        own, near = own[there], [near[i] for i in there]
        xq = np.concatenate([own, unit_rows(np.stack(means), table.dim)])

        def found_by(tuning: Tuning) -> list[list[int]]:
            self._check_going_on()
            asked = ReadView(self._server, replace(table, tuning=tuning), {}, "Session")
            return [ids.tolist() for _, ids in asked.nearest(xq, K, modality)]

        return tuned(kind, sum(counts.values()), target, found_by, near + exactly(blocks(), xq[len(own) :], K))
