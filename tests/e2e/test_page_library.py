"""Collections on the page: the first one, adding pictures, jobs, selecting many, deleting; in a real browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from seen_pages import tiles, until_so
from service_world import draw, serving, settings_for, tiny_encoder, until

from glimpse.client import Client
from index.collection import Entry, open_collection
from service.app import create_app
from service.keys import add_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

DROP = """async ([selector, names]) => {
  const transfer = new DataTransfer();
  for (const [name, base64] of names) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, {type: name.endsWith("txt") ? "text/plain" : "image/png"}));
  }
  const send = (target, kind) =>
    target.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
  send(document.body, "dragenter");
  await new Promise((resolve) => setTimeout(resolve, 50));
  send(document.querySelector(selector), "drop");
}"""


def dropped(page, half, *files):
    """Drop files, of this machine or (name, bytes), on one half of the page."""
    from base64 import b64encode

    named = [each if isinstance(each, tuple) else (each.name, each.read_bytes()) for each in files]
    page.evaluate(DROP, [f'[data-half="{half}"]', [(name, b64encode(data).decode()) for name, data in named]])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A service without any collection, whose jobs may read a folder of five pictures: (address, data folder)."""
    data = tmp_path_factory.mktemp("library")
    draw(data / "files", 5)
    with serving(create_app(settings_for(data, job_roots=[str(data / "files")]), tiny_encoder(data))) as url:
        yield url, data


@pytest.fixture
def client(world):
    """Whatever a test makes goes after it, and after the page that shows it: name it before `opened`."""
    with Client(world[0]) as client:
        yield client
        for collection in client.collections():
            client.delete_collection(collection.name)


def test_the_first_collection_comes_of_a_folder_that_the_operator_allows(world, client, opened, axe):
    page = opened("/", base=world[0])
    playwright.expect(page.get_by_role("heading", name="Find pictures by what they show")).to_be_visible()
    axe(page)
    page.get_by_label("Name of the collection").fill("holiday")
    assert page.get_by_label("Folder of the server").input_value() == str(world[1] / "files")
    page.get_by_role("button", name="Index it").click()
    page.get_by_role("link", name="Look at the first").or_(page.get_by_role("list", name="Results")).first.wait_for()
    if (look := page.get_by_role("link", name="Look at the first")).is_visible():
        look.click()
    tiles(page, 5)
    assert [collection.name for collection in client.collections()] == ["holiday"]


def test_the_first_collection_comes_of_dropped_files(world, client, opened):
    page = opened("/", base=world[0], width=390, height=780)
    page.get_by_label("Name of the collection").fill("mine")
    files = sorted((world[1] / "files").iterdir())[:3]
    dropped(page, "add", *files, ("notes.txt", b"no picture"), ("broken.png", b"no picture either"))
    tiles(page, 3)
    said = page.locator("#said-text")
    playwright.expect(said).to_contain_text(
        "3 pictures added · 1 file left out: no picture · broken.png cannot be read"
    )
    playwright.expect(said).to_contain_text("broken.png")
    playwright.expect(page.locator(".pictures .caption").first).to_have_text(re.compile(r"^0\d\.(png|jpg)$"))  # no hash
    assert client.collection("mine").counts["image"] == 3


def test_files_are_dropped_to_search_by_them_or_to_add_them(world, client, opened):
    files = sorted((world[1] / "files").iterdir())
    client.create_collection("pictures")
    client.add_images("pictures", files[:4])
    page = opened("/?c=pictures", base=world[0])
    tiles(page, 4)
    dropped(page, "search", files[2])
    playwright.expect(page.get_by_role("status").first).to_contain_text("4 nearest")
    playwright.expect(page.locator(".pictures .caption").first).to_have_text(files[2].name)
    dropped(page, "search", files[1])  # one more picture: both weigh
    playwright.expect(page.get_by_role("slider")).to_have_count(2)
    page.get_by_role("slider").last.evaluate("(it) => { it.value = -0.5; it.dispatchEvent(new Event('change')); }")
    playwright.expect(page.locator(".pictures .caption").first).to_have_text(files[2].name)
    page.wait_for_url("**/*img=*&img=*:-0.5*")
    dropped(page, "add", files[4])
    playwright.expect(page.locator("#said-text")).to_have_text("1 picture added.")
    assert client.collection("pictures").counts["image"] == 5


def drop_here(page, *paths):
    """Drop files or folders of this machine, as a file manager does: on the half that adds them."""
    drag = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        drag.send("Input.dispatchDragEvent", {"type": kind, "x": 1000, "y": 400, "data": data})


def test_a_folder_is_dropped_with_all_that_lies_below_it(world, client, opened, tmp_path):
    client.create_collection("empty")
    page = opened("/?c=empty", base=world[0])
    expect_said = playwright.expect(page.locator("#said-text")).to_have_text
    playwright.expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    drop_here(page, tmp_path / "nothing")
    expect_said("There was no picture among these files.")
    folder = tmp_path / "photos"
    files = draw(folder / "2024" / "may", 30)
    for i in range(110):  # a browser gives a hundred at a time
        (folder / "2024" / f"{i}.txt").write_text("no picture")
    for file in files[20:]:
        file.rename(folder / file.name)
    (folder / "broken.jpg").write_bytes(b"broken")
    drop_here(page, folder)
    expect_said(
        "30 pictures added · 110 files left out: no picture · "
        "broken.jpg cannot be read: not an image that glimpse knows."
    )
    playwright.expect(page.locator("#view-search .status")).to_have_text("30 pictures")


