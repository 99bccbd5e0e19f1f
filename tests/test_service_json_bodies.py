"""Large JSON bodies: read while others have their turn, as `json.loads` would, and of so many values and no more."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from service_world import error_of, world

from service.app import API
from service.errors import Refusal
from service.http import json_bodies
from service.http.direct_route import DirectRoute
from service.http.json_bodies import AT_ONCE, MOST, SMALL, JsonRoute, check_values, read_json

PATHS = [
    ("POST", "/v1/collections/pictures/search"),
    ("POST", "/v1/collections/pictures/texts"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/classify"),
    ("POST", "/knn-service"),
    ("PUT", "/v1/label-sets/pets"),
    ("PUT", "/v1/collections/pictures/entries"),
    ("PUT", "/v1/collections/pictures/entries/mine"),
    ("POST", "/v1/jobs"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with world(tmp_path_factory.mktemp("bodies"), n=1) as (client, _, _):
        yield client


@pytest.mark.parametrize("unit", ["[]", "{}", "-1.5e3", '{"a, [": ["\\u00e9 \\"", null, true]}', "12"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_many_values_are_read_as_few_are(unit: str, coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_bodies, "AT_ONCE", 2500)
    body = f' {{"x": [{", ".join([unit] * 2501)}]}}\n'.encode(coding)
    assert read_json(body) == json.loads(body)
    with pytest.raises(Refusal, match=r"the body cannot be read as JSON \(from "):
        read_json(body + "]".encode(coding))


def test_what_texts_hold_are_no_values() -> None:
    texts = ["a, b, [c], {d}", '\\"', '",', "\\", '\\\\",\\', "\u00e9\n,"] * AT_ONCE
    for coding in ("utf-8", "utf-16"):
        assert read_json(json.dumps(texts, ensure_ascii=False).encode(coding)) == texts
    [text] = read_json(json.dumps([", " * 2 * MOST]).encode())
    assert len(text) == 4 * MOST
    assert check_values(json.dumps(texts).encode()) == len(texts)
    with pytest.raises(Refusal, match=f"has {MOST + 1} values"):
        check_values(b'"no text\n' + b"," * (MOST + 1))


def test_of_what_is_valid_and_not_read_it_is_told_why(client: TestClient) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    bodies = {b"1" * 4400: "a number with thousands of digits", deep: "too deep", b"[none]": "from column 2 on"}
    for method, path in PATHS:
        for body, why in bodies.items():
            for more in (b"", b" " * SMALL):
                asked: dict[str, Any] = {"content": body + more, "headers": {"Content-Type": "application/json"}}
                error = error_of(client.request(method, path, **asked), 422)
                assert error["message"] == f"the body cannot be read as JSON ({why})"
                assert error["code"] == "invalid_json"


def test_others_have_their_turn_while_many_values_are_read() -> None:
    body = b"[" + b"[]," * (2 * AT_ONCE) + b"[]]"
    reading = threading.Thread(target=read_json, args=(body,))
    turns = 0
    reading.start()
    while reading.is_alive():
        time.sleep(0)
        turns += 1
    assert turns > 20  # of one call there is one at its beginning, and one at its end


def test_every_json_body_is_read_so() -> None:
    routes = [route for resource in API for route in resource.router.routes]
    wanted = [route for route in routes if isinstance(route, APIRoute) and route.body_field is not None]
    assert len(wanted) > 15
    assert [route.path for route in wanted if not isinstance(route, JsonRoute | DirectRoute)] == []


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_large_body_is_answered_as_a_small_one_and_too_many_values_are_refused(
    client: TestClient, method: str, path: str
) -> None:
    asked: dict[str, Any] = {"method": method, "url": path, "headers": {"Content-Type": "application/json"}}
    many = error_of(client.request(**asked, content=b"[" + b"0," * MOST + b"0]"), 413)
    assert (many["code"], f"{MOST} may be" in many["message"]) == ("too_large", True)
    space = b" " * SMALL
    for body in (b"{", b"[]", b'{"strange": 1}', b"[" * SMALL):
        small, large = (error_of(client.request(**asked, content=body + more), 422) for more in (b"", space))
        assert (small["code"], small["param"]) == (large["code"], large["param"])


def test_a_large_body_is_taken(client: TestClient) -> None:
    padding = " " * SMALL
    texts = json.dumps({"texts": ["a", {"text": "b", "tags": ["c"]}]}) + padding
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/collections/pictures/texts", content=texts, headers=headers)
    assert (answer.status_code, len(answer.json()["ids"])) == (200, 2)
    answer = client.put("/v1/collections/new", content='{"title": "New"}' + padding, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (201, "New")


def test_of_what_is_wrong_a_million_times_the_first_is_told(client: TestClient) -> None:
    for path, body, param in (
        ("/v1/collections/pictures/search", {"vector": ["x"] * 300_000}, "vector.0"),
        ("/v1/collections/pictures/texts", {"texts": ["x", *[0] * 300_000]}, "texts.1"),
        ("/v1/classify", {"image": "x", "labels": [0] * 300_000}, "labels.0"),
    ):
        assert error_of(client.post(path, json=body), 422)["param"] == param
    error = error_of(client.post("/v1/embeddings", json={"input": "x"} | {f"x{i}": i for i in range(300_000)}), 422)
    assert "300001 fields" in error["message"]
