"""Tags on the page: given and taken away, of one picture and of many, undone; and what else is told of a picture."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seen_pages import tiles
from service_world import draw, serving, settings_for, tiny_encoder, until

from glimpse.client import Client
from index.collection import Entry, open_collection
from service.app import create_app
from service.keys import add_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

LONG = "a tag that is " + "very " * 16 + "long"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A service without any collection: (address, data folder)."""
    data = tmp_path_factory.mktemp("tags")
    draw(data / "files", 5)
    with serving(create_app(settings_for(data), tiny_encoder(data))) as url:
        yield url, data


@pytest.fixture
def client(world: tuple[str, Path]) -> Iterator[Client]:
    """With a collection of five pictures; name it before `opened`, whose page goes first."""
    with Client(world[0]) as client:
        client.create_collection("pictures")
        client.add_images("pictures", sorted((world[1] / "files").iterdir()))
        yield client
        client.delete_collection("pictures")


def ids_of(client: Client) -> list[int]:
    return [entry.id for entry in client.entries("pictures")]


def tags_of(client: Client) -> list[Any]:
    return [entry.metadata.get("tags") for entry in client.entries("pictures")]


def select_all(page: Any) -> Any:
    """Select the five pictures by keys; the bar of what can be done with them."""
    tiles(page, 5).first.focus()
    page.keyboard.press("Control+a")
    bar = page.get_by_role("toolbar", name="Selected pictures")
    expect(bar).to_contain_text("5 selected")
    return bar


def names_of_tags(of: Any) -> Any:
    return of.locator(".chip.tag .value")


def press_until_focused(page: Any, what: Any) -> None:
    for _ in range(40):
        if what.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the keyboard does not come there")


def test_tags_are_taken_away_from_many_and_given_back(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any], axe: Callable[[Any], None]
) -> None:
    ids = ids_of(client)
    client.patch_entries("pictures", filter={"must": [{"has_id": ids[:3]}]}, add_tags=["sea"])
    client.patch_entries("pictures", filter={"must": [{"has_id": ids[2:4]}]}, add_tags=['a, "b" <i>', "🏖️ été", LONG])
    before = tags_of(client)
    page = opened("/?c=pictures", base=world[0], height=900)
    bar = select_all(page)
    bar.get_by_role("button", name="Tags").press("Enter")
    here = bar.get_by_role("group", name="Tags of the selected pictures")
    expect(names_of_tags(here)).to_have_text(["sea", LONG, 'a, "b" <i>', "🏖️ été"])
    expect(here.locator(".count")).to_have_text(["3", "2", "2", "2"])
    axe(page)
    here.get_by_role("button", name="Take away the tag “sea”").press("Enter")
    said = page.locator("#said-text")
    expect(said).to_have_text("3 pictures no longer tagged “sea”.")
    expect(names_of_tags(here)).to_have_count(3)
    expect(here.get_by_role("button").first).to_be_focused()  # whose button goes is not lost
    assert [tags and "sea" in tags for tags in tags_of(client)] == [None, None, False, False, None]
    page.keyboard.press("Control+z")
    expect(said).to_have_text("3 pictures tagged “sea”.")  # those that had it
    expect(names_of_tags(here)).to_have_count(4)
    assert [sorted(tags or []) for tags in tags_of(client)] == [sorted(tags or []) for tags in before]
    page.get_by_role("button", name="Undo").click()
    expect(said).to_have_text("3 pictures no longer tagged “sea”.")
    for tag in ('a, "b" <i>', "🏖️ été", LONG):
        here.get_by_role("button", name=f"Take away the tag “{tag}”").click()
        expect(here.get_by_role("button", name=f"Take away the tag “{tag}”")).to_have_count(0)
    expect(here).to_have_text("None of them has a tag.")
    assert tags_of(client) == [None] * 5
    page.keyboard.press("Escape")