def test_files_that_are_gone_when_they_are_to_be_sent_are_named_and_the_rest_is_added(world, client, opened, tmp_path):
    client.create_collection("some")
    page = opened("/?c=some", base=world[0], expected=("ERR_",))
    playwright.expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    files = draw(tmp_path / "photos", 3)
    held = []
    page.route("**/v1/info", lambda asked: held.append(asked))
    drop_here(page, *sorted((tmp_path / "photos").iterdir()))
    until(lambda: page.wait_for_timeout(20) or held)
    files[1].unlink()
    for asked in held:
        asked.continue_()
    page.unroute("**/v1/info")
    said = page.locator("#said-text")
    playwright.expect(said).to_have_text(
        f"2 pictures added · {files[1].name} cannot be read: it is no longer there, or may not be opened."
    )
    tiles(page, 2)


def test_a_list_is_no_formula_for_a_spreadsheet(world, client, opened):
    client.create_collection("pictures")
    client.add_images("pictures", sorted((world[1] / "files").iterdir())[:1])
    page = opened("/?c=pictures", base=world[0], height=900)
    tiles(page, 1)
    page.get_by_role("button", name="Select").first.click()
    bar = page.get_by_role("toolbar", name="Selected pictures")
    bar.get_by_label("Add a tag").fill("=1+1")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#said-text")).to_have_text("1 picture tagged “=1+1”.")
    with page.expect_download() as saved:
        bar.get_by_role("button", name="List").click()
    assert saved.value.path().read_text().splitlines()[1].endswith(',"\'=1+1"')


def test_a_collection_is_looked_through_by_folder(world, client, opened):
    client.create_collection("pictures")
    with open_collection(world[1], "pictures", writable=True) as pictures:
        places = ["/p/2023/a.jpg", "/p/2024/may/b.jpg", "/p/2024/may/c.jpg", "/p/2024/<b>/d.jpg"]
        pictures.upsert([Entry(np.eye(32)[i], "image", place) for i, place in enumerate(places)])
    page = opened("/?c=pictures", base=world[0], height=900, expected=("404",))
    tiles(page, 4)
    page.get_by_role("button", name="Filters").click()
    folders = page.get_by_role("group", name="Folder")
    playwright.expect(folders.get_by_role("button")).to_have_text(["2023 1", "2024 3"])
    folders.get_by_role("button", name="2024 3").click()
    tiles(page, 3)
    playwright.expect(folders.get_by_role("button")).to_have_text(["Up", "<b> 1", "may 2"])
    folders.get_by_role("button", name="may 2").click()
    tiles(page, 2)
    folders.get_by_role("button", name="Up").click()
    tiles(page, 3)


def test_of_many_keys_and_values_each_is_chosen(world, client, opened):
    client.create_collection("pictures")
    with open_collection(world[1], "pictures", writable=True) as pictures:
        for i in range(130):
            known = {f"key{k:02}": i % 3 for k in range(26)} | {"place": f"bay {i:03}"}
            pictures.upsert([Entry(np.eye(32)[i % 32], "image", f"/p/{i}.jpg", metadata=known)])
    page = opened("/?c=pictures", base=world[0], expected=("404",))
    page.get_by_role("button", name="Filters").click()
    filters = page.get_by_label("Filters", exact=True)
    playwright.expect(filters.get_by_role("group")).to_have_count(25)  # with the days
    page.get_by_role("button", name="3 more…").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("group", name="key24").get_by_role("button").first).to_be_focused()
    places = page.get_by_role("group", name="place")
    places.get_by_role("button", name="More…").focus()
    page.keyboard.press("Enter")
    playwright.expect(places.get_by_role("button").nth(8)).to_be_focused()  # the first that was not there
    places.get_by_label("place: another value").fill("bay 129")
    page.keyboard.press("Enter")
    tiles(page, 1)


def test_one_of_many_collections_is_found(world, client, opened):
    for i in range(9):
        client.create_collection(f"one-{i}", title=f"Holiday {i}" if i else "مجموعة صور")
    page = opened("/?c=one-7", base=world[0])
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    links = library.get_by_role("link", name=re.compile("Holiday|صور"))
    playwright.expect(links).to_have_count(9)
    playwright.expect(links.first).to_have_text("Holiday 7")
    assert library.get_by_text("Choose files").bounding_box()["y"] < 800  # below a list that scrolls by itself
    find = library.get_by_label("Find a collection")
    find.fill("none such")
    playwright.expect(library.get_by_role("status")).to_have_text("None is called so.")
    find.fill("صور")
    playwright.expect(links).to_have_count(1)
    page.keyboard.press("Enter")
    playwright.expect(library).to_be_hidden()
    playwright.expect(page.get_by_label("Collection", exact=True)).to_have_value("one-0")


