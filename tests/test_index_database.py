import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from base.errors import CollectionDamaged, CollectionError, InputError
from index.entry import Entry
from index.local.catalog.catalog import Catalog
from index.local.catalog.tables import APPLICATION_ID
from index.search.filters import parse_filter

DIM = 4
META = {"name": "n", "model": "m", "fingerprint": "f", "dim": DIM, "created_at": "2026-01-01T00:00:00+00:00"}
ROOT = Path(__file__).parents[1]

SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    modality TEXT NOT NULL,
    path TEXT UNIQUE,
    text TEXT,
    metadata TEXT NOT NULL,
    sha256 TEXT,
    mtime_ns INTEGER,
    size INTEGER,
    width INTEGER,
    height INTEGER,
    version INTEGER NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX entries_version ON entries (modality, version);
CREATE INDEX entries_sha256 ON entries (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE tombstones (version INTEGER, id INTEGER, modality TEXT NOT NULL, PRIMARY KEY (version, id))
    STRICT, WITHOUT ROWID;
"""


def schema_1(path, n):
    """A catalog as it was before the second schema, with `n` rows of two colours."""
    vector = np.array([1, 0, 0, 0], np.float16).tobytes()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {SCHEMA_1}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        rows = {**META, "version": 3, "tombstones_since": 0, "snapshot": "null"}
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        db.executemany(
            "INSERT INTO entries (modality, path, metadata, version, vector) VALUES ('image', ?, ?, 3, ?)",
            ((f"/{i}", json.dumps({"colour": ("red", "blue")[i % 2], "n": str(i)}), vector) for i in range(n)),
        )
        db.execute("INSERT INTO tombstones VALUES (2, 1000000, 'image')")
        db.execute("COMMIT")
    return path


def put(catalog, *paths, **fields):
    entries = [Entry(np.eye(DIM, dtype=np.float32)[0], "image", path, **fields) for path in paths]
    return catalog.upsert(entries, np.array([entry.vector for entry in entries]))


@pytest.fixture
def catalog(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        yield catalog


def test_an_older_schema_is_brought_up_to_date_when_it_is_opened(tmp_path):
    path = schema_1(tmp_path / "catalog.sqlite", 5000)
    with closing(Catalog(path)) as catalog:
        assert catalog.check() == []
        assert catalog.filter_ids(parse_filter({"must": [{"key": "n", "range": {"lt": 4}}]}), "image").tolist() == [
            1,
            2,
            3,
            4,
        ]
        assert (
            len(catalog.filter_ids(parse_filter({"must": [{"key": "colour", "match": {"value": "blue"}}]}), "image"))
            == 2500
        )
        assert catalog.state()[0] == 3
        catalog.update({1: {"taken": "2024-05-01T12:00:00"}})
        assert catalog.get([1])[1].taken == "2024-05-01T12:00:00"
        assert put(catalog, "/new") == [5001]
        with catalog.changes(1) as changes:
            assert (changes.version, changes.deleted["image"]) == (4, [1000000])
    with closing(Catalog(path)) as again:
        assert again.count() == 5001


def test_an_older_schema_that_cannot_be_brought_up_to_date_stays_as_it_was(tmp_path):
    path = schema_1(tmp_path / "catalog.sqlite", 10)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE entries SET metadata = 'no JSON' WHERE id = 7")
        db.commit()
    with pytest.raises(CollectionDamaged, match="metadata"):
        Catalog(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'facets'").fetchone() == (0,)


def test_a_copy_is_whole_while_others_write(catalog, tmp_path):
    put(catalog, *(f"/{i}" for i in range(2000)), metadata={"a": 1})
    stop = Event()

    def write():
        i = 0
        while not stop.is_set():
            put(catalog, f"/more/{i}", f"/more/too/{i}")
            i += 1

    writer = Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            catalog.copy_to(tmp_path / f"copy{i}")
    finally:
        stop.set()
        writer.join()
    assert sorted(path.name for path in tmp_path.glob("copy*")) == [f"copy{i}" for i in range(5)]
    for i in range(5):
        with closing(Catalog(tmp_path / f"copy{i}")) as copy:
            assert copy.check() == []
            assert copy.count() % 2 == 0  # no transaction is torn
            assert copy.count() >= 2000
            assert put(copy, "/later")


def test_a_copy_replaces_nothing_and_leaves_nothing_behind_when_it_fails(catalog, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        catalog.copy_to(tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(CollectionError):
        catalog.copy_to(tmp_path / "no" / "folder")
    catalog.copy_to(tmp_path / "copy")
    assert not list(tmp_path.glob("*.part*"))


# --- a disk that is full or read-only, for real: a tmpfs in a mount namespace of its own ---

PRELUDE = """
import os, subprocess, sys
from contextlib import closing
from pathlib import Path
import numpy as np, pytest
from base.errors import CollectionError, CollectionExists
from index.local.catalog.catalog import Catalog
from index.entry import Entry
from index.search.filters import parse_filter
from test_index_database import META, put, schema_1
disk = Path(sys.argv[1])
def mount(*options):
    subprocess.run(["mount", *options, str(disk)], check=True)
mount("-t", "tmpfs", "-o", "size=4m", "tmpfs")
path = disk / "catalog.sqlite"
"""


@pytest.fixture
def on_own_disk(tmp_path):
    """Runs Python in a process with a small disk of its own."""
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this kernel gives no mount namespace: {error}")

    def run(code):
        command = ["unshare", "-Urm", sys.executable, "-c", PRELUDE + code, str(tmp_path)]
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return run


def test_a_full_disk_is_named_and_the_next_write_works_once_there_is_space(on_own_disk):
    on_own_disk("""
Catalog.create(path, META)
catalog = Catalog(path)
written = put(catalog, "/first", metadata={"a": 1})
ballast = disk / "ballast"
with pytest.raises(OSError, match="No space"):
    ballast.write_bytes(bytes(1 << 23))
errors = 0
for i in range(40):
    try:
        written += put(catalog, *(f"/{i}/{j}" for j in range(100)))
    except CollectionError as error:
        assert "disk is full" in str(error) and "nothing was changed" in str(error), error
        errors += 1
assert errors > 30
with pytest.raises(CollectionError, match="disk is full"):
    catalog.update({1: {"text": "x" * 100_000}})
with pytest.raises(CollectionError, match="disk is full"):
    catalog.copy_to(disk / "copy")
assert not list(disk.glob("copy*"))
assert [r.id for r in catalog.records()] == written
ballast.unlink()
written += put(catalog, "/last")
assert [r.id for r in catalog.records()] == written
catalog.close()
with closing(Catalog(path)) as again:
    assert [r.id for r in again.records()] == written
    assert again.check() == []
""")


def test_a_read_only_disk_is_read_and_named_when_it_is_written_to(on_own_disk):
    on_own_disk("""
Catalog.create(path, META)
with closing(Catalog(path)) as catalog:
    put(catalog, "/a", metadata={"a": 1})
schema_1(disk / "old", 10)
mount("-o", "remount,ro")
with closing(Catalog(path)) as catalog:
    assert [r.path for r in catalog.records()] == ["/a"]
    assert catalog.filter_ids(parse_filter({"must": [{"key": "a", "match": {"value": 1}}]}), "image").tolist() == [1]
    assert catalog.check() == []
    with pytest.raises(CollectionError, match="read-only"):
        put(catalog, "/b")
with pytest.raises(CollectionError, match="read-only"):
    Catalog(disk / "old")
with pytest.raises(CollectionError, match="read-only|cannot be opened"):
    Catalog.create(disk / "new", META)
""")


def test_commits_that_a_read_only_disk_cannot_merge_are_named(on_own_disk):
    on_own_disk("""
Catalog.create(path, META)
catalog = Catalog(path)
put(catalog, "/a")
(disk / "kept-wal").write_bytes((disk / "catalog.sqlite-wal").read_bytes())
catalog.close()
(disk / "kept-wal").rename(disk / "catalog.sqlite-wal")
mount("-o", "remount,ro")
with pytest.raises(CollectionError, match="catalog.sqlite-wal"):
    Catalog(path)
""")


def test_a_reader_whose_disk_is_read_only_sees_what_a_writer_commits_elsewhere(on_own_disk):
    on_own_disk("""
Catalog.create(path, META)
writer = Catalog(path)
put(writer, "/a")
mount("--bind", str(disk))
subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
with closing(Catalog(path)) as reader:
    assert reader.count() == 1
    put(writer, "/b")
    assert reader.count() == 2
""")
