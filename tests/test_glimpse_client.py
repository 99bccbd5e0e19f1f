"""The Python client against a real server, and against servers that do not behave."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
from PIL import Image
from service_world import draw, picture, serving, settings_for, tiny_encoder

from base import errors
from glimpse.client import Client, NewImage, NoService, Part, Record, ServiceError, connection, jobs
from glimpse.client.errors import KINDS, error_of
from service.app import create_app

KEY = "a-key-that-nobody-may-see-" + 32 * "x"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A client of a service with small limits and an empty collection, the encoder, and eight image files."""
    folder = tmp_path_factory.mktemp("service")
    encoder = tiny_encoder(folder)
    settings = settings_for(folder, max_batch=24, max_upload_bytes=60_000, queue_size=24)
    with serving(create_app(settings, encoder)) as url, Client(url) as client:
        yield client, encoder, draw(folder / "files", 8)


@pytest.fixture
def pictures(served):
    """The same with a collection of those files, as `pictures`."""
    client, encoder, files = served
    client.create_collection("pictures")
    client.add_images("pictures", files, tags=["drawn"])
    yield client, encoder, files
    client.delete_collection("pictures")


def test_a_key_goes_with_what_changes_something_and_with_nothing_that_reads(pictures, monkeypatch):
    client, _, files = pictures
    sent = {}

    def noted(http, request, **how):
        sent[request.method, request.url.path] = connection.ONCE in request.headers
        return send(http, request, **how)

    send = httpx.Client.send
    monkeypatch.setattr(httpx.Client, "send", noted)
    client.search("pictures", "red")
    list(client.classify(files[:1], ["red", "blue"]))
    client.embed_texts(["red"])
    client.facets("pictures", "tags")
    client.add_texts("pictures", ["red"])
    client.create_collection("keyed")
    client.delete_collection("keyed")
    assert {asked for asked, keyed in sent.items() if keyed} == {
        ("POST", "/v1/collections/pictures/texts"),
        ("DELETE", "/v1/collections/keyed"),
    }
    assert sum(method == "POST" for method, _ in sent) >= 4


def test_what_is_sent_is_listed_changed_and_deleted(served, tmp_path, monkeypatch):
    client, _, files = served
    monkeypatch.setattr(connection, "PAGE", 3)
    broken, gone = tmp_path / "broken.jpg", tmp_path / "gone.jpg"
    broken.write_bytes(b"broken")
    assert client.create_collection("album", kind="exact").name == "album"
    assert client.create_collection("album", title="Ferien & Meer").title == "Ferien & Meer"
    assert client.create_collection("album").counts == {"image": 0, "text": 0}
    assert client.collection("album").title == "Ferien & Meer"  # of which nothing was said since
    named = NewImage(files[1], {"caption": "the second", "a": 2}, tags=[], name="below/second.png")
    done = []
    sent = client.add_images(
        "album", [files[0], named, broken, gone, picture(77)], metadata={"a": 1}, tags=["x"], progress=done.append
    )
    assert [one.image for one in sent[:4]] == [files[0], files[1], broken, gone]
    assert [one.created for one in sent] == [True, True, False, False, True]
    assert "not an image" in sent[2].error
    assert sent[3].error == "No such file or directory"
    assert done == [1, 2, 3, 4, 5]
    ids = [one.id for one in sent if one.id]
    [first, second, last] = client.entries("album")
    assert [first.id, second.id, last.id] == ids
    assert first.metadata == {"filename": files[0].name, "a": 1, "tags": ["x"]}
    assert second.metadata == {"filename": "below/second.png", "a": 2, "caption": "the second"}
    assert last.metadata == {"a": 1, "tags": ["x"]}
    again = client.add_images("album", files)
    assert [one.created for one in again] == [False, False] + [True] * 6
    assert [entry.id for entry in client.entries("album")] == [*ids, *(one.id for one in again[2:])]  # over pages
    tagged = {"must": [{"key": "tags", "match": {"value": "x"}}]}
    assert [entry.id for entry in client.entries("album", filter=tagged)] == [ids[0], ids[2]]

    assert client.update_entry("album", ids[0], add_tags=["z"]).metadata["tags"] == ["x", "z"]
    assert client.update_entry("album", ids[0], remove_tags=["x"], add_tags=["v"]).metadata["tags"] == ["z", "v"]
    changed = client.update_entry("album", ids[0], metadata={"a": None, "b": 1}, tags=["y"])
    assert changed == client.entry("album", ids[0])
    assert changed.metadata == {"filename": files[0].name, "b": 1, "tags": ["y"]}
    assert client.update_entry("album", ids[0], metadata={"b": 2}).metadata["tags"] == ["y"]
    assert client.content("album", ids[0]) == files[0].read_bytes()
    assert max(Image.open(io.BytesIO(client.thumbnail("album", ids[0], 32))).size) == 128
    client.delete_entry("album", ids[0])
    with pytest.raises(errors.EntryNotFound):
        client.entry("album", ids[0])

    one, two = client.add_texts("album", ["a text", {"text": "another", "tags": ["z"]}], metadata={"c": 3})
    assert client.entry("album", one, "text") == Record(one, "text", text="a text", metadata={"c": 3})
    assert client.entry("album", two, "text").metadata == {"c": 3, "tags": ["z"]}
    [listed] = client.collections()
    assert listed == client.collection("album") == client.info().collections[0]
    assert listed.counts == {"image": 8, "text": 2}
    client.delete_collection("album")
    assert client.collections() == []


