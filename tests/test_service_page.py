import gzip
import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service_world import settings_for, world

import service
from service.app import create_app
from service.settings import Settings

# a namespace, and papers that the labs lead to by links
NAMED = ("http://www.w3.org/", "https://arxiv.org/abs/", "https://ieeexplore.ieee.org/document/")
STATIC = Path(service.__file__).parent / "static"
PRELOADED = re.compile(r'rel="modulepreload"(?: fetchpriority="low")? href="static/([^"]+)"')


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with world(tmp_path_factory.mktemp("page"), n=1) as (client, _, _):
        yield client


def named_by(page):
    """What a page at the root names, or one beside it: relative, for it may lie below the prefix of a proxy."""
    found = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(found) >= 6
    assert [path for path in found if path.startswith("/")] == []
    return [f"/{path.removeprefix('./')}" for path in found]


def test_the_page_and_all_it_names_are_served(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>glimpse</title>" in page.text
    for path in named_by(page.text):
        assert client.get(path).status_code == 200, path


def modules(name):
    """A module of ours, and all that it imports at once."""
    found, wanted = set(), {STATIC / name}
    while wanted:
        module = wanted.pop()
        found.add(module)
        names = re.findall(r'^import [^;]*?"(\.[^"]+)"', module.read_text(), re.MULTILINE)
        wanted |= {(module.parent / each).resolve() for each in names} - found
    return found


def test_the_first_view_is_loaded_at_once_and_only_that(client):
    page = client.get("/").text
    preloaded = set(PRELOADED.findall(page))
    wanted = (modules("main.js") | modules("views/search.js")) - {STATIC / "main.js"}
    assert preloaded == {module.relative_to(STATIC).as_posix() for module in wanted}
    named = {path for path in named_by(page) if path.startswith("/static/")}
    first = [client.get(path).content for path in named] + [
        page.encode(),
        (STATIC / "views" / "search.css").read_bytes(),
    ]
    assert sum(len(gzip.compress(content)) for content in first) < 64_000


def test_the_views_are_linked_before_any_module_is_there(client):
    linked = re.findall(r'<a data-view="([^"]+)"', client.get("/").text)
    [named] = re.findall(r"const VIEWS = new Set\((.*?)\)", (STATIC / "frame" / "views.js").read_text())
    assert linked == json.loads(named)
    alone = {"welcome"}  # which no address names
    assert {path.stem for path in (STATIC / "views").glob("*.js")} == {*linked, *alone}


def test_what_asks_for_the_collection_is_loaded_before_the_rest(client):
    """A browser has six connections, and asks first for what is of no low priority."""
    first, rest = client.get("/").text.split('<script src="static/early.js"')
    assert {STATIC / name for name in PRELOADED.findall(first)} == modules("early.js")
    assert set(re.findall(r'rel="modulepreload"( fetchpriority="low")?', rest)) == {' fetchpriority="low"'}


def test_nothing_but_itself_waits_for_the_openapi_document(tmp_path):
    app = create_app(settings_for(tmp_path))
    with TestClient(app) as client:
        assert client.get("/static/main.js").status_code == 200
        assert client.get("/static/swagger/swagger-ui.css").status_code == 200
        assert client.get("/v1/collections").status_code == 200
        assert client.put("/v1/label-sets/pets", json={"labels": ["cat"]}).status_code == 201
        assert client.post("/v1/info").status_code == 405
        assert app.openapi_schema is None
        document = client.get("/openapi.json").json()["paths"]
    paths = app.state.service.paths
    for path, methods in document.items():
        assert {method.upper() for method in methods} == set(paths.methods(path)) - {"HEAD"}, path
    assert paths.template("/static/swagger/swagger-ui.css") == "/static/swagger/{file}"
    assert paths.template("/static/views/map.js") == "/static/{file}"


def test_the_page_runs_under_a_strict_policy(client):
    headers = client.get("/").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' data: blob:;")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    html = (STATIC / "index.html").read_text() + (STATIC / "docs.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)


def test_nothing_is_loaded_from_elsewhere():
    for file in filter(Path.is_file, STATIC.rglob("*")):
        addresses = re.findall(r"https?://[^\s\"')]+", file.read_text())
        assert [a for a in addresses if not a.startswith(NAMED)] == [], file


@pytest.mark.parametrize("path", ["/health/live", "/v1/info", "/nothing", "/static/main.js"])
def test_every_answer_has_the_safe_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-cache"


def test_no_other_site_may_read_answers(client):
    answer = client.get("/v1/info", headers={"Origin": "https://example.com"})
    assert "access-control-allow-origin" not in answer.headers


def test_docs_work_offline(client):
    docs = client.get("/docs").text
    for path in named_by(docs):
        assert client.get(path).status_code == 200, path


def test_openapi_describes_every_route_with_its_errors(client):
    api = client.get("/openapi.json").json()
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation["tags"], (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (method, path, status)


def test_settings_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path))
    monkeypatch.setenv("GLIMPSE_MODEL", "runs/pets")
    monkeypatch.setenv("GLIMPSE_PORT", "9000")
    settings = Settings()
    assert (settings.data, settings.model, settings.port, settings.host) == (tmp_path, "runs/pets", 9000, "127.0.0.1")
    assert settings_for(tmp_path, port=1).port == 1


# what a page neither asks for nor is told: of programs, and what stands there for who has none of these codes
OF_PROGRAMS = {
    *("invalid_http", "no_result", "job_not_ended", "idempotency_key_reused", "outcome_unknown"),
    *("packed_body", "invalid_dimensions"),
}
# the service's own words, which are for everybody: they name the value, the file or the reason
IN_ITS_WORDS = {
    *("invalid_request", "invalid_input", "invalid_image", "too_many"),
    *("error", "collection_error", "collection_damaged", "disk_error", "model_error", "model_unavailable"),
}


def test_what_the_service_refuses_has_words_for_who_sits_at_the_page():
    documented = (Path(service.__file__).parents[1] / "docs" / "api.md").read_text()
    table = documented.partition("| status | code | what to do |")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    codes = {code for _, _, column, *_ in rows for code in re.findall(r"`(\w+)`", column)}
    codes |= {"entries_left", "job_damaged"}
    words = (STATIC / "refusals.js").read_text().partition("const SAID = {")[2].partition("\n};")[0]
    said = set(re.findall(r"^  (\w+): ", words, re.MULTILINE))
    assert said | OF_PROGRAMS | IN_ITS_WORDS == codes
    assert not said & (OF_PROGRAMS | IN_ITS_WORDS)
    assert not re.search(r"GET |/v1|GLIMPSE_|\b[45]\d\d\b", words)
