"""The page in headless Chromium, over collections of 1,000, 100,000 and 1,000,000 pictures: is it ever not awake?

`python -m bench.service.page_speed [SIZES]`; a million takes a minute or two to make, and is kept in the folder of the
benchmarks. The service is a real one with a tiny random model; the pictures are entries without files, their thumbnails
are answered in the browser's place by one of a few drawn ones. All figures are the browser's own performance entries.
Then each view, over the first of these sizes: what is done there, and the longest that the next paint took.

- first load: what the browser asked for to show the first row, without thumbnails, gzipped
- first row: from the navigation's start until a picture of it is there
- to the end and back: End and Home, each until the picture there is loaded, together
- longest task: of loading, scrolling through, both jumps; entries of the kind `longtask`, which begin at 50 ms
- input to next paint: the longest of all keys and clicks, entries of the kind `event`
- result painted: from the end of a search's answer to the frame in which its first tile is painted
- in each view: the same of keys and clicks; of a drag, for which the browser has no such entries, the longest time from
  one frame to the next
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import CDPSession, Page, sync_playwright

from bench.common import CACHE, machine, random_model
from bench.service.page_inputs import INPUTS
from bench.service.service_speed import serving
from encoder.model.load import load_encoder
from glimpse.client import Client
from index.collection import Entry, create_collection

SIZES = (1_000, 100_000, 1_000_000)
DIM, BATCH = 32, 5_000
SHAPES = ((4000, 3000), (3000, 4000), (4000, 3000), (3000, 2000), (2000, 3000), (1600, 900), (2000, 2000))
TINY = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
ARGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
WATCH = """
window.seen = {tasks: [], events: [], first: null, painted: null, answer: null};
const watch = (type, use, more = {}) => new PerformanceObserver((list) => list.getEntries().forEach(use))
  .observe({type, buffered: true, ...more});
watch("longtask", (entry) => seen.tasks.push(Math.round(entry.duration)));
watch("event", (entry) => seen.events.push([entry.name, entry.duration]), {durationThreshold: 16});
watch("resource", (entry) => { if (entry.name.endsWith("/search")) seen.answer = entry.responseEnd; });
new MutationObserver(() => {
  const there = document.querySelector(".pictures .frame.there");
  if (seen.first === null && there) seen.first = performance.now();
  if (seen.painted === null && seen.wanted && document.querySelector(".pictures:not(.bare) .caption")) {
    seen.painted = 0;
    requestAnimationFrame(() => requestAnimationFrame(() => (seen.painted = performance.now())));
  }
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["class"]});
"""
JUMP = """async (key) => {
  const from = performance.now();
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  for (;;) {
    await new Promise(requestAnimationFrame);
    const item = document.activeElement.closest(".pictures li");
    const place = Number(item?.getAttribute("aria-posinset")), all = Number(item?.getAttribute("aria-setsize"));
    if (place === (key === "End" ? all : 1) && item.querySelector(".frame.there")) return performance.now() - from;
    if (performance.now() - from > 10000) throw new Error(`${key}: ${place} of ${all}`);
  }
}"""


def fill(data: Path, n: int, fingerprint: str, model: str) -> None:
    """A collection of n entries without files, of many shapes, over ten years."""
    rng = np.random.default_rng(0)
    with create_collection(data, "pictures", model=model, fingerprint=fingerprint, dim=DIM) as collection:
        for start in range(0, n, BATCH):
            collection.upsert(list(entries(rng, start, min(n, start + BATCH), n)))
        collection.compact()


def entries(rng: np.random.Generator, start: int, stop: int, n: int) -> Iterator[Entry]:
    """Entries of a batch."""
    rows = rng.standard_normal((stop - start, DIM), dtype=np.float32)
    for i, row in enumerate(rows / np.linalg.norm(rows, axis=1, keepdims=True), start):
        width, height = SHAPES[i * 7919 % len(SHAPES)]
        yield Entry(
            row,
            "image",
            path=Path(f"/pictures/{i // 1000:04}/{i:07}.jpg"),
            metadata={"kind": ("walk", "sea", "town", "home")[i % 4]},
            mtime_ns=(1_450_000_000 + i * 315_000_000 // n) * 10**9,
            size=1,
            width=width,
            height=height,
        )


def thumbnails() -> list[bytes]:
    """A few drawn ones."""
    rng = np.random.default_rng(1)
    made = []
    for size in ((256, 192), (192, 256), (256, 170), (256, 256)):
        buffer = io.BytesIO()
        blocks = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8))
        blocks.resize(size, Image.Resampling.BICUBIC).save(buffer, "WEBP")
        made.append(buffer.getvalue())
    return made


def drawn_thumbnails(page: Page) -> CDPSession:
    """Have the page's thumbnails answered by drawn ones; the session that does it."""
    drawn = thumbnails()
    session = page.context.new_cdp_session(page)

    def answer(paused: dict[str, Any]) -> None:
        body = base64.b64encode(drawn[len(paused["request"]["url"]) % len(drawn)]).decode()
        headers = [{"name": "Content-Type", "value": "image/webp"}]
        told = {"requestId": paused["requestId"], "responseCode": 200, "responseHeaders": headers, "body": body}
        session.send("Fetch.fulfillRequest", told)

    # by the browser's own filter: a route of Playwright's would hold each module of the page too
    session.on("Fetch.requestPaused", answer)
    session.send("Fetch.enable", {"patterns": [{"urlPattern": "*/thumbnail*"}]})
    return session


