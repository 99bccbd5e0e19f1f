"""A service that only reads: it changes no file of the data folder, says so, and follows who writes there."""

import base64
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ports import free_port
from service_world import client_of, error_of, picture, settings_for, tiny_encoder, until, world

from base.errors import Busy
from index.local.collection import LocalCollection
from service.app import create_app
from service.keys import add_key

ROOT = Path(__file__).parents[1]
# root may write anywhere; without these capabilities it is a user like others
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-fowner"] if os.geteuid() == 0 else []
ADD = """
import sys
from pathlib import Path
import numpy as np
from index.collection import Entry, open_collection
data, rounds, stays = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "stays"
for i in range(rounds):
    with open_collection(data, "pictures", writable=True) as collection:
        collection.upsert([Entry(np.eye(32, dtype=np.float32)[i % 32], "text", text=f"written {i}")])
        print("written", flush=True)
        if stays:
            sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder as a service leaves it, with all that it may hold."""
    folder = tmp_path_factory.mktemp("replica") / "data"
    folder.mkdir()
    with world(folder, n=4, job_roots=str(folder)) as (client, _, _):
        client.put("/v1/label-sets/pets", json={"labels": ["a cat", "a dog"]})
        client.post("/v1/collections/pictures/images", files={"file": picture(9)})
        client.get("/v1/collections/pictures/images/1/thumbnail?size=256")
        client.get("/v1/collections/pictures/images?signed_urls=60")
        asked = {"kind": "label", "folder": str(folder / "files"), "labels": ["a", "b"]}
        job = client.post("/v1/jobs", json=asked).json()["id"]
        until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded")
    return folder


