"""The map: how long it takes to make one, and how smoothly a browser without a GPU moves over it.

`python -m bench.index.map_speed [SIZES]`; the collections, the service and the drawn thumbnails are
those of bench/service/page_speed.py.

- map made: by principal axes, without names, its file on disk
- columns: the answer with places, the first time after a change and when they are kept
- shown: from the navigation's start until the map is drawn
- frame: between two frames while the map moves at each, the median and the slowest of twenty; points are drawn by the
  processor (SwiftShader), so this is what a machine without a GPU has
- longest task: entries of the kind `longtask`, which begin at 50 ms, while it moves
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
import urllib.request
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bench.common import CACHE, machine, random_model
from bench.service.page_speed import ARGS, TINY, WATCH, drawn_thumbnails, fill, fingerprint_of, until
from bench.service.service_speed import serving
from index.collection import open_collection
from index.map.kept import forget_map, make_map

SIZES = (10_000, 100_000)
MOVE = """async (frames) => {
  const surface = document.querySelector(".surface");
  const keys = ["ArrowLeft", "ArrowUp", "+", "ArrowRight", "ArrowDown", "-"];
  const times = [];
  for (let i = 0; i <= frames; i++) {
    surface.dispatchEvent(new KeyboardEvent("keydown", {key: keys[i % keys.length], bubbles: true}));
    await new Promise(requestAnimationFrame);
    times.push(performance.now());
  }
  return times.slice(1).map((time, i) => time - times[i]);
}"""


def seconds(act: Any) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def measure(page: Page, url: str) -> dict[str, Any]:
    """Show the map and move over it."""
    columns = f"{url}v1/collections/pictures/columns"
    first, again = (seconds(lambda: urllib.request.urlopen(columns).read()) for _ in range(2))
    drawn_thumbnails(page)
    page.add_init_script(WATCH)
    page.goto(f"{url}?v=map")
    until(page, "document.querySelector('.legend .row') !== null")
    shown = page.evaluate("new Promise((done) => requestAnimationFrame(() => done(performance.now())))")
    page.wait_for_timeout(1500)
    page.evaluate("seen.tasks = []")
    frames = page.evaluate(MOVE, 60)
    tasks = page.evaluate("seen.tasks")
    return {
        "columns, s": f"{first:.2f}, {again:.3f}",
        "shown, ms": round(shown),
        "frame, ms": f"{statistics.median(frames):.0f}, {statistics.quantiles(frames, n=20)[-1]:.0f}",
        "longest task, ms": max(tasks) if tasks else "< 50",
    }


def main() -> None:
    """Print the table."""
    config = CACHE / "page-tiny.json"
    CACHE.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(TINY))
    model = random_model(str(config))
    print(machine(), "\n")
    rows = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for n in [int(size) for size in sys.argv[1:]] or SIZES:
            data = CACHE / f"page-{n}"
            if not data.exists():
                made = data.with_suffix(".new")
                shutil.rmtree(made, ignore_errors=True)
                fill(made, n, fingerprint_of(model), str(model))
                made.rename(data)
            with open_collection(data, "pictures") as collection:
                forget_map(collection)
                collection.refresh()
                took = seconds(lambda: make_map(collection))
            with serving("glimpse", model, data) as (port, _):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                row = {"pictures": f"{n:,}", "map made, s": f"{took:.1f}"}
                rows.append({**row, **measure(page, f"http://127.0.0.1:{port}/")})
                page.close()
        browser.close()
    print("|", " | ".join(rows[0]), "|")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("|", " | ".join(str(value) for value in row.values()), "|")


if __name__ == "__main__":
    main()
