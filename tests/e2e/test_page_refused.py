"""What the service refuses, as a person at the page reads it: what to do, in no words of programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from glimpse.client import Client
from service.app import create_app
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


def test_a_file_that_is_not_to_be_had_is_no_download(opened: Callable[..., Any], tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    (file,) = draw(tmp_path / "files", 1)
    add_collection(tmp_path, encoder, [file])
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened("/?c=pictures&open=1", base=url, expected=("404",))
        with page.expect_download() as saved:
            page.get_by_role("link", name="Download").click()
        assert saved.value.path().read_bytes() == file.read_bytes()
        file.unlink()
        page.get_by_role("link", name="Download").click()
        expect(said(page)).to_contain_text("The file of this picture is no longer there")


def test_a_file_of_a_camera_is_no_download(opened: Callable[..., Any], tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    raw = draw(tmp_path / "files", 1)[0].rename(tmp_path / "files" / "DSC_1.nef")
    add_collection(tmp_path, encoder, [raw])
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened("/?c=pictures&open=1", base=url, expected=("415",))
        page.get_by_role("link", name="Download").click()
        expect(said(page)).to_have_text(
            "The service gives out no files of this kind: what is shown is a smaller picture of it"
        )


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
    expect(page.locator("#said-text, #view-search .status").filter(has_text=told)).to_be_visible()


def test_a_view_that_cannot_be_loaded_is_told_of_without_addresses(opened: Callable[..., Any]) -> None:
    page = opened("/?c=pictures", expected=("ERR_FAILED",))
    page.route("**/static/views/runs.js", lambda asked: asked.abort())
    page.get_by_role("link", name="Runs").click()
    expect(said(page)).to_have_text("This view cannot be loaded: the service does not answer.")