def files_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """What would differ if anything below the folder was changed, made, removed or only touched."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        stat = path.stat()
        found[str(path.relative_to(folder))] = stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
    return found


def used(client) -> None:
    """Use all that a service does without changing anything."""
    assert client.get("/health/ready").json()["read_only"] is True
    assert client.get("/v1/info").json()["read_only"] is True
    for path in ("", "/v1/collections", "/v1/models", "/v1/label-sets", "/v1/label-sets/pets", "/v1/jobs", "/metrics"):
        assert client.get(path).status_code == 200, path
    [job] = client.get("/v1/jobs").json()["jobs"]
    assert client.get(f"/v1/jobs/{job['id']}/result").text.startswith("path,label,score")
    [run] = client.get("/v1/label-runs").json()["label_runs"]
    assert len(client.get(f"/v1/label-runs/{run['id']}/images").json()["images"]) == 4
    pictures = "/v1/collections/pictures"
    assert client.post(f"{pictures}/search", json={"text": "a red boat"}).json()["hits"]
    assert client.post(f"{pictures}/search", json={"id": 1}).json()["hits"]
    [one] = client.post(f"{pictures}/search/batch", json={"searches": [{"text": "a red boat"}]}).json()["results"]
    assert one["hits"]
    assert client.post("/v1/search", json={"collections": ["pictures"], "text": "a red boat"}).json()["hits"]
    assert client.get(f"{pictures}/facets").status_code == 200
    for path, asked in (("facet", {"key": "name"}), ("facets", {"keys": ["name"]})):
        assert client.post(f"{pictures}/{path}", json=asked).status_code == 200
    assert client.get(f"{pictures}/columns").status_code == 200
    assert client.post(f"{pictures}/columns/bitmap", json={"filter": {}}).status_code == 200
    changes = client.get(f"{pictures}/changes").json()
    assert changes["changes"]
    assert client.get(f"{pictures}/changes?wait=0.3&after={changes['cursor']}").json()["changes"] == []
    page = client.get(f"{pictures}/images?signed_urls=60").json()["entries"]
    for entry in page:
        assert client.get(entry["content_url"]).status_code == 200
        for _ in range(2):  # made, then kept; not in the data folder
            assert client.get(entry["thumbnail_url"] + "&size=128").status_code == 200
    image = base64.b64encode(picture(5)).decode()
    assert client.post("/v1/classify", json={"image": image, "label_set": "pets"}).status_code == 200
    assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
    assert client.post("/knn-service", json={"text": "a", "modality": "image"}).status_code == 200


def test_nothing_in_the_data_folder_changes(data, tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    before = files_of(data)
    with client_of(create_app(settings_for(data, read_only=True), tiny_encoder(tmp_path))) as client:
        used(client)
        time.sleep(1.2)  # what looks after things does so every half second
        used(client)
    assert files_of(data) == before


def test_whatever_would_change_something_is_refused_and_says_what_to_do(data, tmp_path):
    before = files_of(data)
    reads = re.compile(
        r"/v1/(classify|embeddings|zero-shot|search|labs/forces|collections/\{collection\}/(search|search/batch|facets?|columns/bitmap))|/knn-service"
    )
    with client_of(create_app(settings_for(data, read_only=True), tiny_encoder(tmp_path))) as client:
        changing = [
            (method, path)
            for path, methods in client.get("/openapi.json").json()["paths"].items()
            for method in methods
            if method not in ("get", "head") and not reads.fullmatch(path)
        ]
        assert len(changing) > 12
        for method, path in changing:
            name = path.replace("{collection}", "pictures").replace("{job}", "0" * 20)
            error = error_of(client.request(method, re.sub(r"\{\w+\}", "1", name), json={}), 403)
            assert error["code"] == "read_only"
            assert "send changes to the one that writes" in error["message"]
    assert files_of(data) == before


def test_uploads_are_shown_where_the_data_folder_is_mounted_at_another_place(tmp_path):
    (before := tmp_path / "before").mkdir()
    with world(before, n=2) as (client, _, _):
        sent = client.post("/v1/collections/pictures/images", files={"file": picture(9)}).json()
        page = f"/v1/collections/pictures/images/{sent['results'][0]['id']}"
    before.rename(now := tmp_path / "now")
    with client_of(create_app(settings_for(now, read_only=True), tiny_encoder(tmp_path))) as client:
        assert client.get(f"{page}/content").content == picture(9)
        for _ in range(2):
            assert client.get(f"{page}/thumbnail").status_code == 200
        assert str(before) in client.get(page).json()["path"]  # it is the catalog's, and that is not written to
        [upload] = (path for path in (now / "uploads").rglob("*") if path.is_file())
        upload.write_bytes(picture(8))
        for file in ("content", "thumbnail"):
            assert error_of(client.get(f"{page}/{file}"), 404)["code"] == "file_changed"
        upload.unlink()
        assert error_of(client.get(f"{page}/content"), 404)["code"] == "file_gone"


@contextmanager
def writer(data: Path, rounds: int, stays: bool):
    """Another process that writes to the data folder."""
    command = [sys.executable, "-c", ADD, str(data), str(rounds), "stays" if stays else "leaves"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True) as process:
        yield process
        process.stdin.close()
        process.stdout.read()
    assert process.returncode == 0


def texts_of(client) -> set[str]:
    answer = client.get("/v1/collections/pictures/texts?limit=1000")
    assert answer.status_code in (200, 503), answer.text
    return {entry["text"] for entry in answer.json()["entries"]} if answer.status_code == 200 else set()


def test_it_follows_a_writer_on_the_same_disk(data, tmp_path):
    own = tmp_path / "data"
    shutil.copytree(data, own)
    with client_of(create_app(settings_for(own, read_only=True), tiny_encoder(tmp_path))) as client:
        assert "written 0" not in texts_of(client)
        with writer(own, 1, stays=True) as process:
            process.stdout.readline()
            assert "written 0" in texts_of(client)  # its commits lie beside the catalog yet
            vector = [1.0] + [0.0] * 31
            [hit] = client.post(
                "/v1/collections/pictures/search", json={"vector": vector, "modality": "text", "limit": 1}
            ).json()["hits"]
            assert hit["text"] == "written 0"
        assert "written 0" in texts_of(client)
        with writer(own, 1, stays=False):
            pass
        client.get("/v1/collections/pictures")
        assert client.get("/v1/collections/pictures").json()["counts"]["text"] == 4


def test_a_writer_that_comes_and_goes_leaves_no_answer_torn(data, tmp_path):
    own = tmp_path / "data"
    shutil.copytree(data, own)
    statuses: list[int] = []
    with client_of(create_app(settings_for(own, read_only=True), tiny_encoder(tmp_path))) as client:
        over = threading.Event()

        def look() -> None:
            while not over.is_set():
                for asked in ({"id": 1}, {"text": "a red boat"}, {"text": "a", "modality": "text", "limit": 1000}):
                    said = client.post("/v1/collections/pictures/search", json=asked)
                    assert said.status_code in (200, 503), said.text
                    statuses.append(said.status_code)
                texts_of(client)

        with ThreadPoolExecutor(3) as pool:
            looking = [pool.submit(look) for _ in range(3)]
            try:
                with writer(own, 60, stays=False):
                    pass
            finally:
                over.set()
            for one in looking:
                one.result()
        until(lambda: len(texts_of(client)) == 62)
    assert statuses.count(503) < len(statuses) / 10


def test_it_starts_and_follows_though_a_collection_is_written_to_while_it_is_read(data, tmp_path, monkeypatch):
    refresh, tried = LocalCollection.refresh, []

    def at_times(collection):
        tried.append(collection)
        if len(tried) < 4:
            raise Busy("pictures was being written to while it was read; try again")
        return refresh(collection)

    monkeypatch.setattr(LocalCollection, "refresh", at_times)
    with client_of(create_app(settings_for(data, read_only=True), tiny_encoder(tmp_path))) as client:
        until(lambda: len(tried) > 5)
        assert client.post("/v1/collections/pictures/search", json={"id": 1}).json()["hits"]


def test_a_read_only_disk_is_served_and_the_commands_say_what_is_wrong(on_own_disk):
    on_own_disk("""
