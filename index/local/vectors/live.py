"""A collection's vectors as searches see them: a mapped snapshot, what the catalog has since, and what is gone.

Everything here is derived. What is missing or damaged is rebuilt from the catalog; no state of it is an error.

A `State` is immutable. A search takes the present one and is never blocked: who applies new commits, or has built a new
snapshot, puts the next state in its place. Fresh rows form small segments beside the snapshot's; two of like size are
merged, as in a log-structured merge tree, so that there are few.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import CollectionDamaged, CollectionError, EntriesLeft, EntryNotFound, GlimpseError, InputError
from base.machine.cpus import threads
from index.config import IndexConfig
from index.entry import MODALITIES, Modality
from index.local.catalog.catalog import Catalog
from index.local.catalog.changes import Changes
from index.local.snapshot import SegmentRecord, Snapshot, Tuning
from index.local.vectors.ann import CoarseIndex, use_threads
from index.local.vectors.ranked import Ids
from index.local.vectors.segment_files import (
    file_names,
    is_verified_at_open,
    open_segment,
    remove_other_files,
    verify,
    write_segment,
)
from index.local.vectors.tuning import build
from index.local.vectors.view import LivePart, View
from index.rows import Rows16

log = logging.getLogger(__name__)

FRESH_ROWS = 1000  # a snapshot is due when more rows than this and more than the share below have changed
FRESH_SHARE = 0.1
COMPARED = 65_536  # rows held against the catalog at a time


@dataclass(frozen=True, slots=True)
class State:
    """The vectors as of one commit."""

    version: int  # the last commit that is in it
    revision: int | None  # of the catalog; None: as files have it, and not yet held against the catalog
    dim: int
    fingerprint: str  # of the model whose vectors these are
    views: Mapping[Modality, View]
    snapshot: Snapshot | None = field(default=None, repr=False)  # what it stands on

    @property
    def stamp(self) -> tuple[int, int | None]:
        """As `Catalog.state` gives it."""
        return self.version, self.revision


class LiveIndex:
    """Keeps a `State` in step with a catalog, and writes snapshots of it."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self._state: State | None = None  # nothing is loaded until a search wants it
        self._changing = threading.Lock()  # held to replace the state
        self._building = threading.Lock()  # held to write files
        self._damaged: list[Snapshot] = []  # snapshots not to be used again
        self._starting = threading.Lock()  # held to begin something in the background
        self._background: list[threading.Thread] = []
        self._stop = threading.Event()

    def refresh(self) -> State:
        """Catch up with every commit acknowledged before this call."""
        state = self._state
        if state is None or state.stamp != self._catalog.state():
            with self._changing:
                state = self._caught_up()
        return state

    def close(self) -> None:
        """Let go of what runs in the background."""
        with self._building:  # it ends with removing files, which only who has the writer's lock may do
            pass
        self._stop.set()
        with self._starting:  # what is there has been started, and nothing comes any more
            background = self._background
        for thread in background:
            thread.join()

    # --- snapshots ---

    def compact(self, config: IndexConfig, threads: int | None = None) -> None:
        """Build one segment a modality out of all there is, write it, name it in the catalog, remove older files.

        Searches and commits go on meanwhile. `threads`: as many of the processor's as FAISS may take.
        """
        with self._building:
            if threads is not None:
                use_threads(threads)
            with self._clean():
                state = self.refresh()
                segments: dict[Modality, SegmentRecord] = {}
                for modality, view in state.views.items():
                    trained = _trained(self._folder, state.snapshot, modality)
                    index = partial(build, config=config, before=trained)
                    if view.count and (
                        written := write_segment(self._folder, modality, view.dim, view.blocks(), index)
                    ):
                        segments[modality] = written
                snapshot = Snapshot(state.version, segments)
                self._catalog.set_snapshot(snapshot)
                self._adopt(snapshot)

    def swap_next(self, config: IndexConfig, drop: Sequence[int]) -> None:
        """Build the index of the next model's vectors, then swap vectors, model and index by one transaction."""
        with self._building:
            info = self._catalog.next.info()
            if info is None:
                raise CollectionError(f"{self._folder.name}: no other model's vectors are being gathered")
            if info.left > len(drop):
                raise EntriesLeft(f"{info.left} entries have no vector of {info.model} yet: go on")
            with self._clean():
                segments: dict[Modality, SegmentRecord] = {}
                for modality in MODALITIES:
                    blocks = _without(self._catalog.next.rows(modality), drop)
                    written = write_segment(self._folder, modality, info.dim, blocks, partial(build, config=config))
                    if written:
                        segments[modality] = written
                self._catalog.next.swap(Snapshot(0, segments), drop)

    @contextmanager
    def _clean(self) -> Iterator[None]:
        """Remove, in any case, the files that no snapshot names then."""
        try:
            yield
        finally:
            with suppress(CollectionError):  # the catalog is gone: so are they, or will be with it
                remove_other_files(self._folder, file_names(self._catalog.snapshot()))

    def fresh(self) -> int:
        """How many rows and deletions the snapshot lacks."""
        snapshot = self._sound_snapshot()
        return sum(self._catalog.count_changes(snapshot.version if snapshot else 0).values())

    def is_due(self) -> bool:
        """Whether what the snapshot lacks costs a search, or the next open, more than a little."""
        return self.fresh() > max(FRESH_ROWS, FRESH_SHARE * self._catalog.count())

    def describe(self) -> dict[str, dict[str, Any]]:
        """For each modality that has a built index: its kind, rows, size, and what it was measured to find."""
        snapshot = self._sound_snapshot()
        segments = snapshot.segments.items() if snapshot else ()
        changed = self._catalog.count_changes(snapshot.version) if snapshot else {}
        return {
            modality: {
                "rows": described.count,
                "fresh": changed[modality],  # rows and deletions that it lacks
                "bytes": described.bytes,
                **(asdict(described.tuning) if described.tuning else {"kind": "exact", "recall": 1.0}),
            }
            for modality, described in segments
        }

    def check(self) -> list[str]:
        """What is wrong with the files of the snapshot, or with what they hold."""
        snapshot = self._catalog.snapshot()
        problems = []
        for modality, described in (snapshot.segments if snapshot else {}).items():
            try:
                verify(self._folder, described)
                segment = open_segment(self._folder, described)
            except InputError as error:
                problems.append(f"{error}; it is built anew when the collection is next written to")
                continue
            assert snapshot is not None
            with self._catalog.changes(snapshot.version) as changes:
                fresh = [ids for m, ids, _ in changes.written if m == modality]
                fresh.append(np.array(changes.deleted[modality], np.int64))
            problems += self._differences(modality, LivePart(segment).without(np.concatenate(fresh)))
        return problems

    def _differences(self, modality: Modality, part: LivePart) -> Iterator[str]:
        """Rows that no commit has touched since the snapshot must be, bit for bit, those of the catalog."""
        ids = part.segment.ids if part.alive is None else part.segment.ids[part.alive.mask]
        for start in range(0, len(ids), COMPARED):
            some = ids[start : start + COMPARED]
            x = View(self._catalog.dim, (part,)).vectors(some)
            try:
                differs = np.flatnonzero((x != self._catalog.vectors(some.tolist())).any(axis=1))
            except EntryNotFound as error:
                yield f"{modality}: the snapshot has an entry that the catalog lacks: {error}"
                continue
            if len(differs):
                yield f"{modality} {some[differs[0]]}: its vector in the catalog is not the one in the snapshot"

    # --- the state ---

    def _caught_up(self) -> State:
        state = self._state
        if state is None or state.stamp != self._catalog.state():
            replayed = state and self._replay(state)
            if replayed and (named := self._sound_snapshot()) not in (None, replayed.snapshot):
                self._in_background(self._adopt, named)  # another process has built it; until it is open, go on
            state = replayed or self._replay(self._read()) or self._replay(self._empty())
            if state is None:  # cannot be: an empty state lacks nothing
                raise CollectionDamaged(f"{self._folder}: the catalog contradicts itself; restore it from a backup")
            self._state = state
        return state

    def _replay(self, state: State) -> State | None:
        """`state` with what the catalog has since; None if it cannot be brought in step and must be built anew."""
        with self._catalog.changes(state.version) as changes:
            dim, fingerprint = int(changes.meta["dim"]), str(changes.meta["fingerprint"])
            if not changes.complete or (dim != state.dim and state.version):
                return None
            version, revision = changes.version, changes.revision
            if version == state.version and state.revision is not None:  # only metadata has changed
                return State(version, revision, dim, fingerprint, state.views, state.snapshot)
            views = _replayed(state.views if dim == state.dim else _no_views(dim), changes)
            for modality, count in changes.counts.items():
                if views[modality].count != count:
                    log.warning(
                        "%s: %d %s vectors for %d entries; building them anew from the catalog",
                        self._folder, views[modality].count, modality, count,
                    )  # fmt: skip
                    if state.snapshot is not None and state.revision is None:
                        self._damaged.append(state.snapshot)
                    return None
            return State(version, revision, dim, fingerprint, views, state.snapshot)

    def _read(self) -> State:
        """The state of the named snapshot; an empty one if there is none or it is not sound."""
        while snapshot := self._sound_snapshot():
            try:
                return self._opened(snapshot)
            except InputError as error:
                if self._catalog.snapshot() == snapshot:  # else the writer replaced the files while we read them
                    self._distrust(snapshot, error)
        return self._empty()

    def _opened(self, snapshot: Snapshot) -> State:
        segments = {m: open_segment(self._folder, described) for m, described in snapshot.segments.items()}
        dim = next((described.dim for described in snapshot.segments.values()), self._catalog.dim)
        views = {m: View(dim, (LivePart(segments[m]),) if m in segments else ()) for m in MODALITIES}
        if not all(is_verified_at_open(self._folder, described) for described in snapshot.segments.values()):
            self._in_background(self._verify, snapshot)
        return State(snapshot.version, None, dim, "", views, snapshot)

    def _empty(self) -> State:
        return State(0, None, self._catalog.dim, "", _no_views(self._catalog.dim))

    def _adopt(self, snapshot: Snapshot) -> None:
        """Stand on a newer snapshot from now on."""
        try:
            opened = self._opened(snapshot)
        except InputError as error:
            if self._catalog.snapshot() == snapshot:
                self._distrust(snapshot, error)
            return
        with self._changing:
            if self._state is None or self._state.snapshot != snapshot:
                self._state = self._replay(opened) or self._state

    def _verify(self, snapshot: Snapshot) -> None:
        try:
            for described in snapshot.segments.values():
                verify(self._folder, described, self._stop)
        except InputError as error:
            if self._catalog.snapshot() == snapshot and not self._stop.is_set():
                self._distrust(snapshot, error)
                with self._changing:
                    if self._state is not None and self._state.snapshot == snapshot:
                        self._state = None

    def _sound_snapshot(self) -> Snapshot | None:
        snapshot = self._catalog.snapshot()
        return None if snapshot in self._damaged else snapshot

    def _distrust(self, snapshot: Snapshot, error: InputError) -> None:
        log.warning("building the vectors anew from the catalog: %s", error)
        self._damaged.append(snapshot)

    def _in_background(self, work: Callable[[Snapshot], None], snapshot: Snapshot) -> None:
        """Do it beside searches, unless that is under way."""

        def run() -> None:
            try:
                work(snapshot)
            except GlimpseError as error:  # the collection was deleted, or is damaged: the next search says so
                log.info("%s: %s", self._folder, error)

        with self._starting:
            alive = [thread for thread in self._background if thread.is_alive()]
            if self._stop.is_set() or any(thread.name == work.__name__ for thread in alive):
                return
            thread = threading.Thread(target=run, name=work.__name__, daemon=True)
            thread.start()
            self._background = [*alive, thread]


