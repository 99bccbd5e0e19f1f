"""The page of docs/clients.md in a real browser, from another site; skipped where there is no browser."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from service.app import create_app
from service.keys import add_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

DOCS = Path(__file__).parents[2] / "docs" / "clients.md"
ARGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
# what OpenAI's client for browsers sends
ASK = """async ([service, key]) => {
  const headers = {Authorization: `Bearer ${key}`, "Content-Type": "application/json", "OpenAI-Project": "p"};
  for (const name of ["Lang", "OS", "Arch", "Runtime", "Runtime-Version", "Package-Version", "Retry-Count", "Timeout"])
    headers[`X-Stainless-${name}`] = "1";
  const body = JSON.stringify({model: "default", input: ["a boat"], encoding_format: "base64"});
  const response = await fetch(`${service}/v1/embeddings`, {method: "POST", headers, body});
  return [response.status, response.headers.get("x-request-id") !== null];
}"""
LOADS = """address => new Promise(resolve => {
  const image = new Image();
  image.onload = () => resolve(image.naturalWidth);
  image.onerror = () => resolve(0);
  image.src = address;
})"""


@contextmanager
def site() -> Iterator[tuple[str, dict[str, str]]]:
    """Another site: its origin, and its one page's text, which may be changed."""
    pages = {"/": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 204)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}", pages
        finally:
            server.shutdown()
            thread.join()


def test_a_page_of_another_site_searches_and_shows_hits(tmp_path: Path) -> None:
    example = re.search(r"^```html\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert example
    key = add_key(tmp_path, "shop", "read")
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 5), "photos")
    with site() as (origin, pages), playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        for allowed in (True, False):
            settings = settings_for(tmp_path, cors_origins=(origin,) if allowed else ())
            with serving(create_app(settings, encoder)) as url:
                pages["/"] = example[1].replace("http://localhost:8000", url).replace("glimpse_...", key)
                page = browser.new_page()
                page.goto(origin)
                if allowed:
                    signed = searched(page)
                    assert page.evaluate(ASK, [url, key]) == [200, True]
                    assert page.evaluate(LOADS, signed.replace("signature=", "signature=x")) == 0
                else:
                    page.get_by_placeholder("a red boat").fill("a boat")
                    page.get_by_role("button", name="Search").click()
                    playwright.expect(page.get_by_role("status")).to_contain_text("Failed to fetch")
                    # its address is good, and yet the browser does not show it in another site's page
                    assert page.evaluate(LOADS, f"{url}/v1{signed.partition('/v1')[2]}") == 0
                    page.goto(f"{url}/v1{signed.partition('/v1')[2]}")
                    assert page.locator("img").evaluate("image => image.naturalWidth") == 256
                page.close()
        browser.close()


def searched(page) -> str:
    """Search there, see the hits; the address of the first one's picture."""
    page.get_by_placeholder("a red boat").fill("a boat")
    page.get_by_role("button", name="Search").click()
    playwright.expect(page.get_by_role("status")).to_have_text("5 found")
    images = page.locator("#hits img")
    playwright.expect(images).to_have_count(5)
    for image in images.all():
        playwright.expect(image).to_have_js_property("naturalWidth", 256)
        assert image.get_attribute("alt").startswith("picture ")
    source = str(images.first.get_attribute("src"))
    assert "signature=" in source
    assert "glimpse_" not in source  # the key is in no address
    return source
