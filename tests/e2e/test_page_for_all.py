"""Every view as people set their browsers: enlarged, with more space in its text, in few colours, on paper."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seen_pages import tiles
from service_world import serving, settings_for, tiny_encoder

from glimpse.client import Client
from index.collection import Entry, create_collection
from service.app import create_app

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

VIEWS = {
    "search": "/?c=pictures&q=boat",
    "filters": "/?c=pictures",
    "viewer": "/?c=pictures&open=1",
    "lineup": "/?v=lineup&c=pictures&p=1&p=2&l=a+boat+at+sea&l=house",
    "map": "/?v=map&c=pictures",
    "review": "/?v=review&c=pictures",
    "reviewing": "/?v=review&c=pictures&run={run}",
    "runs": "/?v=runs",
    "labs": "/?v=labs",
    "library": "/?c=pictures",
}
SPACE = "* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important; }"
# what is to be read, or pressed, outside of the page, and in no box that scrolls
OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const scrolling = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);
  const scrolls = (element) => element && (scrolling(element) || scrolls(element.parentElement));
  const shown = document.querySelector("dialog[open]") ?? document.body;
  return [...shown.querySelectorAll("a, button, input, select, label, p, h1, h2, h3, th, td, dd")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
    .filter((each) => !each.closest(".unseen, .skip, .names, .thumbs, .pictures"))
    .filter((each) => !scrolls(each.parentElement) && getComputedStyle(each).opacity !== "0")
    .map((each) => [each.getBoundingClientRect(), each.outerHTML.slice(0, 120)])
    .filter(([{ left, right }]) => right > width + 1 || left < -1)
    .map(([, html]) => html);
}"""


@pytest.fixture(scope="module")
def run(url: str) -> str:
    """A labelling run over the collection."""
    with Client(url) as client:
        job = client.wait_for(client.start_job("label", collection="pictures", labels=["a boat at sea", "house"]))
        return str(job.report["run"])


@pytest.fixture
def view(opened: Callable[..., Any], run: str) -> Callable[..., Any]:
    def show(name: str, **more: Any) -> Any:
        page = opened(VIEWS[name].format(run=run), expected=("GPU stall",), **more)  # of the canvas, without a GPU
        expect(page.locator("#main > .view:not([hidden])")).to_be_visible()
        page.network.rests()
        if name == "library":
            page.get_by_role("button", name="Library").click()
            expect(page.get_by_role("dialog", name="Library")).to_be_visible()
        if name == "filters":
            page.get_by_role("button", name="Filters", exact=True).click()
        return page

    return show


@pytest.mark.parametrize("name", VIEWS)
def test_enlarged_four_times_nothing_is_beside_the_page(view: Callable[..., Any], name: str) -> None:
    """A window of 1280 by 1024 at 400 %."""
    page = view(name, width=320, height=256)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_letters_twice_as_large_as_the_browsers_fit_every_view(
    opened: Callable[..., Any], run: str, width: int
) -> None:
    page = opened(None, width=width, expected=("GPU stall",))
    page.context.new_cdp_session(page).send("Page.setFontSizes", {"fontSizes": {"standard": 32}})
    outside = {}
    for name, address in VIEWS.items():
        page.goto(address.format(run=run))
        page.network.rests()
        if name in ("filters", "library"):
            page.get_by_role("button", name=name.title(), exact=True).click()
        assert page.locator("#views a").first.evaluate("link => parseFloat(getComputedStyle(link).fontSize)") >= 26
        outside[name] = page.evaluate(OUTSIDE)
        cut = page.locator(".pictures:not(.bare) .caption").first
        if name == "search":
            assert cut.evaluate("caption => caption.scrollHeight <= caption.clientHeight")
    assert outside == {name: [] for name in VIEWS}


@pytest.mark.parametrize("name", VIEWS)
def test_more_space_in_text_cuts_nothing_off(view: Callable[..., Any], name: str) -> None:
    page = view(name, width=360, bypass_csp=True)
    page.add_style_tag(content=SPACE)
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(OUTSIDE) == []


