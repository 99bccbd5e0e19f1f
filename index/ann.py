"""Nearest neighbours of unit vectors by inner product: the only file that knows FAISS.

An `AnnIndex` holds ids and float32 rows in RAM, is exact, and may be searched by many threads while one changes it.
It does not know what an id stands for, and what it holds is always derived: the catalog is the truth.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoder.errors import InputError

# IDMap, not IDMap2: nothing is looked up by id here (vectors come from the catalog), so the hash map is not paid for.
FACTORY = "IDMap,Flat"


class AnnIndex:
    """Vectors of one modality under int64 ids, searched exactly."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._index = faiss.index_factory(dim, FACTORY, faiss.METRIC_INNER_PRODUCT)
        self._last = 0  # the highest id ever added: ids above it are new and need no look for an old row
        self._lock = _SharedLock()

    @property
    def ntotal(self) -> int:
        """How many vectors it holds."""
        return int(self._index.ntotal)

    def add(self, ids: ArrayLike, x: ArrayLike) -> None:
        """Add rows `x` (n, dim) under `ids` (n,) > 0; an id that is there already gets its new row, in one step."""
        ids, x = as_ids(ids), as_rows(x, self.dim)
        if len(ids) != len(x):
            raise InputError(f"{len(ids)} ids for {len(x)} vectors")
        if len(np.unique(ids)) != len(ids):
            raise InputError("an id is given twice")
        if not len(ids):
            return
        known = ids[ids <= self._last]
        with self._lock.alone():
            if len(known):
                self._index.remove_ids(faiss.IDSelectorBatch(known))
            self._index.add_with_ids(x, ids)
            self._last = max(self._last, int(ids.max()))

    def remove(self, ids: ArrayLike) -> int:
        """Remove these ids; unknown ones are passed over. Returns how many went."""
        ids = as_ids(ids)
        if not len(ids):
            return 0
        with self._lock.alone():
            return int(self._index.remove_ids(faiss.IDSelectorBatch(ids)))

    def search(
        self, xq: ArrayLike, k: int, ids: ArrayLike | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k best of each query `xq` (nq, dim), of all or of `ids` only.

        Returns D, I: (nq, k') scores and ids, scores descending, equal scores by ascending id, so that a longer list
        always begins with the shorter one. k' is k, or ntotal if that is less; a row with fewer hits ends in id -1.
        """
        xq = as_rows(xq, self.dim)
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        # The selector travels with the call: one set on the shared index would leak into other searches.
        params = None if ids is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(as_ids(ids)))  # type: ignore[call-arg]
        with self._lock.shared():
            n = self.ntotal
            k = min(k, n)
            if k == 0 or not len(xq):
                return np.empty((len(xq), k), np.float32), np.empty((len(xq), k), np.int64)
            # FAISS keeps any of several equal scores at the end of the list. One row more shows whether that happened;
            # if so, look further until the whole tie is in hand.
            fetch = min(k + 1, n)
            D, I = self._index.search(xq, fetch, params=params)
            while fetch < n and np.any((D[:, -1] == D[:, k - 1]) & (I[:, -1] >= 0)):
                fetch = min(fetch * 8, n)
                D, I = self._index.search(xq, fetch, params=params)
        order = np.lexsort((I, -D))[:, :k]
        return np.take_along_axis(D, order, axis=1), np.take_along_axis(I, order, axis=1)

    def write(self, path: Path) -> int:
        """Write it to `path` so that after a crash there is the whole file or none. Returns its CRC-32."""
        part = path.with_name(path.name + ".part")
        with self._lock.shared():
            faiss.write_index(self._index, str(part))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        crc = _crc32(part)
        part.replace(path)
        fsync_folder(path.parent)
        return crc

    @classmethod
    def read(cls, path: Path, dim: int, crc: int) -> AnnIndex:
        """Read what `write` wrote. InputError if the file is missing, not the one with that CRC-32 or not of `dim`."""
        try:
            # Checked before FAISS parses it: FAISS trusts the sizes that a damaged header names.
            if _crc32(path) != crc:
                raise InputError(f"{path}: damaged (its checksum is not the recorded one)")
            index = faiss.read_index(str(path))
        except (OSError, RuntimeError) as error:
            raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
        if not isinstance(index, faiss.IndexIDMap) or index.d != dim:
            raise InputError(f"{path}: not an index of {dim}-dimensional vectors")
        self = cls(dim)
        self._index = index
        self._last = int(faiss.vector_to_array(index.id_map).max(initial=0))
        return self


def as_ids(ids: ArrayLike) -> NDArray[np.int64]:
    """`ids` as a flat int64 array (n,). InputError for anything but integers."""
    given = np.asarray(ids)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InputError(f"ids must be a flat list of integers, not {given.dtype} of shape {given.shape}")
    return np.ascontiguousarray(given, dtype=np.int64)


def as_rows(x: ArrayLike, dim: int) -> NDArray[np.float32]:
    """`x` as (n, dim) contiguous float32. InputError for another shape, for what is no float, for NaN and infinity."""
    given = np.asarray(x)
    if given.ndim != 2 or given.shape[1] != dim:
        raise InputError(f"vectors must have shape (n, {dim}), not {given.shape}")
    if given.dtype.kind != "f":
        raise InputError(f"vectors must be floats, not {given.dtype}")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(given, dtype=np.float32)
        finite = np.isfinite(np.einsum("ij,ij->i", rows, rows)).all()  # half the time of isfinite on every value
    if not finite:
        raise InputError("a vector holds NaN or infinity")
    return rows


def unit_rows(x: ArrayLike, dim: int) -> NDArray[np.float32]:
    """`as_rows` scaled to length 1. InputError also for a vector of zeros, which has no direction."""
    try:
        rows = as_rows(x, dim)
    except InputError:
        raise
    except ValueError as error:  # NumPy's word for rows of different lengths
        raise InputError(f"vectors must all have shape ({dim},)") from error
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if not norms.all():
        raise InputError("a vector is all zeros: it has no direction to compare")
    scaled: NDArray[np.float32] = rows / norms[:, None]
    return scaled


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc


class _SharedLock:
    """Many searches at once, or one change alone. A waiting change goes before later searches, so it cannot starve."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._searching = 0
        self._changing = False
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(lambda: not self._changing and not self._waiting)
            self._searching += 1
        try:
            yield
        finally:
            with self._turn:
                self._searching -= 1
                self._turn.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._turn:
            self._waiting += 1
            try:
                self._turn.wait_for(lambda: not self._changing and not self._searching)
                self._changing = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            with self._turn:
                self._changing = False
                self._turn.notify_all()
