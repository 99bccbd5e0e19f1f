"""Pictures on their way into a collection: how far they are, what ends it, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from service_world import draw, until

from glimpse.client import Client
from tests.seen_pages import tiles

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

SENT = "**/v1/collections/some/images"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        client.create_collection("some")
        yield client
        client.delete_collection("some")


def choose(page: Any, files: list[Path], collection: str = "some") -> None:
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    library.get_by_label("to the collection").fill(collection)
    library.locator("input[type=file]").first.set_input_files(files)


class Held:
    """The requests that send pictures, of which those from so many on wait."""

    def __init__(self, page: Any, after: int) -> None:
        self.page, self.sent, self.waiting, self.after = page, [], [], after
        page.route(SENT, self._answer)

    def _answer(self, route: Any) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        self.sent.append(route)
        if len(self.sent) > self.after:
            self.waiting.append(route)
        else:
            route.continue_()

    def one_waits(self) -> Any:
        until(lambda: self.waiting or self.page.wait_for_timeout(20))
        return self.waiting.pop(0)

    def all_pass(self) -> None:
        self.after = 1000


def said(page: Any) -> Any:
    return page.locator("#said-text")


def press(page: Any, name: str) -> None:
    page.locator("#said").get_by_role("button", name=name).click()


def test_what_is_under_way_is_stopped_and_goes_on_with_the_rest(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened("/?c=some")
    held = Held(page, 1)
    choose(page, draw(tmp_path / "new", 20))
    expect(said(page)).to_have_text("Adding pictures to some: 8 of 20…")
    tiles(page, 8)
    held.one_waits()
    press(page, "Stop")
    expect(said(page)).to_have_text("8 pictures added · 12 pictures are not added.")
    assert client.collection("some").counts["image"] == 8
    held.all_pass()
    press(page, "Go on")
    expect(said(page)).to_have_text("12 pictures added.")
    tiles(page, 20)


def test_what_has_failed_goes_on_with_the_rest(client: Client, opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened("/?c=some", expected=("500",))
    held = Held(page, 2)
    choose(page, draw(tmp_path / "new", 20))
    held.one_waits().fulfill(status=500, json={"error": {"message": "it failed", "code": "internal_error"}})
    expect(said(page)).to_contain_text("16 pictures added · 4 pictures are not added: The service has failed at this.")
    page.get_by_role("link", name="Labs").click()  # which does not lose the rest
    expect(page.get_by_role("heading", name="Labs", exact=True)).to_be_visible()
    held.all_pass()
    press(page, "Try again")
    expect(said(page)).to_have_text("4 pictures added.")
    assert len(held.sent) == 4
    assert held.sent[-1].request.post_data_buffer.count(b"filename=") == 4
    assert "v=labs" in page.url


def test_a_full_collection_is_told_once_and_sent_no_more(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    client.set_quota("some", entries=3)
    page = opened("/?c=some", expected=("413",))
    held = Held(page, 1000)
    choose(page, draw(tmp_path / "new", 30))
    expect(said(page)).to_contain_text("27 pictures are not added: The collection may not hold more")
    assert len(held.sent) < 10


def test_two_lots_are_added_one_after_the_other(client: Client, opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened("/?c=some")
    held, files = Held(page, 1), draw(tmp_path / "new", 12)
    choose(page, files[:10])
    waits = held.one_waits()
    choose(page, files[10:])
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)  # longer than the second would take to be sent
    assert held.waiting == []
    held.all_pass()
    waits.continue_()
    expect(said(page)).to_have_text("10 pictures added.")
    expect(said(page)).to_have_text("2 pictures added.")
    tiles(page, 12)


def test_a_lot_that_is_stopped_while_it_waits_makes_nothing(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened("/?c=some")
    held, files = Held(page, 0), draw(tmp_path / "new", 4)
    choose(page, files[:1])
    waits = held.one_waits()
    choose(page, files[1:2], "never made")
    choose(page, files[2:])
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    row = library.get_by_role("listitem").filter(has_text="Sending pictures to never made waits")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(0)
    expect(said(page)).to_have_text("1 picture is not added.")
    assert held.waiting == []  # the third waits for the first all the same
    held.all_pass()
    waits.continue_()
    expect(said(page)).to_have_text("2 pictures added.")
    assert client.collection("some").counts["image"] == 3
    page.keyboard.press("Escape")
    choose(page, files[:1])
    expect(said(page)).to_have_text("1 was there already.")
    assert "never-made" not in {each.name for each in client.collections()}


def test_who_has_gone_elsewhere_before_their_turn_comes_stays_there(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened("/?c=pictures")
    tiles(page, 9)
    held, files = Held(page, 0), draw(tmp_path / "new", 11)
    choose(page, files[:1])
    waits = held.one_waits()
    choose(page, files[1:])
    page.get_by_role("link", name="Labs").click()
    expect(page.get_by_role("heading", name="Labs", exact=True)).to_be_visible()
    held.all_pass()
    waits.continue_()
    expect(said(page)).to_have_text("10 pictures added.")
    assert "v=labs" in page.url


def test_who_leaves_while_pictures_are_sent_is_asked(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened("/?c=some")
    held, asked = Held(page, 0), []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    choose(page, draw(tmp_path / "new", 2))
    waits = held.one_waits()
    page.evaluate("location.reload()")
    until(lambda: asked or page.wait_for_timeout(20))
    assert asked == ["beforeunload"]
    waits.continue_()
    expect(said(page)).to_have_text("2 pictures added.")
    page.reload()
    tiles(page, 2)
    assert asked == ["beforeunload"]


def test_who_looks_at_another_collection_stays_there(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened("/?c=pictures")
    tiles(page, 9)
    held = Held(page, 0)
    choose(page, draw(tmp_path / "new", 2))
    waits = held.one_waits()
    page.get_by_role("link", name="Labs").click()
    expect(page.get_by_role("heading", name="Labs", exact=True)).to_be_visible()
    waits.continue_()
    expect(said(page)).to_have_text("2 pictures added.")
    assert "c=pictures" in page.url
    press(page, "Look at them")
    tiles(page, 2)


def test_who_closes_the_message_finds_it_among_the_jobs(
    client: Client, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened("/?c=some")
    held, files = Held(page, 1), draw(tmp_path / "new", 30)
    choose(page, files[:28])
    waits = held.one_waits()
    choose(page, files[28:])
    expect(said(page)).to_have_text("2 files wait for those that are on their way.")
    waits.continue_()
    expect(said(page)).to_have_text("Adding pictures to some: 16 of 28…")
    page.locator("#said").get_by_role("button", name="Close the message").click()
    held.one_waits().continue_()
    held.one_waits()
    page.wait_for_timeout(200)  # longer than it takes to tell how far it is
    expect(page.locator("#said")).to_be_hidden()
    expect(page.locator("#open-library .badge")).to_have_text("2")
    page.get_by_role("button", name="Library").click()
    rows = (
        page.get_by_role("dialog", name="Library").get_by_role("listitem").filter(has_text="Sending pictures to some")
    )
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("24 of 28")
    expect(rows.last).to_contain_text("waits")
    held.all_pass()
    rows.first.get_by_role("button", name="Cancel").click()
    expect(said(page)).to_have_text("24 pictures added · 4 pictures are not added.")
    expect(rows).to_have_count(0)
    assert client.collection("some").counts["image"] == 26
