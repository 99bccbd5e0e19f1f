"""The page in a real browser: Debian's chromium through playwright; skipped where either is missing."""

import shutil

import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from glimpse.client import Client
from index.collection import open_collection
from service.app import create_app
from service.keys import add_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

ARGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

# lightness, 0 to 255, of the ground of a page and of an element's words
LIGHTNESS = """selector => {
  const light = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g); return 0.3 * r + 0.59 * g + 0.11 * b; };
  const of = (element) => getComputedStyle(element);
  return [light(of(document.body).backgroundColor), light(of(document.querySelector(selector)).color)];
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def url(data):
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 9))
    with serving(create_app(settings_for(data), encoder)) as url:
        yield url


@pytest.fixture
def page(browser, url):
    page = browser.new_page(base_url=url)
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    page.close()
    assert problems == []


def cards(page, n):
    playwright.expect(page.locator(".card")).to_have_count(n)
    return page.locator(".card")


def test_words_results_one_of_them_and_more_like_it(page):
    page.goto("/")
    playwright.expect(page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    page.get_by_role("searchbox").fill("a red boat")
    page.keyboard.press("Enter")
    found = cards(page, 9)
    playwright.expect(page.get_by_role("status")).to_contain_text("9 nearest")
    for image in found.locator("img").all():
        playwright.expect(image).to_have_js_property("naturalWidth", 256)
    assert "q=a+red+boat&c=pictures" in page.url

    caption = found.nth(1).locator(".caption").inner_text()
    found.nth(1).click()
    dialog = page.get_by_role("dialog")
    playwright.expect(dialog).to_contain_text(caption)
    dialog.get_by_role("button", name="More like this").click()
    playwright.expect(dialog).to_be_hidden()
    left = cards(page, 8)  # all but itself
    assert caption not in left.locator(".caption").all_inner_texts()
    assert "like=" in page.url

    page.go_back()
    cards(page, 9)
    assert page.get_by_role("searchbox").input_value() == "a red boat"


def test_an_image_as_the_query(page, data):
    page.goto("/?c=pictures")
    page.get_by_label("Search by an image").set_input_files(next((data / "files").glob("03.*")))
    assert cards(page, 9).first.locator(".caption").inner_text() == "picture 03"
    page.get_by_role("button", name="Remove the image").click()
    cards(page, 0)


def test_a_caption_that_is_no_text_blanks_nothing(page, data):
    odd = [{"toString": 1}, ["a", 1], {"caption": None}, True]
    with open_collection(data, "pictures", writable=True) as writer:
        before = {record.id: record.metadata for record in writer.records("image", limit=len(odd))}
        writer.update({key: {"metadata": {"caption": caption}} for key, caption in zip(before, odd, strict=True)})
    try:
        page.goto("/?q=boat&c=pictures")
        captions = cards(page, 9).locator(".caption").all_inner_texts()
        assert {'{"toString":1}', '["a",1]', '{"caption":null}', "true"} <= set(captions)
    finally:
        with open_collection(data, "pictures", writable=True) as writer:
            writer.update({key: {"metadata": metadata} for key, metadata in before.items()})


def test_what_has_an_id_of_its_owners_own_is_called_by_it(page, url, data):
    file = next((data / "files").glob("03.*"))
    with Client(url) as client:
        client.create_collection("shop")
        client.put_entry("shop", "shoe/1", image=file)
    page.goto("/?q=boat&c=shop")
    playwright.expect(cards(page, 1).locator(".caption")).to_have_text("shoe/1")
    cards(page, 1).click()
    playwright.expect(page.locator("#viewer-path")).to_have_text("shoe/1")
    with Client(url) as client:
        client.delete_collection("shop")


def test_by_keyboard_alone(page):
    page.goto("/?q=boat&c=pictures&k=12")
    cards(page, 9).first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    first = dialog.get_by_role("heading").inner_text()
    page.keyboard.press("ArrowRight")
    playwright.expect(dialog.get_by_role("heading")).not_to_have_text(first)
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    playwright.expect(page.locator(".card").nth(1)).to_be_focused()
    page.locator("body").press("/")
    playwright.expect(page.get_by_role("searchbox")).to_be_focused()


def test_the_docs_show_every_route(page):
    page.goto("/docs")
    playwright.expect(page.get_by_text("/v1/embeddings")).to_be_visible()


def test_an_error_is_said_and_the_page_goes_on(browser, url):
    page = browser.new_page(base_url=url)  # here the browser does log an error: the 404 it is about
    page.goto("/?q=boat&c=gone")
    playwright.expect(page.get_by_role("status")).to_contain_text("no collection 'gone'")
    page.get_by_label("Collection").select_option("pictures")
    cards(page, 9)
    page.close()


def test_a_service_with_keys_is_asked_with_one(browser, tmp_path):
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 3))
    key = add_key(tmp_path, "page", "read")
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = browser.new_page(base_url=url)  # the browser logs each 401
        page.goto("/?q=boat&c=pictures")
        ask = page.get_by_role("dialog", name="This service needs a key")
        ask.get_by_label("Key", exact=True).fill("not this one")
        ask.get_by_role("button", name="Use it").click()
        playwright.expect(ask).to_contain_text("That key is not valid here.")
        ask.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        found = cards(page, 3)
        for image in found.locator("img").all():
            playwright.expect(image).to_have_js_property("naturalWidth", 256)
        found.first.click()
        playwright.expect(page.locator("#viewer-image")).to_have_js_property("naturalWidth", 320)
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Open the file").click()
        playwright.expect(opened.value.locator("img")).to_have_js_property("naturalWidth", 320)
        page.goto("/docs")
        playwright.expect(page.get_by_text("/v1/embeddings")).to_be_visible()
        page.close()


def ask_for_info(page):
    """The status that /v1/info has when the docs' own button asks for it."""
    page.get_by_role("button", name="Execute").click()
    return page.locator(".live-responses-table tr.response .response-col_status")


