"""The search view in a real browser."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from seen_pages import BLOBS, tiles, touched, until_so
from service_world import add_collection, draw, serving, settings_for, tiny_encoder, until

from glimpse.client import Client
from index.collection import Entry, create_collection, open_collection
from index.map.kept import make_map
from service.app import create_app
from service.keys import add_key, remove_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

SOON = 5000  # ms, sooner than a message goes by itself
XSS = '<img src=x onerror="document.title=\'broken\'"><script>document.title="broken"</script>'


def names(page):
    return page.locator(".pictures .caption").all_text_contents()  # also of those behind an open picture


def test_what_goes_under_the_keyboard_leaves_it_near(opened):
    page = opened("/?c=pictures&f=caption:picture+03&f=caption:picture+04")
    tiles(page, 2)
    focused = page.locator(":focus")
    page.get_by_role("button", name="Remove the filter caption: picture 03").focus()
    page.keyboard.press("Enter")
    tiles(page, 1)
    playwright.expect(focused).to_have_attribute("aria-label", "Remove the filter caption: picture 04")
    page.keyboard.press("Enter")
    tiles(page, 9)
    playwright.expect(focused).to_have_text("Filters")
    playwright.expect(page.get_by_role("button", name="Remove the filter")).to_have_count(0)
    tiles(page, 9).nth(4).focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Clear the selection").focus()
    page.keyboard.press("Enter")
    playwright.expect(tiles(page, 9).nth(4)).to_be_focused()
    page.goto("/?v=lineup&c=pictures&l=cat&p=1&p=2&p=3")
    takes = page.get_by_role("list", name="Pictures in the lineup").get_by_role("button")
    playwright.expect(takes).to_have_count(3)
    takes.nth(2).focus()
    page.keyboard.press("Enter")
    playwright.expect(takes).to_have_count(2)
    playwright.expect(takes.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()


SWIPE = [[300, 250], [220, 252], [140, 251], [60, 250]]


def test_an_open_picture_is_swiped_and_pinched_on_a_phone(opened):
    page = opened("/?c=pictures&q=boat", width=360, height=740, has_touch=True, is_mobile=True)
    tiles(page, 9).first.tap()
    dialog, image = page.get_by_role("dialog"), page.locator(".viewer .stage img")
    playwright.expect(image).to_have_js_property("naturalWidth", 320)
    first = dialog.get_by_role("heading").inner_text()
    touched(page, *([place] for place in SWIPE))
    playwright.expect(dialog.get_by_role("heading")).not_to_have_text(first)
    touched(page, *([place] for place in reversed(SWIPE)))
    playwright.expect(dialog.get_by_role("heading")).to_have_text(first)
    touched(page, *([(160 - by, 250), (200 + by, 250)] for by in (0, 30, 60)))
    playwright.expect(image).to_have_attribute("style", re.compile(r"scale\(4"))
    assert page.evaluate("visualViewport.scale") == 1  # the picture is enlarged, and not the page
    touched(page, *([place] for place in SWIPE))  # moves it now
    playwright.expect(dialog.get_by_role("heading")).to_have_text(first)


def test_a_finger_that_stays_chooses_and_taps_choose_from_then_on(opened):
    page = opened("/?c=pictures&q=boat", width=360, height=740, has_touch=True, is_mobile=True)
    found = tiles(page, 9)
    bar, chosen = page.get_by_role("toolbar", name="Selected pictures"), page.locator(".pictures .chosen")
    box = found.first.bounding_box()
    corner = (box["x"] + 14, box["y"] + 14)  # where what chooses lies, unseen
    page.touchscreen.tap(*corner)
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Close").tap()
    playwright.expect(page.get_by_role("dialog")).to_be_hidden()
    touched(page, *[[(box["x"] + 60, box["y"] + 50)]] * 2, stays=700)
    playwright.expect(bar).to_contain_text("1 selected")
    found.nth(1).tap()
    playwright.expect(bar).to_contain_text("2 selected")
    select = page.get_by_role("button", name="Select", exact=True)
    playwright.expect(select).to_have_attribute("aria-pressed", "true")
    select.tap()
    playwright.expect(bar).to_be_hidden()
    select.tap()
    found.nth(1).tap()
    playwright.expect(chosen).to_have_count(1)
    bar.get_by_role("button", name="Clear the selection").tap()
    found.nth(1).tap()
    playwright.expect(page.get_by_role("dialog")).to_be_visible()


def test_of_a_few_pictures_each_is_not_below_a_heading_of_its_own(opened, tmp_path):
    encoder = tiny_encoder(tmp_path)
    rows = np.eye(6, encoder.dim, dtype=np.float32)
    year = 365 * 86_400 * 10**9
    with create_collection(tmp_path, "few", model=encoder.ref, fingerprint="tiny", dim=encoder.dim) as made:
        made.upsert([Entry(row, "image", f"/{i}.jpg", mtime_ns=i * year) for i, row in enumerate(rows)])
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened("/?c=few", base=url, expected=("404", "ERR_CONNECTION_REFUSED"))
        tiles(page, 6)
        playwright.expect(page.locator(".pictures .break")).to_have_count(0)


def test_what_is_said_over_an_open_picture_is_seen_and_pressed_and_read_out(opened):
    page = opened("/?c=pictures&open=1", permissions=["clipboard-write"])
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy path").click()
    said = page.locator("#said")
    playwright.expect(said).to_contain_text("clipboard")
    playwright.expect(dialog.locator("#aloud")).to_contain_text("clipboard")
    said.get_by_role("button", name="Close the message").click()
    playwright.expect(said).to_be_hidden(timeout=SOON)
    dialog.get_by_role("button", name="Copy path").click()
    playwright.expect(said).to_be_visible()
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    playwright.expect(said).to_be_visible()
    said.get_by_role("button", name="Close the message").click()
    playwright.expect(said).to_be_hidden(timeout=SOON)


def test_what_is_said_over_a_dialog_over_another_stays_to_be_seen(page):
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.get_by_role("button", name="Library").click()
    playwright.expect(page.get_by_role("dialog", name="Library")).to_be_visible()
    page.evaluate("""() => {
      window.above = document.body.appendChild(document.createElement("dialog"));
      above.showModal();
      dispatchEvent(new Event("wait"));
    }""")
    playwright.expect(page.locator("#said")).to_contain_text("The service is busy")
    page.evaluate("above.close()")
    page.get_by_role("dialog", name="Library").get_by_role("button", name="Close the message").click()
    playwright.expect(page.locator("#said")).to_be_hidden(timeout=SOON)


def test_an_image_that_shows_one_picture_after_the_other_listens_for_the_last_alone(page):
    page.goto("/?c=pictures")
    tiles(page, 9)
    shown = """async () => {
      const { api } = await import("/static/api.js");
      window.image = document.body.appendChild(new Image());
      for (let id = 1; id <= 6; id++) await api.show(image, `v1/collections/pictures/images/${id}/thumbnail`);
    }"""
    page.evaluate(shown)
    browser = page.context.new_cdp_session(page)
    image = browser.send("Runtime.evaluate", {"expression": "image"})["result"]["objectId"]
    assert browser.send("DOMDebugger.getEventListeners", {"objectId": image})["listeners"] == []


@pytest.mark.parametrize(("found", "told"), [(9, "9 fit"), (120, "At least 120 fit")])
def test_where_all_fit_that_are_there_so_far_it_is_said(page, found, told):
    def answer(asked):
        here = asked.fetch().json()
        hits = [{**hit, "relevance": 0.9} for hit in here["hits"]]
        more = [{**hits[0], "id": 1000 + i} for i in range(found - len(hits))]
        asked.fulfill(json={**here, "hits": [*hits, *more][: asked.request.post_data_json["limit"]]})

    page.route("**/search", answer)
    page.goto("/?c=pictures&q=boat")
    playwright.expect(page.locator("#view-search .status")).to_contain_text(f"{told}, found in")


def test_words_results_one_of_them_and_more_like_it(page):
    page.goto("/")
    tiles(page, 9)  # without a query, the collection
    page.get_by_role("searchbox", name="Search by words").fill("a red boat")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")
    found = tiles(page, 9)
    for image in found.locator("img").all():
        playwright.expect(image).not_to_have_js_property("naturalWidth", 0)
    assert "q=a+red+boat" in page.url

    name = names(page)[1]
    found.nth(1).click()
    dialog = page.get_by_role("dialog", name=name)
    playwright.expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="More like this").click()
    playwright.expect(dialog).to_be_hidden()
    tiles(page, 8)  # all but itself
    assert name not in names(page)
    assert "like=" in page.url

    page.go_back()
    playwright.expect(dialog).to_be_visible()
    page.go_back()
    playwright.expect(dialog).to_be_hidden()
    tiles(page, 9)
    assert page.get_by_role("searchbox", name="Search by words").input_value() == "a red boat"


def test_the_address_opens_a_picture_and_back_closes_it(page, opened):
    page.goto("/?q=boat&c=pictures")
    found = tiles(page, 9)
    name = names(page)[2]
    found.nth(2).click()
    dialog = page.get_by_role("dialog", name=name)
    playwright.expect(dialog).to_be_visible()
    link = page.url
    assert "open=" in link
    page.keyboard.press("ArrowRight")
    playwright.expect(page.get_by_role("dialog", name=names(page)[3])).to_be_visible()
    page.go_back()  # all steps in the viewer are one
    playwright.expect(page.get_by_role("dialog")).to_be_hidden()
    playwright.expect(page).not_to_have_url(re.compile("open="))
    tiles(page, 9)

    again = opened(link)
    playwright.expect(again.get_by_role("dialog", name=name)).to_be_visible()
    again.get_by_role("button", name="Close").click()
    playwright.expect(again.get_by_role("dialog")).to_be_hidden()
    assert "q=boat" in again.url
    playwright.expect(again).not_to_have_url(re.compile("open="))


def test_an_image_as_the_query(page, data):
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.get_by_label("Search by an image").set_input_files(next((data / "files").glob("03.*")))
    playwright.expect(page.locator(".pictures .caption").first).to_have_text("picture 03")
    page.get_by_role("button", name="Remove the image").click()
    playwright.expect(page.locator(".pictures .caption").first).to_have_text("picture 08")  # newest first


def test_a_caption_that_is_no_text_blanks_nothing(page, data):
    odd = [{"toString": 1}, ["a", 1], {"caption": None}, True, XSS]
    with open_collection(data, "pictures", writable=True) as writer:
        before = {record.id: record.metadata for record in writer.records("image", limit=len(odd))}
        writer.update({key: {"metadata": {"caption": each, XSS: XSS}} for key, each in zip(before, odd, strict=True)})
    try:
        page.goto("/?q=boat&c=pictures")
        tiles(page, 9)
        assert {'{"toString":1}', "a, 1", '{"caption":null}', "true", XSS} <= set(names(page))
        page.goto(f"/?c=pictures&open={list(before)[-1]}&q={XSS}&like=1&f={XSS}:{XSS}")
        playwright.expect(page.get_by_role("dialog").locator("dd")).to_have_text([re.compile("320"), XSS])
        assert page.title() != "broken"
    finally:
        with open_collection(data, "pictures", writable=True) as writer:
            writer.update({key: {"metadata": metadata} for key, metadata in before.items()})


def test_what_has_an_id_of_its_owners_own_is_called_by_it(page, url, data):
    file = next((data / "files").glob("03.*"))
    with Client(url) as client:
        client.create_collection("shop")
        client.put_entry("shop", "shoe/1", image=file)
    try:
        page.goto("/?q=boat&c=shop")
        tiles(page, 1).click()
        assert names(page) == ["shoe/1"]
        playwright.expect(page.locator(".viewer .path")).to_have_text("shoe/1")
    finally:
        with Client(url) as client:
            client.delete_collection("shop")


def test_by_keyboard_alone(page):
    page.goto("/?q=boat&c=pictures&k=12")
    tiles(page, 9).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    playwright.expect(dialog).to_be_visible()
    first = dialog.get_by_role("heading").inner_text()
    assert first == names(page)[1]
    page.keyboard.press("ArrowRight")
    playwright.expect(dialog.get_by_role("heading")).not_to_have_text(first)
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    playwright.expect(tiles(page, 9).nth(2)).to_be_focused()
    page.keyboard.press("Home")
    playwright.expect(tiles(page, 9).first).to_be_focused()
    page.keyboard.press("/")
    playwright.expect(page.get_by_role("searchbox", name="Search by words")).to_be_focused()


LAID_OUT = """async ([count, width]) => {
  const { Layout } = await import("/static/parts/grid/layout.js");
  const aspect = (i) => [1.5, 0.7, 1, 9, 0.1, 0][(i * 7919) % 6];
  const breaks = [{at: 0}, {at: 10}, {at: count - 3}];
  const layout = new Layout({width, height: 200, gap: 8, above: 56, aspect, breaks});
  let slices = 1;
  while (layout.fill(count)) slices += 1;
  const wrong = [];
  let next = 0;
  for (let row = 0; row < layout.rows; row++) {
    const tiles = layout.tiles(row);
    const end = tiles.at(-1).x + tiles.at(-1).width;
    const last = [10, count - 3, count].includes(layout.after(row));
    const even = layout.tall[row] >= Math.min(100, width / 4) && layout.tall[row] < 401;
    const whole = tiles.every((tile) => tile.i === next++) && layout.rowOf(tiles[0].i) === row;
    const full = last ? end < width + 1 : Math.abs(end - width) < 1;
    if (!whole || !even || !full) wrong.push([row, end, layout.tall[row]]);
  }
  return [slices, layout.rows, next, layout.broken.size, wrong.slice(0, 5), layout.rowAt(layout.end + 1) + 1];
}"""


@pytest.mark.parametrize(("count", "width"), [(60, 360), (200_000, 1200)])
def test_rows_are_full_and_even_and_lose_no_picture(page, count, width):
    page.goto("/")
    slices, rows, laid_out, breaks, wrong, last = page.evaluate(LAID_OUT, [count, width])
    assert (laid_out, breaks, wrong, last) == (count, 3, [], rows)
    assert slices == -(-count // 40_000)  # never all in one task


DEEP = """async () => {
  const { Grid } = await import("./static/parts/grid/grid.js");
  const { api } = await import("./static/api.js");
  const box = document.createElement("div");
  document.querySelector("main").replaceChildren(box);
  const source = { count: 60_000, id: (i) => i, aspect: (i) => 1 + (i % 7) / 7, name: () => null, href: () => "?" };
  const grid = new Grid(box, { api, label: "All" });
  await grid.show({ ...source, thumbnail: () => "static/icon.svg" });
  grid.focus(55_000);
  document.activeElement.blur();
  const seen = () => [...document.querySelectorAll(".pictures > li")]
    .filter((each) => each.getBoundingClientRect().bottom > 0 && each.getBoundingClientRect().top < innerHeight)
    .map((each) => Number(each.ariaPosInSet));
  const before = Math.min(...seen());
  const was = grid.layout;
  box.style.width = "700px";
  while (grid.layout === was || grid.layout.done < 60_000) await new Promise(requestAnimationFrame);
  return [before, seen()];
}"""


def test_a_grid_that_changes_its_width_stays_where_it_was(page):
    page.goto("/?v=labs")
    before, seen = page.evaluate(DEEP)
    assert 54_900 < before <= 55_001
    assert before in seen


def test_an_error_is_said_and_the_page_goes_on(opened):
    page = opened("/?q=boat&c=gone", expected=("404",))
    playwright.expect(page.get_by_role("heading", name="There is no collection gone")).to_be_visible()
    page.get_by_label("Collection").select_option("pictures")
    tiles(page, 9)
    assert "q=boat" in page.url


def test_pictures_are_added_where_none_can_be_listed(opened):
    page = opened(None, expected=("501",))
    page.route("**/columns", lambda route: route.fulfill(status=501, json={"error": {"message": "no columns here"}}))
    page.goto("/?c=pictures")
    playwright.expect(page.get_by_role("status").get_by_text("no columns here")).to_be_visible()
    page.evaluate("""() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["x"], "x.png", { type: "image/png" }));
      document.body.dispatchEvent(new DragEvent("dragenter", { bubbles: true, dataTransfer }));
    }""")
    playwright.expect(page.get_by_text("Add to pictures")).to_be_visible()


def test_the_next_page_is_asked_for_once_however_often_one_steps(page):
    def hits(asked):
        offset = json.loads(asked.request.post_data)["offset"]
        if offset:
            later.append(asked)
            return
        record = {"metadata": {}, "relevance": None, "width": 8, "height": 8, "thumbnail_url": "/static/icon.svg?"}
        found = [{**record, "id": i, "path": f"/{i}.png", "content_url": "/static/icon.svg"} for i in range(1, 121)]
        asked.fulfill(json={"hits": found, "seconds": 0.1, "warnings": []})

    later = []
    page.route("**/v1/collections/pictures/search", hits)
    page.goto("/?q=boat&c=pictures&open=112")
    playwright.expect(page.get_by_role("heading", name="112.png")).to_be_visible()
    for i in range(113, 117):
        page.keyboard.press("ArrowRight")
        playwright.expect(page.get_by_role("heading", name=f"{i}.png")).to_be_visible()
    assert len(later) == 1


def test_a_service_with_keys_is_asked_with_one(opened, tmp_path):
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 3)
    add_collection(tmp_path, encoder, files)
    key = add_key(tmp_path, "page", "read")
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened(None, base=url, expected=("401",))
        page.add_init_script(BLOBS)
        page.goto("/?q=boat&c=pictures")
        ask = page.get_by_role("dialog", name="This service needs a key")
        ask.get_by_label("Key", exact=True).fill("not this one")
        ask.get_by_role("button", name="Use it").click()
        playwright.expect(ask).to_contain_text("That key is not valid here.")
        ask.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        found = tiles(page, 3)
        for image in found.locator("img").all():
            playwright.expect(image).not_to_have_js_property("naturalWidth", 0)
        files_sent = []
        page.on("response", lambda answer: files_sent.append(answer.url) if "/content" in answer.url else None)
        found.first.click()
        playwright.expect(page.locator(".viewer .stage img")).to_have_js_property("naturalWidth", 320)
        page.network.rests()
        assert files_sent == []  # the file itself comes once it is wanted
        page.keyboard.press("ArrowRight")
        page.network.rests()
        page.get_by_role("button", name="Close").click()
        until_so(page, "() => window.blobs.size === 0")  # what was fetched with the key is let go of
        found.first.click()
        with page.expect_download() as saved:
            page.get_by_role("link", name="Download").click()
        assert saved.value.path().read_bytes() in [file.read_bytes() for file in files]
        page.get_by_role("button", name="Close").click()
        playwright.expect(page).not_to_have_url(re.compile("open="))
        page.goto("/docs")
        playwright.expect(page.get_by_text("/v1/embeddings")).to_be_visible()


def test_a_key_that_was_not_given_is_asked_for_when_the_page_needs_it_and_the_page_begins_with_it(opened, tmp_path):
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 3))
    key = add_key(tmp_path, "page", "read")
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened(None, base=url, expected=("401",))
        page.goto("/?c=pictures")
        ask = page.get_by_role("dialog", name="This service needs a key")
        playwright.expect(ask).to_be_visible()
        ask.get_by_role("button", name="Not now").click()
        playwright.expect(ask).to_be_hidden()
        playwright.expect(page.get_by_role("heading", name="This service needs a key")).to_be_visible()
        page.get_by_role("button", name="Give the key").click()
        playwright.expect(ask).to_be_visible()
        page.keyboard.press("Escape")
        playwright.expect(page.get_by_text("Without one no collection can be looked at")).to_be_visible()
        page.evaluate(SEEN, True)
        page.evaluate(SEEN, False)
        page.wait_for_timeout(300)
        playwright.expect(ask).to_be_hidden()  # who has closed it and comes back to the tab wants none
        page.get_by_role("button", name="Library").click()
        ask.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name="Library").get_by_role("button", name="Close").click()
        tiles(page, 3)
        playwright.expect(page.get_by_role("heading", name="This service needs a key")).to_be_hidden()
        playwright.expect(page.locator("#said")).to_be_hidden()
        playwright.expect(page.locator(".pictures .caption").first).not_to_be_empty()


def test_a_key_that_is_taken_away_is_asked_for_anew_once_and_not_by_each_picture(opened, tmp_path):
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 9))
    key, other = add_key(tmp_path, "page", "read"), add_key(tmp_path, "other", "read")
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened(None, base=url, expected=("401",), height=600)
        page.add_init_script(f"sessionStorage.setItem('key', {json.dumps(key)})")
        page.goto("/?c=pictures")
        tiles(page, 9)
        page.network.rests()
        remove_key(tmp_path, "page")
        page.get_by_role("searchbox", name="Search by words").fill("boat")
        ask = page.get_by_role("dialog", name="This service needs a key")
        until(lambda: page.keyboard.press("Enter") or page.wait_for_timeout(300) or ask.is_visible())
        playwright.expect(ask).to_contain_text("That key is not valid here.")
        page.keyboard.press("Escape")
        playwright.expect(ask).to_be_hidden()
        page.evaluate("""async () => {
          const { api } = await import("/static/api.js");
          await api.source("v1/collections/pictures/images/1/thumbnail").catch(() => {});
        }""")
        playwright.expect(ask).to_be_hidden()  # as a picture that comes into view is fetched
        playwright.expect(page.locator("#said")).to_contain_text("The key is not valid here, or no longer")
        page.locator("#said").get_by_role("button", name="Give the key").click()
        ask.get_by_label("Key", exact=True).fill(other)
        page.keyboard.press("Enter")
        playwright.expect(page.get_by_role("status")).to_contain_text("nearest")
        playwright.expect(page.locator(".pictures .frame.there")).to_have_count(9)


def test_who_is_asked_too_often_is_asked_again(opened):
    refused = []
    page = opened(None, expected=("429",))

    def busy(asked):
        if len(refused) == 2:
            asked.fallback()
            return
        refused.append(asked.request.method)
        asked.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": {"message": "not so fast"}})

    page.goto("/?c=pictures")
    tiles(page, 9)
    page.route("**/search", busy)
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#said")).to_contain_text("asked again in a moment")
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")
    assert refused == ["POST", "POST"]


def test_a_search_that_failed_is_asked_for_again(opened):
    page = opened("/?c=pictures", expected=("ERR_FAILED",), clock=True)
    tiles(page, 9)
    page.route("**/search", lambda asked: asked.abort())
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    said = page.locator("#said")
    playwright.expect(said).to_contain_text("does not answer")
    page.unroute("**/search")
    page.keyboard.press("Enter")  # the same words once more
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")
    page.route("**/search", lambda asked: asked.abort())
    page.get_by_role("searchbox", name="Search by words").fill("house")
    page.keyboard.press("Enter")
    playwright.expect(said).to_contain_text("does not answer")
    page.unroute("**/search")
    page.clock.fast_forward(5000)
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")  # by itself
    playwright.expect(said).to_be_hidden()


def test_what_failed_is_no_matter_of_another_view(opened):
    asked, held = [], []
    page = opened("/?c=pictures", expected=("503",))
    tiles(page, 9)
    down = {"status": 503, "json": {"error": {"message": "it starts", "code": "not_ready"}}}

    def answer(route):
        asked.append(route)
        if len(asked) == 1:
            route.fulfill(**down, headers={"Retry-After": "61"})
        else:
            held.append(route)

    page.route("**/search", answer)
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    said, views = page.locator("#said"), page.get_by_role("navigation", name="Views")
    playwright.expect(said.get_by_role("button", name="Try again")).to_be_visible()
    views.get_by_role("link", name="Runs").click()
    playwright.expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
    playwright.expect(said).to_be_hidden()
    page.go_back()
    playwright.expect(page.locator("#view-search")).to_be_visible()
    playwright.expect(page.get_by_role("status").filter(has_text="Searching")).to_be_visible()
    views.get_by_role("link", name="Runs").click()
    playwright.expect(page.locator("#view-runs")).to_be_visible()
    held.pop().fulfill(**down, headers={"Retry-After": "61"})
    page.wait_for_timeout(300)  # longer than such an answer takes to be told
    playwright.expect(said).to_be_hidden()
    page.unroute("**/search")
    page.go_back()
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")


def test_what_does_not_mend_itself_is_told_and_not_asked_for_again(opened):
    asked = []
    page = opened("/?c=pictures", expected=("503",))
    tiles(page, 9)

    def damaged(route):
        asked.append(route)
        route.fulfill(status=503, json={"error": {"message": "the weights are damaged", "code": "model_error"}})

    page.route("**/search", damaged)
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("status")).to_have_text("the weights are damaged")
    playwright.expect(page.locator("#said")).to_be_hidden()
    assert len(asked) == 1
    page.unroute("**/search")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_is_usable_for_all(opened, axe, width, theme):
    page = opened("/?q=boat&c=pictures", width=width, theme=theme)
    tiles(page, 9)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    playwright.expect(page.locator(".results")).to_have_css("opacity", "1")  # pale while it searches
    axe(page)
    page.get_by_role("list", name="Results").get_by_role("link").first.click()
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    axe(page)
    seen = page.evaluate("document.querySelector('html').getBoundingClientRect().right")  # a scroll bar has the rest
    right = [page.locator(one).bounding_box() for one in (".viewer", ".viewer .shut")]
    assert max(box["x"] + box["width"] for box in right) <= seen


def test_what_is_fetched_with_a_key_is_let_go_of_in_every_view(opened, tmp_path):
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 4))
    key = add_key(tmp_path, "page", "read")
    with open_collection(tmp_path, "pictures", writable=True) as collection:
        make_map(collection)
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened(None, base=url, expected=("GPU stall",))
        page.add_init_script(f"sessionStorage.setItem('key', {json.dumps(key)})")
        page.add_init_script(BLOBS)

        def let_go(least):
            page.network.rests()
            until_so(page, "least => window.blobsMade >= least && window.blobs.size === 0", least)

        page.goto("/?v=lineup&c=pictures&p=1&p=2&l=boat")
        playwright.expect(page.locator(".stage .large")).not_to_have_js_property("naturalWidth", 0)
        let_go(3)
        page.get_by_role("button", name="Choose pictures").click()
        playwright.expect(page.locator(".choices li")).to_have_count(4)
        let_go(7)
        page.goto("/?v=map&c=pictures&near=1")
        playwright.expect(page.locator(".card .forces img").first).not_to_have_js_property("naturalWidth", 0)
        let_go(4)
        page.goto("/?v=labs&c=pictures&space=pictures&a=1&pos=2&neg=3")
        playwright.expect(page.locator(".choosing img")).to_have_count(3)
        until_so(page, "() => window.blobs.size === 3")  # they are drawn again and again
        page.get_by_role("link", name="Runs").click()
        playwright.expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
        let_go(3)


def test_files_of_another_view_are_waited_for_and_the_last_one_is_still(page):
    """Whatever the last view has timers for is no matter of the next address, however long that view is on its way."""
    held = []

    def hold(asked):
        held.append(asked)

    page.route("**/static/views/runs.js", hold)
    page.goto("/?v=labs&c=pictures")
    playwright.expect(page.locator("#labs-pull .value")).to_contain_text("Loss")
    page.evaluate("""() => {
      const slider = document.querySelector("#labs-pull input[type=range]");
      slider.value = Number(slider.value) + Number(slider.max) / 10;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      document.querySelector("[data-view=runs]").click();
    }""")
    page.wait_for_timeout(500)  # longer than what is said waits to be written
    assert page.evaluate("new URLSearchParams(location.search).get('v')") == "runs"
    assert page.evaluate("new URLSearchParams(location.search).has('t')") is False
    assert len(held) == 1
    held[0].continue_()
    playwright.expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()


def test_a_late_list_of_jobs_takes_back_nothing(page):
    def answer(asked):
        answers.append(asked)
        if len(answers) > 1:
            asked.fulfill(json={"jobs": [job]})

    times = {"created_at": "2026-01-01T00:00:00Z", "started_at": None, "ended_at": "2026-01-01T00:00:01Z"}
    job = {"id": "1", "kind": "index", "state": "succeeded", "collection": "pictures", "done": 9, "total": 9, **times}
    answers = []
    page.route("**/v1/jobs?limit=20", answer)
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.get_by_role("button", name="Library").click()  # looks again, while the first answer is on its way
    done = page.get_by_role("dialog", name="Library").get_by_text("Adding pictures to pictures is done")
    playwright.expect(done).to_be_visible()
    answers[0].fulfill(json={"jobs": []})
    page.wait_for_timeout(200)
    playwright.expect(done).to_be_visible()


SEEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_tab_that_nobody_sees_asks_for_no_jobs(opened):
    times = {"created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z", "ended_at": None}
    job = {"id": "1", "kind": "index", "state": "running", "collection": "pictures", "done": 9, "total": 90, **times}
    asked, page = [], opened(None, clock=True)
    page.route("**/v1/jobs?limit=20", lambda route: asked.append(1) or route.fulfill(json={"jobs": [job]}))
    page.goto("/?c=pictures")
    until(lambda: page.wait_for_timeout(50) or len(asked))
    page.clock.run_for(1200)
    until(lambda: page.wait_for_timeout(50) or len(asked) > 1)
    page.evaluate(SEEN, True)
    page.clock.run_for(1200)  # it had asked to be woken
    page.wait_for_timeout(200)
    before = len(asked)
    page.clock.run_for(2400)
    page.wait_for_timeout(200)
    assert len(asked) == before
    page.evaluate(SEEN, False)
    until(lambda: page.wait_for_timeout(50) or len(asked) > before + 1)


def test_a_search_that_was_left_dims_nothing(page):
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.route("**/v1/collections/pictures/search", lambda asked: None)  # it never comes
    page.get_by_role("searchbox", name="Search by words").fill("boat")
    page.keyboard.press("Enter")
    busy = page.locator(".results.busy")
    playwright.expect(busy).to_have_count(1)
    page.go_back()
    tiles(page, 9)
    playwright.expect(busy).to_have_count(0)
    page.close()


def test_a_picture_that_the_browser_closes_by_itself_is_closed(page):
    page.goto("/?c=pictures&open=1")
    playwright.expect(page.get_by_role("dialog").get_by_role("button", name="More like this")).to_be_visible()
    page.evaluate("document.querySelector('dialog.viewer').close()")
    playwright.expect(page).not_to_have_url(re.compile("open="))
    tiles(page, 9)
    playwright.expect(page.locator(".pictures .caption").first).to_be_attached()
    page.locator(".pictures a").first.click()
    playwright.expect(page.get_by_role("dialog").get_by_role("button", name="More like this")).to_be_visible()


def test_a_small_picture_that_comes_late_takes_no_place_of_the_file(page):
    held = []
    page.route(re.compile(r"/images/1/thumbnail\?.*size=1024"), lambda asked: held.append(asked))
    page.goto("/?c=pictures&open=1")
    until(lambda: page.wait_for_timeout(20) or held)
    page.keyboard.press("+")
    image = page.locator(".viewer .stage img")
    playwright.expect(image).to_have_attribute("src", re.compile("/images/1/content"))
    held[0].continue_()
    page.network.rests()
    page.wait_for_timeout(100)
    playwright.expect(image).to_have_attribute("src", re.compile("/images/1/content"))


def test_columns_that_come_late_take_no_place_of_what_was_asked_since(page):
    held = []
    page.route("**/v1/collections/pictures/columns", lambda asked: held.append(asked))
    page.goto("/?c=pictures", wait_until="commit")
    page.get_by_role("searchbox", name="Search by words").fill("a red boat")
    page.keyboard.press("Enter")
    status = page.get_by_role("status").first
    playwright.expect(status).to_contain_text("9 nearest")
    held[0].continue_()
    page.network.rests()
    page.wait_for_timeout(100)  # for what would be drawn of them
    playwright.expect(status).to_contain_text("9 nearest")
    assert len(names(page)) == 9  # of a collection that is looked through none are shown


@pytest.mark.parametrize("late", ["search", "images/1"])
def test_a_picture_that_comes_late_is_not_opened_over_another_view(page, late):
    """A dialog of a view that is hidden would be seen by nobody, and stop all else."""
    held = []
    page.route(re.compile(f"/v1/collections/pictures/{late}$"), lambda asked: held.append(asked))
    page.goto("/?c=pictures&open=1" + "&q=boat" * (late == "search"))
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("link", name="Runs").click()
    playwright.expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
    for asked in held:
        asked.continue_()
    page.network.rests()
    page.wait_for_timeout(200)
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("link", name="Search").click()
    tiles(page, 9)


PASTE = """(count) => {
  const clipboardData = new DataTransfer();
  const canvas = document.createElement("canvas");
  const bytes = Uint8Array.from(atob(canvas.toDataURL().split(",")[1]), (letter) => letter.charCodeAt(0));
  for (let i = 0; i < count; i++) clipboardData.items.add(new File([bytes], `${i}.png`, { type: "image/png" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""


def test_several_images_are_pasted_and_how_many_are_taken_is_said(page):
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.evaluate(PASTE, 2)
    playwright.expect(page.get_by_role("button", name="Remove the image from the search")).to_have_count(2)
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")
    page.evaluate(PASTE, 11)
    playwright.expect(page.locator("#said-text")).to_have_text("It is searched by the first 8 of 11 images.")


WRITE = """() => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", "boat");
  clipboardData.items.add(new File([new Uint8Array([1])], "cells.png", { type: "image/png" }));
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""


@pytest.mark.parametrize(
    ("path", "field"), [("/?c=pictures", "Search by words"), ("/?v=lineup&c=pictures&p=1", "Labels")]
)
def test_cells_of_a_spreadsheet_are_words_for_a_field_though_there_is_a_picture_of_them(page, path, field):
    page.goto(path)
    page.get_by_label(field, exact=True).focus()
    page.evaluate(WRITE)
    page.wait_for_timeout(200)
    playwright.expect(page).to_have_url(re.compile(re.escape(path) + "$"))
    playwright.expect(page.locator("#said")).to_be_hidden(timeout=SOON)


def test_nothing_that_is_pasted_is_searched_by_behind_what_is_open(page):
    page.goto("/?c=pictures")
    page.get_by_role("button", name="Library").click()
    playwright.expect(page.get_by_role("dialog", name="Library")).to_be_visible()
    page.evaluate(PASTE, 1)
    page.wait_for_timeout(200)
    playwright.expect(page).to_have_url(re.compile(r"\?c=pictures$"))


def drag(page, kind, **given):
    """Whether the page takes what is dragged over it."""
    return page.evaluate(
        """([kind, words]) => {
          const dataTransfer = new DataTransfer();
          if (words) dataTransfer.setData("text/plain", words);
          else dataTransfer.items.add(new File([new Uint8Array([1])], "a.txt"));
          const target = document.querySelector("input, main");
          return !target.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
        }""",
        [kind, given.get("words")],
    )


@pytest.mark.parametrize("path", ["/?c=pictures", "/?v=lineup&c=pictures", "/?v=review&c=pictures", "/?v=labs"])
def test_a_file_that_is_dropped_anywhere_leaves_the_page_and_words_go_into_fields(page, path):
    page.goto(path)
    playwright.expect(page.locator("#main > .view:not([hidden])")).to_be_visible()
    assert drag(page, "dragover")  # else the browser would show the file in the page's place
    assert [drag(page, kind, words="boat") for kind in ("dragover", "drop")] == [False, False]
    if "lineup" in path:
        assert drag(page, "drop")
        playwright.expect(page.locator("#said-text")).to_have_text("There was no picture among these files.")


def test_what_only_leads_away_is_told_what_it_lacks_and_offered_where_it_leads_from_something(page):
    page.goto("/?c=pictures&open=1")
    acts = page.locator(".viewer .acts")
    playwright.expect(acts.get_by_role("button", name="More like this")).to_be_visible()
    playwright.expect(acts.get_by_role("button", name="Less like this")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("searchbox", name="But not").fill("boat")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("heading", name="Nothing to look for yet")).to_be_visible()
    playwright.expect(page.get_by_role("status").first).to_have_text("Nothing to look for yet.")  # is read out
    page.get_by_role("searchbox", name="Search by words").fill("house")
    page.keyboard.press("Enter")
    tiles(page, 9).first.click()
    acts.get_by_role("button", name="Less like this").click()
    page.wait_for_url("**/*like=*:-0.5*")
    tiles(page, 8)


def test_what_is_chosen_has_a_frame_that_is_seen_over_its_picture(page):
    page.goto("/?c=pictures")
    first = tiles(page, 9).first
    first.press("Space")
    frame = page.locator(".pictures li.chosen .frame.there")
    box = frame.bounding_box()
    clip = {"x": box["x"], "y": box["y"] + box["height"] / 2, "width": 12, "height": 1}
    seen = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"))
    assert (seen == (0x1F, 0x6F, 0x5C)).all(-1).any()  # --accent


# Whether a field is as wide as what a browser writes there.
WHOLE = """(field) => {
  const had = field.offsetWidth;
  field.style.width = "max-content";
  return had >= field.offsetWidth;
}"""


def test_a_day_is_written_whole_and_counts_once_it_is_left(page):
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.get_by_role("button", name="Filters", exact=True).click()
    since, until_then = page.get_by_label("Taken from"), page.get_by_label("Taken to")
    assert since.evaluate(WHOLE)
    went = []
    page.on("framenavigated", lambda frame: went.append(frame.url))
    since.focus()
    page.keyboard.type("12012024", delay=30)
    playwright.expect(since).to_have_value("2024-12-01")
    assert went == []
    waiting = []
    page.route("**/facets", lambda asked: waiting.append(asked))
    until_then.focus()
    page.wait_for_url("**/*from=2024-12-01*")
    until(lambda: waiting or page.wait_for_timeout(20))
    page.keyboard.type("12", delay=30)
    with page.expect_response("**/facets"):
        for asked in waiting:
            asked.continue_()
        page.unroute("**/facets")
    page.wait_for_timeout(200)  # longer than the answer takes to be drawn
    page.keyboard.type("312024", delay=30)
    page.keyboard.press("Enter")
    page.wait_for_url("**/*from=2024-12-01&to=2024-12-31*")
    playwright.expect(until_then).to_be_focused()
    page.get_by_role("button", name="Remove the filter taken").click()
    tiles(page, 9)
    playwright.expect(until_then).to_have_value("")


def test_filters_that_nothing_passes_are_taken_away_at_once(page):
    page.goto("/?c=pictures&f=kind:none&f=hue:red&from=1999-01-01")
    playwright.expect(page.get_by_role("status").first).to_have_text("Nothing passes these filters.")  # is read out
    page.get_by_role("link", name="Take all away").click()
    tiles(page, 9)
    assert re.fullmatch(r".*\?c=pictures", page.url)


def test_long_words_and_those_from_right_to_left_keep_within_the_viewer(opened, data):
    caption, tags = "قطة تنظر من النافذة", ["a tag that is " + "very " * 12 + "long", "x" * 90, "قطة"]
    with open_collection(data, "pictures", writable=True) as writer:
        (record,) = writer.records("image", limit=1)
        writer.update({record.id: {"metadata": {"caption": caption, "tags": tags, "note": "y" * 200}}})
    try:
        page = opened(f"/?c=pictures&open={record.id}", width=360)
        heading = page.get_by_role("dialog").get_by_role("heading", name=caption)
        playwright.expect(heading).to_have_css("direction", "rtl")
        playwright.expect(page.locator(".viewer .tags .chip")).to_have_count(3)
        assert page.locator(".viewer .about").evaluate("it => it.scrollWidth <= it.clientWidth")
    finally:
        with open_collection(data, "pictures", writable=True) as writer:
            writer.update({record.id: {"metadata": record.metadata}})


def test_the_name_of_a_file_is_cut_between_its_words(page):
    found = page.goto("/") and page.evaluate("""async () => {
      const { breakable, el } = await import("/static/parts/dom.js");
      const cut = (text) => el("p", {}, ...breakable(text)).innerHTML;
      return ["/a/b_c-d.jpg", "one", "", "<b>", "..._x"].map(cut);
    }""")
    wanted = ["/<wbr>a/<wbr>b_<wbr>c-<wbr>d.<wbr>jpg", "one", "", "&lt;b&gt;", "..._<wbr>x"]
    assert found == wanted
    playwright.expect(page.get_by_role("list", name="Results")).to_be_visible()


def test_on_a_phone_all_views_and_what_is_done_with_a_selection_are_in_their_place(opened):
    page = opened("/?c=pictures", width=360)
    tiles(page, 9).first.focus()
    page.keyboard.press(" ")
    for link in page.locator("#views a").all():
        playwright.expect(link).to_be_in_viewport(ratio=1)
    bar = page.get_by_role("toolbar", name="Selected pictures")
    text, close = bar.get_by_role("status").bounding_box(), bar.get_by_role("button", name="Clear").bounding_box()
    assert abs(text["y"] + text["height"] / 2 - close["y"] - close["height"] / 2) < 8
    assert close["x"] > text["x"] + text["width"]


def test_a_view_that_could_not_be_loaded_is_tried_again(opened):
    page = opened("/?c=pictures", expected=("ERR_FAILED",))
    tiles(page, 9)
    page.route("**/static/views/runs.js", lambda asked: asked.abort())
    page.get_by_role("link", name="Runs").click()
    said = page.locator("#said")
    playwright.expect(said).to_contain_text("This view cannot be loaded")
    page.unroute("**/static/views/runs.js")
    said.get_by_role("button", name="Try again").click()
    playwright.expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
    playwright.expect(said).to_be_hidden()


@pytest.mark.parametrize(("role", "name"), [("button", "More like this"), ("link", "Line up")])
def test_back_leads_to_where_one_was(opened, role, name):
    page = opened("/?c=pictures", width=360, height=300)
    page.network.rests()
    page.evaluate("scrollTo(0, 180)")
    page.get_by_role("list", name="Results").get_by_role("link").nth(2).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role(role, name=name).click()
    playwright.expect(dialog).to_be_hidden()
    until_so(page, "() => scrollY === 0")
    page.go_back()
    until_so(page, "() => scrollY > 100")
    dialog.get_by_role("button", name="Close").click()
    playwright.expect(page).not_to_have_url(re.compile("open="))
    assert page.evaluate("scrollY") > 100


def test_a_map_that_is_left_writes_nothing_into_another_views_address(opened):
    page = opened("/?v=lineup&c=pictures&l=cat&p=1", expected=("GPU stall", "404"))
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Map").click()
    page.get_by_role("button", name="Make the map").click()
    playwright.expect(page.get_by_role("button", name="Zoom in")).to_be_visible()
    page.get_by_role("button", name="Zoom in").click()
    page.go_back()
    playwright.expect(page.get_by_role("textbox", name="Labels")).to_be_visible()
    page.wait_for_timeout(500)  # longer than a map rests before it is told of
    assert "at=" not in page.url


def test_back_and_forward_go_through_views_and_open_pictures(page):
    page.goto("/?c=pictures")
    tiles(page, 9).nth(2).click()
    dialog = page.get_by_role("dialog")
    name = dialog.get_by_role("heading").inner_text()
    dialog.get_by_role("link", name="Line up").click()
    playwright.expect(page.get_by_role("textbox", name="Labels")).to_be_visible()
    playwright.expect(dialog).to_be_hidden()
    page.go_back()
    playwright.expect(dialog.get_by_role("heading")).to_have_text(name)
    page.go_back()
    playwright.expect(dialog).to_be_hidden()
    tiles(page, 9)
    page.go_forward()
    playwright.expect(dialog.get_by_role("heading")).to_have_text(name)
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    playwright.expect(tiles(page, 9).nth(2)).to_be_focused()
    playwright.expect(page).not_to_have_url(re.compile("open="))
    page.go_forward()
    playwright.expect(dialog.get_by_role("heading")).to_have_text(name)
    page.get_by_role("button", name="Close").dblclick()  # the second finds it closed
    playwright.expect(dialog).to_be_hidden()
    tiles(page, 9)