import io, pytest, sys
from service_world import add_collection, client_of, create_app, draw, error_of, settings_for, tiny_encoder
from glimpse.__main__ import main
import test_service_read_only as this

import tempfile
elsewhere = Path(tempfile.mkdtemp())
encoder = tiny_encoder(elsewhere)
add_collection(disk, encoder, draw(disk / "files", 2))
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
with client_of(create_app(settings_for(disk, read_only=True), encoder)) as client:
    assert client.post("/v1/collections/pictures/search", json={"text": "a"}).json()["hits"]
    assert client.get("/v1/collections/pictures/images/1/thumbnail").status_code == 200
    assert error_of(client.put("/v1/collections/new"), 403)["code"] == "read_only"
with pytest.raises(SystemExit) as ended, pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "argv", ["glimpse", "keys", "add", "bob", "--data", str(disk)])
    patch.setattr(sys, "stderr", said := io.StringIO())
    main()
assert ended.value.code == 1
assert "on a read-only disk" in said.getvalue(), said.getvalue()
""")


@pytest.mark.skipif(bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="root, and no setpriv to be less")
def test_a_folder_that_nobody_may_write_to_is_served_by_the_command(data, tiny_run, tmp_path):
    """The real thing: `glimpse serve --read-only` where the process may write nowhere in the data folder."""
    own = tmp_path / "data"
    shutil.copytree(data, own)
    key = add_key(own, "owner", "admin")
    for path in [*own.rglob("*"), own]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([*AS_ANYBODY, "touch", str(own / "new")], check=True, stderr=subprocess.DEVNULL)
    before = files_of(own)
    port = free_port()
    command = [
        "-m",
        "glimpse",
        "serve",
        "--model",
        str(tiny_run),
        "--data",
        str(own),
        "--port",
        str(port),
        "--read-only",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GLIMPSE_CACHE": str(tmp_path / "cache"), "GLIMPSE_DEVICE": "cpu"}
    with subprocess.Popen(
        [*AS_ANYBODY, sys.executable, *command], env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                client.headers["Authorization"] = f"Bearer {key}"
                until(lambda: _ready(client) or process.poll() is not None, 60)
                assert client.get("/health/ready").json() == {"status": "ok", "read_only": True}
                assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
                assert client.post("/v1/collections/pictures/search", json={"id": 1}).json()["hits"]
                assert client.get("/v1/collections/pictures/images/1/thumbnail").status_code == 200
                assert client.get("/v1/collections/pictures/images?signed_urls=60").status_code == 200
                assert error_of(client.put("/v1/collections/new"), 403)["code"] == "read_only"
        finally:
            process.terminate()
            logged = process.stderr.read()
        assert process.wait() == 0, logged
    assert files_of(own) == before
    assert "Traceback" not in logged, logged


def _ready(client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False
