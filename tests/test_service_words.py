"""What errors say is in our own words, whatever was sent: each field of each route is given values of each type."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from service_world import picture, world

from base.words import ELSE

FORBIDDEN = re.compile(
    r"Value error|Assertion failed|[Ii]nput should|[Ss]hould (be|have|match)|Field required|Extra inputs|[Ii]nput tag|"
    r"discriminator|pydantic|fastapi|starlette|constrained|valid (dictionary|integer|number|string|boolean|list)|"
    r"\b(str|int|dict|bool|NoneType|ValueError|TypeError|KeyError)\b(?!=)|function-|model_|Traceback|"
    r"\[type=|JSONDecodeError|Expecting |literal|unable to parse|instance of|[Uu]nicode"
)
BAD: list[Any] = [
    None, True, -1, 5, 2**70, 1.5, "", "x", "\ud83d", "data:", "x" * 12_000, [], [5], ["x"], {}, {"x": 1}, {"text": 5}
]  # fmt: skip
ODD = ["-1", "1.5", "x", "x" * 300, "%00", "99999999999999999999", "%F0"]
VALID: dict[str, str] = {
    "collection": "pictures", "id": "1", "name": "some", "job": "0" * 12, "run": "x-00000000", "image": "1",
    "external_id": "shoe/1", "model": "default",
}  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with world(tmp_path_factory.mktemp("words"), n=3, max_batch=4, max_texts=8, max_prompts=50) as (client, _, _):
        yield client


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value in a document, its own first."""
    yield path
    within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in within:
        yield from places(inner, (*path, key))


