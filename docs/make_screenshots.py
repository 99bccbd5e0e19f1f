"""Draws the pictures in docs/images: each view of the page over the demo's collection, in both themes, at two widths;
and parts of the report of the demo's training.

    python docs/make_screenshots.py [DEMO]

DEMO is the folder that `glimpse demo` makes; without it `glimpse-demo` is taken, and made where it is not. Needs
Debian's chromium and playwright. A view is a line of `SHOTS`: its name, its address, and what is done before the
picture is taken. A part of the report is a line of `PARTS`.
"""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from glimpse.demo.postcards.subjects import SUBJECT_ART

IMAGES = Path(__file__).parent / "images"
ARGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
WIDTHS = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 780}}
QUALITY = 82  # of WebP

Do = Callable[[Page], None]


def filters(page: Page) -> None:
    """Open the filters."""
    page.get_by_role("button", name="Filters", exact=True).click()


def first(page: Page) -> None:
    """Open the first picture; where it lies on this machine is nobody's concern."""
    page.locator(".pictures a").first.click()
    page.locator(".viewer .path").evaluate("it => it.remove()")


def labels(page: Page) -> None:
    """Type some labels."""
    page.get_by_role("textbox", name="Labels").fill("boat, balloon, house, bird")


def mapped(page: Page) -> None:
    """Make the map, if there is none."""
    if (make := page.get_by_role("button", name="Make the map")).is_visible():
        make.click()
    page.locator("#view-map canvas").first.wait_for(timeout=120_000)


def reviewed(page: Page) -> None:
    """Label the collection if it is not labelled, and look at the least certain picture."""
    if (run := page.locator("#view-review .rows a").first).is_visible():
        run.click()
    else:
        page.get_by_label("Labels", exact=True).fill(", ".join(SUBJECT_ART))
        page.keyboard.press("Enter")
    page.locator("#view-review .stage.there").wait_for(timeout=120_000)
    page.locator("#view-review .path").evaluate("it => it.replaceChildren()")


def a_run(page: Page) -> None:
    """One run; where its start lies is nobody's concern either."""
    page.locator("#view-runs .lines svg path").first.wait_for()
    page.locator("#view-runs .facts span", has_text="from /").evaluate_all("them => them.forEach((it) => it.remove())")


def nothing(_: Page) -> None:
    """The address says it all."""


SHOTS: tuple[tuple[str, str, Do], ...] = (
    ("search", "/?q=a+red+boat+at+night", nothing),
    ("browse", "/", filters),
    ("viewer", "/?q=a+red+boat+at+night", first),
    ("lineup", "/?v=lineup", labels),
    ("map", "/?v=map", mapped),
    ("review", "/?v=review", reviewed),
    ("runs", "/?v=runs&run=model", a_run),
    ("labs", "/?v=labs", nothing),
)

# name, where it begins, and the card with which it ends: none is cut
PARTS = (
    ("report", "body", "section:nth-of-type(2) .card:nth-child(4)"),
    ("space", "section:nth-of-type(3)", "section:nth-of-type(3) .card:nth-child(4)"),
    ("confused", "section:nth-of-type(4)", "section:nth-of-type(4) .card:nth-child(4)"),
)
AIR = 12  # pixels around a part, fewer than between its cards


def main() -> None:
    """Take all of them."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "glimpse-demo")
    command = [sys.executable, "-m", "glimpse"]
    if not (demo / "data").exists():
        subprocess.run([*command, "demo", "--data", str(demo), "--no-serve"], check=True)
    with serving(command, demo) as url, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for theme in ("light", "dark"):
            for width, size in WIDTHS.items():
                touched = width == "phone"
                page = browser.new_page(
                    base_url=url, viewport=size, color_scheme=theme, is_mobile=touched, has_touch=touched
                )
                for name, address, act in SHOTS:
                    page.goto(address)
                    page.wait_for_load_state("networkidle")
                    act(page)
                    page.wait_for_timeout(700)
                    file = IMAGES / f"page-{name}-{width}-{theme}.webp"
                    save(page, file)
                    print(file)
                page.close()
        page = browser.new_page(viewport={"width": 900, "height": 1200})
        page.goto(f"{url}/v1/training-runs/model/report")
        for name, first, last in PARTS:
            file = IMAGES / f"{name}.webp"
            save(page, file, clip=part(page, first, last), full_page=True)
            print(file)
        browser.close()


def part(page: Page, first: str, last: str) -> dict[str, float]:
    """From the beginning of one element to the end of another, over the whole width."""
    begins, ends = (page.locator(each).first.bounding_box() for each in (first, last))
    assert begins is not None
    assert ends is not None
    top = max(0.0, begins["y"] - AIR)
    return {"x": 0, "y": top, "width": 900, "height": ends["y"] + ends["height"] + AIR - top}


def save(page: Page, file: Path, **which: Any) -> None:
    """What the page shows, as a small WebP."""
    Image.open(io.BytesIO(page.screenshot(**which))).save(file, quality=QUALITY, method=6)


@contextmanager
def serving(command: list[str], demo: Path) -> Iterator[str]:
    """The demo's service; yields its address once it is ready."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    flags = [
        "serve",
        "--model",
        str(demo / "model"),
        "--data",
        str(demo / "data"),
        "--runs",
        str(demo),
        "--port",
        str(port),
    ]
    with subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(240):
                try:
                    if httpx.get(f"{url}/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.5)
            yield url
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
