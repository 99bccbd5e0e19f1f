"""The pictures of a collection as columns: order, days, shapes, filters, and what is read anew."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_zips import odd

from index.collection import Entry, create_collection, open_collection
from index.columns import EPOCH, UNKNOWN, Columns
from index.local.catalog.select import columns as kept_columns

DIM = 4


def entry(path, **fields):
    return Entry(np.ones(DIM, np.float32), "image", f"/p/{path}", **fields)


def nanoseconds(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9


def days_of(columns):
    return [EPOCH + timedelta(int(day)) if day else None for day in columns.days]


@pytest.fixture
def collection(tmp_path):
    with create_collection(tmp_path, "c", model="m", fingerprint="f", dim=DIM) as made:
        yield made


def test_newest_first_by_the_camera_then_the_file_then_unknown(collection):
    ids = collection.upsert(
        [
            entry("unknown"),
            entry("file", mtime_ns=nanoseconds(2021, 3, 4, 5)),
            entry("camera", taken="2020-12-31T23:59:58+02:00", mtime_ns=nanoseconds(2022, 1, 1)),
            entry("old", taken="1931-05-06T07:08:09"),
            entry("no time", taken="once upon a time", mtime_ns=nanoseconds(2019, 1, 1)),
            entry("unknown too"),
            Entry(np.ones(DIM, np.float32), "text", text="a text"),
            entry("as new", mtime_ns=nanoseconds(2021, 3, 4, 5)),
        ]
    )
    columns = collection.columns()
    names = [collection.get(int(key)).path for key in columns.ids]
    assert names == [f"/p/{name}" for name in
                     ("as new", "file", "camera", "no time", "old", "unknown too", "unknown")]  # fmt: skip
    assert days_of(columns) == [
        date(2021, 3, 4), date(2021, 3, 4), date(2020, 12, 31), date(2019, 1, 1), date(1931, 5, 6), None, None
    ]  # fmt: skip
    assert ids[6] not in columns.ids


@given(st.integers(1, 2**20), st.integers(1, 2**20))
def test_a_shape_is_told_to_a_hundredth_within_its_bounds(width, height):
    one = (np.array([each]) for each in (1, width, height, 0))
    (code,) = Columns.of("", *one).aspects.tolist()
    told, true = 2 ** ((code - 128) / 32), width / height
    assert code >= 1
    if 2**-3.9 < true < 2**3.9:
        assert abs(told / true - 1) < 0.0115
    else:
        assert (told < 1) == (true < 1)


def test_what_is_not_known_is_nought(collection):
    collection.upsert([entry("no size"), entry("flat", width=5, height=0)])
    assert collection.columns().aspects.tolist() == [0, 0]
    assert collection.columns().days.tolist() == [0, 0]
    far = Columns.of("", *(np.array(each) for each in ([1, 2, 3], [1] * 3, [1] * 3, [2**60, -(2**60), UNKNOWN])))
    assert far.days.tolist() == [65_535, 1, 0]
    assert far.aspects.tolist() == [128] * 3


def test_an_empty_collection_has_empty_columns(collection):
    columns, mask = collection.columns_among({})
    assert columns.ids.size == columns.days.size == columns.aspects.size == mask.size == 0


def test_a_filter_is_a_mask_over_the_same_order(collection):
    ids = collection.upsert([entry(i, mtime_ns=nanoseconds(2000 + i % 7, 1, 1), metadata={"n": i}) for i in range(50)])
    columns, mask = collection.columns_among({"must": [{"key": "n", "range": {"lt": 20}}]})
    assert sorted(columns.ids[mask].tolist()) == ids[:20]
    assert not columns.mask(np.array([0, 10**12])).any()
    assert columns.mask(columns.ids).all()


def test_every_change_is_another_state_and_is_seen(collection, tmp_path):
    with open_collection(tmp_path, "c") as reader:
        before = reader.columns()
        assert reader.columns() is before
        (key,) = collection.upsert([entry("new", width=3, height=2)])
        assert reader.columns_state() != before.state
        assert reader.columns().ids.tolist() == [key]
        collection.update({key: {"taken": "2001-02-03T00:00:00"}})
        assert days_of(reader.columns()) == [date(2001, 2, 3)]
        collection.delete([key])
        assert reader.columns().ids.size == 0
        assert reader.columns_state() == reader.columns().state


def joined():
    """Whatever is being kept is kept."""
    for thread in threading.enumerate():
        if thread.name == "columns":
            thread.join()


def same(one, other):
    return one.state == other.state and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and (getattr(one, name) == getattr(other, name)).all()
        for name in ("ids", "aspects", "days")
    )  # fmt: skip


def test_columns_of_many_are_kept_and_no_longer_read_out_of_the_catalog(collection, tmp_path, monkeypatch):
    file = collection.folder / kept_columns.FILE
    collection.upsert([entry(i, width=1 + i, height=3, mtime_ns=nanoseconds(2001 + i % 7, 1, 1)) for i in range(40)])
    collection.columns()
    joined()
    assert not file.exists()  # these are few
    monkeypatch.setattr(kept_columns, "MANY", 40)
    with open_collection(tmp_path, "c") as reader:
        first = reader.columns()
    joined()
    whole = file.read_bytes()
    with monkeypatch.context() as without:
        without.setattr(kept_columns, "_READ", "SELECT 'the catalog is not read'")
        with open_collection(tmp_path, "c") as reader:
            assert same(reader.columns(), first)
            assert reader.columns_among({"must": [{"has_id": first.ids[:3].tolist()}]})[1].sum() == 3

    for damaged in (b"", b"no zip", whole[:-40], whole[:400] + b"?" + whole[401:], *odd(whole)):
        file.write_bytes(damaged)
        with open_collection(tmp_path, "c") as reader:
            assert same(reader.columns(), first)
        joined()
        assert file.read_bytes() == whole
    with monkeypatch.context() as later:
        later.setattr(kept_columns, "FORMAT", 2)  # a glimpse to which its columns say something else
        with open_collection(tmp_path, "c") as reader:
            assert same(reader.columns(), first)
        joined()
        assert file.read_bytes() != whole

    collection.delete([int(first.ids[0])])
    collection.upsert([entry("new", mtime_ns=nanoseconds(2020, 1, 1))])
    with open_collection(tmp_path, "c") as reader:  # of another state by now
        assert same(reader.columns(), collection.columns())
        assert reader.columns().ids[0] != first.ids[0]
    joined()
    assert file.read_bytes() != whole


def test_a_reader_that_may_write_nothing_keeps_no_columns(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_columns, "MANY", 1)
    collection.upsert([entry(1)])
    with open_collection(tmp_path, "c", read_only=True) as reader:
        assert len(reader.columns().ids) == 1
    joined()
    assert not (collection.folder / kept_columns.FILE).exists()