def test_a_tag_that_somebody_else_gave_meanwhile_stays(world, client, opened):
    client.create_collection("pictures")
    (added,) = client.add_images("pictures", sorted((world[1] / "files").iterdir())[:1])
    page = opened("/?c=pictures", base=world[0], height=900)
    playwright.expect(page.locator(".pictures .caption")).to_have_text("00.jpg")  # its record has been read
    client.update_entry("pictures", added.id, tags=["theirs"])
    page.get_by_role("button", name="Select").first.click()
    tiles(page, 1)
    page.get_by_role("toolbar", name="Selected pictures").get_by_label("Add a tag").fill("mine")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#said-text")).to_have_text("1 picture tagged “mine”.")
    assert client.entry("pictures", added.id).metadata["tags"] == ["theirs", "mine"]


def test_a_folder_that_cannot_be_read_is_named(world, client, opened):
    client.create_collection("some")
    page = opened("/?c=some", base=world[0], expected=("422",))
    report = page.evaluate("""async () => {
      const { filesOf } = await import("/static/parts/picture/given.js");
      const { upload } = await import("/static/parts/picture/upload.js");
      const { api } = await import("/static/api.js");
      const reader = { readEntries: (_, fail) => fail(new DOMException("", "NotReadableError")) };
      const folder = { isFile: false, name: "2024", createReader: () => reader };
      const files = await filesOf({ items: [{ webkitGetAsEntry: () => folder }] });
      return upload(api, "some", files);
    }""")
    assert [failed["name"] for failed in report["failed"]] == ["2024"]


def test_what_is_selected_is_labelled(world, client, opened, axe):
    client.create_collection("pictures")
    client.add_images("pictures", sorted((world[1] / "files").iterdir()))
    page = opened("/?c=pictures", base=world[0], width=360)
    tiles(page, 5)
    page.get_by_role("button", name="Select").first.click()
    page.get_by_role("button", name="Select").nth(1).click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    page.set_viewport_size({"width": 320, "height": 256})  # 400 %
    bar = page.get_by_role("toolbar", name="Selected pictures")
    assert bar.bounding_box()["height"] < 70
    bar.get_by_role("button", name="Save list").scroll_into_view_if_needed()
    playwright.expect(bar.get_by_role("button", name="Save list")).to_be_in_viewport(ratio=1)
    label = page.get_by_role("toolbar", name="Selected pictures").get_by_label("Label the selected pictures")
    label.fill("no key")
    page.keyboard.press("Enter")  # is told by the browser
    playwright.expect(label).to_have_value("no key")
    label.fill("tags: sea")
    page.keyboard.press("Enter")
    said = page.locator("#said-text")
    playwright.expect(said).to_contain_text("The key tags is the service's own")
    playwright.expect(label).to_have_value("tags: sea")
    label.fill(" at: 12:30 <b>")
    page.keyboard.press("Enter")
    playwright.expect(said).to_have_text("2 pictures labelled at: 12:30 <b>.")
    playwright.expect(label).to_have_value("")
    labels = sorted(entry.metadata.get("at", "") for entry in client.entries("pictures", "image"))
    assert labels == ["", "", "", "12:30 <b>", "12:30 <b>"]


def test_many_are_selected_tagged_listed_filtered_by_and_deleted(world, client, opened):
    client.create_collection("pictures")
    client.add_images("pictures", sorted((world[1] / "files").iterdir()))
    page = opened("/?c=pictures", base=world[0], height=900)
    found = tiles(page, 5)
    page.get_by_role("button", name="Select").first.click()
    found.nth(2).click(modifiers=["Shift"])
    bar = page.get_by_role("toolbar", name="Selected pictures")
    playwright.expect(bar).to_contain_text("3 selected")
    bar.get_by_label("Add a tag").fill("sea & <b>")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#said-text")).to_have_text("3 pictures tagged “sea & <b>”.")
    told, beneath = page.locator("#said").bounding_box(), bar.bounding_box()
    assert told["y"] + told["height"] <= beneath["y"]
    bar.get_by_role("button", name="Select all 5").press("Enter")
    playwright.expect(bar).to_contain_text("5 selected")
    playwright.expect(bar.get_by_role("button", name="Select all")).to_be_hidden()
    playwright.expect(bar.get_by_label("Add a tag")).to_be_focused()  # whose button goes is not lost
    for i in (3, 4):
        found.nth(i).click(modifiers=["Control"])
    playwright.expect(bar).to_contain_text("3 selected")
    with page.expect_download() as saved:
        bar.get_by_role("button", name="List").click()
    rows = saved.value.path().read_text().splitlines()
    assert rows[0] == '"id","external_id","path","name","taken","tags"'
    assert [row.endswith('"sea & <b>"') for row in rows[1:]] == [True] * 3

    page.get_by_role("button", name="Filters", exact=True).click()
    page.get_by_role("button", name="sea & <b> 3").click()
    tiles(page, 3)
    assert "f=tags" in page.url
    page.get_by_role("button", name="Remove the filter tags").click()
    tiles(page, 5)

    box = page.locator(".pictures").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 90, steps=4)
    page.mouse.up()
    playwright.expect(bar).to_be_visible()
    count = int(bar.get_by_role("status").inner_text().split()[0])
    assert count > 1
    bar.get_by_role("button", name="Delete").click()
    bar.get_by_role("button", name="Really delete?").click()
    tiles(page, 5 - count)
    assert client.collection("pictures").counts["image"] == 5 - count


