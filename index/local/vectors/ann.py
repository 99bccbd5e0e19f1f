"""Nearest neighbours by inner product: the only file that knows FAISS. It finds positions of rows; ids are not its.

`FlatRows` holds float16 rows and scans them all: exact. `CoarseIndex` proposes candidates fast from small codes;
whoever asks it compares them exactly afterwards. Both are immutable and may be searched by any number of threads. A
file of either is mapped, not read: processes share its memory, and opening costs no time.

FAISS aborts the process when an index on mapped memory is added to, so nothing here adds to what was read.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.files import fsync_file
from index.local.vectors.prefetch import prefetch
from index.rows import Rows, Rows16

Positions = NDArray[np.int64]
Bits = NDArray[np.uint8]  # one bit a row, lowest first, as FAISS's IDSelectorBitmap reads them

BLOCK = 8192  # rows converted to float32 at a time: 16 MB at 512 dimensions


class FlatRows:
    """Rows (n, dim) in float16, scanned exactly. Half the memory of float32 is also half the time of a scan."""

    def __init__(self, index: faiss.IndexScalarQuantizer) -> None:
        self._index = index
        n, dim = int(index.ntotal), int(index.d)
        codes = faiss.rev_swig_ptr(index.codes.data(), n * dim * 2) if n else np.empty(0, np.uint8)
        weakref.finalize(codes, lambda owner: None, index)  # whoever holds a view holds the memory
        self.x16: Rows16 = codes.view(np.float16).reshape(n, dim)  # a view; lives no longer than this object

    @classmethod
    def of(cls, blocks: Iterable[Rows16], dim: int) -> FlatRows:
        """Copy blocks of rows (m, dim) into one."""
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        for block in blocks:
            if len(block):
                index.add_sa_codes(np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1))
        return cls(index)

    def nearest(self, xq: Rows, k: int, keep: Bits | None = None) -> tuple[Rows, Positions]:
        """The `k` best rows for each query (nq, dim), of all or of those in `keep`: scores and positions (nq, k).

        Best first. `k`: no more than there are. A scan of the float16 rows for each query: for few of them.
        """
        # The selector travels with the call: one set on the shared index would leak into other searches.
        params = None if keep is None else faiss.SearchParameters(sel=_selector(keep))  # type: ignore[call-arg]
        D, I = self._index.search(xq, k, params=params)
        return D, I

    def nearest_of_many(self, xq: Rows, k: int, among: Positions | None = None) -> tuple[Rows, Positions]:
        """The same for many queries, of all or of the positions `among` (m,): one matrix product a block of rows."""
        best = faiss.ResultHeap(len(xq), k, keep_max=True)
        for at, x in self._blocks(among):
            D, I = faiss.knn(xq, x, min(k, len(x)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(D, at[I])
        best.finalize()
        return best.D, best.I

    def at(self, positions: Positions) -> Rows:
        """The rows (m, dim) at positions (m,)."""
        return self._decoded(self.x16[positions])

    def prefetch(self, positions: Positions) -> None:
        """Have the rows at positions (m,) read from disk, all at once, if they are not in memory."""
        prefetch(self.x16, positions)

    def float32(self, start: int, stop: int) -> Rows:
        """The rows from `start` to `stop`, (stop - start, dim)."""
        return self._decoded(self.x16[start:stop])

    def _blocks(self, among: Positions | None) -> Iterator[tuple[Positions, Rows]]:
        """Positions (m,) and rows (m, dim), a block at a time in the same memory: use one before the next is asked for.

        New memory for each would cost more than to fill it.
        """
        n, dim = self.x16.shape
        count = n if among is None else len(among)
        memory = np.empty((min(BLOCK, count), dim), np.float32)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            at = np.arange(start, stop) if among is None else among[start:stop]
            is_run = at[-1] - at[0] == len(at) - 1  # ascending, so none is left out: nothing need be picked
            yield at, self._decoded(self.x16[at[0] : at[-1] + 1] if is_run else self.x16[at], memory[: len(at)])

    def _decoded(self, x16: Rows16, into: Rows | None = None) -> Rows:
        """As FAISS decodes them: to the same values as numpy's cast, several times faster."""
        rows: Rows = self._index.sa_decode(x16.view(np.uint8), into)
        return rows

    @staticmethod
    def write(path: Path, blocks: Iterable[Rows16], dim: int) -> int:
        """Write blocks of rows (m, dim) to a file that `read` maps, holding one block at a time. Returns their number.

        The file is what FAISS writes: its header for no rows, the two counts in it set, then the codes.
        """
        empty = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        header = bytearray(faiss.serialize_index(empty).tobytes())
        n = 0
        with path.open("wb") as file:
            file.write(header)
            for block in blocks:
                file.write(np.ascontiguousarray(block).data)
                n += len(block)
            header[8:16] = n.to_bytes(8, sys.byteorder)  # after the type and the dimension
            header[-8:] = (n * dim * 2).to_bytes(8, sys.byteorder)
            file.seek(0)
            file.write(header)
        fsync_file(path)
        return n

    @classmethod
    def read(cls, path: Path, n: int, dim: int) -> FlatRows:
        """Map what `write` wrote. InputError if it is not `n` rows of `dim`."""
        index = _read(path)
        if not isinstance(index, faiss.IndexScalarQuantizer) or (index.ntotal, index.d) != (n, dim):
            raise InputError(f"{path}: not {n} rows of {dim} dimensions")
        return cls(index)