def like(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a place has in common with others that one schema is for: which of a list's it is tells nothing."""
    return tuple(0 if isinstance(key, int) else key for key in path)


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    made = copy.deepcopy(value)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return made


def bodies(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[Any]:
    """Bodies of which one field is wrong: each field of the examples, and each that the schema names."""
    media = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if media is None:
        return
    schema = resolved(document, media["schema"])
    kinds = [resolved(document, each) for each in schema.get("oneOf", ())] or [schema]
    for kind in kinds:
        found = kind.get("examples", []) + ([kind["example"]] if "example" in kind else [])
        examples = found or [{}]
        if "kind" in kind.get("properties", {}) and "const" in kind["properties"]["kind"]:
            examples = [{"kind": kind["properties"]["kind"]["const"]}]
        wrong = {like(path): path for example in examples for path in places(example)}
        wrong |= {(name,): (name,) for name in kind.get("properties", {})}
        for path in sorted(wrong.values(), key=repr):
            example = next((each for each in examples if path in places(each)), examples[0])
            yield from (put(example, path, bad) for bad in BAD)
        yield from ({key: value for key, value in examples[0].items() if key != name} for name in examples[0])
        yield examples[0] | {"no_such_field": 1, "many": ["x"] * 5000}


def operations(client: TestClient) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.app.openapi()["paths"]
    return [(method.upper(), path, each) for path, methods in paths.items() for method, each in methods.items()]


def ask_all(client: TestClient, asked: Iterable[tuple[str, str, bytes]]) -> set[str]:
    """What is said of requests (method, address, JSON), one after the other without the way to another thread."""
    said: set[str] = set()

    async def ask() -> None:
        transport = httpx.ASGITransport(client.app, raise_app_exceptions=False)
        headers = {"Content-Type": "application/json"}
        async with httpx.AsyncClient(transport=transport, base_url=str(client.base_url), headers=headers) as http:
            for method, address, body in asked:
                held(await http.request(method, address, content=body), said)

    assert client.portal is not None
    client.portal.call(ask)
    return said


def held(answer: Any, said: set[str]) -> None:
    """Note its error; there is none of the service's own."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and answer.headers["content-type"].startswith("application/json"):
        error = answer.json()["error"]
        assert error["message"]
        said.add(f"{error['message']} / {error['param']}"[:300])


def renames(body: Any) -> bool:
    """Whether the collection would be called otherwise from then on, and be found by nobody who comes next."""
    return isinstance(body, dict) and body.get("name") == "x" and "labels" not in body


def foreign(said: set[str]) -> list[str]:
    """What is not in our words."""
    return sorted(words for words in said if FORBIDDEN.search(words) or words.startswith(ELSE))


def test_no_error_of_a_body_speaks_of_the_library(client: TestClient) -> None:
    document = client.app.openapi()
    said = ask_all(
        client,
        (
            (method, path.format(**VALID), json.dumps(body).encode())
            for method, path, operation in operations(client)
            for body in bodies(document, operation)
            if not renames(body)
        ),
    )
    assert len(said) > 200
    assert foreign(said) == []


def test_no_error_of_an_address_speaks_of_the_library(client: TestClient) -> None:
    said: set[str] = set()
    for method, path, operation in operations(client):
        for parameter in operation.get("parameters", ()):
            for odd in ODD if parameter["in"] in ("path", "query") else ():
                in_path = VALID | ({parameter["name"]: odd} if parameter["in"] == "path" else {})
                asked = f"?{parameter['name']}={odd}" if parameter["in"] == "query" else ""
                held(client.request(method, path.format(**in_path) + asked), said)
    for method, path in (("GET", "/nothing"), ("PATCH", "/v1/info"), ("GET", "/static/nothing"), ("POST", "/docs")):
        held(client.request(method, path), said)
    assert len(said) > 40
    assert foreign(said) == []


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/collections/pictures/images"])
def test_no_error_of_a_form_speaks_of_the_library(client: TestClient, path: str) -> None:
    said: set[str] = set()
    usual = {"labels": "a,b"} if path == "/v1/classify" else {}
    values = ("", "5", "x", "[]", "{", '{"x": 5}', "null", "x" * 12_000, '{"a.png": 5}', '{"a.png": {"tags": 5}}')
    for name in ("metadata", "tags", "per_file", "labels", "label_set", "templates", "scores", "abstain", "x", "id"):
        for value in values:
            files = {"file": ("a.png", picture(0))}
            held(client.post(path, files=files, data=usual | {name: value}), said)
    for content in (b"", b"x", b"--x\r\n", b"--x\r\n\r\n\r\n--x--"):
        for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
            held(client.post(path, content=content, headers={"Content-Type": kind}), said)
    held(client.post(path, files=[("file", ("a.png", b"x"))] * 9), said)
    held(client.post(path, files=[("other", ("a.png", b"x"))]), said)
    assert len(said) > 10
    assert foreign(said) == [], said


@pytest.mark.parametrize(
    ("path", "body", "message", "param"),
    [
        ("/v1/label-sets/x", {"labels": [5]}, "labels.0: must be a text, or must be an object", "labels.0"),
        ("/v1/label-sets/x", {"labels": [{"name": 5}]}, "labels.0.name: must be a text", "labels.0.name"),
        ("/v1/label-sets/x", {"labels": [{"nam": "a"}]}, "labels.0.name: is missing (and 1 more)", "labels.0.name"),
        ("/v1/jobs", {"kind": "draw"}, "kind: must be one of 'index', 'watch', 'label', 'reindex', 'map'", "kind"),
        ("/v1/jobs", {}, "kind: is missing", "kind"),
        ("/v1/jobs", {"kind": "index", "folders": ["/a"]}, "collection: is missing", "collection"),
        ("/v1/collections/pictures/search", {"text": "x", "collapse": 2}, "collapse: must be 1 at most", "collapse"),
        ("/v1/collections/pictures/search", {"text": "x", "limt": 2}, "limt: is no field here", "limt"),
        ("/v1/collections/pictures/search", [], "the body: must be an object", None),
    ],
)
def test_the_place_is_that_of_what_was_sent(
    client: TestClient, path: str, body: Any, message: str, param: str | None
) -> None:
    answer = client.request("PUT" if "label-sets" in path else "POST", path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["param"]) == (422, message, param)