def test_what_was_tagged_before_stays_so_when_tagging_is_undone(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    first, *_ = ids_of(client)
    composed, apart = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    client.update_entry("pictures", first, metadata={"tags": [apart]})
    page = opened("/?c=pictures", base=world[0], height=900)
    bar = select_all(page)
    bar.get_by_label("Add a tag").fill(composed)
    page.keyboard.press("Enter")
    said = page.locator("#said-text")
    expect(said).to_have_text(f"5 pictures tagged “{composed}”.")
    assert tags_of(client) == [[apart], *[[composed]] * 4]
    client.update_entry("pictures", first, add_tags=["theirs"])
    bar.get_by_role("button", name="Tags").click()
    expect(names_of_tags(bar)).to_have_text([composed, "theirs"])  # what looks the same is there once
    page.get_by_role("button", name="Undo").click()
    expect(said).to_have_text(f"4 pictures no longer tagged “{composed}”.")
    assert tags_of(client) == [[apart, "theirs"], *[None] * 4]


def test_pictures_that_others_delete_meanwhile_are_counted(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    first, second, *_ = ids_of(client)
    client.patch_entries("pictures", filter={}, all=True, tags=["sea"])
    page = opened("/?c=pictures", base=world[0], height=900)
    bar = select_all(page)
    bar.get_by_role("button", name="Tags").click()
    expect(names_of_tags(bar)).to_have_text(["sea"])
    client.delete_entry("pictures", first)
    bar.get_by_role("button", name="Take away the tag “sea”").click()
    said = page.locator("#said-text")
    expect(said).to_have_text("4 pictures no longer tagged “sea” · 1 is no longer there.")
    client.delete_entry("pictures", second)
    page.get_by_role("button", name="Undo").click()
    expect(said).to_have_text("3 pictures tagged “sea” · 1 is no longer there.")


def test_what_the_filters_no_longer_let_through_goes_and_is_not_selected(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    ids = ids_of(client)
    client.patch_entries("pictures", filter={"must": [{"has_id": ids[:3]}]}, add_tags=["sea"])
    client.patch_entries("pictures", filter={"must": [{"has_id": ids[:1]}]}, add_tags=["sun"])
    page = opened("/?c=pictures&f=tags:sea", base=world[0], height=900)
    tiles(page, 3).first.focus()
    page.keyboard.press("Control+a")
    bar = page.get_by_role("toolbar", name="Selected pictures")
    bar.get_by_role("button", name="Tags").click()
    bar.get_by_role("button", name="Take away the tag “sun”").click()
    expect(page.locator("#said-text")).to_have_text("1 picture no longer tagged “sun”.")
    tiles(page, 3)
    expect(bar).to_contain_text("3 selected")
    bar.get_by_role("button", name="Take away the tag “sea”").click()
    expect(page.get_by_role("heading", name="Nothing passes these filters")).to_be_visible()
    expect(bar).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    tiles(page, 3)


@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1280, "light")])
def test_one_pictures_tags_are_given_and_taken_away_where_they_are_seen(
    world: tuple[str, Path],
    client: Client,
    opened: Callable[..., Any],
    axe: Callable[[Any], None],
    width: int,
    theme: str,
) -> None:
    first, *rest = ids_of(client)
    client.patch_entries("pictures", filter={"must": [{"has_id": [first]}]}, tags=["sea", "قطة", LONG])
    client.update_entry("pictures", rest[0], tags=["snow"])
    page = opened(f"/?c=pictures&open={first}", base=world[0], width=width, theme=theme)
    viewer = page.get_by_role("dialog")
    tags = viewer.get_by_role("group", name="Tags")
    expect(names_of_tags(tags)).to_have_text(["sea", "قطة", LONG])
    expect(viewer.locator("img")).to_have_js_property("naturalWidth", 320)
    axe(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    away = tags.get_by_role("button", name="Take away the tag “sea”")
    press_until_focused(page, away)
    page.keyboard.press("Enter")
    said = page.locator("#said-text")
    expect(said).to_have_text("1 picture no longer tagged “sea”.")
    expect(names_of_tags(tags)).to_have_text(["قطة", LONG])
    expect(tags.get_by_role("button").first).to_be_focused()
    field = tags.get_by_label("Add a tag to this picture")
    press_until_focused(page, field)
    expect(tags.locator("datalist option")).to_have_count(3)
    offered = tags.locator("datalist option").evaluate_all("(all) => all.map((each) => each.value)")
    assert set(offered) == {"قطة", LONG, "snow"}
    page.keyboard.type("half")
    page.keyboard.press("ArrowLeft")  # within what is written
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    expect(viewer).to_be_visible()
    page.keyboard.type(" sun, rain ")
    page.keyboard.press("Enter")
    expect(said).to_have_text("1 picture tagged “sun, rain”.")
    expect(names_of_tags(tags)).to_have_text(["قطة", LONG, "sun, rain"])
    expect(field).to_be_focused()
    assert client.entry("pictures", first).metadata["tags"] == ["قطة", LONG, "sun, rain"]
    undo, below = page.get_by_role("button", name="Undo"), field.bounding_box()
    box = undo.bounding_box()
    assert box["y"] + box["height"] <= below["y"] or box["y"] >= below["y"] + below["height"] or width > 400
    undo.click()
    expect(names_of_tags(tags)).to_have_text(["قطة", LONG])
    field.focus()
    page.keyboard.press("ArrowLeft" if viewer.get_by_role("button", name="Previous").is_visible() else "ArrowRight")
    expect(names_of_tags(tags)).not_to_have_text(["قطة", LONG])  # one goes on from the field, to tag the next
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    tiles(page, 5)
    page.goto(f"/?c=pictures&open={first}")
    expect(names_of_tags(tags)).to_have_text(["قطة", LONG])
    names_of_tags(tags).first.click()  # all that have it
    tiles(page, 1)
    assert "f=tags" in page.url


def test_one_goes_on_through_what_a_filter_let_through_while_its_tag_is_taken_away(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={"must": [{"has_id": ids_of(client)[:3]}]}, tags=["sea"])
    page = opened("/?c=pictures&f=tags:sea", base=world[0])
    tiles(page, 3).first.click()
    viewer = page.get_by_role("dialog")
    for left in (2, 1):
        viewer.get_by_role("button", name="Take away the tag “sea”").click()
        until(lambda n=left: tags_of(client).count(["sea"]) == n)
        expect(names_of_tags(viewer)).to_have_count(0)
        viewer.locator("h2").focus()
        page.keyboard.press("ArrowRight")
        expect(names_of_tags(viewer)).to_have_text(["sea"])
    viewer.get_by_role("button", name="Close", exact=True).click()
    tiles(page, 1)


def test_what_may_not_be_changed_is_not_offered(opened: Callable[..., Any], tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    with serving(create_app(settings_for(tmp_path), encoder)) as url, Client(url) as client:
        client.create_collection("pictures")
        client.add_images("pictures", draw(tmp_path / "files", 5), tags=["sea"])
    key = add_key(tmp_path, "page", "read")
    for read_only in (True, False):
        with serving(create_app(settings_for(tmp_path, read_only=read_only), encoder)) as url:
            page = opened(None, base=url)
            page.add_init_script(f"sessionStorage.setItem('key', {json.dumps(key)})")
            page.goto("/?c=pictures")
            bar = select_all(page)
            expect(bar.get_by_role("button")).to_have_text(["More like these", "Save list", ""])
            expect(bar.get_by_role("textbox")).to_have_count(0)
            page.get_by_role("button", name="Clear the selection").click()
            tiles(page, 5).first.click()
            tags = page.get_by_role("dialog").get_by_role("group", name="Tags")
            expect(tags).to_have_text("sea")
            expect(tags.get_by_role("button")).to_have_count(0)
            expect(tags.get_by_role("combobox")).to_have_count(0)
            page.close()


def test_it_is_told_when_a_picture_was_taken(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    times = ["2024-05-01T12:34:56", "2024-05-01T23:59:59+09:00", None]
    with open_collection(world[1], "pictures", writable=True) as pictures:
        pictures.delete(ids_of(client))
        pictures.upsert(
            [Entry(np.eye(32)[i], "image", f"/p/{i}.jpg", width=4, height=3, taken=t) for i, t in enumerate(times)]
        )
    ids = ids_of(client)
    page = opened(f"/?c=pictures&open={ids[0]}", base=world[0], expected=("404",))
    facts = page.locator(".viewer dl")
    expect(facts).to_have_text("Taken2024-05-01 12:34:56Size4 × 3 pixels")
    page.goto(f"/?c=pictures&open={ids[1]}")
    expect(facts).to_have_text("Taken2024-05-01 23:59:59 UTC+09:00Size4 × 3 pixels")
    page.goto(f"/?c=pictures&open={ids[2]}")
    expect(facts).to_have_text("Size4 × 3 pixels")
    page.keyboard.press("Escape")
    tiles(page, 3).first.focus()
    page.keyboard.press("Control+a")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save list").click()
    rows = [line.split(",")[4] for line in saved.value.path().read_text().splitlines()]
    assert rows == ['"taken"', '"2024-05-01T23:59:59+09:00"', '"2024-05-01T12:34:56"', '""']


def test_a_long_tag_among_the_filters_stays_beside_the_pictures(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={"must": [{"has_id": ids_of(client)[:3]}]}, tags=[LONG])
    page = opened("/?c=pictures&from=2020-01-01&to=2020-01-02", base=world[0])
    days = page.get_by_role("button", name="Remove the filter taken 2020-01-01 to 2020-01-02").locator(".value")
    assert days.evaluate("(value) => value.scrollWidth <= value.clientWidth")  # is told whole
    page.goto("/?c=pictures")
    page.get_by_role("button", name="Filters", exact=True).click()
    chip = page.get_by_role("group", name="tags").get_by_role("button")
    expect(chip).to_have_text(f"{LONG} 3")
    box, pictures = chip.bounding_box(), page.get_by_role("list", name="Results").bounding_box()
    assert box["x"] + box["width"] <= pictures["x"]


def hold(page: Any, pattern: str, method: str) -> Callable[[], None]:
    """Requests of this kind wait until they are let go of."""
    waiting: list[Any] = []
    page.route(pattern, lambda asked: waiting.append(asked) if asked.request.method == method else asked.fallback())

    def let_go() -> None:
        until(lambda: waiting or page.wait_for_timeout(20))
        for asked in waiting:
            asked.continue_()
        page.unroute(pattern)

    return let_go


def test_a_picture_that_is_opened_from_the_map_is_tagged_there(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    assert client.wait_for(client.start_job("map", collection="pictures")).state == "succeeded"
    first, *_ = ids_of(client)
    page = opened(f"/?v=map&c=pictures&near={first}", base=world[0], expected=("GPU stall",))
    page.get_by_role("complementary", name="The chosen picture").get_by_role("link", name="Open", exact=True).click()
    tags = page.get_by_role("dialog").get_by_role("group", name="Tags")
    for tag in ("sea", "sun"):
        tags.get_by_label("Add a tag to this picture").fill(tag)
        page.keyboard.press("Enter")
        expect(page.locator("#said-text")).to_have_text(f"1 picture tagged “{tag}”.")
    expect(names_of_tags(tags)).to_have_text(["sea", "sun"])
    page.get_by_role("dialog").get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("link", name="Open", exact=True).click()
    expect(names_of_tags(tags)).to_have_text(["sea", "sun"])


def test_undo_leaves_pictures_of_another_collection_as_they_are_shown(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.create_collection("others")
    try:
        client.add_images("others", sorted((world[1] / "files").iterdir()), tags=["snow"])
        assert ids_of(client) == [entry.id for entry in client.entries("others")]
        page = opened("/?c=pictures", base=world[0], height=900)
        bar = select_all(page)
        bar.get_by_label("Add a tag").fill("sea")
        page.keyboard.press("Enter")
        expect(page.locator("#said-text")).to_have_text("5 pictures tagged “sea”.")
        page.locator(".top select").select_option("others")
        expect(bar).to_be_hidden()
        page.network.rests()
        tiles(page, 5).first.click()
        tags = page.get_by_role("dialog").get_by_role("group", name="Tags")
        expect(names_of_tags(tags)).to_have_text(["snow"])
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#said-text")).to_have_text("5 pictures no longer tagged “sea”.")
        page.network.rests()
        expect(names_of_tags(tags)).to_have_text(["snow"])
        before = page.url
        page.keyboard.press("ArrowRight")
        expect(page).not_to_have_url(before)
        page.network.rests()
        expect(names_of_tags(tags)).to_have_text(["snow"])
    finally:
        client.delete_collection("others")


def test_who_looks_elsewhere_while_tags_are_taken_away_stays_there(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={"must": [{"has_id": ids_of(client)[:3]}]}, tags=["sea"])
    page = opened("/?c=pictures&f=tags:sea", base=world[0], height=900)
    tiles(page, 3).first.click()
    let_go = hold(page, "**/entries", "PATCH")
    page.get_by_role("button", name="Take away the tag “sea”").click()
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("open="))
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
    let_go()
    expect(page.locator("#said-text")).to_have_text("1 picture no longer tagged “sea”.")
    page.network.rests()
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()  # of what is no longer seen
    expect(page).to_have_title("Runs · glimpse")
    page.go_back()
    tiles(page, 2)


def test_who_closes_a_picture_is_where_they_have_stepped_to_though_others_are_let_through_by_then(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={"must": [{"has_id": ids_of(client)[:3]}]}, tags=["sea"])
    page = opened("/?c=pictures&f=tags:sea", base=world[0])
    tiles(page, 3).first.press("Enter")
    viewer = page.get_by_role("dialog")
    viewer.get_by_role("button", name="Take away the tag “sea”").press("Enter")
    expect(names_of_tags(viewer)).to_have_count(0)
    for _ in range(2):
        before = page.url
        page.keyboard.press("ArrowRight")
        expect(page).not_to_have_url(before)
    page.keyboard.press("Escape")
    expect(tiles(page, 2).last).to_be_focused()


def test_what_is_selected_and_written_stays_while_the_network_is_away(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={}, all=True, tags=["sea"])
    page = opened("/?c=pictures&f=tags:sea", base=world[0], height=900, expected=("ERR_INTERNET_DISCONNECTED",))
    bar = select_all(page)
    said, field = page.locator("#said-text"), bar.get_by_label("Add a tag")
    field.fill("sun")
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(said).to_have_text("The service does not answer. Is it still running?")
    expect(field).to_have_value("sun")
    page.wait_for_timeout(200)  # for what would come of it
    tiles(page, 5)
    page.context.set_offline(False)
    field.press("Enter")
    expect(said).to_have_text("5 pictures tagged “sun”.")
    expect(bar).to_contain_text("5 selected")
    page.context.set_offline(True)
    page.keyboard.press("Control+z")
    expect(said).to_have_text("The service does not answer. Is it still running?")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(said).to_have_text("5 pictures no longer tagged “sun”.")
    assert tags_of(client) == [["sea"]] * 5


def test_a_tag_that_is_being_written_stays_while_others_add_pictures(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    first, *_ = ids_of(client)
    page = opened(f"/?c=pictures&open={first}", base=world[0])
    field = page.get_by_label("Add a tag to this picture")
    field.press_sequentially("half of")
    client.add_images("pictures", draw(world[1] / "more", 6)[5:])
    page.evaluate("dispatchEvent(new Event('focus'))")  # of the window
    expect(page.locator(".pictures > li")).to_have_count(6)
    page.network.rests()
    expect(field).to_have_value("half of")
    expect(field).to_be_focused()


def test_keys_go_on_after_what_had_the_focus_in_a_picture_has_gone(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={}, all=True, tags=["sea", "sun"])
    page = opened("/?c=pictures", base=world[0])
    tiles(page, 5).first.press("Enter")
    viewer = page.get_by_role("dialog")
    for what in (names_of_tags(viewer).last, viewer.get_by_role("button", name="More like this")):
        what.focus()
        before = page.url
        page.keyboard.press("ArrowRight")
        expect(page).not_to_have_url(before)
        page.network.rests()
        assert viewer.evaluate("(dialog) => dialog.contains(document.activeElement)")


def test_a_finger_that_takes_the_last_tag_away_has_no_keyboard_shown(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    first, *_ = ids_of(client)
    client.update_entry("pictures", first, tags=["sea"])
    page = opened(f"/?c=pictures&open={first}", base=world[0], width=360, has_touch=True, is_mobile=True)
    tags = page.get_by_role("dialog").get_by_role("group", name="Tags")
    tags.get_by_role("button", name="Take away the tag “sea”").tap()
    expect(names_of_tags(tags)).to_have_count(0)
    expect(tags).to_be_focused()


def test_who_presses_twice_is_still_offered_to_undo_it(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    client.patch_entries("pictures", filter={}, all=True, tags=["sea"])
    page = opened("/?c=pictures", base=world[0], height=900)
    bar = select_all(page)
    bar.get_by_role("button", name="Tags").click()
    let_go = hold(page, "**/entries", "PATCH")
    bar.get_by_role("button", name="Take away the tag “sea”").dblclick()
    let_go()
    expect(page.locator("#said-text")).to_have_text("5 pictures no longer tagged “sea”.")
    page.wait_for_timeout(1700)  # until another message would have its turn
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#said-text")).to_have_text("5 pictures tagged “sea”.")


def test_undo_by_keys_leaves_a_field_its_own(
    world: tuple[str, Path], client: Client, opened: Callable[..., Any]
) -> None:
    page = opened("/?c=pictures", base=world[0], height=900)
    bar = select_all(page)
    said, field, search = (
        page.locator("#said-text"),
        bar.get_by_label("Add a tag"),
        page.get_by_label("Search by words"),
    )
    field.fill("sea")
    page.keyboard.press("Enter")
    expect(page.locator("#aloud")).to_have_text("5 pictures tagged “sea”. Control and Z undoes it.")
    search.press_sequentially("boat")
    for key in ("Control+a", "Delete", "Control+z"):
        page.keyboard.press(key)
    page.wait_for_timeout(200)  # for what would come of it
    assert tags_of(client) == [["sea"]] * 5
    field.focus()  # it is empty, as what was written there is a tag now
    page.keyboard.down("Control")
    page.keyboard.down("z")
    expect(said).to_have_text("5 pictures no longer tagged “sea”.")
    page.keyboard.down("z")  # it is held, and undoes no more
    page.keyboard.up("z")
    page.keyboard.up("Control")
    page.wait_for_timeout(200)
    assert tags_of(client) == [None] * 5
