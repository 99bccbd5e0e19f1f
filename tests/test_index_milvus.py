"""What may go wrong with a Milvus store: each is one line with its remedy, and nothing is half-written."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from ports import free_port
from pymilvus import MilvusClient

from base.errors import (
    CollectionDamaged,
    CollectionError,
    CollectionExists,
    CollectionLocked,
    InputError,
    NotInStore,
    StoreUnavailable,
)
from index.collection import Entry, delete_collection, store_at
from index.config import Quota
from index.local.store import LocalStore
from index.milvus import server as milvus_server
from index.milvus.address import Address
from index.milvus.collection import MilvusCollection
from index.milvus.identity import alias_of, names_in
from index.milvus.rows.filed import file_metadata
from index.milvus.server import Server, is_spoken
from index.milvus.store import MilvusStore
from index.moving import Moved, move
from index.search.calibration import Rejection

DIM = 8


def images(*numbers):
    rng = np.random.default_rng(0).standard_normal((max(numbers) + 1, DIM))
    return [Entry(rng[n], "image", f"/{n}.jpg", metadata={"n": n}) for n in numbers]


def make(store, name="pets"):
    return store.create(name, model="m", fingerprint="f", dim=DIM)


@pytest.fixture
def lite(tmp_path):
    return store_at(tmp_path, f"milvus://{tmp_path}/lite.db")


class LiteServer:
    """Milvus Lite as a server of its own, so that there is a network, and a process to kill."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.start()

    @property
    def address(self):
        return f"milvus://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(self.folder), "--host", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "it has ended"
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    made = LiteServer(tmp_path / "served")
    yield made
    made.kill()


# --- addresses and versions ---


@pytest.mark.parametrize(
    ("given", "uri", "shown"),
    [
        ("milvus://db", "http://db:19530", "milvus://db:19530/default"),
        ("milvus://me:p%40ss@db:1/shop", "http://db:1", "milvus://db:1/shop"),
        ("milvus://[::1]:5/a", "http://[::1]:5", "milvus://[::1]:5/a"),
        ("milvus:///srv/a%20b.db", "/srv/a b.db", "milvus:///srv/a b.db"),
    ],
)
def test_an_address_is_read_and_shown_without_its_password(given, uri, shown):
    address = Address.of(given)
    assert (address.uri, str(address)) == (uri, shown)
    assert "p@ss" not in shown
    if "@" in given:
        assert (address.user, address.password, address.database) == ("me", "p@ss", "shop")


@pytest.mark.parametrize(
    "given",
    ["http://db", "milvus://db:x", "milvus:///lite", "milvus:a.db", "milvus://db/a/b", "postgres://u:secret@db"],
)
def test_what_is_no_address_is_said_with_what_one_is(tmp_path, given):
    with pytest.raises(InputError, match=r"milvus://HOST:19530/DATABASE") as caught:
        store_at(tmp_path, given)
    assert "secret" not in str(caught.value)


def test_versions_that_are_spoken_to():
    assert all(map(is_spoken, ["v2.3.5-lite", "2.6.1", "v2.4.0-rc.1", "milvus_lite-3.2.2"]))
    assert not any(map(is_spoken, ["v1.1.1", "v2.2.16", "3.0.0", "milvus_lite-2.5.1", "unknown"]))


def test_another_major_version_is_refused_with_what_is_spoken(tmp_path, monkeypatch):
    monkeypatch.setattr(MilvusClient, "get_server_version", lambda self, **_: "v3.1.0")
    with pytest.raises(
        NotInStore, match=r"is Milvus v3\.1\.0: glimpse speaks to servers from 2\.3 on of major version 2"
    ):
        store_at(tmp_path, f"milvus://{tmp_path}/lite.db")


def test_names_are_told_from_their_aliases():
    names = ["a", "my-shop.v2_x", "0", "a" * 64]
    assert names_in([alias_of(name) for name in names] + ["glimpse", "other"]) == sorted(names)


def test_what_is_filed_of_metadata_is_short_and_ordered():
    filed = file_metadata({"n": [5, 1, "3", 2, 4, True], "t": "x" * 1000})
    assert list(filed.numbers.values()) == [[1.0, 2.0, 3.0, 5.0]]
    assert [max(map(len, texts)) for texts in filed.texts.values()] == [1, 256]
    assert max(map(len, filed.tokens)) <= 32


