import gc
import resource
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Thread, Timer

import numpy as np
import pytest

from base.errors import CollectionError, InputError
from base.sqlite_files import ALONE, BESIDE, PATIENCE, Unmerged, as_it_lies, is_full, opened_as_it_lies
from index.collection import create_collection
from index.entry import Entry
from index.local.catalog.catalog import Catalog
from index.local.catalog.sqlite import pool

DIM = 4
META = {"name": "n", "model": "m", "fingerprint": "f", "dim": DIM, "created_at": "2026-01-01T00:00:00+00:00"}
ROOT = Path(__file__).parents[1]


def put(catalog, *paths, **fields):
    entries = [Entry(np.eye(DIM, dtype=np.float32)[0], "image", path, **fields) for path in paths]
    return catalog.upsert(entries, np.array([entry.vector for entry in entries]))


@pytest.fixture
def catalog(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        yield catalog


@pytest.mark.parametrize(("schema", "remedy"), [(1, "index anew"), (99, "upgrade glimpse")])
def test_another_schema_is_named(tmp_path, schema, remedy):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as db:
        db.execute(f"PRAGMA user_version = {schema}")
    with pytest.raises(CollectionError, match=rf"schema {schema}, this one knows 3\); {remedy}"):
        Catalog(tmp_path / "catalog.sqlite")


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
from contextlib import ExitStack, closing
import numpy as np, pytest
from base.errors import CollectionError, CollectionExists
from index.local.catalog.sqlite import database
from index.local.catalog.catalog import Catalog
from index.collection import create_collection
from index.entry import Entry
from index.search.filters import parse_filter
from test_index_database import META, put
path = disk / "catalog.sqlite"
"""


@pytest.fixture
def on_own_disk(on_own_disk):
    """The same, with what a catalog needs."""
    return lambda code: on_own_disk(PRELUDE + code)


def test_a_disk_that_is_full_when_a_new_collection_is_whole_is_named_and_leaves_nothing(on_own_disk):
    on_own_disk("""
import numpy as np
from index.collection import create_collection
from index.entry import Entry
from index.local.store import LocalStore
ballast = disk / "ballast"
try:
    with LocalStore(disk).making("pets", model="m", fingerprint="f", dim=4) as made:
        made.upsert([Entry(np.ones(4), "image", "/a.jpg")])
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(1 << 23))
except CollectionError as error:
    assert "disk is full" in str(error), error
else:
    raise SystemExit("it was made")
ballast.unlink()
assert not [path for path in disk.rglob("*") if path.is_file()], [*disk.rglob("*")]
""")


def test_a_disk_that_is_away_is_not_full(tmp_path):
    assert not is_full(tmp_path / "away" / "catalog.sqlite")


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
assert [r.id for r in catalog.records.stream()] == written
ballast.unlink()
written += put(catalog, "/last")
assert [r.id for r in catalog.records.stream()] == written
catalog.close()
with closing(Catalog(path)) as again:
    assert [r.id for r in again.records.stream()] == written
    assert again.check() == []
""")


def test_a_collection_on_a_full_disk_is_opened_and_searched(on_own_disk):
    on_own_disk("""
from index.collection import open_collection
with closing(create_collection(disk, "pets", model="m", fingerprint="f", dim=4)) as made:
    made.upsert([Entry(np.ones(4), "image", "/a.jpg")])
ballast = disk / "ballast"
with pytest.raises(OSError, match="No space"):
    ballast.write_bytes(bytes(1 << 23))
for _ in range(2):  # the first leaves a file that has no room for what it is to hold
    with closing(open_collection(disk, "pets")) as pets:
        assert [hit.record.path for hit in pets.search(np.ones(4), 1)] == ["/a.jpg"]
with pytest.raises(CollectionError, match="disk is full"):
    with closing(open_collection(disk, "pets", writable=True)) as pets:
        pets.upsert([Entry(np.ones(4), "image", "/b.jpg")])
with closing(open_collection(disk, "pets")) as pets:
    ballast.unlink()
    with closing(open_collection(disk, "pets", writable=True)) as writable:
        writable.upsert([Entry(-np.ones(4), "image", "/b.jpg")])
    assert pets.count() == 2
""")


