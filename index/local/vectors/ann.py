"""Nearest neighbours by inner product: the only file that knows FAISS. It finds positions of rows; ids are not its.

`FlatRows` holds float16 rows and scans them all: exact. `CoarseIndex` proposes candidates fast from small codes;
whoever asks it compares them exactly afterwards. Both are immutable and may be searched by any number of threads. A
file of either is mapped, not read: processes share its memory, and opening costs no time.

FAISS aborts the process when an index on mapped memory is added to, so nothing here adds to what was read.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.files import fsync_file
from index.rows import Rows, Rows16

Positions = NDArray[np.int64]
Bits = NDArray[np.uint8]  # one bit a row, lowest first, as FAISS's IDSelectorBitmap reads them

BLOCK = 16_384  # rows converted to float32 at a time


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

    def nearest(self, q: Rows, k: int, keep: Bits | None = None) -> tuple[Rows, Positions]:
        """The `k` best rows for one query (dim,), of all or of those in `keep`: scores and positions, best first."""
        # The selector travels with the call: one set on the shared index would leak into other searches.
        params = None if keep is None else faiss.SearchParameters(sel=_selector(keep))  # type: ignore[call-arg]
        D, I = self._index.search(q[None], k, params=params)
        found = I[0] >= 0
        return D[0][found], I[0][found]

    def float32(self, start: int, stop: int) -> Rows:
        """The rows from `start` to `stop`, as FAISS decodes them: faster than numpy's cast."""
        codes = self.x16[start:stop].view(np.uint8)
        rows: Rows = self._index.sa_decode(codes)
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