# --- servers that are not there, or another ---


def said_in_one_line(error, *words):
    assert "\n" not in str(error)
    for word in words:
        assert word in str(error)


def test_integers_are_filed_as_they_are_asked_for_and_those_beyond_64_bits_refused(lite):
    with make(lite) as pets:
        x = np.ones(DIM)
        pets.upsert([Entry(x, "image", f"/{n}.jpg", metadata={"n": n}) for n in (10**19, 7)])
        for n, key in ((10**19, 1), (7, 2)):
            assert pets.filter_ids({"must": [{"key": "n", "match": {"value": n}}]}, "image").tolist() == [key]
        for n in (10**400, 2**64, -(2**63) - 1):
            with pytest.raises(InputError, match="beyond 64 bits"):
                pets.upsert([Entry(x, "image", "/8.jpg"), Entry(x, "image", "/9.jpg", metadata={"n": [n]})])
        assert pets.count() == 2


def test_lite_which_is_no_server_is_waited_for_longer(lite, monkeypatch):
    monkeypatch.setattr(milvus_server, "PATIENCE", 1e-6)
    with make(lite) as pets:
        pets.upsert(images(0, 1))
        assert [record.path for record in pets.records()] == ["/0.jpg", "/1.jpg"]


def test_a_server_that_is_down_or_something_else_is_said_in_seconds(tmp_path):
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as down:
        store_at(tmp_path, f"milvus://127.0.0.1:{free_port()}")
    said_in_one_line(down.value, "does not answer", "--store", "GLIMPSE_STORE")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store_at(tmp_path, f"milvus://127.0.0.1:{other.server_port}")
        other.shutdown()
    assert time.monotonic() - began < 30


def test_lite_is_for_one_process_at_a_time(lite, tmp_path):
    make(lite).close()
    code = "import sys; from pathlib import Path; from index.collection import store_at; store_at(Path(), sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, f"milvus://{tmp_path}/lite.db"], capture_output=True, text=True)
    assert "StoreUnavailable" in run.stderr
    assert "one process at a time" in run.stderr


def test_a_collection_of_somebody_else_is_left_alone(lite, tmp_path):
    client = MilvusClient(f"{tmp_path}/lite.db")
    client.create_collection("theirs", dimension=4)
    client.create_alias("theirs", alias_of("pets"))
    for ask in (lambda: lite.open("pets"), lambda: make(lite), lambda: lite.delete("pets")):
        with pytest.raises(CollectionError, match="not glimpse's: give the collection another name"):
            ask()
    assert "not glimpse's" in lite.info("pets").problem
    assert client.describe_collection(alias_of("pets"))["collection_name"] == "theirs"


def test_a_dimension_that_does_not_fit_is_refused(lite, tmp_path):
    with make(lite) as pets:
        with pytest.raises(InputError, match="shape"):
            pets.upsert([*images(1), Entry(np.ones(DIM + 1), "image")])
        assert pets.count() == 0
        table = pets.identity().table
    Server.at(Address.of(f"milvus://{tmp_path}/lite.db")).set_properties(
        table, {"glimpse.made": '{"model": "m", "fingerprint": "f", "dim": 9, "created_at": "", "life": "x"}'}
    )
    with pytest.raises(CollectionDamaged, match="holds vectors of 8 values and says 9"):
        lite.open("pets")
    lite.delete("pets")
    assert lite.names() == []


def test_rows_that_glimpse_has_not_written_are_found(lite):
    with make(lite) as pets:
        pets.upsert(images(1, 2))
        now = pets.identity()
        (row,) = pets.server.query(now.table, "id == 1", ["*", "vector"])
        pets.server.upsert(now.table, [row | {"id": 99, "vector": [3.0] * DIM}])
        problems = pets.check()
    assert len(problems) == 2
    assert any("same path '/1.jpg'" in line for line in problems)


def test_ids_go_on_above_all_rows_whatever_the_server_has_forgotten(lite):
    with make(lite) as pets:
        pets.upsert(images(1, 2, 3))
        pets.server.set_properties(pets.identity().table, {"glimpse.next_id": "2"})
    with lite.open("pets", writable=True) as pets:
        assert pets.upsert(images(4)) == [4]
        assert pets.count() == 4