def background_threads() -> int:
    """How many threads a build may take while searches run."""
    return max(1, threads() // 2)


def _no_views(dim: int) -> dict[Modality, View]:
    return {modality: View(dim) for modality in MODALITIES}


def _replayed(views: Mapping[Modality, View], changes: Changes) -> dict[Modality, View]:
    blocks: dict[Modality, list[tuple[Ids, Rows16]]] = {modality: [] for modality in MODALITIES}
    for modality, ids, x16 in changes.written:
        blocks[modality].append((ids, x16))
    after = {}
    for modality, view in views.items():
        gone = np.array(changes.deleted[modality], np.int64)
        after[modality] = view.changed(gone, blocks[modality])
    return after


def _without(blocks: Iterable[tuple[Ids, Rows16]], ids: Sequence[int]) -> Iterator[tuple[Ids, Rows16]]:
    for some, x16 in blocks:
        keep = ~np.isin(some, ids)
        yield some[keep], x16[keep]


def _trained(folder: Path, snapshot: Snapshot | None, modality: Modality) -> tuple[CoarseIndex, Tuning] | None:
    """The coarse index of the snapshot, emptied, to be filled again."""
    described = snapshot.segments.get(modality) if snapshot else None
    if not described or not described.tuning or "coarse" not in described.files:
        return None
    try:
        return CoarseIndex.trained(folder / described.files["coarse"].name), described.tuning
    except InputError:
        return None
