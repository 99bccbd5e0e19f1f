"""Arrays that callers give, checked: ids and vectors as the index wants them. numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from base.errors import InputError

Rows16 = NDArray[np.float16]
Rows = NDArray[np.float32]

ROUNDING = 2**-11  # of float16: so far from 1 is the length of a row that was scaled and then rounded


def as_ids(ids: ArrayLike) -> NDArray[np.int64]:
    """`ids` as a flat int64 array (n,). InputError for anything but integers."""
    given = np.asarray(ids)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InputError(f"ids must be a flat list of integers, not {given.dtype} of shape {given.shape}")
    return np.ascontiguousarray(given, dtype=np.int64)


def as_rows(x: ArrayLike, dim: int) -> Rows:
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
        if np.isfinite(given).all():
            raise InputError("a vector is longer than float32 can say: divide its numbers by its length")
        raise InputError("a vector holds NaN or infinity")
    return rows


def unit_rows(x: ArrayLike, dim: int) -> Rows:
    """`as_rows` scaled to length 1. InputError also for a vector of zeros, which has no direction."""
    rows = _rows_of(x, dim)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if not norms.all():
        if np.asarray(x)[norms == 0].any(axis=1).all():
            raise InputError("a vector is shorter than float32 can say: divide its numbers by its length")
        raise InputError("a vector is all zeros: it has no direction to compare")
    scaled: Rows = rows / norms[:, None]
    return scaled


def stored_rows(x: ArrayLike, dim: int) -> Rows16:
    """As collections keep them: `unit_rows` rounded to float16. What was kept so before stays bit for bit as it is."""
    given = _rows_of(x, dim)
    before = np.abs(np.sqrt(np.einsum("ij,ij->i", given, given)) - 1) <= ROUNDING
    if getattr(x, "dtype", None) == np.float16:
        kept = np.asarray(x)
    else:
        with np.errstate(over="ignore"):
            kept = given.astype(np.float16)
        before &= (given == kept).all(axis=1)
    if before.all():
        return kept
    rows = unit_rows(x, dim).astype(np.float16)
    rows[before] = kept[before]
    return rows


def _rows_of(x: ArrayLike, dim: int) -> Rows:
    try:
        return as_rows(x, dim)
    except InputError:
        raise
    except ValueError as error:  # NumPy's word for rows of different lengths
        raise InputError(f"vectors must all have shape ({dim},)") from error