def test_what_a_kill_left_of_a_collection_goes_with_the_next_of_its_name(lite, tmp_path):
    def fail():
        with lite.making("pets", model="m", fingerprint="f", dim=DIM) as pets:
            pets.upsert(images(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert lite.names() == []
    server = Server.at(Address.of(f"milvus://{tmp_path}/lite.db"))
    with make(lite, "other") as other:
        other.next.begin("new", "g", 4)
    left = alias_of("pets") + "__1f"
    fields = [("id", "INT64", {}), ("vector", "FLOAT_VECTOR", {"dim": 4})]
    server.create(left, fields, {}, {"index_type": "FLAT", "metric_type": "IP"})
    with lite.making("pets", model="m", fingerprint="f", dim=DIM) as pets:
        assert lite.names() == ["other"]
        pets.upsert(images(1, 2))
    assert left not in server.names()
    assert lite.open("pets").count() == 2
    assert lite.open("other").next.info().model == "new"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (Entry(np.ones(DIM), "image", "/" + "x" * 5000), "path: 5001 bytes, on Milvus 4096 at most"),
        (Entry(np.ones(DIM), "image", os.fsdecode(b"/\xff")), "not UTF-8: rename the file"),
        (Entry(np.ones(DIM), "image", "/a\0b"), "zero byte"),
        (Entry(np.ones(DIM), "text", text="x" * 70_000), "text: 70000 bytes"),
        (Entry(np.ones(DIM), "image", metadata={"x": "y" * 70_000}), "metadata: 70009 bytes"),
        (Entry(np.ones(DIM), "image", metadata={"x": list(range(5000))}), "keys and values, on Milvus 4096"),
        (Entry(np.ones(DIM), "image", metadata={"x": float("nan")}), "metadata must be a JSON object"),
        (Entry(np.ones(DIM), "image", size=2**63), "size"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(lite, entry, why):
    with make(lite) as pets:
        with pytest.raises(InputError, match=why):
            pets.upsert([*images(1), entry])
        assert pets.count() == 0


def test_a_filter_that_is_too_long_for_an_expression_is_refused_before_it_is_asked(lite):
    many = [{"key": f"k{i}", "match": {"any": [f"{j}" for j in range(10_000)]}} for i in range(20)]
    with make(lite) as pets:
        ids = pets.upsert(images(0, 1, 2))
        with pytest.raises(InputError, match=r"million characters, more than 4: give fewer values"):
            pets.filter_ids({"should": many}, "image")
        wanted = {"must": [{"has_id": list(range(ids[1], 200_000))}]}
        assert pets.filter_ids(wanted, "image").tolist() == ids[1:]


def test_what_the_store_does_not_have_is_refused_with_the_remedy(lite, tmp_path, monkeypatch):
    from index.backup import back_up

    with make(lite) as pets:
        with pytest.raises(NotInStore, match="Milvus says where its rows lie: leave --rows out"):
            pets.compact(rows=tmp_path)
        with pytest.raises(NotInStore, match=r"no feed of changes.*move"):
            pets.changes_after()
        assert pets.keepsakes.of("0" * 64) == []
    monkeypatch.setenv("GLIMPSE_STORE", f"milvus://{tmp_path}/lite.db")
    with pytest.raises(NotInStore, match=r"a backup of collections on milvus:.*--to local"):
        back_up(tmp_path, "pets", tmp_path / "file")


# --- a server that is killed, a network that drops ---

WRITER = """
import sys
from pathlib import Path
import numpy as np
from base.errors import GlimpseError
from index.collection import Entry, store_at

store = store_at(Path(sys.argv[1]), sys.argv[2])
with store.open("pets", writable=True) as pets:
    for n in range(10**6):
        try:
            x = np.random.default_rng(n).standard_normal(8)
            pets.upsert([Entry(x, "image", f"/{n}-{i}", metadata={"n": n}) for i in range(5)])
        except GlimpseError as error:
            print("refused", error, flush=True)
            break
        print(n, flush=True)
"""


def kill_under_writes(server, data, seconds):
    """Kill a server while another process writes to it; what it said was written, and what it said at last."""
    make(store_at(data, server.address)).close()
    code = [sys.executable, "-c", WRITER, str(data), server.address]
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as writer:
        first = writer.stdout.readline()
        time.sleep(seconds)
        server.kill()
        acknowledged = [int(first)]
        for line in writer.stdout:
            if line.startswith("refused"):
                said_in_one_line(line.rstrip(), "does not answer", "what was acknowledged is kept")
                break
            acknowledged.append(int(line))
        else:
            raise AssertionError("the writer did not notice")
    return acknowledged


def until_it_reads(store):
    """A server that comes back has its log and all collections to load before it answers."""
    end = time.monotonic() + 90
    while True:
        try:
            store.open("pets").count()
            return
        except StoreUnavailable:
            assert time.monotonic() < end


def check_kept(server, data, acknowledged):
    Server.close_all()
    server.start()
    until_it_reads(store_at(data, server.address))
    pets = store_at(data, server.address).open("pets", writable=True)
    paths = [record.path for record in pets.records()]
    wanted = {f"/{n}-{i}" for n in acknowledged for i in range(5)}
    assert wanted <= set(paths)
    assert len(paths) == len(set(paths)) <= len(wanted) + 5  # the batch that nobody was told of
    for n in acknowledged[-3:]:
        hit = pets.search(np.random.default_rng(n).standard_normal(8), k=1)[0]
        assert hit.record.metadata == {"n": n}
    (key, *_) = pets.upsert([Entry(np.ones(8), "image", "/new")])
    assert key == max(record.id for record in pets.records())  # above all that there are
    assert pets.count() == len(paths) + 1
    assert pets.check() == []
    pets.close()


def test_what_was_acknowledged_outlives_a_kill_of_the_server(server, tmp_path):
    acknowledged = kill_under_writes(server, tmp_path, 1)
    assert len(acknowledged) > 3
    check_kept(server, tmp_path, acknowledged)


@pytest.mark.milvus_server
def test_what_was_acknowledged_outlives_a_kill_of_the_real_server(real_milvus, tmp_path):
    acknowledged = kill_under_writes(real_milvus, tmp_path, 5)
    assert len(acknowledged) > 3
    check_kept(real_milvus, tmp_path, acknowledged)
    store_at(tmp_path, real_milvus.address).delete("pets")


class Wire:
    """A connection to a server that can be cut, after so many bytes more."""

    def __init__(self, port):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port, self.to, self.left, self.open = self.listening.getsockname()[1], port, None, []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                return
            if self.left == 0:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.to))
            self.open += [near, far]
            for one, other, counts in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass, args=(one, other, counts), daemon=True).start()

    def _pass(self, one, other, counts):
        try:
            while data := one.recv(4096):
                if counts and self.left is not None:
                    data = data[: self.left]
                    self.left -= len(data)
                other.sendall(data)
                if self.left == 0:
                    break
        except OSError:
            pass
        for each in self.open if self.left == 0 else (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_a_network_that_drops_in_mid_batch_leaves_no_half_and_the_same_again_is_all(server, tmp_path):
    wire = Wire(server.port)
    straight = store_at(tmp_path, server.address)
    make(straight).close()
    batch = images(*range(2000))
    with store_at(tmp_path, f"milvus://127.0.0.1:{wire.port}").open("pets", writable=True) as pets:
        pets.upsert(images(5000))
        wire.left = 60_000  # of some 300,000
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as dropped:
            pets.upsert(batch)
        assert time.monotonic() - began < 90
        said_in_one_line(dropped.value, "does not answer")
        assert straight.open("pets").count() == 1
        wire.left = None
        pets.upsert(batch)
        assert pets.count() == 2001
        assert pets.check() == []
    wire.listening.close()


def test_two_writers_on_one_data_folder_take_turns(server, tmp_path):
    with make(store_at(tmp_path, server.address)), pytest.raises(CollectionLocked, match=f"process {os.getpid()}"):
        store_at(tmp_path, server.address).open("pets", writable=True)


# --- from one store to the other ---


def filled(store):
    pets = make(store)
    pets.upsert([*images(*range(1, 2500)), Entry(np.ones(DIM), "text", text="a dog", external_id="dog")])
    pets.delete([7, 2000])
    pets.set_quota(Quota(entries=9000))
    pets.set_rejection(Rejection("f", 3, 0.5, 0.25))
    pets.set_places({"looked": {"/photos": 5}})
    return pets


def contents(pets):
    records = list(pets.records())
    return records, pets.vectors([record.id for record in records])


def test_a_collection_moves_to_another_store_and_back_as_it_was(tmp_path):
    address = f"milvus://{tmp_path}/lite.db"
    with filled(store_at(tmp_path, "local")) as pets:
        records, x = contents(pets)
    (tmp_path / "uploads" / "pets").mkdir(parents=True)
    for here, there in (("local", address), (address, "local")):
        assert move(tmp_path, "pets", here, there) == Moved(2498, 2498, 2001)
        assert store_at(tmp_path, here).names() == []
        with store_at(tmp_path, there).open("pets") as moved:
            found, vectors = contents(moved)
            assert found == records
            np.testing.assert_array_equal(vectors, x)
            assert (moved.quota, moved.rejection()) == (Quota(entries=9000), Rejection("f", 3, 0.5, 0.25))
            assert moved.places() == {"looked": {"/photos": 5}}
            assert moved.check() == []
    assert (tmp_path / "uploads" / "pets").is_dir()
    with store_at(tmp_path, "local").open("pets", writable=True) as pets:
        assert pets.upsert([Entry(np.ones(DIM), "image")]) == [2501]


def test_a_move_that_was_interrupted_goes_on_with_what_has_changed_since(tmp_path, monkeypatch):
    address = f"milvus://{tmp_path}/lite.db"
    here, there = store_at(tmp_path, "local"), store_at(tmp_path, address)
    filled(here).close()

    def stop(done, total):
        if done >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(tmp_path, "pets", "local", address, progress=stop)
    with here.open("pets", writable=True) as pets:
        pets.delete([11, 12])
        pets.update({13: {"metadata": {"new": 1}}})
        records, x = contents(pets)
    assert move(tmp_path, "pets", "local", address) == Moved(2496, 1498, 2001)
    with there.open("pets") as moved:
        found, vectors = contents(moved)
        assert found == records
        np.testing.assert_array_equal(vectors, x)


def test_a_move_that_was_cut_off_at_its_end_goes_on_and_says_nothing_wrong(tmp_path, monkeypatch):
    address = f"milvus://{tmp_path}/lite.db"
    filled(store_at(tmp_path, "local")).close()

    def cut_off(*_, **__):
        raise KeyboardInterrupt

    for here, there in (("local", address), (address, "local")):
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "delete", cut_off)
            patch.setattr(MilvusStore, "delete", cut_off)
            with pytest.raises(KeyboardInterrupt):
                move(tmp_path, "pets", here, there)
        assert move(tmp_path, "pets", here, there) == Moved(2498, 0, 2001)
        with store_at(tmp_path, there).open("pets") as moved:
            assert moved.places() == {"looked": {"/photos": 5}}