def test_what_could_not_be_tagged_is_named_with_the_reason(world, client, opened):
    client.create_collection("pictures")
    added = client.add_images("pictures", sorted((world[1] / "files").iterdir()))
    for one in added[:2]:
        client.update_entry("pictures", one.id, metadata={"caption": f"full {one.id}", "notes": "x" * 16_250})
    page = opened("/?c=pictures", base=world[0], height=900, expected=("404",))
    tiles(page, 5)
    page.get_by_role("button", name="Select").first.click()
    page.keyboard.press("Control+a")
    bar = page.get_by_role("toolbar", name="Selected pictures")
    playwright.expect(bar).to_contain_text("5 selected")
    client.delete_entry("pictures", added[4].id)
    bar.get_by_label("Add a tag").fill("s" * 90)
    page.keyboard.press("Enter")
    said = page.locator("#said-text")
    playwright.expect(said).to_contain_text(f"2 pictures tagged “{'s' * 90}” · 2 could not be: full ")
    playwright.expect(said).to_contain_text("(metadata of an entry may have 16384 bytes as JSON, not 16")
    playwright.expect(said).to_contain_text(" · 1 is no longer there.")
    playwright.expect(page.locator("#said")).to_have_class(re.compile("bad"))


def test_what_could_not_be_deleted_is_named_and_the_rest_is_deleted(world, client, opened):
    client.create_collection("pictures")
    added = client.add_images("pictures", sorted((world[1] / "files").iterdir()))
    page = opened("/?c=pictures", base=world[0], height=900, expected=("500",))
    broken = {"error": {"message": "the disk is full", "code": "disk_error"}}
    page.route(
        f"**/images/{added[1].id}",
        lambda route: route.fulfill(status=500, json=broken) if route.request.method == "DELETE" else route.continue_(),
    )
    tiles(page, 5)
    page.get_by_role("button", name="Select").first.click()
    page.keyboard.press("Control+a")
    bar = page.get_by_role("toolbar", name="Selected pictures")
    bar.get_by_role("button", name="Delete").click()
    bar.get_by_role("button", name="Really delete?").click()
    playwright.expect(page.locator("#said-text")).to_have_text(
        "4 pictures deleted · 1 could not be: 01.png (the disk is full)."
    )
    tiles(page, 1)
    assert client.collection("pictures").counts["image"] == 1


def test_the_library_shows_jobs_and_deletes_a_collection(world, client, opened, axe):
    client.create_collection("one")
    page = opened("/?c=one", base=world[0])
    playwright.expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    page.get_by_role("button", name="Add pictures").click()  # which a phone cannot drop
    library = page.get_by_role("dialog", name="Library")
    axe(page)
    library.get_by_label("to the collection").fill("two")
    library.get_by_role("button", name="Index the folder").click()
    playwright.expect(library.get_by_text("Adding pictures to two is done").first).to_be_visible()
    playwright.expect(library.get_by_role("link", name="two")).to_be_visible()
    page.network.rests()
    library.get_by_role("button", name="Delete the collection one").click()
    library.get_by_role("button", name="Really delete the collection one?").click()
    playwright.expect(library.get_by_role("link", name="one")).to_have_count(0)
    assert [collection.name for collection in client.collections()] == ["two"]


def test_a_collection_is_renamed_in_its_title(world, client, opened):
    client.create_collection("one")
    page = opened("/?c=one", base=world[0])
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    library.get_by_role("button", name="Rename the collection one").click()
    field = library.get_by_label("Title of the collection one")
    widths = [each.bounding_box()["width"] for each in (field, library.locator(".collections form"))]
    assert widths[0] > 0.6 * widths[1]  # as much of a long title as there is room
    field = library.get_by_label("Title of the collection one")
    playwright.expect(field).to_be_focused()
    page.keyboard.press("Escape")
    playwright.expect(library.get_by_role("link", name="one")).to_be_visible()  # the sheet is still open
    library.get_by_role("button", name="Rename the collection one").click()
    field.fill("<b>Summer</b> & sea")
    page.keyboard.press("Enter")
    playwright.expect(library.get_by_role("link", name="<b>Summer</b> & sea")).to_be_visible()
    assert client.collection("one").title == "<b>Summer</b> & sea"
    job = client.start_job("index", collection="one", folders=[str(world[1] / "files")])
    client.wait_for(job)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # others begin jobs, too
    playwright.expect(library.get_by_text("Adding pictures to <b>Summer</b> & sea is done")).to_be_visible()
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_label("Collection").locator("option")).to_have_text("<b>Summer</b> & sea (5)")
    assert "c=one" in page.url


def test_the_end_of_a_job_is_seen_where_a_look_of_before_it_comes_late(world, client, opened):
    client.create_collection("one")
    page = opened(None, base=world[0])
    held = []

    def hold(asked):
        if len(held) < 2:
            held.append((asked, asked.fetch() if not held else None))
        else:
            asked.continue_()

    page.goto("/?c=one")
    page.network.rests()
    page.route("**/v1/jobs?limit=20", hold)
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    until(lambda: page.wait_for_timeout(20) or held)
    library.get_by_label("to the collection").fill("two")
    library.get_by_role("button", name="Index the folder").click()
    until(lambda: page.wait_for_timeout(20) or len(held) > 1)
    (job, *_) = client.jobs()
    assert client.wait_for(job).state == "succeeded"
    held[0][0].fulfill(response=held[0][1])
    page.wait_for_timeout(100)
    held[1][0].continue_()
    playwright.expect(library.get_by_text("Adding pictures to two is done").first).to_be_visible()
    playwright.expect(library.get_by_role("link", name="two")).to_be_visible()


