import threading

import numpy as np
import pytest

from encoder.errors import InputError
from index.ann import AnnIndex, unit_rows


def rows(*values):
    return np.array(values, np.float32)


def filled():
    ann = AnnIndex(2)
    ann.add([3, 5, 9], rows([1, 0], [0, 1], [-1, 0]))
    return ann


def test_search_orders_by_score_and_names_ids():
    D, I = filled().search(rows([1, 0], [0, 1]), k=2)
    assert I.tolist() == [[3, 5], [5, 3]]
    assert D.tolist() == [[1, 0], [1, 0]]
    assert D.dtype == np.float32
    assert I.dtype == np.int64


def test_k_larger_than_ntotal_returns_all_and_empty_returns_none():
    D, I = filled().search(rows([1, 0]), k=1000)
    assert I.tolist() == [[3, 5, 9]]
    D, I = AnnIndex(2).search(rows([1, 0]), k=5)
    assert D.shape == I.shape == (1, 0)


def test_add_replaces_in_place_and_remove_forgets():
    ann = filled()
    ann.add([5, 11], rows([1, 0], [0, -1]))
    assert ann.ntotal == 4
    assert ann.search(rows([1, 0]), k=2)[1].tolist() == [[3, 5]]
    assert ann.remove([5, 777]) == 1
    assert ann.search(rows([1, 0]), k=4)[1].tolist() == [[3, 11, 9]]


def test_ids_restrict_one_search_only():
    ann = filled()
    assert ann.search(rows([1, 0]), k=2, ids=[9, 5])[1].tolist() == [[5, 9]]
    assert ann.search(rows([1, 0]), k=2, ids=[9])[1].tolist() == [[9, -1]]
    assert ann.search(rows([1, 0]), k=1, ids=[])[1].tolist() == [[-1]]
    assert ann.search(rows([1, 0]), k=2)[1].tolist() == [[3, 5]]


def test_equal_scores_stand_in_the_order_of_ids_at_any_k():
    ann = AnnIndex(4)
    x = np.zeros((50, 4), np.float32)
    x[:, 0] = 1
    x[7] = [0, 1, 0, 0]
    ann.add(np.arange(50, 0, -1), x)  # id 43 is the one that differs
    order = [i for i in range(1, 51) if i != 43] + [43]
    for k in (1, 5, 49, 50):
        for nq in (1, 30):  # FAISS goes another way through many queries
            assert ann.search(np.repeat(x[:1], nq, axis=0), k)[1].tolist() == [order[:k]] * nq


def test_written_file_reads_back_and_a_changed_one_is_refused(tmp_path):
    path = tmp_path / "image-1.faiss"
    crc = filled().write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["image-1.faiss"]
    ann = AnnIndex.read(path, 2, crc)
    assert ann.ntotal == 3
    ann.add([9], rows([0, -1]))  # it knows which ids it holds
    assert ann.ntotal == 3
    with pytest.raises(InputError, match="3-dimensional"):
        AnnIndex.read(path, 3, crc)
    with pytest.raises(InputError, match="cannot be read"):
        AnnIndex.read(tmp_path / "none", 2, crc)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:40] + b"\xff" + whole[41:], b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            AnnIndex.read(path, 2, crc)


@pytest.mark.parametrize(
    ("ids", "x", "what"),
    [
        ([1], rows([1, 0, 0]), r"shape \(n, 2\)"),
        ([1], rows(1, 0), r"shape \(n, 2\)"),
        ([1], np.array([[1, 0]]), "floats"),
        ([1], rows([np.nan, 0]), "NaN"),
        ([1], rows([np.inf, 0]), "NaN or infinity"),
        ([1], np.array([[1e300, 0]]), "infinity"),
        ([1, 2], rows([1, 0]), "2 ids for 1"),
        ([1, 1], rows([1, 0], [1, 0]), "twice"),
        ([1.5], rows([1, 0]), "integers"),
        ([[1]], rows([1, 0]), "flat"),
    ],
)
def test_wrong_input_is_refused_at_the_door(ids, x, what):
    ann = filled()
    with pytest.raises(InputError, match=what):
        ann.add(ids, x)
    assert ann.ntotal == 3


def test_k_must_be_positive():
    with pytest.raises(InputError, match="k must be"):
        filled().search(rows([1, 0]), k=0)


def test_unit_rows_scales_and_refuses_what_has_no_direction():
    assert unit_rows([[3, 4.0]], 2).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    with pytest.raises(InputError, match="zeros"):
        unit_rows([[0.0, 0.0]], 2)
    with pytest.raises(InputError, match="must all have"):
        unit_rows([np.ones(2), np.ones(3)], 2)


def test_searches_run_while_rows_are_replaced_and_never_miss_one():
    rng = np.random.default_rng(0)
    x = unit_rows(rng.standard_normal((500, 32)), 32)
    ids = np.arange(1, 501)
    ann = AnnIndex(32)
    ann.add(ids, x)
    wrong, done = [], threading.Event()

    def search(seed):
        pick = np.random.default_rng(seed)
        while not done.is_set():
            i = pick.integers(500)
            if ann.search(x[i : i + 1], k=1)[1][0, 0] != i + 1:
                wrong.append(i)

    threads = [threading.Thread(target=search, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        some = rng.choice(500, 20, replace=False)
        ann.add(ids[some], x[some])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
