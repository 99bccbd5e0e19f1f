import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pets import DIM, create, images, unit

from base.errors import (
    CollectionDamaged,
    CollectionError,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    DiskUnavailable,
)
from index.collection import (
    Entry,
    create_collection,
    delete_collection,
    list_collections,
    open_collection,
    sweep_deleted,
)
from index.config import IndexConfig
from index.local import layout
from index.local.layout import appearing
from index.local.vectors import live
from labelling.outputs.asked import OutputsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pets(tmp_path):
    with create(tmp_path) as collection:
        yield collection


# --- the collection itself ---


def test_create_refuses_a_name_that_is_taken(tmp_path):
    create(tmp_path).close()
    with pytest.raises(CollectionExists, match="pets"):
        create(tmp_path)
    assert [path.name for path in (tmp_path / "collections").iterdir()] == ["pets"]


def test_what_a_killed_create_or_delete_left_is_in_nobodys_way(tmp_path):
    folder = tmp_path / "collections"
    (folder / ".new-1").mkdir(parents=True)
    (folder / ".gone-1").mkdir()
    (folder / ".gone-1" / "catalog.sqlite").write_bytes(b"half")
    assert list_collections(tmp_path) == []
    with appearing(tmp_path, "slow") as own:  # one that is still being made
        create(tmp_path).close()
        assert sorted(path.name for path in folder.iterdir()) == [own.name, "pets"]
        (own / "collections" / "slow").mkdir(parents=True)


@pytest.mark.parametrize("how", ["asked again", "another is compacted"])
def test_what_a_killed_delete_left_goes_without_a_new_collection(tmp_path, how):
    create(tmp_path).close()
    gone = tmp_path / "collections" / ".gone-1"
    gone.mkdir()
    (gone / "catalog.sqlite").write_bytes(bytes(1000))
    if how == "asked again":
        with pytest.raises(CollectionNotFound):
            delete_collection(tmp_path, "deleted")
    else:
        with open_collection(tmp_path, "pets", writable=True) as pets:
            pets.compact()
    assert [path.name for path in (tmp_path / "collections").iterdir()] == ["pets"]


KILLED = """
import os, pathlib, sys
from index.collection import delete_collection
from index.local import layout
moved = pathlib.Path.rename
def rename(path, to):
    if path.parent.name == "uploads":
        os._exit(9)
    return moved(path, to)
pathlib.Path.rename = rename
delete_collection(pathlib.Path(sys.argv[1]), "pets")
"""