def test_a_low_window_is_not_filled_by_the_form_of_the_search(view: Callable[..., Any]) -> None:
    page = view("search", width=640, height=256)
    page.mouse.wheel(0, 400)
    expect(page.get_by_role("searchbox", name="Search by words")).not_to_be_in_viewport()
    page.set_viewport_size({"width": 640, "height": 800})
    expect(page.get_by_role("searchbox", name="Search by words")).to_be_in_viewport()


def test_in_a_low_window_each_button_of_an_open_picture_is_to_be_hit(view: Callable[..., Any]) -> None:
    page = view("viewer", width=320, height=256)
    dialog = page.get_by_role("dialog")
    first = dialog.get_by_role("heading").inner_text()
    dialog.get_by_role("button", name="Previous").click()  # is hidden where there is none
    expect(dialog.get_by_role("heading")).not_to_have_text(first)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("heading")).to_have_text(first)
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_in_few_colours_what_is_chosen_and_what_is_measured_is_to_be_seen(view: Callable[..., Any]) -> None:
    page = view("lineup", forced_colors="active")
    here = page.get_by_role("navigation", name="Views").get_by_role("link", name="Lineup")
    other = page.get_by_role("navigation", name="Views").get_by_role("link", name="Map")
    expect(here).to_have_css("outline-style", "solid")
    expect(other).to_have_css("outline-style", "none")
    bar = page.get_by_role("list", name="Chances").locator(".bar i").first
    colours = "(bar) => [bar, bar.parentElement].map((each) => getComputedStyle(each).backgroundColor)"
    filled, empty = bar.evaluate(colours)
    assert filled != empty
    page.get_by_role("button", name="Library").click()
    expect(page.get_by_role("dialog", name="Library")).to_have_css("border-style", "solid")


def test_who_wants_more_contrast_has_it(view: Callable[..., Any]) -> None:
    soft = "getComputedStyle(document.querySelector('#view-search .status')).color"
    plain, more = (view("search", contrast=contrast).evaluate(soft) for contrast in ("no-preference", "more"))
    darkness = [sum(map(int, re.findall(r"\d+", colour))) for colour in (plain, more)]
    assert darkness[1] < darkness[0] / 1.4


@pytest.mark.parametrize("name", ["search", "map", "lineup", "runs"])
def test_who_wants_less_motion_has_none(view: Callable[..., Any], name: str) -> None:
    page = view(name, reduced_motion="reduce")
    lasting = "(all) => all.filter((each) => parseFloat(getComputedStyle(each).transitionDuration)).length"
    assert page.locator("*").evaluate_all(lasting) == 0
    assert page.evaluate("document.getAnimations().length") == 0


def test_on_paper_is_what_is_shown_and_not_the_length_of_the_collection(
    opened: Callable[..., Any], tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path)
    rows = np.random.default_rng(0).normal(size=(4000, encoder.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with create_collection(tmp_path, "many", model=encoder.ref, fingerprint="tiny", dim=encoder.dim) as made:
        made.upsert([Entry(row, "image", f"/{i}.jpg", width=300, height=200) for i, row in enumerate(rows)])
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened("/?c=many", base=url, expected=("404", "ERR_CONNECTION_REFUSED"))
        expect(page.get_by_text("4,000 pictures")).to_be_visible()
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", page.pdf())) <= 4
        page.emulate_media(media="print")
        expect(page.get_by_role("searchbox", name="Search by words")).to_be_hidden()
        page.emulate_media(media="screen")


def test_on_paper_an_open_picture_is_alone(view: Callable[..., Any]) -> None:
    page = view("viewer")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf())) == 1
    page.emulate_media(media="print")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_be_visible()
    expect(dialog.get_by_role("button", name="Close")).to_be_hidden()
    expect(page.locator(".results")).to_be_hidden()


def test_tiles_are_read_in_the_order_of_the_list(view: Callable[..., Any]) -> None:
    page = view("filters")
    boxes = tiles(page, 9).evaluate_all("(all) => all.map((one) => one.getBoundingClientRect())")
    places = [(box["y"], box["x"]) for box in boxes]
    assert places == sorted(places)
