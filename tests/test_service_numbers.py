"""Numbers in what is sent: of JSON a number and nothing like one; in a path or query, which is text, one as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from service_world import error_of, world

SEARCH = "/v1/collections/pictures/search"
LIKE_A_NUMBER = (True, "1", "1_0", [1])
LIKE_A_TRUTH = (1, 0, "true", "yes")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with world(tmp_path_factory.mktemp("numbers")) as (client, _, _):
        yield client


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def kind_of(schema: dict[str, Any]) -> str | None:
    """Which of integer, number and boolean a field is, null or not."""
    kinds = [each.get("type") for each in schema.get("anyOf", [schema])]
    return next((kind for kind in kinds if kind in ("integer", "number", "boolean")), None)


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Method, path, fields and an example of each JSON body."""
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            top = resolved(document, content["schema"])
            for kind in top.get("oneOf", top.get("anyOf", [top])):
                schema = resolved(document, kind)
                given = [*schema.get("examples", ()), *top.get("examples", ())]
                named = schema.get("properties", {}).get("kind", {}).get("const")  # of a job
                [example, *_] = [*(one for one in given if named is None or one["kind"] == named), {}]
                path = re.sub(r"\{\w+\}", "1", template.replace("{collection}", "pictures"))
                yield method.upper(), path, schema.get("properties", {}), example


def test_a_number_and_a_truth_of_json_are_what_they_are_in_every_body(client: TestClient) -> None:
    tried = set()
    for method, path, fields, example in bodies(client.app.openapi()):  # type: ignore[attr-defined]
        for name, schema in fields.items():
            kind = kind_of(schema)
            wrong = LIKE_A_TRUTH if kind == "boolean" else LIKE_A_NUMBER if kind else ()
            for value in (*wrong, *((1.5,) if kind == "integer" else ())):
                answer = client.request(method, path, json=example | {name: value})
                error = error_of(answer, 422)
                assert f"{name}: must be a" in error["message"] or f"{name}: must be true" in error["message"], (
                    method, path, name, value, error["message"])  # fmt: skip
                tried.add((path, name))
    assert len(tried) > 30


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", SEARCH, {"vector": [True] + [0.5] * 31}, "vector.0"),
        ("POST", SEARCH, {"vector": ["1_0"] + [0.5] * 31}, "vector.0"),
        ("POST", SEARCH, {"query": [{"text": "x", "weight": "2"}]}, "query.0.weight"),
        ("POST", "/v1/label-runs/x-00000000/review", {"rules": [{"accept_above": True}]}, "rules.0.accept_above"),
        ("POST", "/v1/label-runs/x-00000000/review", {"items": [{"image": "1", "verdict": "none"}]}, "items.0.image"),
        ("PUT", "/v1/collections/new", {"quota": {"entries": True}}, "quota.entries"),
        ("PATCH", "/v1/collections/pictures", {"quota": {"upload_bytes": "1_0"}}, "quota.upload_bytes"),
        ("POST", "/v1/classify", {"collection": "pictures", "id": "1", "labels": ["a"]}, "id"),
        ("POST", "/knn-service", {"text": "x", "indice_name": "pictures", "num_images": True}, "num_images"),
        ("POST", "/v1/labs/forces", {"anchors": [[1, True]], "others": [[1, 0]]}, "anchors.0.1"),
        ("POST", "/v1/labs/forces", {"anchors": [[1, 0]], "others": [[1, 0]], "right": [["0"]]}, "right.0.0"),
    ],
)
def test_so_is_one_further_in(client: TestClient, method: str, path: str, body: Any, param: str) -> None:
    assert error_of(client.request(method, path, json=body), 422)["param"] == param


def test_a_whole_number_may_be_written_with_a_point(client: TestClient) -> None:
    answer = client.post(SEARCH, json={"text": "a boat", "limit": 2.0, "diversity": 1, "id": 1.0})
    assert len(answer.json()["hits"]) == 2
    answer = client.patch("/v1/collections/pictures/images/1", json={"metadata": {"price": 2.0}})
    assert '"price":2.0' in answer.text


def test_a_number_in_a_path_or_query_is_written_without_underscores(client: TestClient) -> None:
    document, tried = client.app.openapi(), 0  # type: ignore[attr-defined]
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            for one in operation.get("parameters", ()) if "training-runs" not in template else ():  # there is none
                if one["in"] in ("path", "query") and kind_of(one["schema"]) in ("integer", "number"):
                    values = {"collection": "pictures", "run": "x-00000000", one["name"]: "1_0"}
                    path = re.sub(r"\{(\w+)\}", lambda found, of=values: of.get(found[1], "1"), template)
                    query = {one["name"]: "1_0"} if one["in"] == "query" else {}
                    answer = client.request(method.upper(), path, params=query, json={"metadata": {}})
                    assert error_of(answer, 422)["message"].startswith(f"{one['name']}: must be a number"), path
                    tried += 1
    assert tried > 15
    assert len(client.get("/v1/collections/pictures/images", params={"limit": "+2"}).json()["entries"]) == 2