def test_a_collection_of_before_is_no_unfinished_move_of_another(tmp_path, monkeypatch):
    """A kill after the old one is gone leaves a mark on the new one; a collection made since is not put into it."""
    address = f"milvus://{tmp_path}/lite.db"
    here, there = store_at(tmp_path, "local"), store_at(tmp_path, address)
    filled(here).close()
    set_places = MilvusCollection.set_places

    def cut_off(collection, places):
        if "moving" not in places:
            raise KeyboardInterrupt
        set_places(collection, places)

    with monkeypatch.context() as patch:
        patch.setattr(MilvusCollection, "set_places", cut_off)
        with pytest.raises(KeyboardInterrupt):
            move(tmp_path, "pets", "local", address)
    assert (here.names(), there.names()) == ([], ["pets"])
    time.sleep(1.1)  # collections know the second in which they were made
    make(here).close()
    with pytest.raises(CollectionExists, match="no unfinished move of this one"):
        move(tmp_path, "pets", "local", address)
    assert there.open("pets").count() == 2498


@pytest.mark.milvus_server
def test_a_database_that_is_not_there_is_said_before_anything_is_asked_of_it(real_milvus, tmp_path):
    with pytest.raises(InputError, match="has no database 'nodb': create it first"):
        store_at(tmp_path, f"{real_milvus.address}/nodb")


