"""What a request may take of the service, and that the service ends in time whatever runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from service_world import WatchedEncoder, ask_and_leave, error_of, serving, settings_for, tiny_encoder, until

from base.errors import GlimpseError
from index.collection import Entry, create_collection
from index.search.patience import GivenUp, Patience
from service.app import create_app

ROOT = Path(__file__).parents[1]
# some seconds: all but a few entries fulfil each condition
SLOW = {"must": [{"key": "n", "match": {"except": [i]}} for i in range(1000)]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WatchedEncoder]:
    """A data folder with a collection of 20,000, and its model."""
    folder = tmp_path_factory.mktemp("bounds")
    encoder = tiny_encoder(folder)
    with create_collection(folder, "large", model="tiny", fingerprint="tiny", dim=32) as large:
        x = encoder.encode_texts(["x"])[0]
        large.upsert([Entry(x, "image", f"/{i}", metadata={"n": i}) for i in range(20_000)])
    return folder, encoder


@pytest.fixture(scope="module")
def url(data: tuple[Path, WatchedEncoder]) -> Iterator[str]:
    """A service of it, a filter on which may take 1 s."""
    with serving(create_app(settings_for(data[0], filter_seconds=1.0), data[1])) as address:
        yield address


def test_a_filter_that_takes_too_long_is_refused_with_what_to_do(url: str) -> None:
    asked = {"text": "x", "filter": SLOW}
    error = error_of(httpx.post(f"{url}/v1/collections/large/search", json=asked, timeout=20), 422)
    assert (error["code"], error["param"]) == ("filter_too_slow", "filter")
    assert "longer than 1 s" in error["message"]
    assert "GLIMPSE_FILTER_SECONDS" in error["message"]
    listed = httpx.get(f"{url}/v1/collections/large/images", params={"filter": json.dumps({"should": [{}] * 1001})})
    assert "1000 conditions" in error_of(listed, 422)["message"]
    same = {"should": [{"key": "n", "range": {"gte": 0}}] * 1000}
    answer = httpx.post(f"{url}/v1/collections/large/search", json={"text": "x", "filter": same})
    assert len(answer.json()["hits"]) == 10


def test_a_filter_ends_when_its_client_leaves(
    data: tuple[Path, WatchedEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[GlimpseError | None] = []  # what each look at the patience of the search finds
    over = Patience.over
    monkeypatch.setattr(Patience, "over", lambda self: looks.append(over(self)) or looks[-1])
    with serving(create_app(settings_for(data[0], filter_seconds=600.0), data[1])) as url:
        ask_and_leave(url, "/v1/collections/large/search", {"text": "x", "filter": SLOW}, lambda: looks)
        until(lambda: isinstance(looks[-1], GivenUp))  # before it has found all, and long before its time is over


def test_no_answer_is_5xx_while_collections_come_and_go(url: str) -> None:
    vector = [1.0] * 32
    asks = [
        ("GET", "/v1/info", None),
        ("GET", "/metrics", None),
        ("GET", "/v1/collections/gone", None),
        ("GET", "/v1/collections/gone/images", None),
        ("POST", "/v1/collections/gone/search", {"vector": vector}),
        ("POST", "/v1/collections/gone/texts", {"texts": ["a"]}),
        ("POST", "/knn-service", {"embedding_input": vector, "indice_name": "gone"}),
        *[("PUT", "/v1/collections/gone", {"kind": "exact"}), ("DELETE", "/v1/collections/gone", None)] * 2,
    ]
    end = time.monotonic() + 2.5

    def ask(n: int) -> set[int]:
        statuses: set[int] = set()
        with httpx.Client(base_url=url, timeout=20) as client:
            while time.monotonic() < end:
                n += 1
                method, path, body = asks[n % len(asks)]
                statuses.add(client.request(method, path, json=body).status_code)
        return statuses

    with ThreadPoolExecutor(8) as pool:
        seen = set().union(*pool.map(ask, range(8)))
    assert {200, 201, 204, 404} <= seen <= {200, 201, 204, 404, 409}


def test_a_full_and_a_read_only_disk_are_named_wherever_something_is_written(
    on_own_disk: Callable[[str], None],
) -> None:
    on_own_disk("""
import pytest
from service_world import add_collection, client_of, create_app, draw, error_of, settings_for, tiny_encoder
from service.keys import add_key
import io, sys
from glimpse.__main__ import main

encoder = tiny_encoder(disk)
with client_of(create_app(settings_for(disk), encoder)) as client:
    client.put("/v1/label-sets/pets", json={"labels": ["a"]})
    with pytest.raises(OSError), open(disk / "ballast", "ab", buffering=0) as ballast:
        while True:
            ballast.write(bytes(512))
    full = error_of(client.put("/v1/collections/new"), 500)
    assert (full["code"], str(disk) in full["message"]) == ("disk_full", True)
    assert "the disk is full; free some space" in full["message"]
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["glimpse", "keys", "add", "bob", "--data", str(disk)])
        patch.setattr(sys, "stderr", said := io.StringIO())
        main()
    assert said.getvalue().startswith(f"glimpse: {disk}/keys.json: the disk is full; free some space"), said.getvalue()
    (disk / "ballast").unlink()
    mount("--bind", str(disk))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
    for method, path in (("PUT", "/v1/collections/new"), ("DELETE", "/v1/label-sets/pets")):
        error = error_of(client.request(method, path), 500)
        assert error["code"] == "disk_error"
        assert f"{disk}/" in error["message"] and "on a read-only disk; make it writable" in error["message"]
""")


STUCK = """
import asyncio, signal, sys, threading, time, uvicorn
from service.http import server

async def app(scope, receive, send):
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    if sys.argv[1] == "failed":
        await asyncio.sleep(60)
    await send({"type": "lifespan.shutdown.complete"})

server.END = 1.0
threading.Thread(target=time.sleep, args=(60,)).start()  # as a decode: Python waits for it at its end
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
stuck = server.TimelyServer(uvicorn.Config(app, port=0))
stuck.on_stop = lambda: print("told", flush=True)
stuck.should_exit = sys.argv[1] == "failed"  # as when the model cannot be loaded
stuck.run()
"""


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_stop_is_over_in_time_whatever_runs(state: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, state], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("running on" in line for line in process.stderr)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "told\n")
    assert 0.9 < time.monotonic() - started < 5
    assert "left undone" in log
