"""A network that goes away while somebody looks, and comes back: each view says so, and goes on by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from run_folders import run_folder
from seen_pages import tiles
from service_world import add_collection, draw, serving, settings_for, tiny_encoder, until

from glimpse.client import Client
from service.app import create_app
from service.keys import add_key, remove_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

GONE = ("ERR_INTERNET_DISCONNECTED", "ERR_FAILED", "GPU stall")
BEFORE = 2500  # ms, sooner than a slow network answers
LATER = 5000  # ms, the longest after which a view asks again
PARTS = {"tags.js", "grid/selection.js", "grid/changing.js", "grid/tags.js", "picture/viewer.js", "picture/tags.js"}
LATE = {"search/acts.js", "search/facets.js", *(f"parts/{name}" for name in PARTS)}  # is loaded after the pictures
AWAY = "The service does not answer. Is it still running?"


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    """A service with sixty pictures, a run of a training, and a run of labels."""
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 60))
    run_folder(data / "runs" / "shoes", [0.1, 0.4])
    with serving(create_app(settings_for(data, runs=str(data / "runs")), encoder)) as url, Client(url) as client:
        client.wait_for(client.start_job("label", collection="pictures", labels=["boat", "house"]))
        yield url


@pytest.fixture
def away(opened: Callable[..., Any]) -> Callable[..., Any]:
    """A page at an address, whose network goes once it has all."""

    def show(path: str, **more: Any) -> Any:
        page, had = opened(None, expected=GONE, clock=True, **more), set()
        page.on("requestfinished", lambda one: had.add(one.url.partition("/static/")[2]))
        page.goto(path)
        expect(page.locator("#main > .view:not([hidden])")).to_be_visible()
        if page.locator("#view-search .pictures").is_visible():
            until(lambda: had >= LATE or page.wait_for_timeout(20))
        page.network.rests()
        page.context.set_offline(True)
        return page

    return show


def said(page: Any, words: str = AWAY) -> None:
    expect(page.locator("#said-text")).to_have_text(words)


def back(page: Any) -> None:
    page.context.set_offline(False)
    page.clock.fast_forward(LATER)


def test_a_search(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures")
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    said(page)
    back(page)
    expect(page.locator("#view-search .status")).to_contain_text("found in")
    expect(page.locator("#said")).to_be_hidden()


HEARD = """() => {
  window.heard = [];
  const look = () => document.getElementById("said").hidden && window.heard.push("hidden");
  new MutationObserver(look).observe(document.getElementById("said"), { attributes: true });
  const aloud = document.getElementById("aloud");
  new MutationObserver(() => window.heard.push(aloud.textContent)).observe(aloud, { childList: true });
}"""


def test_what_is_asked_for_again_and_again_is_told_once(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures")
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    said(page)
    page.clock.run_for(200)  # and it is read out
    expect(page.locator("#aloud")).to_have_text(AWAY)
    page.evaluate(HEARD)
    for _ in range(2):
        with page.expect_event("requestfailed"):
            page.clock.fast_forward(LATER)
        page.clock.run_for(200)
    assert page.evaluate("heard") == []
    back(page)
    expect(page.locator("#view-search .status")).to_contain_text("found in")
    expect(page.locator("#said")).to_be_hidden()


def test_pictures_that_come_into_view(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures", height=400)
    page.mouse.move(600, 300)
    page.mouse.wheel(0, 4000)
    gone = page.locator(".pictures .frame.gone")
    expect(gone).not_to_have_count(0)
    back(page)
    expect(gone).to_have_count(0)


def test_an_open_picture(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures")
    page.get_by_role("list", name="Results").get_by_role("link").nth(7).click()
    expect(page.locator(".viewer .stage")).to_have_class(re.compile("gone"))
    back(page)
    expect(page.locator(".viewer .stage img")).to_have_js_property("naturalWidth", 320)
    expect(page.locator(".viewer .stage")).not_to_have_class(re.compile("gone"))


def test_filters(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures")
    page.get_by_role("button", name="Filters", exact=True).click()
    said(page)
    back(page)
    expect(page.get_by_role("group", name="Taken")).to_be_visible()


def test_what_is_loaded_once_it_is_wanted(opened: Callable[..., Any]) -> None:
    page = opened(None, expected=GONE, clock=True)
    for part in ("viewer", "selection", "facets"):
        page.route(f"**/{part}.js", lambda route: route.abort())
    page.goto("/?c=pictures")
    picture = page.get_by_role("list", name="Results").get_by_role("link").first
    picture.click()
    said(page)
    expect(page).to_have_url(re.compile("open="))
    page.get_by_role("button", name="Close the message").click()
    expect(page).not_to_have_url(re.compile("open="))
    page.get_by_role("button", name="Select").nth(1).click()
    said(page)
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.get_by_role("region", name="Filters")).to_contain_text(AWAY)
    page.unroute_all()
    page.clock.fast_forward(LATER)
    expect(page.get_by_role("group", name="Taken")).to_be_visible()
    expect(page.get_by_role("toolbar", name="Selected pictures")).to_contain_text("1 selected")
    page.get_by_role("button", name="Select").nth(2).click()
    expect(page.get_by_role("toolbar", name="Selected pictures")).to_contain_text("2 selected")
    page.get_by_role("button", name="Clear the selection").click()
    picture.click()
    expect(page.get_by_role("button", name="More like this")).to_be_visible()


def test_all_that_could_not_be_had_is_asked_for_again(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures")
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    said(page)
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.get_by_role("region", name="Filters")).to_contain_text(AWAY)
    back(page)
    expect(page.get_by_role("group", name="Taken")).to_be_visible()
    expect(page.locator("#view-search .status")).to_contain_text("found in")


def test_a_lineup(away: Callable[..., Any]) -> None:
    page = away("/?v=lineup&c=pictures&l=cat")
    page.get_by_label("Labels", exact=True).fill("dog\nboat")
    said(page)
    back(page)
    expect(page.get_by_role("list", name="Chances").get_by_role("listitem")).to_have_count(2)


def test_pictures_to_choose_from(away: Callable[..., Any]) -> None:
    page = away("/?v=lineup&c=pictures&l=cat")
    page.get_by_role("button", name="Choose pictures").click()
    choosing = page.get_by_role("dialog", name="Pictures for the lineup")
    expect(choosing.get_by_role("status")).to_have_text(AWAY)
    back(page)
    expect(choosing.get_by_role("listitem")).to_have_count(48)
    expect(choosing.get_by_text(AWAY)).to_be_hidden()


def test_runs(away: Callable[..., Any]) -> None:
    page = away("/?v=runs")
    page.get_by_role("link", name="shoes").click()
    said(page)
    back(page)
    expect(page.get_by_role("heading", name="shoes")).to_be_visible()
    expect(page.locator("#said")).to_be_hidden()


def test_a_review(away: Callable[..., Any], url: str) -> None:
    with Client(url) as client:
        [run] = client.label_runs()
    page = away(f"/?v=review&c=pictures&run={run.id}")
    page.get_by_role("button", name="Accept", exact=False).first.click()
    said(page)
    expect(page.get_by_text("0 of 60 looked at")).to_be_visible()
    back(page)
    page.get_by_role("button", name="Accept", exact=False).first.click()
    expect(page.get_by_text("1 of 60 looked at")).to_be_visible()


def test_a_picture_that_is_reviewed(opened: Callable[..., Any], url: str) -> None:
    with Client(url) as client:
        [run] = client.label_runs()
    page = opened(f"/?v=review&c=pictures&run={run.id}", expected=GONE, clock=True)
    image = page.locator("#view-review .stage img")
    expect(image).to_have_js_property("naturalWidth", 320)
    page.route("**/thumbnail*", lambda asked: asked.abort())
    skipped = page.locator("#view-review .path").inner_text()
    for _ in range(4):  # those that come next are here already
        page.keyboard.press("s")
    expect(page.locator("#view-review .path")).not_to_have_text(skipped)
    expect(page.locator("#view-review .stage")).to_have_class(re.compile("gone"))
    page.unroute("**/thumbnail*")
    page.clock.fast_forward(LATER)
    expect(page.locator("#view-review .stage")).to_have_class(re.compile("there"))


def test_a_slow_network(opened: Callable[..., Any]) -> None:
    page = opened("/?c=pictures")
    expect(page.locator(".pictures .frame.there").first).to_be_visible()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    slow = {"offline": False, "downloadThroughput": 20_000, "uploadThroughput": 20_000}
    devtools.send("Network.emulateNetworkConditions", slow | {"latency": 3000})
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    status = page.locator("#view-search .status")
    expect(status).to_have_text("Searching…", timeout=BEFORE)
    expect(page.locator("#view-search .results")).to_have_css("opacity", "0.5")
    page.get_by_role("link", name="Runs").click()  # who goes elsewhere meanwhile is there at once in the navigation
    expect(page.get_by_role("link", name="Runs")).to_have_attribute("aria-current", "page", timeout=BEFORE)
    devtools.send("Network.emulateNetworkConditions", slow | {"latency": 300})
    expect(page.get_by_role("heading", name="Training runs")).to_be_visible()
    page.go_back()
    expect(status).to_contain_text("found in")
    expect(page.locator("#view-search .results")).to_have_css("opacity", "1")


def test_labs(away: Callable[..., Any]) -> None:
    page = away("/?v=labs")
    page.get_by_role("button", name="One step").first.click()
    said(page)
    back(page)
    before = page.locator("#view-labs .value").first.inner_text()
    page.get_by_role("button", name="One step").first.click()
    expect(page.locator("#view-labs .value").first).not_to_have_text(before)


def test_the_library(away: Callable[..., Any]) -> None:
    page = away("/?c=pictures")
    page.get_by_role("button", name="Library").click()
    said(page, "The library cannot be loaded: the service does not answer.")
    back(page)
    page.locator("#said").get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog", name="Library")).to_be_visible()


def test_files_that_are_added(away: Callable[..., Any], tmp_path: Path, url: str) -> None:
    page = away("/?c=pictures")
    back(page)
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    expect(library).to_be_visible()
    page.evaluate("Promise.all([import('/static/parts/picture/upload.js'), import('/static/parts/naming.js')])")
    sent = "**/collections/pictures/images"
    page.route(sent, lambda asked: asked.abort() if asked.request.method == "POST" else asked.continue_())
    library.locator("input[type=file]").first.set_input_files(draw(tmp_path / "new", 62)[60:])
    expect(page.locator("#said-text")).to_have_text("Adding pictures to pictures: 0 of 2…")
    page.unroute(sent)
    page.clock.fast_forward(LATER)
    expect(page.locator("#said-text")).to_have_text("2 pictures added.")
    with Client(url) as client:
        assert client.collection("pictures").counts["image"] == 62


def test_a_key_that_is_taken_away_in_any_view_may_be_given_anew(opened: Callable[..., Any], tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 3))
    views = {  # what is there once all is answered
        "Lineup": ("textbox", "Labels"),
        "Map": ("button", "Make the map"),
        "Review": ("heading", "Label a collection"),
        "Runs": ("heading", "No folder of training runs"),
    }
    keys = {name: add_key(tmp_path, name, "admin") for name in (*views, "other")}
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        for name, (role, called) in views.items():
            page = opened(None, base=url, expected=("401", "404", "GPU stall"))
            page.add_init_script(f"sessionStorage.setItem('key', {json.dumps(keys[name])})")
            page.goto("/?c=pictures")
            tiles(page, 3)
            page.network.rests()
            remove_key(tmp_path, name)
            sent = {"Authorization": f"Bearer {keys[name]}"}
            until(lambda sent=sent: httpx.get(f"{url}/v1/info", headers=sent).status_code == 401)
            page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()
            ask = page.get_by_role("dialog", name="This service needs a key")
            ask.get_by_role("button", name="Not now").click()
            page.locator("#said").get_by_role("button", name="Give the key").click()
            ask.get_by_label("Key", exact=True).fill(keys["other"])
            ask.get_by_role("button", name="Use it").click()
            expect(ask).to_be_hidden()
            expect(page.locator("#said")).to_be_hidden()
            expect(page.locator("#main > .view:not([hidden])").get_by_role(role, name=called).first).to_be_visible()