@pytest.mark.milvus_server
def test_ids_of_a_server_are_all_and_ascending_whatever_a_page_holds(real_milvus, tmp_path, monkeypatch):
    store = store_at(tmp_path, real_milvus.address)
    with make(store, "paged") as pets:
        pets.upsert([Entry(np.ones(DIM), "text", text="-") for _ in range(500)])
        pets.upsert([Entry(np.ones(DIM), "text", text="+", id=key) for key in range(900, 1000)])
        pets.delete(range(100, 200))
        pets.update({key: {"text": "new"} for key in range(1, 100)})
        query = MilvusClient.query

        def short(client, *given, limit=None, **more):  # a server may give fewer than it is asked for
            return query(client, *given, **more, **({} if limit is None else {"limit": max(1, limit - 7)}))

        monkeypatch.setattr(MilvusClient, "query", short)
        monkeypatch.setattr(milvus_server, "MOST", 50)
        found = [key for some in pets.server.ids(pets.identity().table, "id > 0") for key in some]
    monkeypatch.undo()
    store.delete("paged")
    assert found == [*range(1, 100), *range(200, 501), *range(900, 1000)]


def test_no_id_is_given_twice_by_either_store_and_more_than_the_quota_moves(tmp_path):
    address = f"milvus://{tmp_path}/lite.db"
    with make(store_at(tmp_path, "local")) as pets:
        pets.upsert(images(*range(1, 10)))
        pets.delete([8, 9])
        pets.set_quota(Quota(entries=2))
    for here, there in (("local", address), (address, "local")):
        assert move(tmp_path, "pets", here, there).entries == 7
        with store_at(tmp_path, there).open("pets") as pets:
            assert (pets.last_id(), pets.count(), pets.quota) == (9, 7, Quota(entries=2))


