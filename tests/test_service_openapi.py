"""The OpenAPI document: complete, its examples true; and the service as it says, whatever is sent (schemathesis)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from base.reading import QUERIES
from service.app import create_app
from service.http.auth import OPEN

SECONDS = int(os.environ.get("GLIMPSE_FUZZ_SECONDS", "0"))  # 0: a short run, the same each time
SEED = os.environ.get("GLIMPSE_FUZZ_SEED", "1")
KEY = "0123456789abcdef0123456789abcdef"
CHANGES = {  # what POSTs to, and needs the scope admin
    "/v1/collections/{collection}/entries/delete",
    "/v1/collections/{collection}/images",
    "/v1/collections/{collection}/texts",
    "/v1/jobs",
    "/v1/label-runs/{run}/apply",
    "/v1/label-runs/{run}/review",
    "/v1/label-runs/{run}/review/undo",
    "/v1/label-runs/{run}/save-label-set",
    "/v1/label-runs/{run}/undo",
}
# Most jobs write nothing to fetch: that 404 is no resource that was lost. A form's fields are text: null is "null".
# One of many searches that breaks the schema is refused beside the answers of the others.
# A request that waits for a change is one that takes a minute.
CONFIG = """
hooks = "hooks"

[[operations]]
include-path = "/v1/jobs/{job}/result"
checks.ensure_resource_availability.enabled = false

[[operations]]
include-path = ["/v1/classify", "/v1/collections/{collection}/images", "/v1/collections/{collection}/search/batch"]
checks.negative_data_rejection.enabled = false

# Of a manifest each entry is refused by itself.
[[operations]]
include-path = "/v1/collections/{collection}/entries"
include-method = "PUT"
checks.negative_data_rejection.enabled = false

# To other methods this is the entry with the id `delete`, and Allow says so.
[[operations]]
include-path = "/v1/collections/{collection}/entries/delete"
checks.allow_header_conformance.enabled = false

[[operations]]
include-path = "/v1/collections/{collection}/changes"
parameters = { "query.wait" = 0 }
"""

HOOKS = """
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(settings_for(tmp_path_factory.mktemp("document"))).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, each) for path, methods in document["paths"].items() for method, each in methods.items()]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def examples(document: dict[str, Any], media: dict[str, Any]) -> list[Any]:
    """All examples of a body, wherever OpenAPI lets them stand."""
    schema = resolved(document, media.get("schema", {}))
    found = [media["example"]] if "example" in media else []
    found += [each["value"] for each in media.get("examples", {}).values()]
    return found + schema.get("examples", []) + ([schema["example"]] if "example" in schema else [])


def test_every_route_is_told_with_examples_that_are_true(document: dict[str, Any]) -> None:
    assert len(operations(document)) >= 30
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        bodies = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        bodies += [answer["content"] for status, answer in operation["responses"].items() if "content" in answer]
        for content in bodies:
            for kind, media in content.items():
                if kind == "application/json" or "example" in media:
                    check_examples(document, media, f"{where}, {kind}")


def check_examples(document: dict[str, Any], media: dict[str, Any], where: str) -> None:
    found = examples(document, media)
    assert found, f"{where} has no example"
    schema = {"components": document["components"], **media.get("schema", {})}
    for each in found:
        for error in jsonschema_rs.iter_errors(schema, with_nulls(document, schema, each)):
            raise AssertionError(f"{where}: {each}: {error.message}")


