import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from base.errors import CollectionDamaged
from index.entry import Entry
from index.local.catalog.catalog import Catalog

DIM = 64
META = {"name": "n", "model": "m", "fingerprint": "f", "dim": DIM, "created_at": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def catalog(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    x = np.random.default_rng(0).standard_normal((500, DIM)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    entries = [Entry(row, "image", f"/{i}", metadata={"i": str(i), "tags": ["a", "b"]}) for i, row in enumerate(x)]
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        catalog.upsert(entries, x)
        catalog.delete([500])
        yield catalog


def test_a_sound_catalog_has_no_problems(catalog):
    assert catalog.check() == []


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ("UPDATE entries SET vector = substr(vector, 1, 10) WHERE id IN (3, 9)", "2 entries .* not 64 values .id 3, 9"),
        ("UPDATE entries SET vector = zeroblob(128) WHERE id = 3", "1 entries .* not of length 1"),
        (
            "UPDATE entries SET vector = CAST(X'007E' || substr(vector, 3) AS BLOB) WHERE id = 3",
            "1 entries .* not of length 1",
        ),
        ("UPDATE entries SET modality = 'sound' WHERE id = 3", "modality 'sound'"),
        ("UPDATE entries SET metadata = '[' WHERE id = 3", "no JSON object"),
        ("UPDATE entries SET metadata = '[1]' WHERE id = 3", "no JSON object"),
        ("UPDATE entries SET version = 99 WHERE id = 3", "newer"),
        ("DELETE FROM facets WHERE id = 3 AND value = 'a'", r"1 entries lack facets .*\(id 3\)"),
        ("INSERT INTO facets VALUES ('image', 'tags', 'c', 3)", "1 facets belong to no"),
        ("UPDATE entries SET metadata = '{}' WHERE id = 3", "4 facets belong to no"),
        ("INSERT INTO tombstones VALUES (1, 3, 'image', NULL)", "1 entries are marked as deleted"),
        ("DELETE FROM meta WHERE key = 'dim'", "lacks dim"),
        ("UPDATE meta SET value = 'x' WHERE key = 'revision'", "revision of 'x'"),
        ("UPDATE meta SET value = '[]' WHERE key = 'snapshot'", "snapshot"),
        ("UPDATE meta SET value = value + 1 WHERE key = 'revision'", "its revision is damaged"),
        ("UPDATE entries SET text = 'x' WHERE id = 3", "1 entries are not what was written .id 3"),
        ("UPDATE entries SET path = '/a' || char(0) WHERE id = 3", "1 entries have a path with a zero byte"),
        ("UPDATE entries SET external_id = 'x' WHERE id = 3", "1 entries are not what was written .id 3"),
        ("UPDATE entries SET external_id = 'a/..' WHERE id = 3", "1 entries have an external id that cannot be one"),
        ("UPDATE tombstones SET version = 99", "1 deletions are of no commit"),
        ("UPDATE sqlite_sequence SET seq = 3", "ids are counted up to 3, there are some up to 500"),
    ],
)
def test_each_kind_of_harm_is_found(catalog, harm, problem):
    with closing(sqlite3.connect(catalog.path)) as db:
        db.execute(harm)
        db.commit()
    problems = catalog.check()
    assert any(re.search(problem, line) for line in problems), problems
    assert all("\n" not in line for line in problems)


@pytest.mark.parametrize("metadata", ["[", "", "{}, {}", '{"a": 1'])
def test_metadata_that_are_no_json_are_known_by_their_entry_among_many(catalog, metadata):
    with closing(sqlite3.connect(catalog.path)) as db:
        db.execute("UPDATE entries SET metadata = ? WHERE id = 3", (metadata,))
        db.commit()
    assert len(catalog.records.get([4, 5])) == 2
    with pytest.raises(CollectionDamaged, match="entry 3 has metadata that are no JSON"):
        catalog.records.get(range(1, 9))


def flipped(catalog, place):
    """The catalog with a changed bit at the end of the first place where its file holds these bytes."""
    catalog.close()
    content = bytearray(catalog.path.read_bytes())
    content[content.index(place) + len(place) - 1] ^= 1
    catalog.path.write_bytes(content)
    return closing(Catalog(catalog.path))


ROW = b'image/one.jpga boat{"n": "x"}' + b"ab" * 32 + b"2026-01-01"  # as it lies in the file


@pytest.fixture
def one(catalog):
    """The catalog with one entry more, and its id."""
    x = np.eye(1, DIM, dtype=np.float32)
    entry = Entry(x[0], "image", "/one.jpg", "a boat", {"n": "x"}, sha256="ab" * 32, taken="2026-01-01")
    return catalog, catalog.upsert([entry], x)[0]


@pytest.mark.parametrize(
    "place",
    [
        *(ROW[: ROW.index(end) + len(end)] for end in (b".jpg", b"boat", b"abab", b"-01-01")),
        b"\0\x3c\0\0",
        *(b"modelm", b"fingerprintf", b"bar"),  # of meta
    ],
)
def test_a_changed_bit_is_named_whatever_it_says_now(one, place):
    catalog, key = one
    with flipped(catalog, place) as damaged:
        assert any("not what was written" in line or "lacks bar" in line for line in damaged.check())
        if not place.isalpha():
            damaged.update({key: {"metadata": {}}})  # which does not hide it
            assert f"1 entries are not what was written (id {key})" in damaged.check()


@pytest.mark.parametrize("value", ["{", "[]", "5", '{"kand": 1}', '{"kind": "best"}', '{"recall": "x"}'])
def test_a_value_of_meta_that_cannot_be_is_damage_and_no_traceback(catalog, value):
    with closing(sqlite3.connect(catalog.path)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key IN ('wish', 'bar', 'next')", (value,))
        db.commit()
    for read in (catalog.settings.index_config, catalog.settings.rejection, catalog.next.info):
        with pytest.raises(CollectionDamaged, match="restore it from a backup"):
            read()


def test_a_row_that_is_written_whole_is_sound_again(one):
    catalog, _ = one
    x = np.eye(1, DIM, dtype=np.float32)
    with flipped(catalog, b"a boat") as damaged:
        damaged.upsert([Entry(x[0], "image", "/one.jpg", "a boat")], x)
        assert damaged.check() == []


def test_a_change_of_model_does_not_hide_damage(one):
    catalog, key = one
    with flipped(catalog, b"a boat") as damaged:
        damaged.next.begin("new", "new", 2)
        damaged.next.write(range(1, key + 1), np.eye(2, dtype=np.float32)[np.zeros(key, int)])
        damaged.next.swap(None)
        assert damaged.check() == [f"1 entries are not what was written (id {key})"]


@pytest.mark.parametrize(
    "harm",
    [
        "CREATE TRIGGER harm AFTER INSERT ON entries BEGIN UPDATE entries SET text = 'pwned'; END",
        "CREATE VIEW harm AS SELECT * FROM entries",
        "CREATE TABLE harm (x)",
        "CREATE VIRTUAL TABLE harm USING fts5(x)",
        "CREATE INDEX harm ON entries (text)",
        "DROP INDEX entries_version",
    ],
)
def test_what_is_not_ours_is_named_and_nothing_is_written_under_a_trigger(catalog, harm):
    with closing(sqlite3.connect(catalog.path)) as db:
        db.execute(harm)
    assert any("harm" in line or "lacks its index 'entries_version'" in line for line in catalog.check())
    if "TRIGGER" in harm:
        with pytest.raises(CollectionDamaged, match="'harm'"):
            catalog.update({1: {"text": "mine"}})


@pytest.mark.parametrize(
    ("table", "ours", "theirs"),
    [
        ("entries", "text TEXT,", "text TEXT CHECK (length(text) < 3),"),
        ("entries", "checksum INTEGER", "checksum INTEGER, harm TEXT AS (text || '!') STORED"),
        ("entries", "taken TEXT,", "taken TEXT DEFAULT 'never',"),
        ("entries", "path TEXT UNIQUE,", "path TEXT UNIQUE COLLATE NOCASE,"),
        ("meta", "checksum INTEGER", "checksum INTEGER, more TEXT"),
        ("entries_sha256", "WHERE sha256 IS NOT NULL", "WHERE sha256 IS NOT NULL AND size > 1"),
        ("next_vectors", "version INTEGER NOT NULL", "version INTEGER NOT NULL REFERENCES entries (id)"),
    ],
)
def test_a_table_of_ours_that_was_changed_is_named(catalog, table, ours, theirs):
    assert catalog.check() == []
    with closing(sqlite3.connect(catalog.path, isolation_level=None)) as db:
        [sql] = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        assert sql.count(ours) == 1
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql.replace(ours, theirs), table))
    with closing(Catalog(catalog.path)) as changed:
        assert any(f"'{table}' is not as glimpse makes it" in line for line in changed.check())


def test_damaged_pages_are_problems_too(catalog):
    catalog.close()
    size = catalog.path.stat().st_size
    with catalog.path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xaa" * 8192)
    with closing(Catalog(catalog.path)) as damaged:
        assert any("damaged" in line for line in damaged.check())