def measure(page: Page, url: str) -> dict[str, Any]:
    """Walk through the page, and read what the browser noted."""
    session = drawn_thumbnails(page)
    page.add_init_script(WATCH)
    loaded: list[str] = []
    page.on("request", lambda asked: loaded.append(asked.url))
    page.goto(url)
    until(page, "seen.first !== null")
    packed = sum(len(gzip.compress(urllib.request.urlopen(each).read())) for each in static(loaded))
    first = page.evaluate("seen.first")
    page.wait_for_timeout(1000)
    page.locator(".pictures a").first.focus()
    jumps = [page.evaluate(JUMP, key) for key in ("End", "Home")]
    for _ in range(60):
        page.mouse.wheel(0, 900)
        page.wait_for_timeout(30)
    page.wait_for_timeout(300)
    for key in ("ArrowRight", "ArrowDown", "PageDown", " ", "ArrowRight", " ", "Escape"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    page.locator(".pictures a:visible").nth(6).click()
    for key in ("ArrowRight", "ArrowRight", "+", "Escape"):
        page.keyboard.press(key)
        page.wait_for_timeout(120)
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("searchbox", name="Search by words").click()
    page.keyboard.type("a boat at sea", delay=30)
    page.evaluate("seen.wanted = true; seen.painted = seen.answer = null")
    page.keyboard.press("Enter")
    until(page, "seen.painted > 0 && seen.answer !== null")
    painted = page.evaluate("seen.painted - seen.answer")
    page.get_by_role("button", name="Filters", exact=True).click()
    page.locator(".facets .chip").first.click()
    page.wait_for_timeout(800)
    seen = page.evaluate("seen")
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    name, longest = max(seen["events"], key=lambda each: each[1], default=("none", 0))
    return {
        "first load, kB": round(packed / 1000, 1),
        "first row, ms": round(first),
        "to the end and back, ms": round(sum(jumps)),
        "longest task, ms": max(seen["tasks"]) if seen["tasks"] else "< 50",
        "input to next paint, ms": f"{longest:.0f} ({name})",
        "result painted, ms": round(painted),
        "heap, MB": round(metrics["JSHeapUsedSize"] / 1e6, 1),
        "elements": int(metrics["Nodes"]),
    }


def every_view(page: Page, url: str, run: str) -> Iterator[dict[str, Any]]:
    """The longest way from an input to the next paint, in each view."""
    drawn_thumbnails(page)
    page.add_init_script(WATCH)
    for view, address, what, act in INPUTS:
        page.goto(f"{url}?c=pictures{address.replace('RUN', run)}")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        page.evaluate("seen.events.length = 0")
        act(page)
        page.wait_for_timeout(500)
        seen = page.evaluate("seen")
        keys = max((length for _, length in seen["events"]), default=0)
        longest = max(seen["frames"]) if seen.get("frames") else keys
        yield {"view": view, "input": what, "to the next paint, ms": f"{longest:.0f}" if longest else "< 16"}


def until(page: Page, condition: str) -> None:
    """Wait for it; the page's policy lets no text become code in it, which Playwright's own waiting needs."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise TimeoutError(condition)


def static(loaded: list[str]) -> Iterator[str]:
    """What of the page's own the browser asked for, and what it asked the service."""
    for url in loaded:
        if "/thumbnail" not in url and not url.startswith(("data:", "blob:")) and "/columns" not in url:
            yield url


def main() -> None:
    """Print the table."""
    config = CACHE / "page-tiny.json"
    CACHE.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(TINY))
    model = random_model(str(config))
    fingerprint = fingerprint_of(model)
    print(machine(), "\n")
    rows = []
    folders = {n: CACHE / f"page-{n}" for n in map(int, sys.argv[1:] or SIZES)}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        print(browser.version, "\n")
        for n, data in folders.items():
            if not data.exists():
                made = data.with_suffix(".new")
                shutil.rmtree(made, ignore_errors=True)
                fill(made, n, fingerprint, str(model))
                made.rename(data)
            with serving("glimpse", model, data) as (port, _):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                rows.append({"pictures": f"{n:,}", **measure(page, f"http://127.0.0.1:{port}/")})
                page.close()
        table(rows)
        with tempfile.TemporaryDirectory() as folder:
            own = shutil.copytree(next(iter(folders.values())), Path(folder) / "data")
            with serving("glimpse", model, own) as (port, _), Client(f"http://127.0.0.1:{port}") as client:
                client.wait_for(client.start_job("map", collection="pictures", names=False))
                client.wait_for(client.start_job("label", collection="pictures", labels=["boat", "house", "bird"]))
                [run] = client.label_runs()
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                table(list(every_view(page, f"{client.url}/", run.id)))
                page.close()
        browser.close()


def table(rows: list[dict[str, Any]]) -> None:
    """Print them, as Markdown has it."""
    print("\n|", " | ".join(rows[0]), "|")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("|", " | ".join(str(value) for value in row.values()), "|")


def fingerprint_of(model: Path) -> str:
    """Of the model, as collections that it makes have it."""
    return load_encoder(str(model)).fingerprint


if __name__ == "__main__":
    main()