def test_a_read_only_disk_is_read_and_named_when_it_is_written_to(on_own_disk):
    on_own_disk("""
Catalog.create(path, META)
with closing(Catalog(path)) as catalog:
    put(catalog, "/a", metadata={"a": 1})
mount("-o", "remount,ro")
with closing(Catalog(path)) as catalog:
    assert [r.path for r in catalog.records.stream()] == ["/a"]
    assert catalog.select.ids(parse_filter({"must": [{"key": "a", "match": {"value": 1}}]}), "image").tolist() == [1]
    assert catalog.check() == []
    with pytest.raises(CollectionError, match="read-only"):
        put(catalog, "/b")
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


def test_a_writer_that_is_just_closing_its_files_leaves_no_commit_unmerged(tmp_path):
    path, wal = tmp_path / "catalog.sqlite", tmp_path / "catalog.sqlite-wal"
    path.write_bytes(b"merged")
    wal.write_bytes(b"merged too")  # -shm is removed, -wal will be
    closing_soon = Timer(PATIENCE / 4, wal.unlink)
    closing_soon.start()
    assert as_it_lies(path).mode == ALONE
    closing_soon.join()
    wal.write_bytes(b"of a writer that was killed")
    with pytest.raises(Unmerged, match="cannot be merged without writing"):
        as_it_lies(path)


def test_a_file_is_looked_at_again_if_its_writer_goes_between_the_look_and_the_opening(tmp_path):
    path = tmp_path / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE t (x)")
    writer, modes = sqlite3.connect(path), []
    writer.execute("SELECT * FROM t").fetchall()

    def connect(mode: str) -> sqlite3.Connection:
        modes.append(mode)
        writer.close()
        db = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True)
        try:
            db.execute("PRAGMA schema_version")
        except sqlite3.Error:
            db.close()
            raise
        return db

    lies, db = opened_as_it_lies(path, connect)
    with closing(db):
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert modes == [BESIDE, ALONE]
    assert lies.mode == ALONE


def test_a_limit_on_the_size_of_files_is_named_and_nothing_is_lost(tmp_path):
    with create_collection(tmp_path, "pets", model="x", fingerprint="0", dim=256) as pets:
        pets.upsert([Entry(np.eye(256)[0], "text", text="first")])
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            with pytest.raises(CollectionError, match="a limit on the size of files is reached") as caught:
                pets.upsert([Entry(np.eye(256)[i % 256], "text", text=f"{i}" * 100) for i in range(5000)])
            assert "\n" not in str(caught.value)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert pets.count() == 1
        pets.upsert([Entry(np.eye(256)[1], "text", text="second")])
        assert [record.text for record in pets.records()] == ["first", "second"]
        assert pets.check() == []


def test_of_many_open_catalogs_some_hold_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "OF_DESCRIPTORS", 0.0)
    paths = [tmp_path / f"{number:02}.sqlite" for number in range(12)]
    for path in paths:
        Catalog.create(path, META)

    def held():
        fds = Path("/proc/self/fd").iterdir()
        return sorted({path for fd in fds if fd.is_symlink() for path in paths if str(fd.readlink()) == str(path)})

    with ExitStack() as opened:
        catalogs = [opened.enter_context(closing(Catalog(path))) for path in paths]
        assert [catalog.count() for catalog in catalogs] == [0] * 12
        assert held() == paths[4:]  # those that were used last
        put(catalogs[0], "/a")
        assert catalogs[0].count() == 1
        assert held() == [paths[0], *paths[5:]]
        del catalogs
    assert held() == []


def test_databases_that_are_forgotten_hold_nobody_up(catalog, tmp_path):
    """The garbage collection comes at any moment, also while a connection is put back."""

    def forget():
        forgotten = Catalog(tmp_path / "catalog.sqlite")
        forgotten.itself = forgotten

    def work():
        for often in range(1, 200):
            gc.set_threshold(often)
            forget()
            catalog.count()

    before = gc.get_threshold()
    try:
        worker = Thread(target=work, daemon=True)
        worker.start()
        worker.join(30)
    finally:
        gc.set_threshold(*before)
    assert not worker.is_alive()
