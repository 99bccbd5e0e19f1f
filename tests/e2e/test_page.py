"""The frame of the page, and the docs, in a real browser."""

import pytest
from seen_pages import tiles
from service_world import serving, settings_for, tiny_encoder, until

from glimpse.client import Client
from service.app import create_app
from service.keys import add_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

# lightness, 0 to 255, of the ground of a page and of an element's words
LIGHTNESS = """selector => {
  const light = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g); return 0.3 * r + 0.59 * g + 0.11 * b; };
  const of = (element) => getComputedStyle(element);
  return [light(of(document.body).backgroundColor), light(of(document.querySelector(selector)).color)];
}"""


def test_the_docs_show_every_route(page):
    page.goto("/docs")
    playwright.expect(page.get_by_text("/v1/embeddings")).to_be_visible()


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


def test_links_keep_the_collection_before_it_is_known_which_there_are(opened):
    page = opened(None, expected=("404",))
    held = []
    page.route("**/v1/info", lambda asked: held.append(asked))
    page.goto("/?c=other", wait_until="domcontentloaded")
    link = page.get_by_role("navigation", name="Views").get_by_role("link", name="Runs")
    playwright.expect(page.locator("#views [aria-current=page]")).to_have_text("Search")
    link.click()
    assert page.url.endswith("/?v=runs&c=other")
    playwright.expect(link).to_have_attribute("aria-current", "page")
    held[0].continue_()
    playwright.expect(page.locator("#view-runs h1")).to_be_visible()


def test_the_view_that_is_shown_is_seen_in_the_navigation_of_a_phone(opened):
    page = opened("/?v=labs", width=360)
    playwright.expect(page.locator("#labs-pull .value")).to_contain_text("Loss")
    link = page.locator("#views [aria-current=page]")
    playwright.expect(link).to_have_text("Labs")
    playwright.expect(link).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("width", [360, 740, 1024])
def test_all_views_are_seen_however_long_a_collection_is_called(opened, url, width):
    with Client(url) as client:
        client.set_title("pictures", " ".join(["the harbour in the evening"] * 4))
        page = opened("/?c=pictures", width=width)
        playwright.expect(page.get_by_label("Collection")).to_have_value("pictures")
        playwright.expect(page.get_by_role("link", name="Labs")).to_be_in_viewport(ratio=1)
        assert page.evaluate(
            "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.getElementById('views'))"
        )
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        client.set_title("pictures", None)


@pytest.mark.parametrize(("path", "view"), [("/", "search"), ("/?v=map", "map"), ("/?v=runs", "runs")])
def test_what_is_shown_first_is_asked_for_before_the_page_is_there(opened, path, view):
    held, asked = [], []
    page = opened(None, width=640, expected=("GPU stall",))
    page.route("**/static/main.js", lambda route: held.append(route))
    page.on("request", lambda one: asked.append(one.url.rpartition("/")[2]))
    page.goto(path, wait_until="commit")
    wanted = {"info", f"{view}.js", f"{view}.css", *([] if view == "runs" else ["columns"])}
    until(lambda: wanted <= set(asked) or page.wait_for_timeout(20))
    header = page.locator("header.top")
    playwright.expect(header.get_by_role("link", name="Review")).to_be_visible()
    before = header.bounding_box()
    held[0].continue_()
    playwright.expect(page.locator(f"#view-{view}")).to_be_visible()
    assert header.bounding_box() == before  # nothing moves once the rest is there
    assert [asked.count(f"{view}.{kind}") for kind in ("js", "css")] == [1, 1]


