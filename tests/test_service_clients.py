"""What other services' clients send, as they send it: each is taken, or told what to change."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from service_world import error_of, picture, serving, settings_for, tiny_encoder, world

from service.app import create_app
from service.http import connections

EMBEDDINGS = "/v1/embeddings"
SEARCH = "/v1/collections/pictures/search"
PICTURE = base64.b64encode(picture(1)).decode()
URI = f"data:image/png;base64,{PICTURE}"
SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with world(tmp_path_factory.mktemp("clients"), cors_origins=SHOP) as (made, _, _):
        yield made


ESCAPED = "data:image/png;base64," + quote(URI.partition(",")[2], safe="")


def embed(client: TestClient, given: object, **more: object) -> list[list[float]]:
    answer = client.post(EMBEDDINGS, json={"input": given, **more})
    assert answer.status_code == 200, answer.text
    return [one["embedding"] for one in answer.json()["data"]]


def test_a_data_uri_is_an_image_however_it_is_written(client: TestClient) -> None:
    [expected] = embed(client, {"image": PICTURE})
    for uri in (
        f" {URI}", f"\n{URI}\n", f"\ufeff{URI}", f"'{URI}", URI.replace("data:", "DATA:"),
        URI.replace(";base64", ";charset=utf-8;base64"),
        URI.replace("image/png", ""), URI.replace("image/png", "application/octet-stream"), URI.replace("=", "%3D"),
        ESCAPED, ESCAPED.replace("%2B", "%2b").replace("%2F", "%2f"),
    ):  # fmt: skip
        np.testing.assert_allclose(embed(client, uri)[0], expected, atol=1e-5)
    for path, body in (
        (SEARCH, {"image": f"\n{URI}"}),
        ("/v1/classify", {"image": f" {URI}", "labels": ["a", "b"]}),
        ("/v1/zero-shot", {"inputs": f" {URI}", "parameters": {"candidate_labels": ["a", "b"]}}),
        ("/knn-service", {"image": f" {URI}"}),
    ):
        assert client.post(path, json=body).status_code == 200, path
    assert client.post(EMBEDDINGS, json={"input": {"text": "data: of words"}}).status_code == 200
    for words in ("Data: a chart", "data:\n2024", "DATA:driven"):
        assert client.post(SEARCH, json={"text": words}).status_code == 200
        assert embed(client, [words, "a boat"])[0] == embed(client, {"text": words})[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (EMBEDDINGS, {"input": " data:text/plain;base64,AAAA"}),
        (EMBEDDINGS, {"input": ["a", "data:,hello"]}),
        (EMBEDDINGS, {"input": ["data: image/png;base64,AAAA"]}),
        (EMBEDDINGS, {"input": "data:base64,AAAA"}),
        (EMBEDDINGS, {"input": "data:image/png" + ";a=b" * 1000 + ";base64,AAAA"}),  # no head of a picture
        (SEARCH, {"text": URI}),
        (SEARCH, {"query": [{"text": f"\n{URI}"}]}),
        ("/knn-service", {"text": f" {URI}"}),
        ("/v1/collections/pictures/texts", {"texts": [URI]}),
    ],
)
def test_what_begins_as_a_data_uri_is_never_taken_for_words(client: TestClient, path: str, body: object) -> None:
    assert "data:" in error_of(client.post(path, json=body), 422)["message"]


@pytest.mark.parametrize("tokens", [[15339, 1917], [[1, 2], [3]], 15339, ["a", 7]])
def test_token_ids_are_refused_in_words(client: TestClient, tokens: object) -> None:
    error = error_of(client.post(EMBEDDINGS, json={"input": tokens}), 422)
    assert error["message"].startswith("input: token ids are not taken; send texts (LangChain: check_embedding_ctx")
    assert error["param"] == "input"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (EMBEDDINGS, {"input": {"text": 5}}, "input.text: must be a text"),
        (EMBEDDINGS, {"input": ["a", 1.5]}, "input: must be a text, or an object with text or image, or a list of"),
        (EMBEDDINGS, {"input": [{"words": "a"}]}, "input.0: give either text or image"),
        ("/v1/collections/pictures/texts", {"texts": ["a", 5]}, "texts.1: must be a text, or an object with text"),
        ("/v1/collections/pictures/texts", {"texts": [{"text": 5}]}, "texts.0.text: must be a text"),
    ],
)
def test_of_several_forms_the_one_that_was_meant_is_named(
    client: TestClient, path: str, body: object, message: str
) -> None:
    assert error_of(client.post(path, json=body), 422)["message"].startswith(message)


def test_null_counts_as_absent_and_what_others_know_is_passed_over(client: TestClient) -> None:
    [plain] = embed(client, "a boat")
    nulls = dict.fromkeys(("encoding_format", "model", "dimensions", "user"))
    assert embed(client, "a boat", **nulls, modality="text", truncate=True, input_type="query") == [plain]
    names = ("limit", "offset", "modality", "filter", "query", "id", "diversity", "group_size", "cutoff")
    filtered = {"must": [{"key": "caption", "match": {"value": "picture 03"}, "range": None}], "should": None}
    answer = client.post(SEARCH, json={"text": "a boat", **dict.fromkeys(names), "filter": filtered})
    assert len(answer.json()["hits"]) == 1, answer.text
    label = {"image": PICTURE, "images": None, "labels": ["a"], "templates": None, "label_set": None}
    assert client.post("/v1/classify", json=label).status_code == 200
    assert client.post("/knn-service", json={"text": "a", "num_images": None, "modality": None}).status_code == 200
    assert client.put("/v1/collections/made", json={"kind": None, "recall": None}).status_code == 201
    assert client.get("/v1/collections/pictures/images", params={"filter": "null"}).status_code == 200
    files = {"file": ("a.png", picture(55))}
    for null in ("null", ""):
        form = {"metadata": null, "per_file": null}
        assert client.post("/v1/collections/pictures/images", files=files, data=form).status_code == 200
        form = {"labels": "a,b", "label_set": null, "templates": null, "scores": null}
        assert client.post("/v1/classify", files=files, data=form).status_code == 200
    error_of(client.post(SEARCH, json={"text": "a", "lmit": None}), 422)  # misspelt all the same
    images = "/v1/collections/pictures/images/1"
    client.patch(images, json={"tags": ["sea"]})
    assert "tags" not in client.patch(images, json={"tags": None, "metadata": None}).json()["metadata"]


def test_batches_are_as_large_as_clients_make_them(client: TestClient) -> None:
    texts = [f"text {i % 50}" for i in range(2048)]
    vectors = embed(client, texts)
    assert len(vectors) == 2048
    np.testing.assert_allclose(vectors[2047], embed(client, texts[2047])[0], atol=1e-5)
    error = error_of(client.post(EMBEDDINGS, json={"input": ["a"] * 2049}), 422)
    assert (error["code"], error["param"]) == ("too_many", "input")
    assert all(name in error["message"] for name in ("2048", "GLIMPSE_MAX_TEXTS", "chunk_size"))
    error = error_of(client.post(EMBEDDINGS, json={"input": [URI] * 65}), 422)
    assert all(name in error["message"] for name in ("64", "GLIMPSE_MAX_BATCH"))


def test_head_is_wherever_get_is(client: TestClient) -> None:
    for path, status in (
        ("/health/ready", 200), ("/", 200), ("/v1/models", 200), ("/v1/collections/pictures/images/1/thumbnail", 200),
        ("/v1/collections/pictures/images/1/content", 200), ("/static/docs.js", 200), ("/no", 404), (SEARCH, 405),
    ):  # fmt: skip
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (status, b""), path
        assert head.headers["content-length"] == get.headers["content-length"], path
        assert get.status_code == status
    assert 'method="HEAD",route="/v1/models",status="200"' in client.get("/metrics").text


def test_an_allowed_page_may_send_any_header(client: TestClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-stainless-os"}
    allowed = client.options(EMBEDDINGS, headers={"Origin": SHOP, **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, SHOP)
    assert "x-stainless-os" in allowed.headers["access-control-allow-headers"]
    assert client.options(EMBEDDINGS, headers={"Origin": "https://evil.example", **asked}).status_code == 400


def test_a_label_of_a_form_may_hold_a_comma(client: TestClient) -> None:
    form = {"labels": 'cat,"a dog, running"'}
    answer = client.post("/v1/classify", files={"file": picture(1)}, data=form)
    assert {score["label"] for score in answer.json()["results"][0]["scores"]} == {"cat", "a dog, running"}


def test_a_connection_is_kept_for_as_long_as_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than one that has asked for nothing yet, and no longer."""
    monkeypatch.setattr(connections, "PATIENCE", 0.15)
    assert settings_for(tmp_path).keep_alive_seconds == 75
    app = create_app(settings_for(tmp_path, keep_alive_seconds=2), tiny_encoder(tmp_path))
    with serving(app) as url, httpx.Client(base_url=url) as client:
        socket = client.get("/health/live").extensions["network_stream"].get_extra_info("socket")
        socket.settimeout(0.8)
        with pytest.raises(TimeoutError):
            socket.recv(1)
        socket.settimeout(5)
        assert socket.recv(1) == b""
