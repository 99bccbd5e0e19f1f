"""Collections on disk stay readable: one written out here as glimpse 0.1 writes it, statement by statement.

Whoever changes what is on disk changes nothing here, but teaches the new glimpse to open this.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from base.errors import CollectionError
from index.backup import restore
from index.collection import open_collection
from index.config import IndexConfig
from index.search.calibration import Rejection
from service.preflight import check

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, modality TEXT NOT NULL, path TEXT UNIQUE, text TEXT, metadata TEXT NOT NULL,
    sha256 TEXT, mtime_ns INTEGER, size INTEGER, width INTEGER, height INTEGER, taken TEXT,
    version INTEGER NOT NULL, vector BLOB NOT NULL
) STRICT;
CREATE INDEX entries_sha256 ON entries (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE tombstones (version INTEGER, id INTEGER, modality TEXT NOT NULL, PRIMARY KEY (version, id))
    STRICT, WITHOUT ROWID;
CREATE INDEX entries_version ON entries (modality, version, size, width, height, mtime_ns, taken);
CREATE TABLE facets (modality TEXT, key TEXT, value ANY, id INTEGER, PRIMARY KEY (modality, key, value, id))
    STRICT, WITHOUT ROWID;
CREATE TABLE next_vectors (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, vector BLOB NOT NULL) STRICT;
"""
META = {
    "name": "old", "model": "m", "fingerprint": "f", "dim": 4, "created_at": "2026-01-01T00:00:00+00:00",
    "version": 3, "revision": 5, "tombstones_since": 0, "images": 3, "texts": 1,
    "snapshot": "null",
    "wish": json.dumps({"kind": "ivf-sq8", "recall": 0.9}),
    "bar": json.dumps({"fingerprint": "f", "rows": 3, "bar": 0.125, "doubt": 0.5}),
    "next": json.dumps({"model": "new", "fingerprint": "new-print", "dim": 2}),
}  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data folder with the collection `old`, in the middle of a reindex."""
    folder = tmp_path / "collections" / "old"
    folder.mkdir(parents=True)
    x = np.eye(4, dtype=np.float16)
    with closing(sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        db.execute(f"PRAGMA application_id = {0x676C696D}")
        db.execute("PRAGMA user_version = 2")
        db.executemany("INSERT INTO meta VALUES (?, ?)", META.items())
        row = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, 1, 2, 30, 40, NULL, ?, ?)"
        for i in (1, 2, 3):
            db.execute(row, (i, "image", f"/p/{i}.jpg", None, '{"n": "1"}', f"{i:064x}", i, x[i - 1].tobytes()))
            db.executemany("INSERT INTO facets VALUES ('image', 'n', ?, ?)", [("1", i), (1, i)])
        db.execute(row, (5, "text", None, "a text", "{}", None, 3, x[3].tobytes()))
        db.execute("INSERT INTO tombstones VALUES (2, 4, 'image')")
        db.execute("INSERT INTO next_vectors VALUES (1, 1, ?)", (np.array([0, 1], np.float16).tobytes(),))
    return tmp_path


def test_a_collection_of_before_opens(old: Path) -> None:
    with open_collection(old, "old", writable=True) as collection:
        assert collection.check() == []
        assert collection.info().counts == {"image": 3, "text": 1}
        assert [hit.id for hit in collection.search(np.eye(4)[1], 1)] == [2]
        assert collection.filter_ids({"must": [{"key": "n", "match": {"value": 1}}]}, "image").tolist() == [1, 2, 3]
        assert collection.index_config == IndexConfig("ivf-sq8", 0.9)
        assert collection.rejection() == Rejection("f", 3, 0.125, 0.5)
        info = collection.next.info()
        assert info is not None
        assert (info.model, info.done, info.left) == ("new", 1, 3)


def test_it_is_brought_up_in_place_and_whole_or_not_at_all(old: Path) -> None:
    catalog = old / "collections" / "old" / "catalog.sqlite"

    def state() -> tuple[int, list[str]]:
        with closing(sqlite3.connect(catalog)) as db:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            return schema, [sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql > '' ORDER BY name")]

    before = state()
    assert before[0] == 2
    with closing(sqlite3.connect(catalog)) as db:  # in the way of the last step
        db.execute("CREATE TABLE entries_external_id (x)")
        in_the_way = state()
        with pytest.raises(CollectionError):
            open_collection(old, "old")
        assert state() == in_the_way
        db.execute("DROP TABLE entries_external_id")
    assert state() == before
    open_collection(old, "old").close()  # also to read alone
    assert state()[0] == 3
    with open_collection(old, "old", writable=True) as collection:
        assert collection.check() == []
        collection.update({2: {"external_id": "sku-2"}})
        collection.delete([3])
        assert collection.find_external(["sku-2"])["sku-2"].path == "/p/2.jpg"
        assert collection.check() == []


def test_the_rows_of_a_glimpse_that_knew_checksums_keep_them(old: Path) -> None:
    catalog = old / "collections" / "old" / "catalog.sqlite"
    with open_collection(old, "old", writable=True) as collection:
        collection.compact()  # gives them
    with closing(sqlite3.connect(catalog)) as db:  # back to schema 2, as that glimpse had it
        sealed = db.execute("SELECT id, checksum FROM entries ORDER BY id").fetchall()
        db.execute("DROP INDEX entries_external_id")
        db.execute("DROP TABLE changes")
        db.execute("DELETE FROM meta WHERE key IN ('life', 'changes_since')")
        db.commit()
        for table in ("entries", "tombstones"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN external_id")
        db.execute("PRAGMA user_version = 2")
    with open_collection(old, "old") as collection:
        assert collection.check() == []
    with closing(sqlite3.connect(catalog)) as db:
        assert db.execute("SELECT id, checksum FROM entries ORDER BY id").fetchall() == sealed
        assert None not in dict(sealed).values()


def test_on_a_read_only_disk_it_is_read_as_it_is(
    old: Path, on_own_disk: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")  # the disk hides what is here
    with closing(sqlite3.connect(old / "collections" / "old" / "catalog.sqlite")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(old / "collections" / "old" / "catalog.sqlite", elsewhere)
    on_own_disk(f"""