def test_who_goes_through_the_library_by_keys_stays_in_its_list(world, client, opened):
    for name in ("one", "two", "three"):
        client.create_collection(name)
    page = opened("/?c=one", base=world[0])
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    button = {act: library.get_by_role("button", name=f"{act} the collection two") for act in ("Rename", "Delete")}
    for ends_with in ("Escape", "Enter"):
        button["Rename"].focus()
        page.keyboard.press("Enter")
        page.keyboard.type("Second")
        client.wait_for(client.start_job("index", collection="one", folders=[str(world[1] / "files")]))
        jobs = library.get_by_text("Adding pictures to one is done").count()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        playwright.expect(library.get_by_text("Adding pictures to one is done")).to_have_count(jobs + 1)
        playwright.expect(library.get_by_label("Title of the collection two")).to_have_value("Second")
        page.keyboard.press(ends_with)
        playwright.expect(button["Rename"]).to_be_focused()
    playwright.expect(library.get_by_role("link", name="Second")).to_be_visible()
    button["Delete"].focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    playwright.expect(button["Delete"]).to_have_count(0)
    playwright.expect(library.locator(".collections a").last).to_be_focused()


def test_an_answer_that_is_late_takes_no_title_away_that_is_being_written(world, client, opened):
    client.create_collection("one")
    page = opened("/?c=one", base=world[0])
    held = []
    page.route(
        re.compile(r"/v1/(collections|info)([?]|$)"), lambda asked: asked.continue_() if held else held.append(asked)
    )
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    library.get_by_role("button", name="Rename the collection one").click()
    page.keyboard.type("First")
    until(lambda: page.wait_for_timeout(20) or held)
    client.create_collection("two")
    for asked in held:
        asked.continue_()
    playwright.expect(page.get_by_label("Collection", exact=True).locator("option")).to_have_count(2)
    playwright.expect(library.get_by_label("Title of the collection one")).to_have_value("First")


def test_who_comes_back_to_what_was_looked_through_for_long_is_where_it_was_left(world, client, opened):
    client.create_collection("many")

    def put(places):
        with open_collection(world[1], "many", writable=True) as many:
            rows = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            many.upsert([Entry(rows[i], "image", f"/p/{i}.jpg", width=300, height=200) for i in places])

    put(range(399))
    page = opened("/?c=many&q=boat", base=world[0], expected=("404",))
    page.locator(".pictures a").first.wait_for()
    counts, asked = page.get_by_label("Collection", exact=True).locator("option"), []
    page.locator(".pictures a").first.focus()
    last = page.locator(".pictures li:focus-within[aria-posinset='360']")
    until(lambda: page.keyboard.press("End") or page.wait_for_timeout(50) or last.count())
    for _ in range(15):
        page.keyboard.press("ArrowUp")  # from where no more are asked for
    here = page.locator(".pictures a:focus").get_attribute("href")
    put([399])
    page.on(
        "request",
        lambda one: asked.append(one.url.rpartition("/")[2]) if "/v1/" in one.url and one.method != "HEAD" else None,
    )
    page.evaluate("document.dispatchEvent(new Event('visibilitychange')); dispatchEvent(new Event('focus'))")
    playwright.expect(counts).to_have_text("many (400)")
    until(lambda: page.wait_for_timeout(50) or "search" in asked)
    playwright.expect(page.locator(f".pictures a[href='{here}']")).to_be_focused()
    playwright.expect(page.locator(f".pictures a[href='{here}']")).to_be_in_viewport()
    page.wait_for_timeout(200)
    assert [each for each in asked if "thumbnail" not in each] == ["jobs?limit=20", "info", "search"]


def test_what_others_did_meanwhile_is_seen_by_who_comes_back_and_takes_nothing_away(world, client, opened):
    files = sorted((world[1] / "files").iterdir())
    client.create_collection("one")
    client.add_images("one", files[:3])
    page = opened("/?c=one", base=world[0])
    tiles(page, 3)
    page.get_by_role("button", name="Select").nth(1).click()
    for more, how in ((4, "focus"), (5, "visibilitychange")):
        client.add_images("one", files[:more])  # by no job that the page has heard of
        target = "window" if how == "focus" else "document"
        page.evaluate(f"{target}.dispatchEvent(new Event('{how}'))")
        playwright.expect(page.get_by_label("Collection", exact=True).locator("option")).to_have_text(f"one ({more})")
        tiles(page, more)
    playwright.expect(page.get_by_role("toolbar", name="Selected pictures")).to_contain_text("1 selected")
    playwright.expect(page.locator(".pictures .chosen")).to_have_count(1)
    client.wait_for(client.start_job("index", collection="two", folders=[str(world[1] / "files")]))
    asked = []
    page.on("request", lambda one: asked.append(one.url.rpartition("/")[2]))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange')); dispatchEvent(new Event('focus'))")
    playwright.expect(page.get_by_label("Collection", exact=True).locator("option")).to_have_count(2)
    page.wait_for_timeout(200)
    assert [asked.count(each) for each in ("jobs?limit=20", "info")] == [1, 1]  # it began and ended unseen


