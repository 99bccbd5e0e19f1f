"""Proxies in front of the service: the prefix, who is believed, HEAD, packed bodies. tests/e2e has real proxies."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from service_world import add_collection, draw, error_of, picture, settings_for, tiny_encoder, until, world

from base.sources.rules import Rules
from labelling.label_sets import LabelSet
from labelling.outputs.asked import OutputsAsked
from labelling.runs.deciding import LabelsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked
from labelling.runs.sources import FolderSource
from service.app import create_app
from service.errors import Refusal
from service.http.packed import Unpacked
from service.keys import add_key
from service.settings import Settings, problem_of_prefix

SEARCH = "/v1/collections/pictures/search"
PROXY = ("10.0.0.5", 4000)
MIB = 2**20
DOCS = Path(__file__).parents[1] / "docs"


@contextmanager
def behind(data: Path, peer: tuple[str, int] = PROXY, **settings: object) -> Iterator[TestClient]:
    """A client of the service whose requests come from a proxy's address."""
    app = create_app(settings_for(data, **settings), tiny_encoder(data))
    with TestClient(app, client=peer, raise_server_exceptions=False, follow_redirects=False) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a collection and with a labelling run over its files."""
    data = tmp_path_factory.mktemp("gateway")
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 3))
    source = FolderSource(data / "files", Rules(), encoder, lambda: encoder)
    with LabelRuns(data).make(SourceAsked(folder=str(data / "files")), OutputsAsked()) as run:
        run.go_on(source, LabelsAsked(LabelSet.of(("boat", "house"), mode="single")))
    return data


def addresses(said: object) -> list[str]:
    """All paths of the service that an answer names."""
    if isinstance(said, dict):
        return [found for each in said.values() for found in addresses(each)]
    if isinstance(said, list):
        return [found for each in said for found in addresses(each)]
    return [said] if isinstance(said, str) and "/v1/" in said else []


# --- the prefix ---


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"root_path": "/a/photos/"}, {}),
        ({"root_path": "/a/photos", "trusted_proxies": "10.0.0.0/8"}, {"X-Forwarded-Prefix": "/forged"}),
        ({"trusted_proxies": "192.0.2.1,10.0.0.5"}, {"X-Forwarded-Prefix": "/a/photos"}),
        ({"trusted_proxies": "*"}, {"X-Forwarded-Prefix": "/a, /photos/"}),  # two proxies, each strips its own
    ],
)
@pytest.mark.parametrize("stripped", [True, False])
def test_a_prefix_is_in_each_address_and_leads_back(data, settings, headers, stripped):
    with behind(data, job_roots=[str(data / "files")], **settings) as client:
        client.headers.update(headers)

        def ask(method: str, path: str, **more: object):
            """As people do, below the prefix."""
            assert path.startswith("/a/photos/")
            return client.request(method, path.removeprefix("/a/photos") if stripped else path, **more)

        for path in ("/", "/docs", "/static/main.js", "/static/swagger/swagger-ui.css", "/health/live", "/v1/info"):
            assert ask("GET", f"/a/photos{path}").status_code == 200, path
        assert ask("GET", "/a/photos/v1/info/").headers["location"] == "/a/photos/v1/info"
        assert ask("GET", "/a/photos/openapi.json").json()["servers"] == [{"url": "/a/photos"}]
        images = "/a/photos/v1/collections/pictures/images"
        answers = [
            ask("POST", f"/a/photos{SEARCH}", json={"text": "a boat"}),
            ask("POST", f"/a/photos{SEARCH}", json={"text": "a boat", "signed_urls": 60}),
            ask("GET", images),
            ask("GET", f"{images}/1?signed_urls=60"),
            ask("PATCH", f"{images}/1", json={"metadata": {"x": 1}}),
            ask("POST", "/a/photos/knn-service", json={"text": "a boat"}),
        ]
        [run] = ask("GET", "/a/photos/v1/label-runs").json()["label_runs"]
        answers.append(ask("GET", f"/a/photos/v1/label-runs/{run['id']}/images"))
        for answer in answers:
            found = addresses(answer.json())
            assert len(found) >= 1, answer.text
            for address in found:
                assert ask("GET", address.removeprefix("http://testserver")).status_code == 200, address
        error_of(ask("POST", "/a/photos/v1/info"), 405)
        error_of(ask("GET", "/a/photos/nothing"), 404)


def test_the_prefix_alone_is_sent_on_to_the_folder(data):
    with behind(data, root_path="/photos", api_keys=f"a:read:{'k' * 32}") as client:
        answer = client.get("/photos?q=boat")
        assert (answer.status_code, answer.headers["location"]) == (307, "/photos/?q=boat")
        assert client.get("/photos/?q=boat").status_code == 200
        error_of(client.get("/photosandmore"), 401)


def test_without_a_prefix_addresses_are_as_ever(data):
    with behind(data) as client:
        client.headers["X-Forwarded-Prefix"] = "/photos"  # of nobody who is trusted
        assert "servers" not in client.get("/openapi.json").json()
        assert client.get("/v1/collections/pictures/images/1").json()["content_url"].startswith("/v1/")
        error_of(client.get("/photos/v1/info"), 404)


def test_a_prefix_opens_nothing(data):
    """What keys, scopes and signatures are asked for is the path behind the prefix, however often it stands there."""
    key = add_key(data, "reader", "read")
    try:
        with behind(data, trusted_proxies="10.0.0.5") as client:
            client.headers["X-Forwarded-Prefix"] = "/docs2"
            read = {"Authorization": f"Bearer {key}"}
            images = "/docs2/v1/collections/pictures/images"
            for path in ("/docs2/v1/info", "/docs2/metrics", "/docs2/docs2/docs", f"{images}/1/content"):
                error_of(client.get(path), 401)
            assert client.get("/docs2/v1/info", headers=read).status_code == 200
            assert client.post(f"/docs2{SEARCH}", headers=read, json={"text": "x"}).status_code == 200
            error_of(client.delete(f"{images}/1", headers=read), 403)
            signed = client.get(f"{images}/1?signed_urls=60", headers=read).json()["content_url"]
            assert client.get(signed).status_code == 200
            assert client.get(signed.removeprefix("/docs2")).status_code == 200
            error_of(client.get(signed.replace("/1/", "/2/")), 403)
    finally:
        (data / "keys.json").unlink()


@pytest.mark.parametrize(
    "bad", ["photos", "/v1", "/static/x", "/a b", "/ä", "/a/../b", "/a//b", "//host", "/a?b", "/<"]
)
def test_what_is_no_prefix_is_none(data, bad):
    assert problem_of_prefix(bad)
    with pytest.raises(ValueError, match="root_path"):
        settings_for(data, root_path=bad)
    with behind(data, trusted_proxies="*") as client:
        record = client.get("/v1/collections/pictures/images/1", headers={"X-Forwarded-Prefix": bad.encode()}).json()
        assert record["content_url"].startswith("/v1/")


# --- who is believed ---


@pytest.mark.parametrize(
    ("trusted", "sent", "client", "scheme"),
    [
        ("", "203.0.113.9", "10.0.0.5", "http"),
        ("10.0.0.6", "203.0.113.9", "10.0.0.5", "http"),
        ("10.0.0.5", "203.0.113.9", "203.0.113.9", "https"),
        ("10.0.0.0/8", "192.0.2.66, 203.0.113.9, 10.1.1.1", "203.0.113.9", "https"),  # what it claims itself is first
        ("10.0.0.5", "2001:db8::7", "2001:db8::7", "https"),
    ],
)
def test_the_client_is_the_one_that_trusted_proxies_name(data, caplog, trusted, sent, client, scheme):
    caplog.set_level(logging.INFO, "service.access")
    with behind(data, trusted_proxies=trusted) as asks:
        caplog.clear()
        headers = {"X-Forwarded-For": sent, "X-Forwarded-Proto": "https"}
        [found] = asks.post("/knn-service", json={"text": "a boat", "num_images": 1}, headers=headers).json()
        asks.get("/v1/info", headers=headers)
    assert found["url"].startswith(f"{scheme}://testserver/v1/")
    lines = [record for record in caplog.records if record.name == "service.access"]
    assert [line.fields["client"] for line in lines] == [client, client]
    warned = [record.message for record in caplog.records if "is not believed" in record.message]
    assert len(warned) == (client == "10.0.0.5")  # once
    assert all("10.0.0.5" in line for line in warned)


@pytest.mark.parametrize("bad", ["localhost", "10.0.0.1/8", "10.0.0.300", "*, 10.0.0.1"])
def test_what_is_no_proxy_is_said(data, bad):
    with pytest.raises(ValueError, match="trusted_proxies"):
        settings_for(data, trusted_proxies=bad)


# --- the docs ---


def test_the_page_about_gateways_shows_the_files_that_are_started():
    page = (DOCS / "gateways.md").read_text(encoding="utf-8")
    for file in sorted((DOCS / "gateways").iterdir()):
        assert f"\n{file.read_text(encoding='utf-8')}```\n" in page, file.name
        assert f"(gateways/{file.name})" in page


def test_the_service_keeps_connections_longer_than_those_before_it():
    ours = Settings.model_fields["keep_alive_seconds"].default
    for name, said in (("Caddyfile", r"keepalive (\d+)s"), ("traefik.yaml", r"idleConnTimeout: (\d+)s")):
        theirs = int(re.search(said, (DOCS / "gateways" / name).read_text(encoding="utf-8"))[1])
        assert ours >= theirs + 15
    assert ours >= 60 + 15  # nginx's keepalive_timeout of an upstream, and the idle timeout of AWS's load balancers


# --- HEAD ---


def test_head_is_where_get_is_and_says_the_same_without_a_body(data):
    with behind(data) as client:
        document = client.app.openapi()["paths"]
        names = {"collection": "pictures", "id": "1", "name": "x", "job": "0" * 12, "run": "x-00000000", "image": "1"}
        names |= {"external_id": "shoe-1", "model": "default"}
        paths = [path.format(**names) for path in document] + ["/", "/docs", "/static/main.js", "/openapi.json"]
        given = 0
        for template, path in zip([*document, *[None] * 4], paths, strict=True):
            has_get = template is None or "get" in document[template]
            head = client.head(path)
            assert head.content == b"", path
            if has_get:
                got = client.get(path)
                given += got.status_code == 200
                assert head.status_code == got.status_code, path
                timed = path == "/metrics" or b'"seconds":' in got.content  # its digits are not always as many
                changing = {"x-request-id", "date"} | ({"content-length"} if timed else set())
                same = {name: value for name, value in got.headers.items() if name not in changing}
                assert {name: value for name, value in head.headers.items() if name not in changing} == same, path
            else:
                if path.endswith("/entries/delete"):  # to GET and HEAD it is the entry with that id
                    assert head.status_code == 404
                    continue
                assert head.status_code == 405
                assert "GET" not in head.headers["allow"].split(", ")
        assert given >= 15


# --- packed answers ---


@pytest.mark.parametrize(
    ("path", "packs"),
    [
        ("/static/main.js", True),
        ("/openapi.json", True),
        ("/health/live", False),  # too short
        ("/v1/collections/pictures/images/1/thumbnail?size=256", False),  # packed in its own way
        ("/v1/collections/pictures/images/1/content", False),
    ],
)
def test_what_is_read_goes_packed_to_who_takes_it(client, path, packs):
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    taken = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert (plain.status_code, taken.status_code) == (200, 200)
    assert plain.content == taken.content
    assert ("content-encoding" in plain.headers, taken.headers.get("content-encoding") == "gzip") == (False, packs)
    if packs:
        assert taken.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
        assert int(taken.headers["content-length"]) < len(plain.content) / 2
        again = client.get(path, headers={"If-None-Match": taken.headers.get("etag", "")})
        assert again.status_code == (304 if path.startswith("/static/") else 200)


@pytest.mark.parametrize(
    ("accepted", "packs"),
    [
        ("GZIP", True),
        ("x-gzip", True),
        ("br, gzip;q=0.2", True),
        ("gzip ; Q=1.000 , identity;q=0.5", True),
        ("*", True),
        ("identity;q=0, *;q=0.1", True),
        ("identity;q=0, gzip", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*, gzip;q=0", False),
        ("*;q=0", False),
        ("identity;q=0", False),  # nothing that we have is taken, and what is plain can still be read
        ("identity, gzip;q=0.5", False),
        ("notgzip", False),
        ("gzip;q=much", False),
    ],
)
def test_only_who_takes_gzip_gets_it(client, accepted, packs):
    answer = client.get("/static/main.js", headers={"Accept-Encoding": accepted})
    assert (answer.status_code, answer.headers.get("content-encoding") == "gzip") == (200, packs)
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.text.startswith("// The page's frame")


def test_all_headers_of_what_is_taken_count(client):
    answer = client.get("/static/main.js", headers=[("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")])
    assert answer.headers["content-encoding"] == "gzip"


def test_answers_to_what_is_asked_often_go_as_they_are(client):
    answer = client.post("/v1/embeddings", json={"input": ["a boat"] * 8}, headers={"Accept-Encoding": "gzip"})
    assert len(answer.content) > 1024
    assert "content-encoding" not in answer.headers


# --- packed bodies ---


def packed(data: bytes, coding: str) -> bytes:
    return zlib.compress(data) if coding == "deflate" else gzip.compress(data)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with world(tmp_path_factory.mktemp("packed"), n=2, max_upload_bytes=2 * MIB) as (client, _, _):
        yield client


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP", "identity"])
def test_a_packed_body_is_what_was_packed(client, coding):
    body = json.dumps({"text": "a boat"}).encode()
    sent = body if coding == "identity" else packed(body, coding)
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    assert (
        client.post(SEARCH, content=sent, headers=headers).json()["hits"]
        == (client.post(SEARCH, content=body, headers=headers | {"Content-Encoding": "identity"}).json()["hits"])
    )
    in_pieces = (sent[i : i + 3] for i in range(0, len(sent), 3))
    assert client.post(SEARCH, content=in_pieces, headers=headers).status_code == 200


def test_an_upload_may_be_packed(client):
    form = client.build_request("POST", "/v1/collections/pictures/images", files={"file": ("a.png", picture(7))})
    headers = {"Content-Type": form.headers["content-type"], "Content-Encoding": "gzip"}
    sent = client.post(form.url, content=gzip.compress(form.read()), headers=headers)
    entry = sent.json()["results"][0]["id"]
    assert client.get(f"/v1/collections/pictures/images/{entry}/content").content == picture(7)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "aes128gcm"])
def test_another_coding_is_refused_with_those_that_are_taken(client, coding):
    answer = client.post(SEARCH, content=b"x", headers={"Content-Encoding": coding})
    error = error_of(answer, 415)
    assert error["code"] == "packed_body"
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("sent", [b"{}", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"x", zlib.compress(b"{}")])
def test_what_is_not_of_its_coding_is_refused(client, sent):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert error_of(client.post(SEARCH, content=sent, headers=headers), 422)["code"] == "invalid_body"


def test_the_limit_is_that_of_what_comes_out(client):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    fits = gzip.compress(b'{"text": "a boat"}'.ljust(2 * MIB))
    assert client.post(SEARCH, content=fits, headers=headers).status_code == 200
    for bomb in (gzip.compress(b'{"text": "a boat"}'.ljust(2 * MIB + 1)), gzip.compress(bytes(64 * MIB))):
        error = error_of(client.post(SEARCH, content=bomb, headers=headers), 413)
        assert error["code"] == "too_large"
        assert str(2 * MIB) in error["message"]


def test_a_bomb_is_left_as_soon_as_it_is_too_large():
    bomb = gzip.compress(bytes(256 * MIB))
    asked = 0

    async def receive():
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": bomb[(asked - 1) * 4096 : asked * 4096], "more_body": True}

    async def reads_all(scope, receive, send):
        while True:
            assert len((await receive())["body"]) <= MIB

    async def ask():
        scope = {"type": "http", "headers": [(b"content-encoding", b"gzip"), (b"content-length", b"1")]}
        with pytest.raises(Refusal) as refused:
            await Unpacked(reads_all, 8 * MIB)(scope, receive, None)
        assert refused.value.status_code == 413
        assert scope["headers"] == []

    tracemalloc.start()
    asyncio.run(ask())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert asked <= 3
    assert most < 4 * MIB


@given(st.binary(max_size=2000), st.lists(st.integers(1, 40), min_size=1), st.sampled_from(["gzip", "deflate"]))
def test_however_it_comes_in_pieces_it_is_the_same(body, cuts, coding):
    sent, pieces = packed(body, coding), []
    while sent:
        cut = cuts[len(pieces) % len(cuts)]
        pieces.append(sent[:cut])
        sent = sent[cut:]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages += [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    came = b""

    async def receive():
        return messages.pop(0)

    async def app(scope, receive, send):
        nonlocal came
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            came += message["body"]

    scope = {"type": "http", "headers": [(b"content-encoding", coding.encode())]}
    asyncio.run(Unpacked(app, 4000)(scope, receive, None))
    assert came == body
