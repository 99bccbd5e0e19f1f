"""What the service refuses, as a person at the page reads it: what to do, in no words of programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from glimpse.client import Client
from tests.seen_pages import tiles

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

AWAY = "The service does not answer. Is it still running?"


def said(page: Any) -> Any:
    return page.locator("#said-text")


def test_a_label_set_of_that_name_is_there(opened: Callable[..., Any], url: str) -> None:
    page = opened(None, expected=("412",))
    with Client(url) as client:
        job = client.wait_for(client.start_job("label", collection="pictures", labels=["boat", "house"]))
        client.keep_label_set("theirs", ["a"])
        page.goto(f"/?v=review&run={job.report['run']}")
        page.locator("#view-review .menu summary").click()
        page.get_by_label("Name of the label set").fill("theirs")
        page.get_by_role("button", name="Save as label set").click()
        expect(said(page)).to_have_text("There is a label set of this name already: replace it, or choose another name")
        client.delete_label_set("theirs")


def test_a_field_is_named_as_who_writes_there_knows_it(opened: Callable[..., Any]) -> None:
    page = opened("/?c=pictures", expected=("422",))
    page.get_by_role("button", name="Library").click()
    page.get_by_role("button", name="Rename the collection pictures").click()
    title = page.get_by_label("Title of the collection pictures")
    title.evaluate("(field) => (field.maxLength = 1000)")
    title.fill("a" * 200)
    title.press("Enter")
    expect(said(page)).to_have_text("The title must have 120 characters at most")


def test_a_folder_that_may_not_be_read(opened: Callable[..., Any]) -> None:
    page = opened("/?c=pictures", expected=("403", "422"))
    page.get_by_role("button", name="Library").click()
    for path, told in (
        ("/nowhere", "The service may read no such folder. Write all of its path"),
        ("nowhere", "The folder must be an absolute path"),
    ):
        page.get_by_label("Or a folder of the server").fill(path)
        page.get_by_role("button", name="Index the folder").click()
        expect(said(page)).to_contain_text(told)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, "<!doctype html><title>Sign in</title>", AWAY),
        (502, "<h1>502 Bad Gateway</h1>", AWAY),
        (403, "<h1>403 Forbidden</h1>", "What stands before the service has answered in its place: it lets this page"),
    ],
)
def test_a_proxy_that_answers_in_its_place(opened: Callable[..., Any], status: int, body: str, told: str) -> None:
    page = opened("/?c=pictures", expected=(str(status),) if status > 200 else ())
    tiles(page, 9)
    page.route("**/search", lambda asked: asked.fulfill(status=status, content_type="text/html", body=body))
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    expect(page.get_by_text(told)).to_be_visible()


def test_a_view_that_cannot_be_loaded_is_told_of_without_addresses(opened: Callable[..., Any]) -> None:
    page = opened("/?c=pictures", expected=("ERR_FAILED",))
    page.route("**/static/views/runs.js", lambda asked: asked.abort())
    page.get_by_role("link", name="Runs").click()
    expect(said(page)).to_have_text("This view cannot be loaded: the service does not answer.")