def test_a_move_goes_on_where_paths_have_gone_to_entries_made_since(tmp_path):
    address = f"milvus://{tmp_path}/lite.db"
    here = store_at(tmp_path, "local")
    with make(here) as pets:
        pets.upsert(images(1, 2, 3))

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(tmp_path, "pets", "local", address, progress=stop)
    with here.open("pets", writable=True) as pets:
        pets.delete([1, 2, 3])
        assert pets.upsert(images(3, 2, 1)) == [4, 5, 6]
        records, _ = contents(pets)
    assert move(tmp_path, "pets", "local", address).entries == 3
    with store_at(tmp_path, address).open("pets") as moved:
        assert contents(moved)[0] == records


def test_nobody_writes_to_a_collection_that_moves_until_it_is_gone(tmp_path, monkeypatch):
    with make(store_at(tmp_path, "local")) as pets:
        pets.upsert(images(1))
    tried = []

    def delete(store, name, **how):
        with pytest.raises(CollectionLocked):
            store.open(name, writable=True)
        tried.append(name)
        of_the_store(store, name, **how)

    of_the_store = LocalStore.delete
    monkeypatch.setattr(LocalStore, "delete", delete)
    move(tmp_path, "pets", "local", f"milvus://{tmp_path}/lite.db")
    assert (tried, store_at(tmp_path, "local").names()) == (["pets"], [])


@pytest.mark.parametrize("first", [True, False])
def test_uploads_stay_while_another_store_has_a_collection_of_that_name(tmp_path, monkeypatch, first):
    stores = ["local", f"milvus://{tmp_path}/lite.db"]
    for store in stores:
        make(store_at(tmp_path, store)).close()
    upload = tmp_path / "uploads" / "pets" / "00" / f"{'0' * 64}.png"
    upload.parent.mkdir(parents=True)
    upload.touch()
    for store in stores if first else stores[::-1]:
        assert upload.exists()
        monkeypatch.setenv("GLIMPSE_STORE", store)
        delete_collection(tmp_path, "pets")
    assert not upload.exists()


def test_a_move_is_refused_where_there_is_another_or_a_reindex_has_begun(tmp_path):
    address = f"milvus://{tmp_path}/lite.db"
    here, there = store_at(tmp_path, "local"), store_at(tmp_path, address)
    with pytest.raises(InputError, match="already"):
        move(tmp_path, "pets", "local", "local")
    make(there).close()
    with make(here) as pets:
        pets.upsert(images(1))
    with pytest.raises(CollectionExists, match="no unfinished move of this one"):
        move(tmp_path, "pets", "local", address)
    assert here.open("pets").count() == 1
    there.delete("pets")
    with here.open("pets", writable=True) as pets:
        pets.next.begin("new", "g", 4)
    with pytest.raises(InputError, match="a change to new has begun"):
        move(tmp_path, "pets", "local", address)