def test_words_that_are_being_written_stay_when_a_job_ends(world, client, opened):
    client.create_collection("one")
    page = opened("/?c=one&q=boat", base=world[0])
    words = page.get_by_role("searchbox", name="Search by words")
    playwright.expect(words).to_have_value("boat")
    job = client.start_job("watch", collection="watched", folders=[str(world[1] / "files")])
    until(lambda: len(client.collections()) == 2)  # one that is cancelled before it begins makes none
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # somebody else began one
    playwright.expect(page.locator("#open-library .badge")).to_be_visible()
    words.focus()
    page.keyboard.press("End")
    page.keyboard.type("s at night ")
    with page.expect_response("**/one/search"):  # what is shown is asked for anew
        client.cancel_job(job.id)
    playwright.expect(page.locator("#open-library .badge")).to_be_hidden()
    playwright.expect(page.get_by_label("Collection", exact=True).locator("option")).to_have_count(2)
    playwright.expect(words).to_have_value("boats at night ")
    page.keyboard.press("Enter")
    playwright.expect(page).to_have_url(re.compile("q=boats"))
    page.go_back()
    playwright.expect(words).to_have_value("boat")


def test_the_name_of_a_collection_is_whole_where_there_is_room(world, client, opened):
    client.create_collection("one", title="Postcards of seas")
    pages = [opened("/?c=one", base=world[0], width=width) for width in (1280, 390)]
    boxes = [page.get_by_label("Collection", exact=True).bounding_box() for page in pages]
    assert boxes[0]["width"] == boxes[1]["width"]
    client.create_collection("two", title="Postcards of the seas and of the lakes, of rivers, and of all the mountains")
    pages[1].goto("/?c=two")
    playwright.expect(pages[1].get_by_label("Collection", exact=True)).to_have_value("two")
    assert pages[1].evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_job_is_cancelled(world, client, opened):
    page = opened("/", base=world[0])
    job = client.start_job("watch", collection="watched", folders=[str(world[1] / "files")])
    page.reload()
    page.get_by_role("button", name="Library").click()
    page.get_by_role("dialog", name="Library").get_by_role("button", name="Cancel").click()
    until(lambda: client.job(job.id).state == "cancelled")


def test_a_key_that_may_only_read_is_offered_nothing_to_add(opened, tmp_path):
    encoder = tiny_encoder(tmp_path)
    key = add_key(tmp_path, "page", "read")
    with serving(create_app(settings_for(tmp_path, job_roots=[str(tmp_path)]), encoder)) as url:
        page = opened(None, base=url)
        page.add_init_script(f"sessionStorage.setItem('key', {json.dumps(key)})")
        page.goto("/")
        playwright.expect(page.get_by_role("main").get_by_role("heading").first).to_be_visible()
        playwright.expect(page.get_by_label("Folder of the server")).to_have_count(0)  # it is told of none
        playwright.expect(page.locator("main input[type=file]")).to_have_count(0)


def test_a_key_that_may_only_read_sees_jobs_and_is_not_offered_to_cancel_them(opened, tmp_path):
    reads, changes = (add_key(tmp_path, scope, scope) for scope in ("read", "admin"))
    settings = settings_for(tmp_path, job_roots=[str(tmp_path)])
    draw(tmp_path / "files", 3)
    with serving(create_app(settings, tiny_encoder(tmp_path))) as url, Client(url, key=changes) as client:
        job = client.start_job("watch", collection="watched", folders=[str(tmp_path / "files")])
        page = opened(None, base=url)
        page.add_init_script(f"sessionStorage.setItem('key', {json.dumps(reads)})")
        page.goto("/")
        page.get_by_role("button", name="Library").click()
        library = page.get_by_role("dialog", name="Library")
        playwright.expect(library).to_contain_text("Following folders into watched")
        playwright.expect(library.get_by_role("button", name="Cancel")).to_have_count(0)
        client.cancel_job(job.id)


def test_a_collection_is_created_empty_and_one_that_is_there_is_offered_no_such_thing(world, client, opened):
    client.create_collection("shop")
    page = opened("/?c=shop", base=world[0])
    page.get_by_role("button", name="Library").click()
    create = page.get_by_role("button", name="Create it empty")
    name = page.get_by_label("to the collection")
    playwright.expect(name).to_have_value("shop")
    playwright.expect(create).to_be_hidden()
    name.fill("shoes")
    create.click()
    playwright.expect(page.get_by_label("Collection", exact=True)).to_have_value("shoes")
    playwright.expect(create).to_be_hidden()
    assert {one.name for one in client.collections()} == {"shop", "shoes"}


def test_pictures_are_offered_to_the_collection_that_is_shown(world, client, opened):
    client.create_collection("shop", title="Our shop")
    client.create_collection("trip", title="Trip to Porto")
    client.create_collection("zoo", title="Our shop")
    page = opened("/?c=shop", base=world[0])
    name, shown = page.get_by_label("to the collection"), page.get_by_label("Collection", exact=True)
    for collection, called in (("shop", "Our shop"), ("trip", "Trip to Porto"), ("zoo", "zoo")):
        shown.select_option(collection)
        page.get_by_role("button", name="Library").click()
        playwright.expect(name).to_have_value(called)
        page.keyboard.press("Escape")


