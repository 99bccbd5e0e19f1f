"""Ids that the owner of an entry gives it: what they may be, and that they stay with it, whatever is done with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from base.names import check_external_id
from index.backup import back_up, restore
from index.collection import Collection, Entry, Modality, create_collection, open_collection

DIM = 4
ODD = ["sku/42", "👩‍🚀", "مرحبا", "a b?c#d%2F", "//", "50%", "\u00e9", "e\u0301", "-"]


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Collection]:
    with create_collection(tmp_path, "pets", model="m", fingerprint="f", dim=DIM) as collection:
        yield collection


def entry(at: int, external_id: str | None = None, modality: Modality = "image", **fields: Any) -> Entry:
    return Entry(np.eye(DIM, dtype=np.float32)[at], modality, external_id=external_id, **fields)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "1 to 256"),
        ("x" * 257, "1 to 256"),
        ("a\nb", "control"),
        ("a\0", "control"),
        ("a\u2028b", "line break"),
        ("\ud800", "half a character"),
        (" a", "space"),
        ("a\u00a0", "space"),
        ("..", "no URL can say"),
        ("a/./b", "no URL can say"),
    ],
)
def test_what_cannot_be_one_is_refused_with_the_reason(pets: Collection, bad: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        pets.upsert([entry(0), entry(1, bad)])
    assert pets.count() == 0


def test_what_may_be_one_comes_back_as_it_is(pets: Collection) -> None:
    ids = pets.upsert([entry(i % DIM, name) for i, name in enumerate(ODD)])
    assert [record.external_id for record in pets.records()] == ODD
    found = pets.find_external([*ODD, "other"])
    assert {name: record.id for name, record in found.items()} == dict(zip(ODD, ids, strict=True))
    assert pets.check() == []


@given(st.text(min_size=1, max_size=8))
def test_the_rule_is_kept_by_any_text(text: str) -> None:
    """What is let through is whole, in one line, and says itself in a URL."""
    try:
        kept = check_external_id(text)
    except InputError:
        assert text != text.strip() or not text.isprintable() or {".", ".."} & set(text.split("/"))
        return
    assert kept == text
    assert kept.encode().decode() == kept
    assert len(kept.splitlines()) == 1


def test_what_is_there_is_replaced_and_keeps_its_id(pets: Collection) -> None:
    a, b = pets.upsert([entry(0, "a", path="/1", metadata={"n": 1}), entry(1, "b", path="/2")])
    assert pets.upsert([entry(2, "a", path="/3", metadata={"n": 2})]) == [a]
    assert [(r.id, r.path, r.external_id, r.metadata) for r in pets.records()] == [
        (a, "/3", "a", {"n": 2}),
        (b, "/2", "b", {}),
    ]
    assert [hit.id for hit in pets.search(np.eye(DIM)[2], 1)] == [a]
    assert pets.upsert([entry(3, path="/2")]) == [b]  # as `glimpse index` finds its file changed
    assert pets.get(b).external_id == "b"
    assert pets.upsert([entry(0, "c", path="/1"), entry(1, "c", path="/4")])[0] == pets.find_external(["c"])["c"].id
    assert pets.count() == 3
    assert pets.check() == []


def test_an_entry_of_a_path_gets_one_and_never_anothers(pets: Collection) -> None:
    a, b = pets.upsert([entry(0, path="/1"), entry(1, "b", path="/2")])
    assert pets.upsert([entry(0, "a", path="/1")]) == [a]
    for bad in (entry(0, "c", path="/1"), entry(0, "b", path="/1")):
        with pytest.raises(InputError, match="path of another entry"):
            pets.upsert([entry(2, path="/new"), bad])
    with pytest.raises(InputError, match="same external_id"):
        pets.update({a: {"external_id": "b"}})
    with pytest.raises(InputError, match="control"):
        pets.update({a: {"external_id": "\t"}})
    pets.update({a: {"external_id": "b"}, b: {"external_id": "a"}})  # in one call two may change theirs
    assert [record.external_id for record in pets.records()] == ["b", "a"]
    pets.update({a: {"external_id": None}})
    assert pets.find_external(["b"]) == {}
    assert (pets.count(), pets.check()) == (2, [])


def test_an_image_takes_the_place_of_a_text(pets: Collection) -> None:
    (old, other) = pets.upsert([entry(0, "a", "text", text="red", metadata={"x": 1}), entry(1, "b", "text")])
    (new,) = pets.upsert([entry(2, "a", path="/1", metadata={"x": 1})])
    assert new not in (old, other)
    assert [(record.id, record.modality) for record in pets.records()] == [(other, "text"), (new, "image")]
    assert [hit.id for hit in pets.search(np.eye(DIM)[0], 5, "text")] == [other]
    assert pets.filter_ids({"must": [{"key": "x", "match": {"value": 1}}]}, "text").tolist() == []
    assert pets.info().counts == {"image": 1, "text": 1}
    assert pets.check() == []


def test_it_outlives_all_that_is_done_with_a_collection(pets: Collection, tmp_path: Path) -> None:
    names = ["a", None, "c/d", "é"]
    pets.upsert([entry(i, name, metadata={"i": i}) for i, name in enumerate(names)])
    ids = [record.id for record in pets.records()]
    pets.update({ids[0]: {"metadata": {}}})
    pets.next.begin("new", "g", 2)
    pets.next.write(ids, np.eye(2)[[0, 1, 0, 1]])
    pets.next.swap()
    pets.compact()
    assert pets.check() == []
    back_up(tmp_path, "pets", tmp_path / "pets.glimpse")
    restore(tmp_path, tmp_path / "pets.glimpse", "again")
    for name in ("pets", "again"):
        with open_collection(tmp_path, name) as opened:
            assert [record.external_id for record in opened.records()] == names
            assert opened.check() == []


def test_a_deletion_tells_whose_it_was(pets: Collection) -> None:
    pets.delete(pets.upsert([entry(0, "a"), entry(1)]))
    with closing(sqlite3.connect(pets.folder / "catalog.sqlite")) as db:
        assert db.execute("SELECT id, external_id FROM tombstones ORDER BY id").fetchall() == [(1, "a"), (2, None)]
