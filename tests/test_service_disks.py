"""A collection that lies on another disk, which hangs or goes away: the others are served as before."""

import asyncio
import ctypes
import os
import shutil
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from service_world import add_collection, client_of, draw, error_of, picture, settings_for, tiny_encoder, until, world

from base.errors import DiskUnavailable
from index.local.catalog.sqlite.database import Database
from service.app import create_app
from service.collections import opened
from service.disk import DataDisk
from service.keys import add_key

SHARED_MEMORY = Path("/dev/shm")


class Disk:
    """A folder on another disk. While it hangs a file system lies on it that answers nothing: FUSE without a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = -1
        self._libc = ctypes.CDLL(None, use_errno=True)

    def hang(self) -> None:
        self._server = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._server},rootmode=40000,user_id=0,group_id=0"
        if self._libc.mount(b"glimpse", bytes(self.folder), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "no mount")

    def fail(self) -> None:
        """Whoever waits gets an error, as of a network that is gone."""
        os.close(self._server)
        self._server = -1

    def come_back(self) -> None:
        if self._server >= 0:
            self.fail()
        self._libc.umount2(bytes(self.folder), 2)  # also where somebody is in it


@pytest.fixture
def disk(tmp_path):
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk here")
    disk = Disk(Path(tempfile.mkdtemp(dir=SHARED_MEMORY)))
    try:
        disk.hang()
        disk.come_back()
        yield disk
    except OSError as error:
        pytest.skip(f"no disk can be made to hang here: {error}")
    finally:
        disk.come_back()
        shutil.rmtree(disk.folder)


def test_of_those_who_ask_while_a_disk_hangs_nothing_is_kept(monkeypatch):
    monkeypatch.setattr("service.disk.PATIENCE", 0.1)
    answers = threading.Event()
    data = DataDisk(answers.wait)

    async def asked():
        first = asyncio.create_task(data.looked())
        while data._since is None:  # noqa: ASYNC110  a thread sets it
            await asyncio.sleep(0.01)
        with pytest.raises(DiskUnavailable):
            await first
        for _ in range(3):
            with pytest.raises(DiskUnavailable):
                await data.looked()
        kept = len(data._asking)
        answers.set()
        await data.looked(5)
        return kept

    assert asyncio.run(asked()) == 0
    data.close()


def test_a_data_folder_whose_disk_hangs_is_said_so_in_time(disk, tmp_path, monkeypatch):
    encoder, data = tiny_encoder(tmp_path), disk.folder / "data"
    add_collection(data, encoder, draw(tmp_path / "files", 2), "near")
    key = {"Authorization": f"Bearer {add_key(data, 'shop', 'read')}"}
    with client_of(create_app(settings_for(data), encoder)) as client, ThreadPoolExecutor(8) as others:

        def search():
            return client.post("/v1/collections/near/search", json={"text": "a boat"}, headers=key)

        assert search().status_code == 200
        monkeypatch.setattr("service.disk.PATIENCE", 0.3)
        monkeypatch.setattr("service.routes.health.SOON", 0.3)
        disk.hang()
        waiting = [others.submit(search) for _ in range(8)]
        for _ in range(2):
            error = error_of(client.get("/health/ready"), 503)
            assert (error["code"], "disk of the data folder" in error["message"]) == ("disk_unavailable", True)
            assert client.get("/health/live").status_code == 200
            assert client.get("/").status_code == 200
        assert {error_of(each.result(20), 503)["code"] for each in waiting} == {"disk_unavailable"}
        assert error_of(client.get("/v1/collections", headers=key), 503)["code"] == "disk_unavailable"
        disk.come_back()
        until(lambda: client.get("/health/ready").status_code == 200)
        until(lambda: search().status_code == 200)
        error_of(client.get("/v1/collections"), 401)


def test_a_disk_that_hangs_or_fails_holds_up_its_own_collection_alone(tmp_path, disk, monkeypatch):
    encoder = tiny_encoder(tmp_path)
    for name in ("near", "far"):
        add_collection(tmp_path, encoder, draw(tmp_path / "files", 2), name)
    (tmp_path / "collections" / "far").rename(tmp_path / "moved")
    shutil.move(tmp_path / "moved", disk.folder / "far")
    (tmp_path / "collections" / "far").symlink_to(disk.folder / "far")
    with client_of(create_app(settings_for(tmp_path), encoder)) as client, ThreadPoolExecutor(1) as other:

        def search(name):
            return client.post(f"/v1/collections/{name}/search", json={"text": "a boat"})

        def others_are_served():
            assert search("near").status_code == 200
            assert client.get("/v1/collections/near/images").status_code == 200
            made = f"/v1/collections/made-{len(client.get('/v1/collections').json()['collections'])}"
            assert client.put(made).status_code == 201
            assert client.get("/v1/models").status_code == 200

        def problem():
            [info] = [one for one in client.get("/v1/collections").json()["collections"] if one["name"] == "far"]
            return info["problem"]

        assert search("far").status_code == 200
        monkeypatch.setattr(opened, "PATIENCE", 1.0)  # enough for those that are near
        disk.hang()
        waiting = other.submit(search, "far")
        others_are_served()
        assert "disk does not answer" in problem()
        error = error_of(search("far"), 503)
        assert (error["code"], "disk does not answer" in error["message"]) == ("disk_unavailable", True)
        assert error_of(waiting.result(20), 503) == error
        disk.fail()
        others_are_served()
        assert "not connected" in problem()
        disk.come_back()
        until(lambda: search("far").status_code == 200)
        assert problem() is None


@pytest.mark.parametrize("is_near", [True, False])
def test_the_event_loop_waits_for_no_disk_but_that_of_the_data_folder(tmp_path, monkeypatch, is_near):
    """On the loop it is asked by what model a near collection was made, for each search by words; else nothing is."""
    monkeypatch.setattr("index.local.collection.is_on_disk_of", lambda *_: is_near)
    reading, read_by = Database.reading, []

    def noted(database):
        read_by.append((threading.get_ident(), "".join(traceback.format_stack())))
        return reading(database)

    monkeypatch.setattr(Database, "reading", noted)
    with world(tmp_path, n=2) as (client, _, _):
        loop = client.portal.call(threading.get_ident)
        one, image = "/v1/collections/pictures", picture(7)
        reads = [
            ("POST", f"{one}/search", {"json": {"text": "a boat"}}),
            ("POST", f"{one}/search/batch", {"json": {"searches": [{"text": "a boat"}, {"id": 1}]}}),
            ("POST", "/v1/search", {"json": {"collections": ["pictures"], "text": "a boat"}}),
            ("POST", "/knn-service", {"json": {"text": "a boat", "indice_name": "pictures"}}),
            ("POST", "/v1/classify", {"json": {"collection": "pictures", "id": 1, "labels": ["a", "b"]}}),
        ]
        writes = [
            ("POST", f"{one}/texts", {"json": {"texts": ["a"]}}),
            ("POST", f"{one}/images", {"files": {"file": image}}),
            ("PUT", f"{one}/entries/own", {"json": {"text": "b"}}),
            ("PUT", one, {"json": {"model": "tiny", "title": "t"}}),
            ("PATCH", one, {"json": {"title": "u"}}),
        ]
        others = [("GET", f"{one}{rest}", {}) for rest in ("", "/images", "/images/1", "/columns", "/map", "/changes")]
        for method, path, sent in [*reads, *writes, *others]:
            del read_by[:]
            answer = client.request(method, path, **sent)
            assert answer.status_code < 500, answer.text
            on_loop = [stack for thread, stack in read_by if thread == loop]
            assert read_by or path.endswith("map")
            assert not [stack for stack in on_loop if not (is_near and "in told_by" in stack)], (method, path, on_loop)