def test_any_words_may_be_the_name_of_a_new_collection(world, client, opened):
    client.create_collection("shop")
    page = opened("/?c=shop", base=world[0])
    page.get_by_role("button", name="Library").click()
    name = page.get_by_label("to the collection")
    name.fill("Herbst & “Winter”")
    told = page.locator("#library-named")
    playwright.expect(told).to_have_text("“Herbst & “Winter”” is its title; in addresses it is called herbst-winter.")
    page.get_by_role("button", name="Create it empty").click()
    playwright.expect(page.get_by_label("Collection", exact=True)).to_have_value("herbst-winter")
    playwright.expect(told).to_have_text("That is herbst-winter.")
    assert client.collection("herbst-winter").title == "Herbst & “Winter”"
    found = page.evaluate("""async () => {
      const { naming } = await import("./static/parts/naming.js");
      const there = [{ name: "a", title: "Süße Tiere" }, { name: "collection", title: null }];
      const written = ["b", " a ", "Süße Tiere", "Süße  Tiere!", "A", "süße tiere", "京都", "x".repeat(70), "-"];
      return written.map((text) => naming(text, there));
    }""")
    assert [(one["name"], one["title"], one["isNew"]) for one in found] == [
        ("b", None, True),
        ("a", "Süße Tiere", False),
        ("a", "Süße Tiere", False),
        ("susse-tiere", "Süße  Tiere!", True),
        ("a", "Süße Tiere", False),
        ("a", "Süße Tiere", False),
        ("collection-2", "京都", True),
        ("x" * 48, "x" * 70, True),
        ("collection-2", "-", True),
    ]


def test_a_name_is_another_than_that_of_a_collection_that_somebody_made_meanwhile(world, client, opened):
    first, second, *_ = sorted((world[1] / "files").iterdir())
    page = opened("/", base=world[0])
    name = page.get_by_label("Name of the collection")
    name.fill("   ")
    page.locator("input[type=file]").first.set_input_files(first)
    assert not name.evaluate("it => it.checkValidity()")
    assert list(client.collections()) == []
    client.create_collection("our-photos", title="Our photos")
    name.fill("Our photos!")
    page.locator("input[type=file]").first.set_input_files(first)
    tiles(page, 1)
    assert {one.name: (one.title, one.counts["image"]) for one in client.collections()} == {
        "our-photos": ("Our photos", 0),
        "our-photos-2": ("Our photos!", 1),
    }
    page.get_by_role("button", name="Library").click()
    page.get_by_label("to the collection").fill("our PHOTOS!")
    playwright.expect(page.locator("#library-named")).to_have_text("That is our-photos-2.")
    page.get_by_label("to the collection").fill("  ")
    page.get_by_role("button", name="Create it empty").click()
    page.get_by_label("to the collection").fill("OUR photos")
    page.evaluate("""() => {
      const said = [];
      const seen = () => said.push(document.getElementById("said-text").textContent);
      new MutationObserver(seen).observe(document.getElementById("said-text"), { childList: true });
      window.said = said;
    }""")
    page.get_by_role("dialog", name="Library").locator("input[type=file]").first.set_input_files(second)
    until_so(page, "() => window.said.some((text) => text.startsWith('Adding pictures to Our photos:'))")
    until(lambda: client.collection("our-photos").counts["image"] == 1 or page.wait_for_timeout(20))


def test_an_older_list_of_collections_takes_no_new_one_away(world, client, opened):
    client.create_collection("shop")
    page = opened("/?c=shop", base=world[0])
    page.network.rests()
    held = []
    page.route("**/v1/info", lambda asked: held.append((asked, asked.fetch())) if not held else asked.continue_())
    page.get_by_role("button", name="Library").click()  # asks what there is
    until(lambda: page.wait_for_timeout(20) or held)
    page.get_by_label("to the collection").fill("shoes")
    page.get_by_role("button", name="Create it empty").click()
    chosen = page.get_by_label("Collection", exact=True)
    playwright.expect(chosen).to_have_value("shoes")
    asked, answer = held[0]
    asked.fulfill(response=answer)
    page.wait_for_timeout(200)
    playwright.expect(chosen.locator("option")).to_have_text(["shoes (0)", "shop (0)"])


def test_of_a_collection_that_somebody_deleted_another_is_offered(world, client, opened):
    for name in ("one", "two"):
        client.create_collection(name)
    page = opened("/?c=one", base=world[0], expected=("404",))
    playwright.expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    client.delete_collection("one")
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("heading", name="There is no collection one")).to_be_visible()
    playwright.expect(page.get_by_role("status").filter(has_text="collection one.")).to_be_visible()  # is read out, too
    page.get_by_role("link", name="Look at").click()
    playwright.expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    playwright.expect(page.get_by_label("Collection", exact=True)).to_have_value("two")


