import ctypes
import mmap
import os
import time

import faiss
import numpy as np
import pytest

from base.errors import InputError
from index.local.vectors.ann import CoarseIndex, FlatRows
from index.rows import as_ids, as_rows, stored_rows, unit_rows


def rows(*values):
    return np.array(values, np.float32)


def some_rows(n=2000, dim=16):
    return unit_rows(np.random.default_rng(0).standard_normal((n, dim)), dim)


def test_flat_rows_find_the_best_and_keep_float16(tmp_path):
    x = some_rows()
    flat = FlatRows.of([x[:700].astype(np.float16), x[700:].astype(np.float16)], 16)
    assert (flat.x16 == x.astype(np.float16)).all()
    assert (flat.float32(5, 9) == x.astype(np.float16)[5:9]).all()
    for search in (flat.nearest, flat.nearest_of_many):
        D, I = search(x[1234:1236], 3)
        assert I[:, 0].tolist() == [1234, 1235]
        assert D[:, 0] == pytest.approx(1, abs=1e-3)
    keep = np.zeros(2000, bool)
    keep[[3, 77]] = True
    assert set(flat.nearest(x[:1], 2, np.packbits(keep, bitorder="little"))[1][0]) == {3, 77}
    assert set(flat.nearest_of_many(x[:1], 2, np.flatnonzero(keep))[1][0]) == {3, 77}
    assert FlatRows.write(tmp_path / "a.rows", [flat.x16[:99], flat.x16[99:]], 16) == 2000
    faiss.write_index(flat._index, str(tmp_path / "faiss"))
    assert (tmp_path / "a.rows").read_bytes() == (tmp_path / "faiss").read_bytes()
    mapped = FlatRows.read(tmp_path / "a.rows", 2000, 16)
    assert (mapped.x16 == flat.x16).all()
    for n, dim in ((1999, 16), (2000, 8)):
        with pytest.raises(InputError, match="not"):
            FlatRows.read(tmp_path / "a.rows", n, dim)
    (tmp_path / "b.rows").write_bytes(b"not an index")
    with pytest.raises(InputError, match="cannot be read"):
        FlatRows.read(tmp_path / "b.rows", 1, 16)


def test_flat_rows_may_be_none():
    assert FlatRows.of([], 4).x16.shape == (0, 4)


@pytest.mark.parametrize("factory", ["IVF16,RaBitQ", "IVF16,SQ8", "IVF16,PQ8np", "HNSW16,SQ8"])
def test_a_coarse_index_proposes_the_right_rows_and_is_mapped(tmp_path, factory):
    x = some_rows()
    flat = FlatRows.of([x.astype(np.float16)], 16)
    coarse = CoarseIndex.train(factory, x)
    coarse.fill(flat)
    coarse.write(tmp_path / "a.coarse")
    mapped = CoarseIndex.read(tmp_path / "a.coarse", 2000, 16)
    for index in (coarse, mapped):
        found = index.nearest(x[:50], 40, 200)
        assert np.mean([i in row for i, row in enumerate(found)]) > 0.95
    keep = np.packbits(np.arange(2000) % 2 == 0, bitorder="little")
    found = mapped.nearest(x[:50], 20, 200, keep)
    assert (found[found >= 0] % 2 == 0).all()
    again = CoarseIndex.trained(tmp_path / "a.coarse")
    again.fill(flat)  # FAISS would abort the process if this were mapped
    assert (again.nearest(x[:50], 40, 200) == coarse.nearest(x[:50], 40, 200)).mean() > 0.9
    with pytest.raises(InputError, match="not an index of 7 rows"):
        CoarseIndex.read(tmp_path / "a.coarse", 7, 16)


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (rows([1, 0, 0]), r"shape \(n, 2\)"),
        (rows(1, 0), r"shape \(n, 2\)"),
        (np.array([[1, 0]]), "floats"),
        (rows([np.nan, 0]), "NaN"),
        (rows([np.inf, 0]), "NaN or infinity"),
        (rows([1e30, 0]), "longer than float32 can say"),
        (np.array([[1e300, 0]]), "longer than float32 can say"),
        (np.array([[1e300, np.inf]]), "NaN or infinity"),
    ],
)
def test_wrong_rows_are_refused_at_the_door(x, what):
    with pytest.raises(InputError, match=what):
        as_rows(x, 2)


def test_a_row_without_a_length_is_told_from_one_that_is_too_short():
    for x, what in (
        (rows([0, 0]), "all zeros"),
        (rows([1e-30, 0]), "shorter than float32 can say: divide its numbers by its length"),
        (np.array([[1e-300, 0]]), "shorter than float32"),
        (np.array([[1e-300, 0], [0, 0], [1, 0]]), "all zeros"),
    ):
        for made in (unit_rows, stored_rows):
            with pytest.raises(InputError, match=what):
                made(x, 2)


def test_wrong_ids_are_refused_at_the_door():
    assert as_ids([]).tolist() == []
    for ids, what in (([1.5], "integers"), ([[1]], "flat"), (["1"], "integers")):
        with pytest.raises(InputError, match=what):
            as_ids(ids)


def test_unit_rows_scales_and_refuses_what_has_no_direction():
    assert unit_rows([[3, 4.0]], 2).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    with pytest.raises(InputError, match="zeros"):
        unit_rows([[0.0, 0.0]], 2)
    with pytest.raises(InputError, match="must all have"):
        unit_rows([np.ones(2), np.ones(3)], 2)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="files cannot be told out of memory here")
def test_rows_are_read_from_disk_before_they_are_asked_for(tmp_path):
    dim, wanted = 512, np.array([5, 1003, 1003, 7770])
    FlatRows.write(tmp_path / "rows", [np.ones((8000, dim), np.float16)], dim)
    with (tmp_path / "rows").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    mapped = FlatRows.read(tmp_path / "rows", 8000, dim)

    def in_memory(position):
        begin = mapped.x16[position].ctypes.data
        page = (ctypes.c_ubyte * 1)()
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(begin - begin % mmap.PAGESIZE), ctypes.c_size_t(1), page) == 0
        return bool(page[0] & 1)

    if in_memory(4000):
        pytest.skip("this file system keeps its files in memory")
    mapped.prefetch(wanted)
    until = time.monotonic() + 20
    while not all(in_memory(position) for position in wanted):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not in_memory(4000)
    assert (mapped.at(wanted) == 1).all()