def test_the_docs_ask_for_the_key_in_a_field_and_let_it_be_changed(browser, tmp_path):
    key = add_key(tmp_path, "page", "read")
    with serving(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as url:
        page = browser.new_page(base_url=url)
        page.goto("/docs")
        ask = page.get_by_role("dialog", name="This service needs a key")
        ask.get_by_label("Key", exact=True).fill("not this one")
        page.keyboard.press("Enter")
        playwright.expect(ask).to_contain_text("That key is not valid here.")
        ask.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        page.locator(".opblock", has_text="/v1/info").click()
        page.get_by_role("button", name="Try it out").click()
        playwright.expect(ask_for_info(page)).to_contain_text("200")
        authorize = page.locator(".auth-wrapper button.authorize").first
        authorize.click()
        page.get_by_role("button", name="Remove authorization").click()
        page.get_by_role("button", name="Close").click()
        playwright.expect(ask_for_info(page)).to_contain_text("401")
        authorize.click()
        page.locator(".auth-container input").fill(key)
        page.get_by_role("button", name="Apply credentials").click()
        page.get_by_role("button", name="Close").click()
        playwright.expect(ask_for_info(page)).to_contain_text("200")
        page.close()


@pytest.mark.parametrize("path", ["/docs", "/?q=boat&c=pictures"])
def test_pages_are_dark_where_the_system_is_and_load_nothing_from_elsewhere(browser, url, path):
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(base_url=url, color_scheme=scheme)
        asked = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(path)
        playwright.expect(page.locator(".opblock, .card").first).to_be_visible()
        words = [".info p", ".opblock-summary-path", ".opblock-tag"] if path == "/docs" else [".caption", ".brand"]
        shades[scheme] = [page.evaluate(LIGHTNESS, selector) for selector in words]
        assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
        page.close()
    assert all(ground > 200 > 130 > words for ground, words in shades["light"]), shades
    assert all(ground < 60 < 130 < words for ground, words in shades["dark"]), shades
