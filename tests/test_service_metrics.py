"""What the service tells of itself: metrics, request ids, the log."""

import base64
import io
import json
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from service_world import client_of, picture, serving, settings_for, tiny_encoder, until, world

from base.errors import CollectionDamaged
from index.collection import open_collection
from service.app import create_app
from service.keys import add_key
from service.telemetry import logs

ROOT = Path(__file__).parents[1]
SEARCH = "/v1/collections/{collection}/search"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with world(tmp_path_factory.mktemp("metrics")) as (client, encoder, files):
        with open_collection(files[0].parent.parent, "pictures", writable=True) as collection:
            collection.compact()
        yield client, encoder, files


@pytest.fixture
def client(here):
    return here[0]


def read(client):
    """Every sample: (name, labels as a frozenset) -> value."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def grown(before, after, name, **labels):
    key = name, frozenset(labels.items())
    return after[key] - before.get(key, 0)


def search(client, **query):
    answer = client.post("/v1/collections/pictures/search", json=query)
    assert answer.status_code == 200, answer.text
    return answer


# --- metrics ---


def test_requests_are_counted_by_route_and_status(client):
    before = read(client)
    for n in range(3):
        search(client, text=f"boat {n}")
    client.post("/v1/collections/gone/search", json={"text": "boat"})
    client.get("/no/such/route")
    after = read(client)
    ok = {"method": "POST", "route": SEARCH, "status": "200"}
    assert grown(before, after, "glimpse_requests_total", **ok) == 3
    assert grown(before, after, "glimpse_requests_total", **ok | {"status": "404"}) == 1
    assert grown(before, after, "glimpse_request_seconds_count", route=SEARCH) == 4
    assert grown(before, after, "glimpse_request_seconds_sum", route=SEARCH) > 0
    assert grown(before, after, "glimpse_requests_total", method="GET", route="unknown", status="404") == 1


def test_static_files_have_one_name_for_all_that_may_be_asked_of_a_folder(client):
    client.get("/static/main.js")
    before = read(client)
    for path in (
        "/static/docs.js",
        "/static/icon.svg",
        "/openapi.json",
        *(f"/static/{n}/x.js" for n in range(20)),
    ):
        client.get(path)
    after = read(client)
    files = {"method": "GET", "route": "/static/{file}"}
    assert grown(before, after, "glimpse_requests_total", **files, status="200") == 2
    assert grown(before, after, "glimpse_requests_total", **files, status="404") == 20
    assert grown(before, after, "glimpse_requests_total", method="GET", route="/openapi.json", status="200") == 1
    assert {dict(labels).get("route") for _, labels in after.keys() - before.keys()} <= {
        None, "/static/{file}", "/openapi.json", "/metrics",
    }  # fmt: skip


def test_a_client_makes_no_new_series(client):
    before = read(client)
    client.request("BREW", "/v1/info")
    client.get("/another/unknown/route")
    new = read(client).keys() - before.keys()
    assert {dict(labels).get("method") for _, labels in new} <= {None, "GET", "other"}
    assert {dict(labels).get("route") for _, labels in new} <= {None, "unknown", "/v1/info", "/metrics"}


def test_each_stage_is_measured(client):
    before = read(client)
    body = {"image": base64.b64encode(picture(3)).decode(), "text": "never said before"}
    search(client, **body, filter={"must": [{"key": "caption", "match": {"value": "picture 01"}}]})
    after = read(client)
    runs = {
        stage: grown(before, after, "glimpse_stage_seconds_count", stage=stage)
        for stage in ("decode", "text", "image", "index", "catalog")
    }
    assert runs == {"decode": 1, "text": 1, "image": 1, "index": 1, "catalog": 2}  # the filter, the records
    for queue in ("text", "image", "decode"):
        assert grown(before, after, "glimpse_queue_wait_seconds_count", queue=queue) == 1


def test_batches_are_measured_by_their_size(client):
    before = read(client)
    assert client.post("/v1/embeddings", json={"input": [f"text {i}" for i in range(12)]}).status_code == 200
    after = read(client)
    assert grown(before, after, "glimpse_batch_size_count", queue="text") == 1
    assert grown(before, after, "glimpse_batch_size_sum", queue="text") == 12
    assert grown(before, after, "glimpse_batch_size_bucket", queue="text", le="8.0") == 0
    assert grown(before, after, "glimpse_batch_size_bucket", queue="text", le="16.0") == 1


def test_collections_and_their_index(client):
    now = read(client)
    here = {"collection": "pictures"}
    assert now["glimpse_collection_entries", frozenset((here | {"modality": "image"}).items())] == 6
    assert now["glimpse_collection_entries", frozenset((here | {"modality": "text"}).items())] == 2
    assert now["glimpse_collection_bytes", frozenset(here.items())] > 1000
    assert now["glimpse_index_recall", frozenset((here | {"modality": "image"}).items())] == 1.0
    assert now["glimpse_index_fresh_rows", frozenset((here | {"modality": "image"}).items())] == 0
    assert now["glimpse_ready", frozenset()] == 1


def test_queues_and_refusals_show_under_load(tmp_path):
    encoder = tiny_encoder(tmp_path)
    app = create_app(settings_for(tmp_path, queue_size=4), encoder)
    with serving(app) as url, httpx.Client(base_url=url, timeout=20) as client, ThreadPoolExecutor(3) as pool:
        before = read(client)
        with encoder.held():
            first = pool.submit(client.post, "/v1/embeddings", json={"input": "first"})
            assert encoder.running.wait(10)
            second = pool.submit(client.post, "/v1/embeddings", json={"input": [f"w {i}" for i in range(4)]})
            until(lambda: read(client)["glimpse_queue_depth", frozenset({("queue", "text")})] == 4)
            assert client.post("/v1/embeddings", json={"input": "one more"}).status_code == 429
        assert first.result().status_code == second.result().status_code == 200
        after = read(client)
    refused = {"method": "POST", "route": "/v1/embeddings", "status": "429"}
    assert grown(before, after, "glimpse_requests_total", **refused) == 1
    assert after["glimpse_queue_depth", frozenset({("queue", "text")})] == 0
    assert grown(before, after, "glimpse_queue_wait_seconds_sum", queue="text") > 0


def test_metrics_are_there_before_the_model_is(tmp_path):
    app = create_app(settings_for(tmp_path), tiny_encoder(tmp_path))
    with client_of(app) as client:
        app.state.service.is_ready = False
        assert read(client)["glimpse_ready", frozenset()] == 0
        app.state.service.is_ready = True


def test_a_failing_route_counts_as_500(client, here, monkeypatch):
    monkeypatch.setattr(client.app.state.service.collections, "at_hand", lambda name: 1 / 0)
    before = read_without_collections(client, monkeypatch)
    answer = client.get("/v1/collections/pictures", headers={"X-Request-Id": "oh-no"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "oh-no"
    after = read_without_collections(client, monkeypatch)
    labels = {"method": "GET", "route": "/v1/collections/{collection}", "status": "500"}
    assert grown(before, after, "glimpse_requests_total", **labels) == 1


def read_without_collections(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("service.routes.metrics.collection_names", lambda data: [])
        return read(client)


# --- ids and the log ---


@pytest.fixture
def lines(tmp_path, caplog):
    """What the service has logged as JSON since it was last asked, line by line."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.WARNING, "httpx2")  # the test's own client
    handler = logs.handler(settings_for(tmp_path, log_format="json"))
    written = io.StringIO()
    handler.setStream(written)

    def since():
        text = written.getvalue()
        written.seek(0)
        written.truncate()
        return [json.loads(line) for line in text.splitlines()]

    logging.getLogger().addHandler(handler)
    yield since
    logging.getLogger().removeHandler(handler)


