"""Milvus's index as it is built beside writes and reads: nothing acknowledged is lost, whatever ends the building."""

import asyncio
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from glimpse_here import glimpse_here

from base.errors import EntryNotFound, StoreUnavailable
from index import moving
from index.collection import Entry, create_collection, open_collection, store_at
from index.config import IndexConfig
from index.milvus import tuning, vector_index
from index.milvus.server import Server
from index.milvus.tuning import Tuning
from index.moving import move
from service.collections.opened import OpenCollections
from service.collections.writers import Writers

N, DIM = 60, 8
ROWS = np.random.default_rng(0).standard_normal((N, DIM))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return f"milvus://{tmp_path_factory.mktemp('building')}/lite.db"


@pytest.fixture
def data(address, tmp_path, monkeypatch):
    """A data folder, whose collections have an index from 31 rows on."""
    monkeypatch.setenv("GLIMPSE_STORE", address)
    monkeypatch.setattr(tuning, "EXACT_ROWS", 30)
    yield tmp_path
    monkeypatch.undo()
    store_at(tmp_path, address).delete("pets")


@pytest.fixture
def pets(data, address):
    with store_at(data, address).create("pets", model="m", fingerprint="f", dim=DIM) as made:
        yield made
        made._vector_index._written = False  # what a test left due is not built


def entries(start=0, end=N):
    return [Entry(row, "image", f"/{i}.jpg", metadata={"n": i}) for i, row in enumerate(ROWS[start:end], start)]


class Held:
    """The wait for an index to be built, held until `go` is set."""

    def __init__(self, server, monkeypatch):
        self.begun, self.go, build = threading.Event(), threading.Event(), server.build

        def held(table, check):
            self.begun.set()
            while not self.go.wait(0.01):
                check()
            build(table, check)

        monkeypatch.setattr(server, "build", held)