def with_nulls(document: dict[str, Any], schema: dict[str, Any], example: Any) -> Any:
    """An example with its fields that are null: FastAPI leaves them out of the document."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    schema = resolved(document, others[0] if len(others) == 1 else schema)  # what it is unless it is null
    if isinstance(example, list):
        return [with_nulls(document, schema.get("items", {}), each) for each in example]
    if not isinstance(example, dict):
        return example
    fields = schema.get("properties", {})
    nulls = {name: None for name, field in fields.items() if {"type": "null"} in field.get("anyOf", ())}
    return nulls | {name: with_nulls(document, fields.get(name, {}), value) for name, value in example.items()}


def test_makers_of_clients_find_no_two_of_one_name_and_nothing_that_they_stumble_over(document: dict[str, Any]) -> None:
    titles = [schema["title"] for schema in document["components"]["schemas"].values()]
    assert sorted(titles) == sorted(set(titles))
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(document):
        parameters = operation.get("parameters", ())
        for parameter in parameters:
            if parameter["in"] == "header":
                kinds = parameter["schema"].get("anyOf", [parameter["schema"]])
                assert not any({"enum", "const"} & kind.keys() for kind in kinds), f"{method} {path}"
        # openapi-python-client: two bodies need an optional parameter beside them, and an optional body is one thing
        body = operation.get("requestBody", {"content": {}, "required": True})
        assert len(body["content"]) < 2 or not all(each["required"] for each in parameters), f"{method} {path}"
        assert body.get("required") or all("$ref" in each["schema"] for each in body["content"].values()), path
        for status, answer in operation["responses"].items():
            for kind, media in answer.get("content", {}).items():
                assert "schema" in media or kind in ("text/event-stream", "text/plain"), f"{method} {path} {status}"
    for name, schema in document["components"]["schemas"].items():
        for field, said in schema.get("properties", {}).items():
            assert not ("anyOf" in said and said.get("default") == {}), f"{name}.{field}"


def test_every_error_has_the_one_shape_and_its_usual_statuses(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        where, statuses = f"{method} {path}", operation["responses"]
        for status, answer in statuses.items():
            if status >= "400":
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, f"{where} {status}"
        assert "500" in statuses, where
        if not OPEN.fullmatch(path):
            assert {"401", "403", "421"} <= statuses.keys(), where
        if "requestBody" in operation:
            assert {"408", "413", "422"} <= statuses.keys(), where
        if "{" in path:
            assert "422" in statuses, where


def test_a_key_is_asked_for_where_one_is_needed(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        assert ("security" not in operation) == (OPEN.fullmatch(path) is not None), f"{method} {path}"


def test_every_post_is_a_query_or_a_change(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        if "post" in methods:
            is_query = QUERIES.fullmatch(re.sub(r"\{\w+\}", "x", path)) is not None
            assert is_query != (path in CHANGES), f"{path}: name it in base.reading.QUERIES, or here as a change"


def test_paths_are_known_without_the_document_and_are_those_of_it(document: dict[str, Any], tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path))
    paths = app.state.service.paths
    for template, methods in document["paths"].items():
        path = re.sub(r"\{\w+\}", "1", template)
        assert paths.template(path) == template
        told = {method.upper() for method in methods}
        assert set(paths.methods(path)) - {"HEAD"} == told, template
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            elsewhere = "external_id" in str(document["paths"]) and path.endswith("/entries/delete")
            assert paths.has(method, path) == (method in told or (elsewhere and method != "POST")), (method, path)
    assert paths.template("/v1/collections/pets/entries/shelf 1/a.jpg") == (
        "/v1/collections/{collection}/entries/{external_id}"
    )
    assert paths.template("/static/js/main.js") == "/static/{file}"
    assert (paths.template("/v2"), paths.template("/v1/collections/"), paths.methods("/v2")) == (None, None, [])
    assert app.openapi_schema is None


def test_the_service_does_as_its_document_says_whatever_is_sent(tmp_path: Path) -> None:
    """No 5xx, no undocumented status, type or shape; what breaks the schema is refused; no way around the key."""
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 4)
    for name in ("photos", "0"):
        add_collection(tmp_path, encoder, files, name)
    settings = settings_for(tmp_path, api_keys=f"boss:admin:{KEY}", max_batch=8, max_texts=8)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    (tmp_path / "hooks.py").write_text(HOOKS)
    budget = ("--max-time", str(SECONDS)) if SECONDS else ("--max-examples", "4", "--generation-deterministic")
    with serving(create_app(settings, encoder)) as url:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("st")), "run", f"{url}/openapi.json",
                "--header", f"Authorization: Bearer {KEY}", "--seed", SEED, "--no-shrink", "--continue-on-failure",
                # what holds between fields (give one of these) no schema of ours says
                "--exclude-checks", "positive_data_acceptance", "--warnings", "off", *budget,
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 300,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