class CoarseIndex:
    """Inverted lists or a graph over small codes of the rows. What it ranks is approximate."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @classmethod
    def train(cls, factory: str, sample: Rows) -> CoarseIndex:
        """An empty index of a FAISS factory string, trained on a sample (n, dim)."""
        index = faiss.index_factory(sample.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        ivf = faiss.try_extract_index_ivf(index)
        if ivf is not None:
            ivf.cp.max_points_per_centroid = max(1, len(sample) // ivf.nlist)  # all of the sample
            ivf.cp.min_points_per_centroid = 1
            ivf.cp.niter = 10
        index.train(sample)
        return cls(index)

    @classmethod
    def trained(cls, path: Path) -> CoarseIndex:
        """What was trained in the index at `path`, without its rows. InputError if it cannot be read."""
        index = _read(path, flags=0)  # into memory of its own: what is mapped cannot be emptied
        index.reset()
        return cls(index)

    def fill(self, rows: FlatRows) -> None:
        """Add all rows, in order, so that FAISS's numbers are positions. Only for an index that was just trained."""
        for start in range(0, len(rows.x16), BLOCK):
            self._index.add(rows.float32(start, min(start + BLOCK, len(rows.x16))))

    def nearest(self, xq: Rows, k: int, effort: int, keep: Bits | None = None) -> Positions:
        """Candidates (nq, k) for queries (nq, dim), padded with -1. `effort`: lists probed, or width of the beam."""
        sel = None if keep is None else _selector(keep)
        _, I = self._index.search(xq, k, params=self._params(effort, sel))
        positions: Positions = I
        return positions

    def _params(self, effort: int, sel: Any) -> Any:
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=effort, sel=sel)  # type: ignore[attr-defined]
        if isinstance(self._index, faiss.IndexIVFRaBitQ):
            # 8 bits of the query per value: the error left is that of the codes
            return faiss.IVFRaBitQSearchParameters(nprobe=effort, qb=8, sel=sel)  # type: ignore[call-arg]
        return faiss.SearchParametersIVF(nprobe=effort, sel=sel)  # type: ignore[call-arg]

    def write(self, path: Path) -> None:
        """Write to a new file."""
        faiss.write_index(self._index, str(path))
        fsync_file(path)

    @classmethod
    def read(cls, path: Path, n: int, dim: int) -> CoarseIndex:
        """Map what `write` wrote. InputError if it is not an index of `n` rows of `dim`."""
        index = _read(path)
        if (index.ntotal, index.d) != (n, dim):
            raise InputError(f"{path}: not an index of {n} rows of {dim} dimensions")
        return cls(index)


class Products:
    """Inner products of queries with some rows (m, dim) float32, by FAISS's own BLAS.

    NumPy's has threads of its own. After each call they stay awake for a while, and FAISS's threads wait for them.
    """

    def __init__(self, rows: Rows) -> None:
        m, dim = rows.shape
        self._rows = faiss.LinearTransform(dim, m, False)
        faiss.copy_array_to_vector(rows.ravel(), self._rows.A)
        self._rows.is_trained = True

    def __call__(self, xq: Rows) -> Rows:
        """Queries (nq, dim) to (nq, m)."""
        products: Rows = self._rows.apply(xq)
        return products


def centres_of(x: Rows, k: int) -> Rows:
    """The centres (k, dim) of `k` clusters of rows (n, dim), by k-means; fewer if there are fewer rows."""
    found = faiss.Kmeans(
        x.shape[1], min(k, len(x)), niter=25, nredo=2, seed=1, min_points_per_centroid=1, max_points_per_centroid=2048
    )
    found.train(np.ascontiguousarray(x, np.float32))
    assert found.centroids is not None
    return found.centroids


def use_threads(n: int) -> None:
    """FAISS calls of this thread use `n` threads: a build beside searches must leave them room."""
    faiss.omp_set_num_threads(n)


def _selector(keep: Bits) -> Any:
    return faiss.IDSelectorBitmap(keep)  # type: ignore[call-arg, arg-type]


def _read(path: Path, flags: int = faiss.IO_FLAG_MMAP_IFC) -> faiss.Index:
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