def test_a_title_that_somebody_else_gave_meanwhile_is_not_overwritten(world, client, opened):
    client.create_collection("one")
    page = opened("/?c=one", base=world[0], expected=("409",))
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    library.get_by_role("button", name="Rename the collection one").click()
    client.create_collection("one", title="Theirs")
    library.get_by_label("Title of the collection one").fill("Mine")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#said-text")).to_have_text(
        "Somebody has called it “Theirs” meanwhile, and it is not called “Mine”."
    )
    assert client.collection("one").title == "Theirs"
    library.get_by_role("button", name="Rename the collection one").click()
    field = library.get_by_label("Title of the collection one")
    playwright.expect(field).to_have_value("Theirs")
    field.fill("Mine")
    page.keyboard.press("Enter")
    playwright.expect(library.get_by_role("link", name="Mine")).to_be_visible()
    assert client.collection("one").title == "Mine"


def test_a_collection_that_somebody_makes_at_the_same_moment_is_theirs(world, client, opened):
    client.create_collection("other")
    page = opened("/?c=other", base=world[0], expected=("412",))

    def first(asked):
        client.create_collection("our-photos", title="Our photos")
        page.unroute("**/v1/collections/our-photos")
        asked.fallback()

    page.route("**/v1/collections/our-photos", first)
    page.get_by_role("button", name="Library").click()
    page.get_by_label("to the collection").fill("Our photos!")
    page.get_by_role("button", name="Create it empty").click()
    playwright.expect(page.get_by_label("Collection", exact=True)).to_have_value("our-photos-2")
    assert {one.name: one.title for one in client.collections()} == {
        "other": None,
        "our-photos": "Our photos",
        "our-photos-2": "Our photos!",
    }


def test_the_row_of_a_job_that_goes_on_stays_and_says_how_far_it_is(world, client, opened):
    client.create_collection("one")
    job = {
        **{"id": "a" * 20, "kind": "index", "state": "running", "collection": "one", "request": {}, "done": 10},
        **{"created_at": "2026-01-01T00:00:00+00:00", "total": 90, "report": None, "error": None, "waiting": None},
    }
    later = job | {"id": "b" * 20, "done": 1}
    answers = [[job], [job | {"done": 20}], [later, job | {"done": 30}]]
    page = opened(None, base=world[0], expected=("404",))  # the service has no such job to cancel
    page.route("**/v1/jobs?limit=20", lambda asked: asked.fulfill(json={"jobs": answers[0]}))
    page.goto("/?c=one")
    page.get_by_role("button", name="Library").click()
    rows = page.locator(".library .rows:last-of-type > li")
    playwright.expect(rows).to_contain_text("10 of 90")
    page.evaluate("window.row = document.querySelector('[data-key=aaaaaaaaaaaaaaaaaaaa]')")
    page.evaluate("getSelection().selectAllChildren(row.querySelector('.name'))")
    rows.get_by_role("button", name="Cancel").focus()
    for far in ("20 of 90", "30 of 90"):
        answers.pop(0)
        playwright.expect(page.locator("[data-key=aaaaaaaaaaaaaaaaaaaa]")).to_contain_text(far)
    playwright.expect(rows).to_have_count(2)
    assert page.evaluate("row.isConnected && row.contains(document.activeElement)")
    assert page.evaluate("getSelection().toString()").strip() == "Adding pictures to one"
    with page.expect_request(lambda asked: asked.method == "DELETE") as cancelled:
        rows.first.get_by_role("button", name="Cancel").click()
    assert cancelled.value.url.endswith("b" * 20)


def test_the_end_of_a_job_that_nobody_waits_for_is_told(world, client, opened):
    client.create_collection("shop", title="Our shop")
    page = opened("/?c=shop", base=world[0])
    playwright.expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    said = page.locator("#said-text")
    page.get_by_role("button", name="Library").click()
    page.get_by_role("button", name="Index the folder").click()
    page.keyboard.press("Escape")
    playwright.expect(said).to_have_text("Adding pictures to Our shop is done.")
    tiles(page, 5)
    failed = {"id": "1" * 12, "kind": "index", "collection": "shop", "state": "running", "done": 1, "total": 2}
    failed |= {"error": None, "waiting": None, "report": None}
    page.route("**/v1/jobs?*", lambda asked: asked.fulfill(json={"jobs": [failed]}))
    page.get_by_role("button", name="Library").click()
    playwright.expect(page.get_by_text("1 of 2")).to_be_visible()
    page.keyboard.press("Escape")
    failed |= {"state": "failed", "error": {"message": "no space", "code": "disk_full"}}
    playwright.expect(said).to_contain_text("Adding pictures to Our shop has failed: The disk of the service is full")


def test_a_folder_that_is_refused_leaves_no_collection_behind(world, client, opened):
    address, data = world
    page = opened("/", base=address, expected=("403",))
    page.get_by_label("Name of the collection").fill("Im Urlaub")
    path = page.get_by_label("Folder of the server")
    path.fill("/nowhere")
    page.get_by_role("button", name="Index it").click()
    playwright.expect(page.locator("#said-text")).to_contain_text("The service may read no such folder")
    assert client.collections() == []
    path.fill(str(data / "files"))
    page.get_by_role("button", name="Index it").click()
    playwright.expect(page.locator("#said")).to_be_hidden()
    tiles(page, 5)
    assert [collection.title for collection in client.collections()] == ["Im Urlaub"]


def test_files_without_a_picture_make_no_collection(world, client, opened):
    page = opened("/", base=world[0])
    page.locator("#view-welcome input[type=file]").first.set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    )
    playwright.expect(page.locator("#said-text")).to_have_text("There was no picture among these files.")
    assert client.collections() == []