# of each style something that it alone sets
@pytest.mark.parametrize(
    ("style", "selector", "name", "value"),
    [
        ("base", ".drop", "display", "none"),
        ("parts", ".drop", "position", "fixed"),
        ("search", ".bar", "position", "sticky"),
    ],
)
def test_a_style_that_did_not_come_is_asked_for_once_more(opened, style, selector, name, value):
    page, asked = opened(None, expected=("ERR_FAILED",)), []
    page.on("request", lambda one: asked.append(one.url.rpartition("/")[2]))
    page.route(f"**/{style}.css", lambda route: route.abort(), times=1)
    page.goto("/?c=pictures")
    tiles(page, 9)
    playwright.expect(page.locator(selector).first).to_have_css(name, value)
    page.get_by_role("button", name="Library").click()
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    assert asked.count(f"{style}.css") == 2
    orders = "[...document.querySelectorAll('link[rel=stylesheet]')].map((link) => link.href.split('/').pop())"
    assert page.evaluate(orders)[:5] == ["tokens.css", "base.css", "parts.css", "print.css", "search.css"]


def test_a_style_that_never_comes_is_asked_for_twice(opened):
    page, asked = opened(None, expected=("ERR_FAILED",)), []
    page.on("request", lambda one: asked.append(one.url.rpartition("/")[2]))
    page.route("**/base.css", lambda route: route.abort())
    page.goto("/?c=pictures")
    tiles(page, 9)
    page.network.rests()
    assert asked.count("base.css") == 2


@pytest.mark.parametrize("module", ["main.js", "api.js", "header.js"])
def test_who_lacks_a_part_of_the_page_is_told_so_and_may_try_again(opened, module):
    page = opened(None, expected=("ERR_FAILED",))
    page.route(f"**/{module}", lambda route: route.abort())
    page.goto("/?c=pictures")
    playwright.expect(page.locator("#main")).to_contain_text("A part of the page did not load")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    tiles(page, 9)


@pytest.mark.parametrize("file", ["swagger-ui-bundle.js", "docs.js", "key.js", "openapi.json"])
def test_the_docs_say_what_did_not_come(opened, file):
    page = opened(None, expected=("ERR_FAILED",))
    page.route(f"**/{file}", lambda route: route.abort())
    page.goto("/docs")
    said = "The service did not answer. Load" if file == "openapi.json" else "A part of the page did not load"
    playwright.expect(page.locator("main")).to_contain_text(said, timeout=20_000)
    page.unroute_all()
    page.reload() if file == "openapi.json" else page.get_by_role("button", name="Try again").click()
    playwright.expect(page.get_by_text("/v1/embeddings")).to_be_visible(timeout=20_000)


def test_the_docs_say_so_where_a_part_of_the_document_came(opened):
    page = opened(None)
    page.route("**/openapi.json", lambda route: route.fulfill(body='{"openapi": "3.1'))
    page.goto("/docs")
    playwright.expect(page.locator("main")).to_contain_text("The service did not answer. Load")


@pytest.mark.parametrize("path", ["/docs", "/?q=boat&c=pictures"])
def test_pages_are_dark_where_the_system_is(opened, path):
    shades = {}
    for scheme in ("light", "dark"):
        page = opened(path, theme=scheme)
        playwright.expect(page.locator(".opblock, .pictures a").first).to_be_visible()
        words = [".info p", ".opblock-summary-path", ".opblock-tag"] if path == "/docs" else [".status", ".brand"]
        shades[scheme] = [page.evaluate(LIGHTNESS, selector) for selector in words]
    assert all(ground > 200 > 130 > words for ground, words in shades["light"]), shades
    assert all(ground < 60 < 130 < words for ground, words in shades["dark"]), shades


FOUND = """async () => {
  await (await fetch("/static/main.js")).text();
  const [got] = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/static/main.js"));
  const found = [localStorage.length, document.cookie, got.transferSize > got.encodedBodySize];
  localStorage.setItem("theme", "dark");
  document.cookie = "a=b";
  return found;
}"""


def test_a_page_finds_nothing_of_the_page_before(profile):
    for _ in range(2):
        page = profile.new_page({"width": 800, "height": 600}, "light")
        page.goto("/health/live")
        assert page.evaluate(FOUND) == [0, "", True]
        page.close()