@pytest.mark.parametrize("then", ["asked again", "made anew", "swept"])
def test_the_uploads_go_of_a_delete_that_was_killed_before_them(tmp_path, then):
    create(tmp_path).close()
    upload = tmp_path / "uploads" / "pets" / "ab" / "file.png"
    upload.parent.mkdir(parents=True)
    upload.touch()
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT).returncode == 9
    assert list_collections(tmp_path) == []
    assert upload.is_file()
    if then == "asked again":
        with pytest.raises(CollectionNotFound):
            delete_collection(tmp_path, "pets")
    elif then == "made anew":
        create(tmp_path).close()
        upload.parent.mkdir(parents=True)
        upload.touch()  # of the new one
        sweep_deleted(tmp_path)
        assert upload.is_file()
        delete_collection(tmp_path, "pets")
    else:
        sweep_deleted(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["collections", "uploads"]


def test_a_sweep_that_comes_into_a_delete_takes_nothing(tmp_path, monkeypatch):
    create(tmp_path).close()
    clear, left = layout.clear, []

    def cleared(path):
        sweep_deleted(tmp_path)  # of one that makes a collection in this moment
        left.append([file.name for file in path.iterdir()] if path.exists() else [])
        clear(path)
        sweep_deleted(tmp_path)

    monkeypatch.setattr(layout, "clear", cleared)
    delete_collection(tmp_path, "pets")
    assert ".lock" in left[-1]
    assert "catalog.sqlite" in left[-1]
    assert list((tmp_path / "collections").iterdir()) == []


def test_a_collection_whose_disk_is_not_there_is_not_said_to_be_none(tmp_path):
    create(tmp_path).close()
    (tmp_path / "disk").mkdir()
    (tmp_path / "collections" / "pets").rename(tmp_path / "disk" / "pets")
    (tmp_path / "collections" / "pets").symlink_to(tmp_path / "disk" / "pets")
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    with pytest.raises(DiskUnavailable, match=r"'pets': there is nothing where its link .* look at that disk") as gone:
        open_collection(tmp_path, "pets")
    assert str(tmp_path) not in str(gone.value)  # clients of a service read it
    assert gone.value.__cause__.filename == str(tmp_path / "disk" / "pets")
    with pytest.raises(DiskUnavailable):
        delete_collection(tmp_path, "pets")
    with pytest.raises(CollectionExists):
        create(tmp_path)
    [info] = list_collections(tmp_path)
    assert (info.name, "look at that disk" in info.problem) == ("pets", True)
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    with open_collection(tmp_path, "pets") as back:
        assert back.info().name == "pets"


@pytest.mark.parametrize("are_disks", [False, True])
def test_a_collection_that_is_a_link_to_another_disk_goes_with_all_that_lies_there(tmp_path, monkeypatch, are_disks):
    rename = Path.rename

    def across(path, to):
        if are_disks and path.parent != Path(to).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(path, to)

    create(tmp_path).close()
    (tmp_path / "uploads" / "pets" / "ab").mkdir(parents=True)
    (tmp_path / "uploads" / "pets" / "ab" / "file.png").touch()
    for name in ("collections/pets", "uploads/pets"):
        far = tmp_path / "far" / name
        far.parent.mkdir(parents=True)
        (tmp_path / name).rename(far)
        (tmp_path / name).symlink_to(far)
    monkeypatch.setattr(Path, "rename", across)
    delete_collection(tmp_path, "pets")
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert sorted(left) == ["collections", "far", "far/collections", "far/uploads", "uploads"]


def test_who_may_only_read_a_data_folder_searches_it_and_lists_its_runs(tmp_path, without_rights):
    with create_collection(tmp_path, "pets", model="m", fingerprint="f", dim=2) as pets:
        pets.upsert([Entry(np.array([1.0, 0.0]), "image", "/a.jpg")])
    LabelRuns(tmp_path).make(SourceAsked(collection="pets"), OutputsAsked()).close()
    code = f"""
from pathlib import Path
import numpy as np, pytest
from base.errors import GlimpseError
from index.collection import open_collection
from labelling.runs.kept import LabelRuns
data = Path({str(tmp_path)!r})
with open_collection(data, "pets") as pets:
    assert [hit.record.path for hit in pets.search(np.array([1.0, 0.0]), 1)] == ["/a.jpg"]
with pytest.raises(GlimpseError, match="cannot be written to"):
    open_collection(data, "pets", writable=True)
assert [run.state for run in LabelRuns(data).list()] == ["begun"]
(data / "collections" / "pets" / "catalog.sqlite").chmod(0)
with pytest.raises(GlimpseError, match="may not be read by this user"):
    open_collection(data, "pets")
"""
    folders = [path for path in (tmp_path, *tmp_path.rglob("*")) if path.is_dir()]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    try:
        for path in files:
            path.chmod(0o444)
        for path in folders:
            path.chmod(0o555)
        done = subprocess.run([*without_rights, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    finally:
        for path in folders:
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["uploads/pets", "collections/pets"])
def test_a_delete_that_may_not_remove_files_says_so(tmp_path, without_rights, what):
    create(tmp_path).close()
    if what == "uploads/pets":
        (tmp_path / what).mkdir(parents=True)
    locked = tmp_path / ("uploads" if what == "uploads/pets" else what)
    locked.chmod(0o500)
    command = [sys.executable, "-m", "glimpse", "collections", "delete", "pets", "--yes", "--data", str(tmp_path)]
    done = subprocess.run([*without_rights, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    if what == "uploads/pets":  # nothing went: it is whole
        assert "Permission denied" in done.stderr
        locked.chmod(0o700)
        assert [path.name for path in (tmp_path / "collections").iterdir()] == ["pets"]
        open_collection(tmp_path, "pets").close()
    else:
        [gone] = (tmp_path / "collections").iterdir()
        assert f"not all of its files could be removed: remove {gone}" in done.stderr
        gone.chmod(0o700)


def test_a_damaged_catalog_is_named_and_listed(tmp_path):
    create(tmp_path).close()
    create(tmp_path, "sound").close()
    (tmp_path / "collections/pets/catalog.sqlite").write_bytes(b"no database" * 999)
    with pytest.raises(CollectionDamaged, match=r"pets/catalog\.sqlite"):
        open_collection(tmp_path, "pets", writable=True)
    pets, sound = list_collections(tmp_path)
    assert "damaged" in pets.problem
    assert sound.problem is None
    (tmp_path / "collections/pets/catalog.sqlite").unlink()
    with pytest.raises(CollectionDamaged, match=r"no catalog\.sqlite"):
        open_collection(tmp_path, "pets")
    with pytest.raises(CollectionExists):
        create(tmp_path)
    delete_collection(tmp_path, "pets")
    create(tmp_path).close()


# --- snapshots ---


def files(data):
    """The files of the index by kind, and the name that they have in common."""
    found = [p for p in (data / "collections/pets").iterdir() if p.suffix in (".ids", ".rows", ".coarse")]
    return sorted(f"{p.name.split('-')[0]}{p.suffix}" for p in found), {p.stem for p in found}


def test_a_snapshot_is_loaded_and_what_is_newer_replayed(tmp_path, caplog):
    with create(tmp_path) as pets:
        ids = pets.upsert(images(*range(10)))
        pets.compact()
        kinds, before = files(tmp_path)
        assert kinds == ["image.ids", "image.rows"]
        pets.delete(ids[:2])
        pets.upsert([Entry(unit(50), "image", "/photos/5.jpg"), Entry(unit(51), "text")])
    with open_collection(tmp_path, "pets") as pets:
        assert {h.id for h in pets.search(unit(1), k=100)} == set(ids[2:])
        assert pets.search(unit(50), k=1)[0].id == ids[5]
        assert len(pets.search(unit(51), modality="text")) == 1
    with open_collection(tmp_path, "pets", writable=True) as pets:
        pets.compact()
        kinds, after = files(tmp_path)
        assert kinds == ["image.ids", "image.rows", "text.ids", "text.rows"]
        assert not before & after  # the older files are gone
        assert len(pets.search(unit(1), k=100)) == 8
    assert caplog.records == []


def test_a_writer_keeps_its_lock_while_another_thread_builds_the_index(tmp_path, monkeypatch):
    reached, go = threading.Event(), threading.Event()
    remove = live.remove_other_files

    def slowly(*args):
        reached.set()
        assert go.wait(10)
        remove(*args)

    pets = create(tmp_path)
    pets.upsert(images(*range(10)))
    monkeypatch.setattr(live, "remove_other_files", slowly)
    builds = threading.Thread(target=pets.compact)
    builds.start()
    assert reached.wait(10)  # the index is there, files that it does not name are not yet gone
    closes = threading.Thread(target=pets.close)
    closes.start()
    time.sleep(0.1)
    with pytest.raises(CollectionLocked):  # another one's files must not go with them
        open_collection(tmp_path, "pets", writable=True)
    go.set()
    builds.join()
    closes.join()
    open_collection(tmp_path, "pets", writable=True).close()


@pytest.mark.parametrize("begins", ["to take what another process built", "to build"])
def test_one_may_be_closed_while_another_thread_begins_something_beside(tmp_path, monkeypatch, begins):
    pets = create(tmp_path)
    pets.upsert(images(*range(10)))
    closing = reader = open_collection(tmp_path, "pets")
    reader.refresh()
    pets.upsert(images(10))
    pets.compact()
    if begins == "to build":
        monkeypatch.setattr("index.local.building.BACKGROUND_ROWS", 5)
        closing = pets
    start, closes, failed = threading.Thread.start, [], []

    def close():
        try:
            closing.close()
        except RuntimeError as error:
            failed.append(error)

    def started(thread):
        if not closes and thread is not threading.current_thread():
            closes.append(threading.Thread(target=close))
            start(closes[0])
            closes[0].join(0.2)  # or it waits for this thread
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    with suppress(CollectionError):  # it is closed
        if closing is reader:
            reader.refresh()
        else:
            pets.upsert(images(*range(20, 30)))
    closes[0].join()
    assert failed == []
    reader.close()
    pets.close()


def test_close_takes_a_snapshot_when_enough_changed(tmp_path):
    with create(tmp_path) as pets:
        pets.upsert(images(*range(1000)))
    assert files(tmp_path)[0] == []
    with open_collection(tmp_path, "pets", writable=True) as pets:
        pets.upsert(images(1000))
    kinds, names = files(tmp_path)
    assert kinds == ["image.ids", "image.rows"]
    with open_collection(tmp_path, "pets", writable=True) as pets:
        pets.upsert(images(1001))
    assert files(tmp_path) == (kinds, names)


@pytest.mark.parametrize("suffix", ["ids", "rows", "coarse"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(path.read_bytes()[:300] + b"\0" * 8 + path.read_bytes()[308:]),
    ],
    ids=["missing", "empty", "cut", "flipped"],
)
def test_a_snapshot_that_is_not_sound_is_rebuilt(tmp_path, caplog, damage, suffix):
    with create(tmp_path) as pets:
        ids = pets.upsert(images(*range(400)))
        pets.compact(IndexConfig("ivf-sq8"))
        pets.delete(ids[:1])
        assert pets.check() == []
    damage(next((tmp_path / "collections/pets").glob(f"*.{suffix}")))
    with open_collection(tmp_path, "pets") as pets:
        assert "built anew" in pets.check()[0]
    with caplog.at_level(logging.WARNING), open_collection(tmp_path, "pets", writable=True) as pets:
        assert {h.id for h in pets.search(unit(3), k=1000)} == set(ids[1:])
        assert pets.search(unit(3), k=1)[0].id == ids[3]
        pets.compact()
    assert "anew from the catalog" in caplog.text
    caplog.clear()
    with open_collection(tmp_path, "pets") as pets:
        assert pets.search(unit(3), k=1)[0].id == ids[3]
    assert caplog.records == []


def test_a_snapshot_that_lacks_rows_is_rebuilt(tmp_path, caplog):
    with create(tmp_path) as pets:
        pets.upsert(images(*range(5)))
        pets.compact()
        record = pets._catalog.snapshot()
        pets.upsert(images(*range(5, 10)))
        pets._catalog.set_snapshot(replace(record, version=2))  # claims rows that it does not hold
    with open_collection(tmp_path, "pets") as pets:
        assert len(pets.search(unit(3), k=100)) == 10
    assert "5 image vectors for 10 entries" in caplog.text


def test_a_reader_far_behind_starts_over_from_a_newer_snapshot(tmp_path):
    with create(tmp_path) as writer, open_collection(tmp_path, "pets") as reader:
        ids = writer.upsert(images(*range(10)))
        assert len(reader.search(unit(1), k=100)) == 10
        writer.delete(ids[:3])
        writer.compact()
        writer.delete(ids[3:5])
        writer.compact()  # the first deletions are forgotten now
        assert {h.id for h in reader.search(unit(1), k=100)} == set(ids[5:])


# --- any order of operations, against plain NumPy ---


class AnyOrder(RuleBasedStateMachine):
    """A dict of id -> (modality, path, float16 vector, text) is what the collection must be."""

    def __init__(self):
        super().__init__()
        self.data = Path(tempfile.mkdtemp())
        self.collection = create(self.data)
        self.reader = open_collection(self.data, "pets")
        self.model = {}
        self.gone = set()

    def teardown(self):
        self.collection.close()
        self.reader.close()
        shutil.rmtree(self.data)

    @rule(items=st.lists(st.tuples(st.integers(0, 15), st.sampled_from([None, "image", "text"])), max_size=8))
    def upsert(self, items):
        entries = []
        for seed, kind in items:  # without a path, or a path of that modality
            path = None if kind is None else f"/{kind}/{seed % 6}"
            entries.append(Entry(unit(seed), kind or "image", path, text=str(seed)))
        by_path = {row[1]: key for key, row in self.model.items() if row[1]}
        ids = self.collection.upsert(entries)
        for entry, key in zip(entries, ids, strict=True):
            assert key not in self.gone
            if entry.path in by_path:
                assert key == by_path[entry.path]
            elif entry.path:
                by_path[entry.path] = key
            self.model[key] = (entry.modality, entry.path, entry.vector.astype(np.float16), entry.text)

    @precondition(lambda self: self.model)
    @rule(choice=st.data())
    def delete(self, choice):
        ids = choice.draw(st.sets(st.sampled_from(sorted(self.model)), min_size=1, max_size=6))
        assert self.collection.delete(ids) == len(ids)
        for key in ids:
            del self.model[key]
        self.gone |= ids

    @precondition(lambda self: self.model)
    @rule(choice=st.data())
    def update(self, choice):
        key = choice.draw(st.sampled_from(sorted(self.model)))
        modality, _, x, _ = self.model[key]
        self.collection.update({key: {"path": f"/moved/{key}", "text": "moved"}})
        self.model[key] = (modality, f"/moved/{key}", x, "moved")

    @rule()
    def snapshot(self):
        self.collection.compact()

    @rule(lost=st.booleans())
    def reopen(self, lost):
        self.collection.close()
        if lost:
            for file in (self.data / "collections/pets").glob("image-*"):
                file.unlink()
        self.collection = open_collection(self.data, "pets", writable=True)

    @rule(
        seed=st.integers(0, 40), k=st.integers(1, 12), modality=st.sampled_from(["image", "text"]), some=st.booleans()
    )
    def search(self, seed, k, modality, some):
        ids = sorted(i for i, row in self.model.items() if row[0] == modality)
        only = ids[::2] if some else None
        wanted = ids[::2] if some else ids
        scores = {i: float(unit(seed) @ self.model[i][2].astype(np.float32)) for i in wanted}
        best = sorted(scores.values(), reverse=True)[:k]
        for collection in (self.collection, self.reader):
            hits = collection.search(unit(seed), k, modality, ids=only)
            assert [h.score for h in hits] == pytest.approx(best, abs=1e-5)
            assert [scores[h.id] for h in hits] == pytest.approx(best, abs=1e-5)
            assert len({h.id for h in hits}) == len(hits)
            assert [(-h.score, h.id) for h in hits] == sorted((-h.score, h.id) for h in hits)

    @invariant()
    def records_are_those_of_the_model(self):
        assert {r.id: (r.modality, r.path, r.text) for r in self.reader.records()} == {
            key: (modality, path, text) for key, (modality, path, _, text) in self.model.items()
        }


AnyOrder.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyOrder = AnyOrder.TestCase


# --- several processes ---

WRITER = """
import json, sys
from pathlib import Path
import numpy as np
from index.collection import Entry, open_collection

data, seed = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(seed)
say = lambda **what: print(json.dumps(what), flush=True)
vector = lambda n: np.random.default_rng(n).standard_normal(16)
entry = lambda path, n: Entry(vector(n), "image", path, metadata={"n": n})
with open_collection(data, "pets", writable=True) as pets:
    mine = []
    for step in range(100000):
        op = rng.choice(["add", "add", "replace", "delete", "update", "snapshot"])
        some = [int(i) for i in rng.choice(mine, min(5, len(mine)), replace=False)] if mine else []
        n = seed * 1000000 + step * 10
        if op == "add":
            say(try_=[])
            ids = pets.upsert([entry(f"/{n + j}", n + j) for j in range(10)])
            mine += ids
            say(put={i: n + j for j, i in enumerate(ids)})
        elif op == "replace" and some:
            say(try_=some)
            pets.upsert([entry(pets.get(i).path, n + j) for j, i in enumerate(some)])
            say(put={i: n + j for j, i in enumerate(some)})
        elif op == "delete" and some:
            say(try_=some)
            pets.delete(some)
            mine = [i for i in mine if i not in some]
            say(gone=some)
        elif op == "update" and some:
            say(try_=[])
            pets.update({i: {"text": "seen"} for i in some})
        elif op == "snapshot":
            pets.compact()
"""


def start_writer(data, seed):
    command = [sys.executable, "-c", WRITER, str(data), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_second_writer_is_refused_and_a_reader_sees_the_first_ones_commits(tmp_path):
    create(tmp_path).close()
    with open_collection(tmp_path, "pets") as reader, start_writer(tmp_path, 1) as writer:
        try:
            writer.stdout.readline()
            for ask in (
                lambda: open_collection(tmp_path, "pets", writable=True),
                lambda: delete_collection(tmp_path, "pets"),
            ):
                with pytest.raises(CollectionLocked, match=f"process {writer.pid}"):
                    ask()
            seen = 0
            for line in writer.stdout:
                for i, n in json.loads(line).get("put", {}).items():
                    hits = reader.search(np.random.default_rng(n).standard_normal(DIM), k=1, ids=[int(i)])
                    # The writer is ahead by now: it may have replaced or deleted the entry since.
                    if hits and hits[0].record.metadata == {"n": n}:
                        seen += 1
                if seen > 50:
                    break
            assert seen > 50
        finally:
            writer.kill()
    open_collection(tmp_path, "pets", writable=True).close()


def test_create_killed_in_the_middle_does_not_block_the_next(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from index import collection as c; from index.local import layout\n"
        "layout.fsync_file = lambda folder: os.kill(os.getpid(), signal.SIGKILL)\n"  # just before the rename
        "c.create_collection(Path(sys.argv[1]), 'pets', model='m', fingerprint='f', dim=16)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT).returncode == -signal.SIGKILL
    assert list_collections(tmp_path) == []
    create(tmp_path).close()