def test_a_request_keeps_the_id_it_brings_and_gets_one_otherwise(client):
    assert client.get("/v1/info", headers={"X-Request-Id": "shop-17:a.b"}).headers["x-request-id"] == "shop-17:a.b"
    made = {client.get("/v1/info").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for odd in ("", "a b", "x" * 129, '"}', "<script>"):
        given = client.get("/v1/info", headers={"X-Request-Id": odd}).headers["x-request-id"]
        assert given != odd
        assert len(given) == 32


def test_a_request_is_one_line_of_json(client, lines):
    search(client, text="boat")
    client.get("/health/ready")  # asked all the time: no line
    client.get("/metrics")
    (line,) = lines()
    assert line["logger"] == "service.access"
    assert (line["level"], line["method"], line["route"], line["status"]) == ("info", "POST", SEARCH, 200)
    assert 0 < line["seconds"] < 20
    assert line["client"] == "testclient"
    assert len(line["request_id"]) == 32
    assert line["time"].endswith("+00:00")
    assert "key" not in line


def test_every_line_of_a_request_has_its_id(client, lines, monkeypatch):
    def damaged(name):
        raise CollectionDamaged("its catalog is damaged")

    monkeypatch.setattr(client.app.state.service.collections, "at_hand", damaged)
    client.get("/v1/collections/pictures", headers={"X-Request-Id": "abc"})
    own, access = lines()
    assert own["level"] == "error"
    assert "damaged" in own["message"]
    assert own["request_id"] == access["request_id"] == "abc"
    assert access["status"] == 500


def test_nothing_that_was_asked_for_is_in_the_log(tmp_path, lines):
    secrets = ["grandmother", "hospital", "c2VjcmV0", "0.123456"]
    key = add_key(tmp_path, "shop", "read")
    with world(tmp_path, n=2) as (client, _, _):
        headers = {"Authorization": f"Bearer {key}"}
        lines()
        post = "/v1/collections/pictures/search"
        client.post(post, json={"text": "grandmother"}, headers=headers)
        client.post(post + "?q=hospital", json={"image": "c2VjcmV0"}, headers=headers)
        client.post(post, json={"vector": [0.123456]}, headers=headers)
        client.post(post, content=b'{"text": "grandmother', headers=headers | {"Content-Type": "application/json"})
        client.post("/v1/collections/hospital/search", json={"text": "grandmother"}, headers=headers)
        client.get("/v1/info", headers={"Authorization": "Bearer grandmother"})
        said = lines()
    assert [line["status"] for line in said] == [200, 422, 422, 422, 404, 401]
    assert [line.get("key") for line in said] == ["shop"] * 5 + [None]
    for secret in [*secrets, key]:
        assert secret not in json.dumps(said)


def test_an_exception_stands_in_its_line(lines):
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("it failed: %s", "so")
    (line,) = lines()
    assert line["message"] == "it failed: so"
    assert "ValueError: two\nlines" in line["exception"]


def test_on_request_the_log_is_plain_text(tmp_path):
    done = subprocess.run([sys.executable, "-c", SAY, tmp_path], capture_output=True, text=True, check=True, cwd=ROOT)
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING but this\n", done.stderr)


SAY = """
import logging, sys
from service.telemetry import logs
from service.settings import Settings
logs.configure(Settings.model_validate({"model": "x", "data": sys.argv[1], "log_format": "text"}))
for name, level, text in (("httpx", 20, "GET https://secret"), ("x", 10, "not this"), ("x", 30, "but this")):
    logging.getLogger(name).log(level, text)
"""


# --- what is written about them ---


def test_dashboard_and_documentation_name_metrics_that_are_there(client):
    there = {name for name, _ in read(client)}
    dashboard = json.loads((ROOT / "docker/grafana/glimpse.json").read_text())
    shown = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ()))
    page = (ROOT / "docs/operations.md").read_text()
    table = page[page.index("## Metrics and logs") :].partition("\n## ")[0]
    for text in (shown, table):
        names = set(re.findall(r"\b(?:glimpse|process)_[a-z_]+[a-z]\b", text))
        assert len(names) >= 10
        for name in names:
            assert {name, f"{name}_count"} & there, name
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in there if name.startswith("glimpse_")}
    assert {name for name in ours if name not in shown} == set()  # all of ours are on the dashboard
