"""What is loaded once it is wanted: that one waits is told, it is called off, and what failed is tried again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service_world import draw, until

from glimpse.client import Client
from tests.seen_pages import tiles

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect


@pytest.fixture
def held(opened: Callable[..., Any]) -> Callable[..., Any]:
    """A page of which a file does not come until it is let go of: the page, and what lets go."""

    def show(name: str, path: str = "/?c=pictures") -> tuple[Any, Callable[[], None]]:
        page, waiting = opened(None), []
        page.route(f"**/{name}", lambda asked: waiting.append(asked))
        page.goto(path)
        if "v=" not in path:
            tiles(page, 9)

        def let_go() -> None:
            until(lambda: waiting or page.wait_for_timeout(20))
            for asked in waiting:
                asked.continue_()
            page.network.rests()
            page.wait_for_timeout(200)  # for what would come of it

        return page, let_go

    return show


def said(page: Any) -> Any:
    return page.locator("#said")


def nothing_is_open(page: Any) -> None:
    expect(said(page)).to_be_hidden()
    assert page.locator("dialog[open]").count() == 0
    assert "open=" not in page.url


@pytest.mark.parametrize("how", ["Escape", "Cancel", "Close the message", "Back"])
def test_a_picture_that_is_on_its_way_is_called_off(held: Callable[..., Any], how: str) -> None:
    page, let_go = held("viewer.js")
    picture = page.get_by_role("list", name="Results").get_by_role("link").first
    picture.click()
    expect(page.locator("#said-text")).to_have_text("Opening the picture…")
    if how == "Escape":
        page.keyboard.press("Escape")
    elif how == "Back":
        page.go_back()
    else:
        said(page).get_by_role("button", name=how).click()
    expect(page).not_to_have_url(re.compile("open="))
    let_go()
    nothing_is_open(page)
    picture.click()
    expect(page.get_by_role("button", name="More like this")).to_be_visible()


def test_who_closes_a_picture_while_the_next_is_on_its_way_sees_neither(opened: Callable[..., Any]) -> None:
    page, waiting = opened(None, expected=("ERR_FAILED",)), []
    page.route("**/images?*", lambda asked: asked.abort())  # what the grid would know of all
    page.goto("/?c=pictures&open=1")
    expect(page.get_by_role("button", name="More like this")).to_be_visible()
    page.route(re.compile(r"/images/\d+$"), lambda asked: waiting.append(asked))
    page.keyboard.press("ArrowRight" if page.locator(".viewer .right").is_enabled() else "ArrowLeft")
    until(lambda: waiting or page.wait_for_timeout(20))
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    waiting[0].continue_()
    page.wait_for_timeout(300)  # for what would come of it
    nothing_is_open(page)


def test_the_link_to_a_picture_stays_when_the_viewer_cannot_be_had(opened: Callable[..., Any]) -> None:
    page = opened(None, expected=("ERR_FAILED",))
    page.route("**/viewer.js", lambda asked: asked.abort())
    page.goto("/?c=pictures&open=1")
    expect(said(page)).to_contain_text("The service does not answer")
    expect(page).to_have_url(re.compile("open=1"))
    page.unroute_all()
    said(page).get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="More like this")).to_be_visible()
    expect(said(page)).to_be_hidden()


def test_a_picture_that_failed_is_clicked_again_and_back_leads_to_where_one_was(opened: Callable[..., Any]) -> None:
    page = opened(None, expected=("ERR_FAILED",))
    page.route("**/viewer.js", lambda asked: asked.abort())
    page.goto("/?c=pictures")
    tiles(page, 9)
    picture = page.get_by_role("list", name="Results").get_by_role("link").first
    picture.click()
    expect(said(page)).to_contain_text("The service does not answer")
    page.unroute_all()
    picture.click()
    expect(page.get_by_role("button", name="More like this")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("open="))
    assert page.evaluate("history.state?.from ?? null") is None  # no second step to the picture lies before


@pytest.mark.parametrize("how", ["Escape", "Cancel", "Runs"])
def test_a_library_that_is_on_its_way_is_called_off(held: Callable[..., Any], how: str) -> None:
    page, let_go = held("library.js")
    button = page.get_by_role("button", name="Library")
    button.click()
    expect(page.locator("#said-text")).to_have_text("Opening the library…")
    if how == "Escape":
        page.keyboard.press("Escape")
    elif how == "Runs":
        page.get_by_role("link", name=how).click()
        expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
    else:
        said(page).get_by_role("button", name=how).click()
    let_go()
    nothing_is_open(page)
    button.click()
    expect(page.get_by_role("dialog", name="Library")).to_be_visible()


def test_a_library_that_is_asked_for_twice_opens_once(held: Callable[..., Any]) -> None:
    page, let_go = held("library.js")
    page.get_by_role("button", name="Library").dblclick()
    let_go()
    expect(page.get_by_role("dialog", name="Library")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Library")).to_be_hidden()


def test_a_view_that_is_on_its_way_is_told_of(held: Callable[..., Any]) -> None:
    page, let_go = held("views/runs.js")
    page.get_by_role("link", name="Runs").click()
    expect(page.locator("#said-text")).to_have_text("Loading…")
    page.get_by_role("link", name="Search").click()
    expect(said(page)).to_be_hidden()
    let_go()
    tiles(page, 9)
    expect(page.get_by_role("heading", name="No folder of training runs")).to_be_hidden()


def test_the_pictures_of_a_collection_and_a_list_of_runs_are_told_of(opened: Callable[..., Any]) -> None:
    page, waiting = opened(None), []
    page.route(re.compile("/columns$|/label-runs$"), lambda asked: waiting.append(asked))
    page.goto("/?c=pictures")
    expect(page.locator("#said-text")).to_have_text("Loading…")
    page.get_by_role("link", name="Review").click()
    expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()
    expect(said(page)).to_be_hidden()
    page.unroute_all()
    page.reload()
    expect(page.get_by_role("button", name="Label pictures")).to_be_visible()


def test_filters_that_are_on_their_way_are_told_of(held: Callable[..., Any]) -> None:
    page, let_go = held("facets.js")
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.get_by_role("region", name="Filters")).to_have_text("Counting…")
    let_go()
    expect(page.get_by_role("group", name="Taken")).to_be_visible()


def test_pictures_that_could_not_be_added_are_added_by_a_second_try(
    opened: Callable[..., Any], tmp_path: Path, url: str
) -> None:
    page, waiting = opened(None, expected=("ERR_FAILED",)), []
    page.route("**/adding.js", lambda asked: waiting.append(asked))
    page.goto("/?c=pictures")
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    library.get_by_label("to the collection").fill("late")
    library.locator("input[type=file]").first.set_input_files(draw(tmp_path / "new", 2))
    expect(page.locator("#said-text")).to_have_text("Adding pictures…")
    until(lambda: waiting or page.wait_for_timeout(20))
    waiting[0].abort()
    expect(page.locator("#said-text")).to_contain_text("The pictures could not be added: The service does not answer")
    page.unroute_all()
    said(page).get_by_role("button", name="Try again").click()
    expect(page.locator("#said-text")).to_have_text("2 pictures added.")
    page.close()  # it asks for what they are called
    with Client(url) as client:
        client.delete_collection("late")


def test_what_is_said_while_one_waits_is_not_said_over(opened: Callable[..., Any]) -> None:
    page, asked = opened(None, expected=("503",)), []

    def answer(route: Any) -> None:
        asked.append(route)
        if len(asked) > 2:
            route.continue_()
        else:
            route.fulfill(status=503, json={"error": {"message": "it starts", "code": "not_ready"}})

    page.route("**/v1/info", answer)
    page.goto("/?c=pictures")
    expect(page.locator("#said-text")).to_have_text("Starting: the model is being loaded…")
    page.wait_for_timeout(600)  # longer than one waits untold
    assert page.locator("#said-text").text_content() != "Loading…"
    tiles(page, 9)
    expect(said(page)).to_be_hidden()
