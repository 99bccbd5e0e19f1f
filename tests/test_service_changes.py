"""The feed of changes over REST; and a second system that follows it through kills of itself and of the service."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from service_world import client_of, error_of, settings_for, tiny_encoder, until, world
from test_service_jobs_restart import Service

from index.collection import Entry, create_collection, delete_collection, open_collection
from service.app import create_app

PATH = "/v1/collections/pictures/changes"
TESTS = Path(__file__).parent


@pytest.fixture
def here(tmp_path):
    with world(tmp_path, 3) as (client, _, _):
        yield client, tmp_path


def ask(client, **params):
    answer = client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_begins_with_every_entry_and_goes_on(here):
    client, _ = here
    page = ask(client, limit=2, signed_urls=60)
    assert [each["event"] for each in page["changes"]] == ["created"] * 2
    assert page["has_more"]
    first = page["changes"][0]
    record = client.get("/v1/collections/pictures/images/1").json()
    assert {name: value for name, value in first["entry"].items() if not name.endswith("_url")} == {
        name: value for name, value in record.items() if not name.endswith("_url")
    }
    assert "signature=" in first["entry"]["content_url"]
    assert first["path"] == record["path"]
    rest = ask(client, after=page["cursor"])
    assert [(each["id"], each["modality"]) for each in rest["changes"]] == [(3, "image"), (4, "text"), (5, "text")]
    assert not rest["has_more"]
    client.patch("/v1/collections/pictures/images/2", json={"metadata": {"caption": "new"}})
    client.delete("/v1/collections/pictures/images/1")
    put = client.put("/v1/collections/pictures/entries/sku/4711", json={"text": "a shoe"})
    assert put.status_code == 201, put.text
    new = ask(client, after=rest["cursor"])
    assert [(each["event"], each["id"], each["external_id"]) for each in new["changes"]] == [
        ("updated", 2, None), ("deleted", 1, None), ("created", 6, "sku/4711")
    ]  # fmt: skip
    assert new["changes"][0]["entry"]["metadata"]["caption"] == "new"
    assert new["changes"][1]["entry"] is None
    client.delete("/v1/collections/pictures/entries/sku/4711")
    [gone] = ask(client, after=new["cursor"])["changes"]
    assert (gone["event"], gone["external_id"], gone["modality"]) == ("deleted", "sku/4711", "text")
    assert ask(client, after="now")["changes"] == []


def test_it_waits_for_a_change_and_no_longer_than_it_is_told(here):
    client, data = here
    cursor = ask(client)["cursor"]
    started = time.monotonic()
    assert ask(client, after=cursor, wait=0.3)["changes"] == []
    assert time.monotonic() - started >= 0.3

    def write():
        time.sleep(0.5)
        with open_collection(data, "pictures", writable=True) as made:  # another process, as far as the service knows
            made.upsert([Entry(np.ones(32, np.float32), "text", text="late")])

    writer = threading.Thread(target=write)
    writer.start()
    [change] = ask(client, after=cursor, wait=60)["changes"]
    writer.join()
    assert change["entry"]["text"] == "late"


@pytest.mark.parametrize(("anew", "status", "code"), [(False, 404, "collection_not_found"), (True, 410, "cursor_gone")])
def test_who_waits_is_told_that_the_collection_is_gone_or_another_one(here, anew, status, code):
    client, data = here

    def replace():
        until(lambda: client.app.state.service.waiting)
        delete_collection(data, "pictures")
        if anew:
            create_collection(data, "pictures", model="m", fingerprint="f", dim=4).close()

    replacing = threading.Thread(target=replace)
    replacing.start()
    error = error_of(client.get(PATH, params={"after": "now", "wait": 30}), status)
    replacing.join()
    assert error["code"] == code
    assert "catalog.sqlite" not in error["message"]


@pytest.mark.parametrize(
    ("params", "param"),
    [({"after": "x"}, "after"), ({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"wait": 61}, "wait")],
)
def test_what_cannot_be_asked_is_422(here, params, param):
    assert error_of(here[0].get(PATH, params=params), 422)["param"] == param


def test_a_cursor_of_another_life_is_410_and_says_what_to_do(here):
    client, data = here
    cursor = ask(client)["cursor"]
    error_of(client.get("/v1/collections/none/changes"), 404)
    client.delete("/v1/collections/pictures")
    client.put("/v1/collections/pictures")
    error = error_of(client.get(PATH, params={"after": cursor}), 410)
    assert error["code"] == "cursor_gone"
    assert "read it anew without `after`" in error["message"]
    assert ask(client)["changes"] == []
    with create_collection(data, "other", model="m", fingerprint="f", dim=4) as made:
        made.upsert([Entry(np.ones(4, np.float32), "text", text="x")])
    assert client.get("/v1/collections/other/changes").json()["changes"][0]["entry"]["text"] == "x"
    delete_collection(data, "other")


def test_no_more_wait_than_may_and_the_others_are_told(tmp_path):
    app = create_app(settings_for(tmp_path, max_waiting=2), tiny_encoder(tmp_path))
    with client_of(app) as client, ThreadPoolExecutor(2) as pool:
        client.put("/v1/collections/pictures")
        waiting = [pool.submit(ask, client, after="now", wait=60) for _ in range(2)]
        until(lambda: app.state.service.waiting == 2)
        refused = client.get(PATH, params={"after": "now", "wait": 1})
        assert error_of(refused, 429)["code"] == "overloaded"
        assert refused.headers["retry-after"] == "5"
        assert ask(client, after="now")["changes"] == []  # at once
        assert client.post("/v1/collections/pictures/texts", json={"texts": ["red"]}).status_code == 200
        assert [len(one.result()["changes"]) for one in waiting] == [1, 1]
        assert len(ask(client, wait=1)["changes"]) == 1
        assert app.state.service.waiting == 0


def test_a_service_that_stops_waits_for_nobody(tmp_path):
    app = create_app(settings_for(tmp_path), tiny_encoder(tmp_path))
    with client_of(app) as client:
        client.put("/v1/collections/pictures")
        threading.Timer(0.3, lambda: setattr(app.state.service, "is_stopping", lambda: True)).start()
        started = time.monotonic()
        ask(client, after="now", wait=60)
        assert time.monotonic() - started < 30


@pytest.mark.slow
def test_who_follows_through_kills_ends_with_what_the_collection_has(tmp_path):
    """Service and follower are killed again and again while entries come, change and go, and the collection too."""
    (tmp_path / "data").mkdir()
    copy, draw = tmp_path / "copy.sqlite", random.Random(0)
    port = None
    with create_collection(tmp_path / "data", "pictures", model="tiny", fingerprint="tiny", dim=32) as made:
        made.upsert([Entry(row, "text", text="old") for row in np.eye(32, dtype=np.float32)])
    follower = None
    for life in range(4):
        service = Service(tmp_path / "data", tmp_path, 0, port)
        port = service.port
        url = str(service.http.base_url)
        stop = threading.Event()
        try:
            if life == 2:  # another collection of the same name
                assert service.http.delete("/v1/collections/pictures").status_code == 204
                assert service.http.put("/v1/collections/pictures").status_code == 201
            writer = threading.Thread(target=write_until, args=(url, stop, life))
            writer.start()
            for _ in range(3):
                follower = follower or following(url, copy)
                time.sleep(draw.uniform(0.2, 0.9))
                if draw.random() < 0.7:
                    follower.kill()
                    follower.wait()
                    follower = None
        finally:
            service.end(signal.SIGKILL)  # in the midst of whatever is written
            stop.set()
            writer.join()
    if follower:
        follower.kill()
        follower.wait()
    service = Service(tmp_path / "data", tmp_path, 0, port)
    try:
        done = following(str(service.http.base_url), copy, 1.5)
        assert done.wait(60) == 0
        there = list_all(service.http)
    finally:
        service.end()
    with closing(sqlite3.connect(copy)) as db:
        followed = dict(db.execute("SELECT id, entry FROM rows"))
    assert len(there) > 10
    assert followed == there


def following(url, copy, patience=None):
    command = [sys.executable, TESTS / "follower.py", url, "pictures", copy, *([str(patience)] if patience else [])]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(TESTS.parent)})


def write_until(url, stop, seed):
    """Add, change and delete texts until the service is gone; what it was told last may or may not be done."""
    draw, ids = random.Random(seed), []
    with httpx.Client(base_url=f"{url}/v1/collections/pictures", timeout=5) as client:
        try:
            while not stop.is_set():
                what = draw.choice(["add", "add", "change", "delete"])
                if what == "add" or not ids:
                    texts = [
                        {"text": f"text {draw.random()}", "metadata": {"n": 0}} for _ in range(draw.randint(1, 12))
                    ]
                    ids += client.post("/texts", json={"texts": texts}).json().get("ids", [])
                elif what == "change":
                    client.patch(f"/texts/{draw.choice(ids)}", json={"metadata": {"n": draw.random()}})
                else:
                    client.delete(f"/texts/{ids.pop(draw.randrange(len(ids)))}")
        except httpx.TransportError:
            return


def list_all(client):
    found, after = {}, 0
    while after is not None:
        page = client.get("/v1/collections/pictures/texts", params={"after": after, "limit": 1000}).json()
        for entry in page["entries"]:
            found[entry["id"]] = json.dumps([entry["text"], entry["metadata"]], sort_keys=True)
        after = page["next"]
    return found
