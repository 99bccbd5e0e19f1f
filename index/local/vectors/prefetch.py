"""Rows of a mapped file asked of the disk all at once, before they are read one after the other.

A page that is not in memory is else read when the processor meets it: as many waits as rows. Where the system has no
madvise (Windows), or refuses it, rows are read as before. Source: madvise(2), MADV_WILLNEED.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.rows import Rows16


def _advise() -> Callable[[int, int, int], int] | None:
    if sys.platform == "win32":
        return None
    advise = ctypes.PyDLL(None).madvise  # does not wait for the disk, so other threads need not get the GIL
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise


_madvise = _advise()


def prefetch(rows: Rows16, positions: NDArray[np.int64]) -> None:
    """Have the system read what is not in memory of the rows at positions (m,); does not wait for it."""
    if _madvise is None:
        return
    size = rows.strides[0]
    starts = rows.ctypes.data + np.unique(positions) * size
    begins = starts - starts % mmap.PAGESIZE
    for begin, length in zip(begins.tolist(), (starts + size - begins).tolist(), strict=True):
        _madvise(begin, length, mmap.MADV_WILLNEED)
