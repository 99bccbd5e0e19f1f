"""A collection's vectors in RAM, kept in step with its catalog: load a snapshot, replay what is newer, write a new one.

Everything here is derived. What is missing or damaged is rebuilt from the catalog; no state of it is an error.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder.errors import InputError
from index.ann import AnnIndex
from index.catalog import Catalog
from index.entry import MODALITIES, Modality

log = logging.getLogger(__name__)

SNAPSHOT_ROWS = 1000  # a snapshot is due when more rows than this and more than the share below have changed
SNAPSHOT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _State:
    version: int  # of the catalog; 0: empty
    ann: dict[Modality, AnnIndex]


class LiveIndex:
    """One `AnnIndex` a modality, as of the catalog's last commit at each `refresh`."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self._state: _State | None = None  # nothing is loaded until a search wants it
        self._changing = threading.Lock()

    def refresh(self) -> dict[Modality, AnnIndex]:
        """Catch up with every commit acknowledged before this call, and give the indexes."""
        state = self._state
        if state is None or state.version != self._catalog.version():
            with self._changing:
                state = self._caught_up()
        return state.ann

    def snapshot(self) -> None:
        """Write files, then name them in the catalog by one transaction, then remove the older ones."""
        with self._changing:
            state = self._caught_up()
            files = {}
            for modality, ann in state.ann.items():
                if ann.ntotal:
                    name = f"{modality}-{state.version}.faiss"
                    files[modality] = {"name": name, "crc32": ann.write(self._folder / name)}
            self._catalog.set_snapshot({"version": state.version, "files": files})
            named = {file["name"] for file in files.values()}
            for path in [*self._folder.glob("*.faiss"), *self._folder.glob("*.faiss.part")]:
                if path.name not in named:
                    path.unlink()

    def snapshot_is_due(self) -> bool:
        """Whether replaying what is newer than the snapshot costs an open more than a little."""
        snapshot = self._catalog.snapshot()
        changed = self._catalog.count_changes(snapshot["version"] if snapshot else 0)
        return changed > max(SNAPSHOT_ROWS, SNAPSHOT_SHARE * self._catalog.count())

    def _caught_up(self) -> _State:
        state = self._state
        if state is None or state.version != self._catalog.version():
            state = (state and self._replay(state)) or self._replay(self._read()) or self._replay(self._empty())
            if state is None:  # cannot be: an empty state lacks nothing
                raise AssertionError("the catalog cannot be replayed")
            self._state = state
        return state

    def _replay(self, state: _State) -> _State | None:
        """`state` with what the catalog has since; None if it cannot be brought in step and must be built anew."""
        with self._catalog.changes(state.version) as changes:
            if not changes.complete:
                return None
            for modality, ids in changes.deleted.items():
                state.ann[modality].remove(ids)
            for modality, new, x in changes.written:
                state.ann[modality].add(new, x)
            for modality, count in changes.counts.items():
                if state.ann[modality].ntotal != count:
                    log.warning(
                        "%s: %d %s vectors for %d entries; building them anew from the catalog",
                        self._folder, state.ann[modality].ntotal, modality, count,
                    )  # fmt: skip
                    return None
            return _State(changes.version, state.ann)

    def _read(self) -> _State:
        """The state of the named snapshot; an empty one if there is none or it is not sound."""
        snapshot = self._catalog.snapshot()
        while snapshot:
            try:
                return _State(snapshot["version"], {m: self._read_one(m, snapshot) for m in MODALITIES})
            except InputError as error:
                newer = self._catalog.snapshot()
                if newer == snapshot:
                    log.warning("building the vectors anew from the catalog: %s", error)
                    break
                snapshot = newer  # the writer replaced the files while we read them
        return self._empty()

    def _read_one(self, modality: Modality, snapshot: dict[str, Any]) -> AnnIndex:
        file = snapshot["files"].get(modality)
        if file is None:
            return AnnIndex(self._catalog.dim)
        return AnnIndex.read(self._folder / file["name"], self._catalog.dim, file["crc32"])

    def _empty(self) -> _State:
        return _State(0, {modality: AnnIndex(self._catalog.dim) for modality in MODALITIES})
