"""The service behind real proxies, by the files of docs/gateways: over TLS, below a prefix; in a real browser too."""

from __future__ import annotations

import gzip
import json
import logging
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
from PIL import Image
from ports import free_port
from proxies import changed, nginx_with, program, running
from service_world import add_collection, draw, error_of, serving, settings_for, tiny_encoder

from glimpse.client import Client
from service.app import create_app
from service.keys import add_key

FILES = Path(__file__).parents[2] / "docs" / "gateways"
# the browser has to trust the certificate: where it is asked to pass over its errors it gives up on single files
ARGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --ignore-certificate-errors".split()
MIB = 2**20


def photos(port: int) -> str:
    """The address of the service behind a proxy at that port."""
    return f"https://localhost:{port}/photos"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "site.pem", folder / "site.key"
    command = [
        program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-out", pem, "-keyout", key,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return pem, key


@contextmanager
def nginx(folder: Path, port: int, service: str, tls: tuple[Path, Path], *, strips: bool = True) -> Iterator[None]:
    places = {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "photos.example;": "localhost;"}
    places |= {"/etc/ssl/photos.example.pem": tls[0], "/etc/ssl/photos.example.key": tls[1], "127.0.0.1:8000": service}
    if not strips:
        places |= {"http://glimpse/;": "http://glimpse;", "proxy_set_header X-Forwarded-Prefix /photos;": ""}
    with nginx_with(changed(FILES / "nginx.conf", **places), folder, photos(port)):
        yield


@contextmanager
def caddy(folder: Path, port: int, service: str, tls: tuple[Path, Path]) -> Iterator[None]:
    places = {"photos.example {": f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {tls[0]} {tls[1]}"}
    text = changed(FILES / "Caddyfile", **places, **{"127.0.0.1:8000": service})
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text)
    home = f"HOME={folder}"
    with running(
        photos(port), "env", home, program("caddy"), "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"
    ):
        yield


@contextmanager
def traefik(
    folder: Path, port: int, service: str, tls: tuple[Path, Path], middleware: str | None = None
) -> Iterator[None]:
    text = changed(FILES / "traefik.yaml", **{"photos.example": "localhost", "127.0.0.1:8000": service})
    if middleware is not None:
        text = re.sub(r"(?<=glimpse-prefix:\n).*?(?=  services:)", middleware, text, flags=re.DOTALL)
    pair = {"certFile": str(tls[0]), "keyFile": str(tls[1])}
    (folder / "traefik.yaml").write_text(f"{text}\ntls: {json.dumps({'certificates': [pair]})}\n")
    with running(
        photos(port), program("traefik"), f"--providers.file.filename={folder / 'traefik.yaml'}",
        f"--entrypoints.websecure.address=127.0.0.1:{port}", "--global.sendanonymoususage=false",
        "--global.checknewversion=false",
    ):  # fmt: skip
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("gateways")
    add_collection(data, tiny_encoder(data), draw(data / "files", 5), "pictures")
    return data


@pytest.fixture(scope="module")
def keys(data: Path) -> dict[str, dict[str, str]]:
    return {scope: {"Authorization": f"Bearer {add_key(data, scope, scope)}"} for scope in ("read", "admin")}


GATEWAYS = {
    "nginx": (nginx, ""),
    "nginx, which passes on what it gets": (partial(nginx, strips=False), "/photos"),
    "caddy": (caddy, ""),
    "traefik": (traefik, ""),
}


@pytest.fixture(scope="module", params=GATEWAYS)
def gateway(request, data, certificate, tmp_path_factory) -> Iterator[str]:
    """The address of the service behind a proxy, as people have it."""
    kind, prefix = GATEWAYS[request.param]
    tmp_path = tmp_path_factory.mktemp("proxy")
    settings = settings_for(data, job_roots=str(data / "files"), root_path=prefix, trusted_proxies="127.0.0.1")
    port = free_port()
    with (
        serving(create_app(settings, tiny_encoder(tmp_path))) as url,
        kind(tmp_path, port, url.removeprefix("http://"), certificate),
    ):
        yield photos(port)


def test_addresses_lie_below_the_prefix_and_lead_there(gateway, keys, caplog):
    caplog.set_level(logging.INFO, "service.access")
    site = gateway.removesuffix("/photos")
    forged = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-Proto": "ftp"}
    asks = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
    with httpx.Client(base_url=gateway, transport=asks, timeout=30, headers=keys["read"] | forged) as client:
        page = client.get(gateway, follow_redirects=True)
        assert (str(page.url), page.status_code) == (f"{gateway}/", 200)
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/photos"}]
        for where in (str(page.url), f"{gateway}/docs"):
            named = re.findall(r'(?:src|href)="([^"#]+)"', client.get(where).text)
            assert len(named) >= 5
            for address in named:
                assert client.get(urljoin(where, address)).status_code == 200, address
        assert client.get("/docs/").headers["location"] == "/photos/docs"
        search = {"text": "a boat", "signed_urls": 60}
        packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        found = client.post(
            "/v1/collections/pictures/search", headers=packed, content=gzip.compress(json.dumps(search).encode())
        )
        for hit in found.json()["hits"]:
            for address in (hit["thumbnail_url"], hit["content_url"]):
                assert address.startswith("/photos/v1/collections/pictures/images/")
                assert httpx.get(site + address, verify=False).status_code == 200  # without a key
        plain = client.get("/v1/collections/pictures/images/1").json()["thumbnail_url"]
        assert client.get(site + plain).status_code == 200
        [known] = client.post("/knn-service", json={"text": "a boat", "num_images": 1}).json()
        assert known["url"].startswith(f"{gateway}/v1/")
        assert client.get(known["url"]).status_code == 200
        job = client.post(
            "/v1/jobs", headers=keys["admin"], json={"kind": "index", "folders": ["/gone"], "collection": "new"}
        )
        error_of(job, 403)
    lines = [record.fields for record in caplog.records if record.name == "service.access"]
    assert {line["client"] for line in lines if line["key"] == "read"} == {"127.0.0.2"}
    assert {"/", "/docs", "/static/{file}", "/knn-service"} <= {line["route"] for line in lines}  # without the prefix
    assert not [line["route"] for line in lines if line["route"].startswith("/photos")]


def test_traefik_may_strip_the_prefix_itself(data, keys, certificate, tmp_path):
    port, strips = free_port(), "      stripPrefix: {prefixes: [/photos]}\n"
    app = create_app(settings_for(data, trusted_proxies="127.0.0.1"), tiny_encoder(tmp_path))
    with (
        serving(app) as url,
        traefik(tmp_path, port, url.removeprefix("http://"), certificate, strips),
        httpx.Client(base_url=f"https://localhost:{port}", verify=False, headers=keys["read"]) as client,
    ):
        record = client.get("/photos/v1/collections/pictures/images/1").json()
        assert client.get(record["content_url"]).status_code == 200
        assert record["content_url"].startswith("/photos/v1/")
        assert client.get("/photos").status_code == 200  # with no slash: what it names is looked for at /static
        assert client.get("/static/app.js").status_code == 404


def test_a_job_is_told_where_it_is(gateway, keys, data):
    with httpx.Client(base_url=gateway, verify=False, headers=keys["admin"], timeout=30) as client:
        asked = client.post(
            "/v1/jobs", json={"kind": "index", "folders": [str(data / "files")], "collection": "pictures"}
        )
        assert asked.status_code == 202, asked.text
        where = asked.headers["location"]
        assert where == f"/photos/v1/jobs/{asked.json()['id']}"
        with client.stream("GET", f"{gateway.removesuffix('/photos')}{where}/events") as events:
            assert "event: end" in [line for line in events.iter_lines() if line.startswith("event")][-1]


def test_large_bodies_pass_and_too_large_ones_are_refused_by_the_service(gateway, keys, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2200, 2800, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png", compress_level=0)
    large = (tmp_path / "large.png").read_bytes()
    assert 17 * MIB < len(large) < 19 * MIB
    images = "/v1/collections/pictures/images"
    with httpx.Client(base_url=gateway, verify=False, headers=keys["admin"], timeout=60) as client:
        sent = client.post(images, files={"file": ("large.png", large)})
        assert sent.status_code == 200, sent.text
        entry = sent.json()["results"][0]["id"]
        assert len(client.get(f"{images}/{entry}/content").content) == len(large)
        client.delete(f"{images}/{entry}")
        refused = client.post("/v1/embeddings", json={"input": "x" * (33 * MIB - 10_000)})
        assert error_of(refused, 413)["code"] == "too_large"


@pytest.mark.parametrize("gateway", ["nginx"], indirect=True)
def test_the_page_and_the_docs_work_in_a_browser(gateway, keys):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    key = keys["read"]["Authorization"].removeprefix("Bearer ")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program("chromium"), args=ARGS)
        page = browser.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{gateway}/?q=boat&c=pictures")
        page.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        pictures = page.get_by_role("list", name="Results").locator("img")
        playwright.expect(pictures).to_have_count(5)
        for picture in pictures.all():
            playwright.expect(picture).to_have_js_property("complete", True)
            playwright.expect(picture).not_to_have_js_property("naturalWidth", 0)  # fetched with the key
        page.get_by_role("button", name="Library").click()
        page.get_by_role("link", name="the API").click()
        playwright.expect(page.locator(".opblock", has_text="/v1/embeddings")).to_be_visible()
        page.locator(".opblock", has_text="/v1/info").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        playwright.expect(page.locator(".live-responses-table tr.response .response-col_status")).to_contain_text("200")
        assert f"{gateway}/v1/info" in asked
        assert [url for url in asked if not url.startswith(("blob:", "data:", gateway))] == []
        browser.close()


def test_a_client_of_ours_asks_below_the_prefix(gateway, keys, monkeypatch, certificate):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Client(gateway, key=keys["read"]["Authorization"].removeprefix("Bearer ")) as client:
        hit = client.search("pictures", "a boat").hits[0]
        assert client.thumbnail("pictures", hit.id)[8:12] == b"WEBP"
        assert client.signed_url("pictures", hit.id).startswith(f"{gateway}/v1/")