@contextmanager
def beside(work):
    """`work` in a thread, which has ended when the block has."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def writers(pets, data):
    pets.close()
    made = Writers(data)
    yield made
    made.close()


def write(writers, work):
    return asyncio.run(writers.write("pets", work))


def test_a_write_that_touches_no_row_leaves_the_lock_to_who_builds(writers, data, monkeypatch):
    write(writers, lambda pets: pets.upsert(entries()))
    with open_collection(data, "pets") as pets:
        held = Held(pets.server, monkeypatch)
    with beside(writers.build):
        assert held.begun.wait(30)
        write(writers, lambda pets: pets.set_title("a title"))
        write(writers, lambda pets: pets.update({7: {"metadata": {"n": "updated"}}}))
        held.go.set()
    with open_collection(data, "pets") as pets:
        assert (pets.identity().tuning.kind, pets.title) == ("hnsw-sq8", "a title")
        assert pets.get(7).metadata == {"n": "updated"}


def test_an_index_that_is_being_built_is_given_up_by_who_wants_the_lock(writers, data, monkeypatch):
    write(writers, lambda pets: pets.upsert(entries()))
    with open_collection(data, "pets") as pets:
        held = Held(pets.server, monkeypatch)

    def alone():  # as who deletes it: its lock is to be had
        open_collection(data, "pets", writable=True)._let_go()

    with beside(writers.build):
        assert held.begun.wait(30)
        asyncio.run(writers.alone("pets", alone))
    with open_collection(data, "pets") as pets:
        assert (pets.count(), pets.identity().tuning) == (N, None)
        assert [name for name in pets.server.names() if name.startswith("glimpse_pets")] == [pets.identity().table]


def test_a_service_that_is_stopped_does_not_wait_for_the_server_to_build(pets, data, monkeypatch):
    pets.close()
    held = Held(pets.server, monkeypatch)
    service = OpenCollections(data)
    write(service.writers, lambda writer: writer.upsert(entries()))
    assert held.begun.wait(30)  # by the thread that follows
    started = time.monotonic()
    service.close()
    assert time.monotonic() - started < 20
    with open_collection(data, "pets", writable=True) as again:  # its lock is free
        assert (again.count(), again.identity().tuning) == (N, None)
        assert [name for name in again.server.names() if name.startswith("glimpse_pets")] == [again.identity().table]


def test_a_collection_that_is_closed_is_not_built(pets):
    pets.upsert(entries())
    pets._let_go()
    with pytest.raises(Exception, match="closed"):
        pets._vector_index.compact()


def test_a_write_is_done_whatever_the_server_says_of_its_index_then(pets, monkeypatch):
    monkeypatch.setattr(vector_index, "BACKGROUND_ROWS", 30)
    upsert, describe = pets.server.upsert, pets.server.describe

    def away(*_):
        raise StoreUnavailable("does not answer")

    def written(table, rows):
        upsert(table, rows)
        monkeypatch.setattr(pets.server, "describe", away)

    monkeypatch.setattr(pets.server, "upsert", written)
    ids = pets.upsert(entries())
    monkeypatch.setattr(pets.server, "describe", describe)
    assert len(ids) == pets.count() == N


def test_a_change_of_model_that_is_cut_off_as_its_index_is_built_is_done_and_all_can_be_read(pets, monkeypatch):
    ids = pets.upsert(entries())
    pets.next.begin("new", "g", 4)
    pets.next.write(ids, ROWS[:, :4])
    build = pets.server.build

    def cut_off(table, check):
        assert pets.info().counts["image"] == N
        pets.update({7: {"metadata": {"n": "updated"}}})
        raise KeyboardInterrupt

    monkeypatch.setattr(pets.server, "build", cut_off)
    with pytest.raises(KeyboardInterrupt):
        pets.next.swap()
    monkeypatch.setattr(pets.server, "build", build)
    assert (pets.fingerprint, pets.next.info(), pets.identity().tuning) == ("g", None, None)
    assert pets.search(ROWS[3, :4], k=1)[0].id == 4
    pets.compact()
    assert pets.identity().tuning.kind == "hnsw-sq8"
    assert (pets.get(7).metadata, pets.vectors(ids).shape) == ({"n": "updated"}, (N, 4))


def test_an_unfinished_change_of_model_whose_vectors_cannot_be_read_is_forgotten(pets, data):
    ids = pets.upsert(entries(0, 10))
    pets.next.begin("new", "g", 4)
    pets.next.write(ids, ROWS[:10, :4])
    pets.server._call("release_collection", pets.identity().next_table)
    pets.close()
    assert "is forgotten" in glimpse_here("reindex", "-c", "pets", "--data", data, "--abandon").stderr
    with open_collection(data, "pets") as again:
        assert (again.next.info(), again.count()) == (None, 10)


def test_an_interrupt_does_not_wait_for_the_server_to_build(pets, monkeypatch):
    monkeypatch.setattr(vector_index, "BACKGROUND_ROWS", 30)
    held = Held(pets.server, monkeypatch)

    def interrupted():
        with pets:
            pets.upsert(entries())
            assert held.begun.wait(30)
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started < 20
    assert pets._lock is None


def test_what_is_written_while_it_is_built_is_no_reason_to_measure_it_again(pets, monkeypatch):
    measured = []

    def tuned(kind, n, *_):
        measured.append(n)
        return Tuning(kind, n, 16, 1.0, 0.98)

    monkeypatch.setattr(vector_index, "tuned", tuned)
    monkeypatch.setattr(vector_index, "BACKGROUND_ROWS", 30)
    held = Held(pets.server, monkeypatch)
    pets.upsert(entries(0, 40))
    assert held.begun.wait(30)
    pets.upsert(entries(40, 41))
    assert pets.is_due()  # it is being built: the lock must stay
    held.go.set()
    pets.close()
    assert measured == [40]


def test_an_index_is_measured_beside_deletes(pets, monkeypatch):
    pets.upsert(entries())
    pets.compact()
    found, gone = vector_index.exactly, []

    def exactly(blocks, xq, k):
        near = found(blocks, xq, k)
        if not gone:
            gone.extend(near[0])
            pets.delete(gone)
        return near

    monkeypatch.setattr(vector_index, "exactly", exactly)
    pets.compact()
    assert pets.count() == N - len(gone)
    assert pets.check() == []


def test_a_build_that_fails_waits_for_who_writes_before_it_forgets_what_was_written(pets, monkeypatch):
    pets.upsert(entries())
    begun, held = threading.Event(), threading.Event()

    def build(table, check):
        begun.set()
        assert held.wait(30)
        raise StoreUnavailable("does not answer")

    monkeypatch.setattr(pets.server, "build", build)
    with beside(pets._vector_index._build_due):
        assert begun.wait(30)
        with pets.writing:  # as in the midst of a write
            held.set()
            time.sleep(0.3)
            assert pets._vector_index._touched is not None
    assert pets._vector_index._touched is None


def test_an_index_is_there_where_only_the_old_one_could_not_be_dropped(pets, monkeypatch):
    pets.upsert(entries())
    old = pets.identity().table

    def drop(name):
        raise StoreUnavailable("does not answer")

    monkeypatch.setattr(pets.server, "drop", drop)
    pets.compact()
    monkeypatch.undo()
    assert pets.identity().table != old
    assert pets.identity().tuning.kind == "hnsw-sq8"


def test_the_request_for_an_index_on_lite_is_waited_for(pets, monkeypatch):
    asked, call = (
        [],
        Server._call,
    )  # one whose answer nobody keeps may be cancelled, and the index is waited for in vain

    def listened(self, *given, **named):
        asked.append(named)
        return call(self, *given, **named)

    monkeypatch.setattr(Server, "_call", listened)
    pets.next.begin("new", "g", 4)
    assert not any(named.get("_async") for named in asked)
    pets.next.abandon()


READS = {
    "find_paths": lambda pets, _: pets.find_paths(["/3.jpg"]),
    "records_of": lambda pets, _: pets.records_of([3]),
    "vectors": lambda pets, _: pets.vectors([3]),
    "count": lambda pets, _: pets.count("image"),
    "filter": lambda pets, _: pets.filter_ids({"must": [{"key": "n", "match": {"value": 3}}]}, "image"),
    "records": lambda pets, _: list(pets.records()),
    "nearest": lambda _, view: view.nearest(ROWS[:2], 3, "image"),
    "sampled": lambda _, view: view.sampled("image"),
}


@pytest.mark.parametrize("what", READS)
def test_a_read_under_way_goes_on_where_another_index_is_put_in_place(pets, data, monkeypatch, what):
    pets.upsert(entries(0, 40))
    with open_collection(data, "pets") as reader:
        view = reader.read_view()
        before = str(READS[what](reader, reader.read_view()))
        calls = {name: getattr(reader.server, name) for name in ("query", "search", "ids", "count")}

        def swapped(name):
            def call(*given, **named):
                for each in calls:
                    monkeypatch.setattr(reader.server, each, calls[each])
                pets.compact()
                return calls[name](*given, **named)

            return call

        for name in calls:
            monkeypatch.setattr(reader.server, name, swapped(name))
        table = pets.identity().table
        after = READS[what](reader, view)
        assert pets.identity().table != table
        assert what in ("nearest", "sampled") or str(after) == before


def test_a_view_does_not_go_on_with_the_vectors_of_another_model(pets, data):
    ids = pets.upsert(entries(0, 10))
    with open_collection(data, "pets") as reader:
        view, stream = reader.read_view(), reader.records()
        first = next(stream)
        pets.next.begin("new", "g", 4)
        pets.next.write(ids, ROWS[:10, :4])
        pets.next.swap()
        for read in (lambda: view.nearest(ROWS[:1], 3, "image"), lambda: view.vectors([3], "image")):
            with pytest.raises(EntryNotFound, match="another model's meanwhile: ask again"):
                read()
        assert [first.id, *(record.id for record in stream)] == ids
        assert view.records_of([3])[3].path == "/2.jpg"


def test_a_collection_that_is_moved_has_its_index_built_once_of_all_and_tuned_as_it_was(data, address, monkeypatch):
    monkeypatch.setattr(vector_index, "BACKGROUND_ROWS", 40)
    monkeypatch.setattr(moving, "PAGE", 40)
    monkeypatch.delenv("GLIMPSE_STORE")
    with create_collection(data, "pets", model="m", fingerprint="f", dim=DIM) as made:
        made.upsert([Entry(row, "text", text=str(i)) for i, row in enumerate(ROWS)])
        made.compact(IndexConfig("hnsw-sq8", recall=0.9))
    created, create = [], Server.create

    def counted(self, table, *rest, **more):
        created.append(table)
        return create(self, table, *rest, **more)

    monkeypatch.setattr(Server, "create", counted)
    assert move(data, "pets", "local", address).copied == N
    assert len(created) == 2  # the collection's, and the one that its index was built in
    with store_at(data, address).open("pets") as moved:
        assert moved.index_config == IndexConfig("auto", recall=0.9)
        assert moved.identity().tuning.kind == "hnsw-sq8"