def test_batches_are_as_small_as_the_service_wants(served):
    client, _, _ = served
    images = [picture(i, (120, 90)) for i in range(40)]
    too_large = np.random.default_rng(0).bytes(70_000)
    client.create_collection("many")
    sent = client.add_images("many", [*images, *[noise(i) for i in range(6)], too_large, b"broken", b""])
    client.delete_collection("many")
    assert [one.created for one in sent] == [True] * 46 + [False] * 3
    assert sent[46].error == "the body of a request may have 60000 bytes at most"
    assert "not an image" in sent[47].error
    assert sent[48].error == "the file is empty"
    labelled = list(client.classify([*(noise(i) for i in range(6)), b"broken", b""], ["cat", "dog"]))
    assert [one.error is None for one in labelled] == [True] * 6 + [False] * 2


def noise(seed: int) -> bytes:
    """A PNG of some 20,000 bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_searches(pictures):
    client, encoder, files = pictures
    found = client.search("pictures", image=files[3], limit=3)
    assert len(found) == 3
    assert found.hits[0].metadata["filename"] == files[3].name
    assert found.hits[0].score == pytest.approx(1, abs=1e-3)
    assert found.seconds > 0
    own = found.hits[0].id
    assert own not in {hit.id for hit in client.search("pictures", id=own)}
    vector = encoder.encode_images([files[3]])[0]
    assert client.search("pictures", vector=vector, limit=1).hits[0].id == own
    assert client.search("pictures", image=files[3].read_bytes(), limit=1).hits[0].id == own
    words = client.search("pictures", "a red house", offset=2, limit=2, score_threshold=-1)
    assert words.hits == client.search("pictures", "a red house", limit=4).hits[2:]
    parts = [Part(text="a red house"), Part(image=files[3], weight=-0.5), Part(id=own, weight=2), Part(vector=vector)]
    mixed = client.search("pictures", query=parts, filter={"must": [{"key": "tags", "match": {"value": "drawn"}}]})
    assert len(mixed) == 7
    assert len(client.search("pictures", "x", group_by="tags")) == 1
    assert not client.search("pictures", "x", modality="text").hits


def test_classifying_with_labels_and_with_a_kept_set(pictures):
    client, _, files = pictures
    plain = list(client.classify(files, ["cat", "dog, big"], templates=["a {}"]))
    assert [one.image for one in plain] == files
    assert set(plain[0].scores) == {"cat", "dog, big"}
    assert sum(plain[0].scores.values()) == pytest.approx(1)
    assert (plain[0].label, plain[0].score) == next(iter(plain[0].scores.items()))
    assert list(plain[0].cosines) == list(plain[0].scores)
    assert list(plain[0].cosines.values()) == sorted(plain[0].cosines.values(), reverse=True)
    assert plain[0].known is None
    kept = client.keep_label_set("pets", ["cat", "dog, big"], ["a {}"])
    assert kept == client.label_set("pets")
    assert client.label_sets() == ["pets"]
    named = list(client.classify(iter(files), label_set="pets"))
    assert [one.label for one in named] == [one.label for one in plain]
    with pytest.raises(errors.LabelSetExists):
        client.keep_label_set("pets", ["bird"], expected=None)
    changed = client.keep_label_set("pets", ["cat"], ["a {}"], expected=kept)
    with pytest.raises(errors.ChangedMeanwhile):
        client.keep_label_set("pets", ["bird"], expected=kept)
    with pytest.raises(errors.ChangedMeanwhile):
        client.delete_label_set("pets", expected=kept)
    assert client.label_set("pets").labels == ["cat"]
    client.delete_label_set("pets", expected=changed)
    with pytest.raises(ServiceError) as caught:
        client.label_set("pets")
    assert (caught.value.status, caught.value.code) == (404, "label_set_not_found")
    with pytest.raises(errors.InputError, match="either labels or label_set"):
        client.classify(files)


def test_embeddings_are_those_of_the_model(pictures, tmp_path):
    client, encoder, files = pictures
    texts = [f"text {i}" for i in range(40)]  # in several requests
    vectors = client.embed_texts(texts)
    assert (vectors.dtype, vectors.shape) == (np.float32, (40, 32))
    np.testing.assert_allclose(vectors, encoder.encode_texts(texts), atol=1e-5)
    np.testing.assert_allclose(client.embed_images(files), encoder.encode_images(files), atol=1e-5)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"broken")
    with pytest.raises(errors.ImageError, match=f"{broken}: not an image"):
        client.embed_images([files[0], broken, *files])
    with pytest.raises(errors.InputError, match="nothing to embed"):
        client.embed_texts([])


def test_errors_are_those_of_this_machine(pictures):
    client, _, _ = pictures
    with pytest.raises(errors.CollectionNotFound, match="no collection 'nothing'") as caught:
        client.search("nothing", "x")
    assert isinstance(caught.value, ServiceError)
    assert (caught.value.status, caught.value.code) == (404, "collection_not_found")
    with pytest.raises(errors.InputError, match="limit") as caught:
        client.search("pictures", "x", limit=0)
    assert (caught.value.status, caught.value.param) == (422, "limit")
    with pytest.raises(errors.ImageError) as caught:
        client.search("pictures", image=b"broken")
    assert caught.value.reason == str(caught.value)
    with Client(f"{client.url}/v1") as astray, pytest.raises(ServiceError, match="without a path"):
        astray.collections()
    with pytest.raises(errors.InputError):
        client.create_collection("UP")
    for unsayable in ({"text": "caf\udce9"}, {"vector": [float("nan")] * 32}, {"text": "x", "limit": object()}):
        with pytest.raises(errors.InputError, match="cannot be said in JSON"):
            client.search("pictures", **unsayable)
    sent = client.add_images("pictures", [NewImage(picture(70), {"price": object()}), picture(71)])
    assert ["cannot be said in JSON" in (one.error or "") for one in sent] == [True, False]
    kinds = {value for value in vars(errors).values() if isinstance(value, type)} - {errors.GlimpseError}
    for kind in (kind for kind in kinds if issubclass(kind, errors.GlimpseError)):
        error = error_of("", 418, {"error": {"message": "m", "code": kind.code}})
        assert isinstance(error, kind)
        assert (str(error), error.status) == ("m", 418)
    assert len(KINDS) == len({kind for kind in kinds if issubclass(kind, errors.GlimpseError)})


def test_numbers_of_numpy_are_taken_as_those_of_python(pictures):
    client, _, files = pictures
    assert len(client.search("pictures", "red", limit=np.int64(3), score_threshold=np.float32(-1))) == 3
    said = {"price": np.float32(1.5), "stock": np.int64(3), "new": np.bool_(True), "sizes": np.arange(2)}
    meant = {"price": 1.5, "stock": 3, "new": True, "sizes": [0, 1]}
    [key] = client.add_texts("pictures", [{"text": "a", "metadata": said}])
    [sent] = client.add_images("pictures", [NewImage(files[0], said)])
    put = client.put_entry("pictures", "mine", text="b", metadata=said)
    for entry in (
        client.entry("pictures", key, "text"),
        client.entry("pictures", sent.id),
        client.entry("pictures", put.id, "text"),
        client.update_entry("pictures", 1, metadata=said),
    ):
        assert entry.metadata.items() >= meant.items()


def test_keys(tmp_path):
    settings = settings_for(tmp_path, api_keys=f"web:read:{KEY}")
    with serving(create_app(settings, tiny_encoder(tmp_path))) as url:
        with Client(url, key=KEY) as client:
            assert client.collections() == []
            with pytest.raises(ServiceError) as caught:
                client.create_collection("pictures")
            assert (caught.value.status, caught.value.code) == (403, "insufficient_scope")
            assert KEY not in repr(client) + repr(caught.value) + str(vars(caught.value))
        with Client(url, key="another") as client, pytest.raises(ServiceError, match="GLIMPSE_KEY") as caught:
            client.collections()
        assert (caught.value.status, caught.value.code) == (401, "invalid_key")
        assert "another" not in str(caught.value)


def test_url_and_key_come_from_the_environment(monkeypatch):
    with scripted([(200, {"collections": []})]) as server:
        monkeypatch.setenv("GLIMPSE_URL", f"{server.url}/behind/a/proxy/")
        monkeypatch.setenv("GLIMPSE_KEY", KEY)
        with Client() as client:
            assert client.url == f"{server.url}/behind/a/proxy"
            assert client.collections() == []
        assert server.seen == [("GET", "/behind/a/proxy/v1/collections", f"Bearer {KEY}")]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "give one as http://localhost:8000"),
        ("ftp://host", "give one as http://localhost:8000"),
        (f"http://me:{KEY}@host", "give the key in GLIMPSE_KEY"),
        (f"ftp://me:{KEY}@host", "give the key in GLIMPSE_KEY"),
        ("http://host:port", "this is no URL"),
    ],
)
def test_what_is_no_url_is_said_without_its_password(url, message):
    with pytest.raises(errors.InputError, match=message) as caught:
        Client(url)
    assert KEY not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_said_without_the_key():
    with pytest.raises(errors.InputError, match="characters that no key has") as caught:
        Client("http://localhost", key=f"{KEY}\n")
    assert KEY not in str(caught.value)


def test_nobody_there_is_one_line():
    with Client("http://127.0.0.1:9") as client:
        assert not client.ready()
        with pytest.raises(
            NoService, match=r"nobody answers at http://127.0.0.1:9 \(.*\): start `glimpse serve`"
        ) as no:
            client.info()
        assert "\n" not in str(no.value)
        with pytest.raises(NoService):
            client.wait_until_ready(0.1)


def test_a_busy_service_is_asked_again_and_a_broken_one_is_not():
    busy = (429, {"error": {"message": "full", "code": "overloaded"}}, {"Retry-After": "0"})
    loading = (503, {"error": {"message": "loading", "code": "not_ready"}}, {"Retry-After": "0"})
    locked = (409, {"error": {"message": "locked", "code": "collection_locked"}}, {"Retry-After": "0"})
    with scripted([busy, loading, locked, (200, {"ids": [7]})]) as server, Client(server.url) as client:
        assert client.add_texts("c", ["x"]) == [7]
        assert len(server.seen) == 4
    later = (429, {"error": {"message": "full", "code": "overloaded"}}, {"Retry-After": "30"})
    with scripted([later]) as server, Client(server.url, timeout=5) as client:
        with pytest.raises(errors.Overloaded, match="full") as caught:  # at once: it would be too late
            client.info()
        assert caught.value.retry_after == 30
        assert len(server.seen) == 1
    too_often = (429, {"error": {"message": "wait", "code": "rate_limited"}}, {"Retry-After": "0"})
    with scripted([too_often, (200, {"ids": [1, 2]})]) as server, Client(server.url) as client:
        assert client.add_texts("c", ["x", "y"]) == [1, 2]  # as it is: in halves its key would ask more often still
        assert len(server.seen) == 2
    failed = (500, {"error": {"message": "the service failed", "code": "internal_error"}}, {"Retry-After": "0"})
    mismatch = (409, {"error": {"message": "another model", "code": "model_mismatch"}})
    with scripted([failed, mismatch]) as server, Client(server.url) as client:
        with pytest.raises(ServiceError, match="the service failed"):
            client.add_texts("c", ["x"])
        with pytest.raises(errors.ModelMismatch):
            client.add_texts("c", ["x"])
        assert len(server.seen) == 2


def test_a_full_queue_is_waited_for(pictures):
    client, encoder, _ = pictures
    with ThreadPoolExecutor(2) as pool:
        with encoder.held():
            first = pool.submit(client.embed_texts, ["first"])
            assert encoder.running.wait(10)
            waiting = pool.submit(client.embed_texts, [f"waits {i}" for i in range(24)])  # all the room there is
            with Client(client.url, timeout=0.5) as hasty:
                until_refused(hasty)
            threading.Timer(0.3, encoder.go.set).start()
            assert len(client.embed_texts(["patient"])) == 1
        assert len(first.result()) + len(waiting.result()) == 25


def until_refused(client: Client) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            client.embed_texts(["hasty"])
        except errors.Overloaded:
            return
        except NoService:  # it waits in a queue that is not yet full
            continue
    raise AssertionError("the queue was never full")


def test_redirects_are_not_followed_with_the_key():
    with scripted([(200, {"collections": []})]) as other:
        moved = (307, {}, {"Location": f"{other.url}/v1/collections"})
        with scripted([moved]) as server, Client(server.url, key=KEY) as client:
            with pytest.raises(ServiceError, match=f"redirects to {other.url}") as caught:
                client.collections()
            assert caught.value.status == 307
        assert other.seen == []


def test_what_is_no_glimpse_is_said():
    answers = [(200, "<html>"), (404, "<html>"), (200, {"other": 1}), (200, [1]), (200, {"collections": 7})]
    with scripted(answers) as server, Client(server.url) as client:
        with pytest.raises(NoService, match="not in JSON"):
            client.info()
        with pytest.raises(ServiceError, match=f"{server.url} answers 404 and no reason: is it glimpse"):
            client.info()
        for _ in range(3):
            with pytest.raises(NoService, match="is this a glimpse service"):
                client.collections()


def test_a_name_leads_to_no_other_path():
    with scripted([]) as server, Client(server.url) as client:
        for name in ("", ".", "..", "../label-sets", "a/b"):
            with pytest.raises(errors.InputError, match="is no name"):
                client.delete_collection(name)
        assert server.seen == []


def test_a_queue_smaller_than_a_batch_is_no_obstacle(served, tmp_path):
    _, encoder, files = served
    settings = settings_for(tmp_path, queue_size=1)
    with serving(create_app(settings, encoder)) as url, Client(url, timeout=10) as client:
        client.create_collection("album")
        sent = client.add_images("album", [*files, *(picture(100 + i) for i in range(22))])
        assert all(one.created for one in sent)
        assert sum(one.label is not None for one in client.classify(files, ["cat", "dog"])) == len(files)


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [("ALL_PROXY", "gopher://127.0.0.1:9", "http://host"), ("SSL_CERT_FILE", "/nowhere.pem", "https://host")],
)
def test_an_environment_that_cannot_be_used_is_said(monkeypatch, name, value, url):
    monkeypatch.setenv(name, value)
    with pytest.raises(errors.InputError, match=f"proxies or certificates.*{name}"):
        Client(url)


def test_a_newer_service_may_say_more_and_an_older_one_less():
    hit = {"id": 1, "modality": "image", "score": 0.5, "aura": "blue"}
    answers = [(200, {"hits": [hit], "seconds": 0.1, "weather": "fine"}), (200, {"collections": [{}]})]
    with scripted(answers) as server, Client(server.url) as client:
        [found] = client.search("c", "x")
        assert (found.id, found.score, found.metadata) == (1, 0.5, {})
        with pytest.raises(NoService, match="the answer has no 'name'"):
            client.collections()


def test_what_broke_off_is_sent_again_and_done_once(pictures, monkeypatch):
    monkeypatch.setattr(connection, "PAUSE", 0.01)
    client, _, _ = pictures
    gone = (502, "<html>Bad Gateway")
    with scripted([None, gone, (200, {"ids": [7]})]) as server, Client(server.url) as other:
        assert other.add_texts("c", ["x"]) == [7]
        assert len(server.seen) == 3
    with scripted([None, (200, {"collections": []})]) as server, Client(server.url) as other:
        assert other.collections() == []
    failed = (502, {"error": {"message": "the host of the image does not answer", "code": "image_error"}})
    with scripted([failed]) as server, Client(server.url) as other, pytest.raises(ServiceError, match="the host"):
        other.info()  # glimpse says why: to ask again is no help
    with cutting(client.url) as (url, asked), Client(url) as other:
        [key] = other.add_texts("pictures", ["only once"])
        assert [entry.id for entry in client.entries("pictures", "text")] == [key]
        other.delete_entry("pictures", key, "text")  # no complaint that it is gone: it went the first time
        assert list(client.entries("pictures", "text")) == []
        other.keep_label_set("cut", ["a"], expected=None)  # no complaint that it is there
        other.keep_label_set("cut", ["b"], expected=client.label_set("cut"))  # nor that it is another
        assert asked == ["POST", "POST", "DELETE", "DELETE", "PUT", "PUT", "PUT", "PUT"]
        client.delete_label_set("cut")


def test_a_connection_that_breaks_off_is_one_line(monkeypatch):
    monkeypatch.setattr(connection, "PAUSE", 0.01)
    with scripted([None] * connection.TRIES) as server, Client(server.url) as client:
        with pytest.raises(NoService, match=f"the connection to {server.url} broke off"):
            client.info()
        assert len(server.seen) == connection.TRIES
    silent = pytest.raises(NoService, match=r"does not answer in 0.2 s")
    with scripted([1.0]) as server, Client(server.url, timeout=0.2) as client, silent:
        client.info()


def test_a_job_is_followed_through_a_restart_of_the_service(monkeypatch):
    monkeypatch.setattr(jobs, "PAUSE", 0.01)
    job = {"id": "7", "kind": "index", "created_at": "", "state": "running", "done": 1}
    before = f"event: state\nid: 1\ndata: {json.dumps(job)}\n\n: still here\n\n"
    after = f"event: end\nid: 2\ndata: {json.dumps(job | {'state': 'succeeded', 'done': 2})}\n\n"
    proxy = (502, "<html>Bad Gateway")
    with scripted([(200, before), None, proxy, (200, before), (200, after)]) as server, Client(server.url) as client:
        seen = [(job.state, job.done) for job in client.job_events("7")]
        assert seen == [("running", 1), ("running", 1), ("succeeded", 2)]
        assert [path for _, path, _ in server.seen] == ["/v1/jobs/7/events"] * 5
    gone = (404, {"error": {"message": "no job 7", "code": "job_not_found"}})
    with scripted([gone]) as server, Client(server.url) as client, pytest.raises(ServiceError, match="no job 7"):
        client.wait_for("7")
    for answer, kind, message in (
        (None, NoService, "broke off"),
        (proxy, ServiceError, "answers 502 and no reason"),
        ((200, "<html>"), NoService, "tells nothing of job 7"),
        ((200, "data: no JSON\n\n"), NoService, "tells nothing of job 7"),
    ):
        refused = pytest.raises(kind, match=message)
        with scripted([answer] * 100) as server, Client(server.url, timeout=0.1) as client, refused:
            client.wait_for("7")


def test_it_needs_no_torch_no_index_and_no_web_framework(pictures):
    client, _, files = pictures
    heavy = ("torch", "faiss", "open_clip", "fastapi", "starlette", "pydantic", "PIL", "typer", "rich")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({heavy!r}))
from glimpse.client import Client
with Client({client.url!r}) as client:
    client.add_images("pictures", [{str(files[0])!r}])
    print(len(client.search("pictures", "a boat")), "numpy" in sys.modules, client.embed_texts(["x"]).shape)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "8 False (1, 32)\n", done.stderr


class Scripted(ThreadingHTTPServer):
    """A server that gives the answers it was told: (status, JSON or text, headers), None breaks off, a float waits."""

    daemon_threads = True

    def __init__(self, answers: list) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.seen: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        assert isinstance(self.server, Scripted)
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, self.path, self.headers.get("authorization")))
        told = self.server.answers.pop(0)
        if not isinstance(told, tuple):
            time.sleep(told or 0)
            self.close_connection = True
            return
        status, content, headers = (*told, {})[:3]
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def cutting(service: str) -> Iterator[tuple[str, list[str]]]:
    """The service through a line that breaks off before every other answer; and the methods that were asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            asked.append(self.command)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = httpx.request(self.command, service + self.path, content=body, headers=dict(self.headers))
            if len(asked) % 2 == 0:
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)
            self.close_connection = True

        do_POST = do_PUT = do_DELETE = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as line:
        thread = threading.Thread(target=line.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{line.server_port}", asked
        line.shutdown()
        thread.join()


@contextmanager
def scripted(answers: list) -> Iterator[Scripted]:
    with Scripted(answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_misspelt_word_of_a_search_is_named_before_anything_is_asked():
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(TypeError, match=r"no limt; it has modality, filter, limit"),
    ):
        client.search("pets", "red", limt=3)


# --- labelling runs ---


def test_a_label_run_is_reviewed_and_kept_as_a_label_set(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "PAGE", 2)
    files = draw(tmp_path / "files", 5)
    encoder = tiny_encoder(tmp_path)
    with (
        serving(create_app(settings_for(tmp_path, job_roots=str(tmp_path / "files")), encoder)) as url,
        Client(url) as client,
    ):
        out = tmp_path / "files" / "labels.csv"
        job = client.start_job("label", folder=str(files[0].parent), labels=["cat", "dog"], out=[str(out)])
        run = client.wait_for(job).report["run"]
        assert [one.id for one in client.label_runs()] == [run]
        images = list(client.label_run_images(run))
        assert len(images) == client.label_run(run).images == 5
        answer = client.review(run, [{"image": images[0].id, "verdict": "correct", "labels": ["dog"]}])
        assert (answer["corrected"], answer["relabelled"]) == (1, 4)
        assert len(list(client.label_run_images(run, reviewed=False))) == 4
        assert client.label_run_bars(run)[-1][1] == 4
        assert client.review(run, rules=[{"accept_above": 0}])["by_rule"] == 4
        assert client.undo_review(run)["by_rule"] == 4
        assert client.review(run, rules=[{"accept_above": 0}])["by_rule"] == 4
        assert client.label_run_table(run).count(b"\r\n") == 6
        assert client.apply_label_run(run)["written"] == {str(out): 5}
        assert (saved := client.save_label_set(run, "pets")).learned["examples"] == {"cat": 0, "dog": 1}
        with pytest.raises(errors.LabelSetExists):
            client.save_label_set(run, "pets", expected=None)
        assert client.save_label_set(run, "pets", expected=saved).etag == saved.etag
        [first] = client.classify([images[0].path], label_set="pets")
        assert (list(first.labels), first.abstained) == ([first.label], False)
        assert client.undo_label_run(run) == {"taken_back": 1, "failed": []}
        assert not out.exists()
        client.forget_label_run(run)
        with pytest.raises(errors.RunNotFound):
            client.label_run(run)