import shutil
import numpy as np
from base.errors import CollectionError
from index.collection import open_collection
from service.preflight import check
(disk / "collections" / "old").mkdir(parents=True)
shutil.copy({str(elsewhere / "catalog.sqlite")!r}, disk / "collections" / "old")
mount("-o", "remount,ro")
with open_collection(disk, "old") as collection:
    assert collection.check() == [], collection.check()
    assert [(r.id, r.external_id) for r in collection.records()] == [(1, None), (2, None), (3, None), (5, None)]
    assert collection.find_external(["a"]) == {{}}
    assert collection.find_path("/p/2.jpg").id == 2
    try:
        collection.changes_after()
    except CollectionError as error:
        assert "older glimpse" in str(error)
    else:
        raise AssertionError("it has no feed")
    assert [hit.id for hit in collection.search(np.eye(4)[1], 1)] == [2]
""")


def test_what_is_written_today_has_the_form_of_before(old: Path) -> None:
    measured = Rejection("f", 4, None, 1.0)
    with open_collection(old, "old", writable=True) as collection:
        collection.next.write([2, 3, 5], np.eye(2)[[0, 1, 0]])
        collection.next.swap()
        collection.set_rejection(measured)
        collection.compact(IndexConfig("exact", 0.95))
    with closing(sqlite3.connect(old / "collections" / "old" / "catalog.sqlite")) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
    assert meta.keys() == {*META, "life", "changes_since"}
    assert json.loads(meta["bar"]) == {"fingerprint": "f", "rows": 4, "bar": None, "doubt": 1.0}
    assert json.loads(meta["wish"]) == {"kind": "exact", "recall": 0.95}
    assert (meta["model"], meta["dim"], json.loads(meta["next"])) == ("new", 2, None)
    snapshot = json.loads(meta["snapshot"])
    assert snapshot["segments"]["image"].keys() == {"count", "dim", "files", "tuning"}
    assert snapshot["segments"]["image"]["files"]["rows"].keys() == {"name", "bytes", "head", "crc32"}


def test_rows_of_before_get_their_checksums_and_what_it_writes_later_is_taken(old: Path) -> None:
    catalog = old / "collections" / "old" / "catalog.sqlite"

    def checksums() -> list[int | None]:
        with closing(sqlite3.connect(catalog)) as db:
            return [kept for (kept,) in db.execute("SELECT checksum FROM entries ORDER BY id")]

    with open_collection(old, "old", writable=True) as collection:
        collection.update({2: {"text": "new"}})
        before, written, *_ = checksums()
        assert (before, written is None) == (None, False)
        collection.compact()
    assert None not in checksums()
    with closing(sqlite3.connect(catalog)) as db:  # as the glimpse of before changes an entry, and begins a reindex
        db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
        db.execute("UPDATE entries SET text = 'theirs' WHERE id = 3")
        db.execute("INSERT OR REPLACE INTO next_vectors SELECT id, version, X'003C0000' FROM entries WHERE id = 2")
        db.commit()
    assert restore(old, catalog, "copy").entries == 4
    with open_collection(old, "old", writable=True) as collection:
        assert ["older glimpse" in line for line in collection.check()] == [True]
        collection.compact()
        assert collection.check() == []
        assert collection.get(3).text == "theirs"
    assert None not in checksums()


def test_looking_whether_a_service_would_start_upgrades_nothing(old: Path) -> None:
    catalog = old / "collections" / "old" / "catalog.sqlite"
    before = {path.name: path.read_bytes() for path in catalog.parent.iterdir()}
    looked = [one for one in check({"model": "no/model", "data": old, "port": 0}).checks if one.what.endswith("old")]
    assert [one.state for one in looked] == ["warning"]
    assert "collection old was made by m, which cannot be loaded" in looked[0].said
    assert {path.name: path.read_bytes() for path in catalog.parent.iterdir()} == before
    catalog.with_name("catalog.sqlite-wal").write_bytes(b"of a writer that was killed, without its -shm")
    looked = [one for one in check({"model": "no/model", "data": old, "port": 0}).checks if one.what.endswith("old")]
    assert [one.state for one in looked] == ["warning"]
    assert "the service puts that in order as it starts" in looked[0].said
    [read] = [one for one in check({"model": "no/model", "data": old, "read_only": True}).checks if "old" in one.what]
    assert read.state == "wrong"
