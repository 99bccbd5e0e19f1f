"""The map in a real browser, whose WebGL is drawn by software."""

import contextlib
import io
import re

import pytest
from PIL import Image
from seen_pages import until_so
from service_world import until

from glimpse.client import Client, ServiceError

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

XSS = '<img src=x onerror="document.title=\'broken\'"><script>document.title="broken"</script>'
STALL = "GPU stall due to ReadPixels"  # said by a browser without a GPU when a picture of it is taken
NO_WEBGL = """
  const context = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    return kind.startsWith("webgl") ? null : context.call(this, kind, ...rest);
  };
"""


@pytest.fixture(scope="module")
def client(url):
    with Client(url) as client:
        yield client


@pytest.fixture
def mapped(client):
    """There is a map."""
    try:
        client.map("pictures")
    except ServiceError:
        assert client.wait_for(client.start_job("map", collection="pictures")).state == "succeeded"


@pytest.fixture
def at(opened, mapped):
    """Opens the map at an address, and waits until it is there."""

    def open_it(more="", **options):
        page = opened(f"/?v=map&c=pictures{more}", expected=(STALL,), **options)
        playwright.expect(page.locator(".legend [aria-pressed]").first).to_be_attached()
        return page

    return open_it


def surface(page):
    return page.get_by_role("application", name="Map of the pictures")


def around_all(page):
    """A drag around all that there is."""
    box = surface(page).bounding_box()
    left, top, right, bottom = box["x"] + 6, box["y"] + 6, box["x"] + box["width"] - 6, box["y"] + box["height"] - 6
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 3)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_where_there_is_none_one_is_made(opened, client):
    with contextlib.suppress(ServiceError):
        client.forget_map("pictures")
    page = opened("/?v=map&c=pictures", expected=(STALL,))
    playwright.expect(page.get_by_role("heading", name="No map yet")).to_be_visible()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Make the map").click()
    playwright.expect(page.get_by_role("status").get_by_text("9 pictures")).to_be_visible(timeout=30_000)
    assert client.map("pictures").placed == 9
    playwright.expect(surface(page)).to_be_visible()
    page.network.rests()
    assert sum(one.endswith("/v1/collections/pictures/map") for one in asked) == 1  # it is read once


def test_a_service_that_answers_for_a_while_with_nothing_is_waited_for_and_an_error_is_said(opened, client):
    with contextlib.suppress(ServiceError):
        client.forget_map("pictures")
    page = opened(None, expected=(STALL, "500", "503"))
    statuses = []  # of what is answered; empty: as it is

    def answer(asked):
        if not statuses:
            asked.continue_()
            return
        message = "it starts" if statuses[0] == 503 else "it is broken"
        asked.fulfill(status=statuses[0], json={"error": {"message": message}})

    page.route(re.compile(r"/v1/jobs(\?|/\w+$)"), answer)
    page.goto("/?v=map&c=pictures")
    make = page.get_by_role("button", name="Make the map")
    make.wait_for()
    statuses[:] = [500]
    make.click()
    playwright.expect(page.locator("#said")).to_contain_text("There is no map: it is broken")
    until(lambda: not list(client.jobs(state="running")) or page.wait_for_timeout(50))
    playwright.expect(make).to_be_visible()
    statuses[:] = [503]
    make.click()
    playwright.expect(page.locator("#said")).to_contain_text("it starts")
    playwright.expect(page.get_by_role("heading", name="Making the map")).to_be_visible()
    statuses.clear()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # sooner than in five seconds
    playwright.expect(surface(page)).to_be_visible()


def test_a_map_that_is_made_while_one_looks_elsewhere_opens_nothing_over_it(opened, client):
    with contextlib.suppress(ServiceError):
        client.forget_map("pictures")
    page = opened(None, expected=(STALL,))
    held = []  # None: no more
    page.route(
        re.compile(r"/v1/jobs/\w+$"), lambda asked: held.append(asked) if None not in held else asked.continue_()
    )
    page.goto("/?v=map&c=pictures")
    page.get_by_role("button", name="Make the map").click()
    page.get_by_role("link", name="Search").click()
    page.get_by_role("list", name="Results").get_by_role("link").first.click()
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    job = next(client.jobs())
    assert client.wait_for(job).state == "succeeded"
    held.append(None)
    for asked in held[:-1]:
        asked.continue_()
    page.wait_for_timeout(300)
    page.network.rests()
    assert page.locator("dialog[open]").count() == 1  # the map's own would hide nothing, and stop all
    page.keyboard.press("Escape")
    page.get_by_role("searchbox", name="Search by words").click()
    page.get_by_role("link", name="Map").click()
    playwright.expect(surface(page)).to_be_visible()


def test_points_names_and_thumbnails_are_drawn(at):
    page = at()
    thumbs = page.locator(".thumbs img.there")
    playwright.expect(thumbs.first).to_be_visible()
    page.evaluate("document.querySelector('.thumbs').hidden = true; document.querySelector('.names').hidden = true")
    shot = Image.open(io.BytesIO(surface(page).screenshot())).convert("RGB")
    colours = {colour for count, colour in shot.getcolors(1 << 24) if count > 20}
    assert any(max(colour) - min(colour) > 60 for colour in colours)  # points have colours, the ground has none
    size = page.locator(".legend .size").all_inner_texts()
    assert sum(map(int, size)) == 9


def test_a_drag_moves_a_wheel_zooms_and_the_address_knows(at):
    page = at()
    box = surface(page).bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.wheel(0, -240)
    page.wait_for_url("**at=*")
    zoom = float(re.search(r"at=[\d.]+,[\d.]+,([\d.]+)", page.url)[1])
    assert zoom == pytest.approx(2.718, abs=0.01)
    x = re.search(r"at=([\d.]+)", page.url)[1]
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1], steps=5)
    page.mouse.up()
    until_so(page, "x => !location.search.includes(`at=${x},`)", x)
    kept = page.url  # under way still, on a busy machine
    assert float(re.search(r"at=([-\d.]+)", kept)[1]) < float(x)
    again = at(kept[kept.index("&at=") :])
    playwright.expect(surface(again)).to_be_visible()
    assert again.url == kept
    page.get_by_role("button", name="Show the whole").click()
    page.wait_for_url("**at=0.5,0.5,1")


def test_words_light_what_fits_and_back_undoes_it(at):
    page = at()
    page.get_by_role("searchbox").fill("a red boat")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("status").get_by_text("nearest")).to_be_visible()
    assert "q=a+red+boat" in page.url
    page.get_by_role("link", name="show as a grid").click()
    playwright.expect(page.get_by_role("searchbox", name="Search by words")).to_have_value("a red boat")
    page.go_back()
    page.go_back()
    playwright.expect(page.get_by_role("status").get_by_text("9 pictures")).to_be_visible()


def test_light_that_was_broken_off_is_asked_for_again(at):
    page = at()
    held = []
    page.route("**/search", lambda route: held.append(route))
    page.get_by_role("searchbox").fill("a red boat")
    page.keyboard.press("Enter")
    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(50)
    page.unroute("**/search")
    page.evaluate("import('/static/router.js').then(({ navigate }) => navigate({ by: 'file.folder' }))")
    playwright.expect(page.get_by_role("status").get_by_text("nearest")).to_be_visible()


def test_a_lasso_selects_a_grid_that_can_be_labelled(at, client):
    page = at()
    page.get_by_role("button", name="Lasso").click()
    around_all(page)
    playwright.expect(page.get_by_role("heading", name="9 pictures selected")).to_be_visible()
    playwright.expect(page.get_by_role("list", name="Selected pictures").get_by_role("link")).to_have_count(9)
    link = page.url
    assert "sel=" in link
    page.get_by_label("Key of the label").fill("kind")
    page.get_by_label("Label", exact=True).fill("drawn")
    page.get_by_role("button", name="Label them").click()
    playwright.expect(page.locator("#said-text")).to_have_text("9 pictures labelled kind: drawn.")
    assert {entry.metadata["kind"] for entry in client.entries("pictures", "image")} == {"drawn"}

    again = at(link[link.index("&sel=") :])  # a link has what was selected
    playwright.expect(again.get_by_role("heading", name="9 pictures selected")).to_be_visible()
    again.get_by_role("list", name="Selected pictures").get_by_role("link").nth(2).click()
    playwright.expect(again.get_by_role("dialog")).to_be_visible()
    again.go_back()
    playwright.expect(again.get_by_role("dialog")).to_be_hidden()
    again.get_by_role("button", name="Close the selection").click()
    playwright.expect(again.get_by_role("heading", name="9 pictures selected")).to_be_hidden()


def test_the_first_label_of_a_key_colours_those_that_have_it(at, client):
    page = at()
    page.get_by_role("button", name=re.compile("^Select the view")).click()
    page.get_by_role("list", name="Selected pictures").get_by_role("button", name="Select").nth(2).click()
    page.get_by_label("Key of the label").fill("first")
    page.get_by_label("Label", exact=True).fill("yes")
    page.get_by_role("button", name="Label them").click()
    playwright.expect(page.get_by_role("combobox", name="Colour by")).to_have_value("first")
    playwright.expect(page.locator(".legend li .text")).to_have_text(["yes", "other"])
    playwright.expect(page.locator(".legend li .size")).to_have_text(["1", "8"])


def test_a_key_that_colours_nothing_is_not_named_where_clusters_are(at):
    page = at("&by=nothing&near=1")
    playwright.expect(page.locator(".legend summary")).to_have_text("Clusters")
    card = page.get_by_role("complementary", name="The chosen picture")
    playwright.expect(card).to_contain_text("of the same cluster")
    playwright.expect(card).not_to_contain_text("nothing")


def test_what_is_lit_is_a_grid_with_all_of_its_filters(at, data):
    page = at(f"&q=boat&in={data / 'files'}")
    page.get_by_role("link", name="show as a grid").click()
    playwright.expect(page).to_have_url(re.compile(f"q=boat.*in={data}"))


def test_who_leaves_while_pictures_are_labelled_stays_where_they_are(at):
    page = at("&sel=0,0;1,0;1,1;0,1")
    held = []
    page.route("**/entries", lambda asked: held.append(asked))
    page.get_by_label("Key of the label").fill("late")
    page.get_by_label("Label", exact=True).fill("yes")
    page.get_by_role("button", name="Label them").click()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Labs").click()
    until(lambda: held or page.wait_for_timeout(50))
    playwright.expect(page.get_by_role("heading", name="Labs")).to_be_visible()
    held[0].continue_()
    playwright.expect(page.locator("#said-text")).to_contain_text("9 pictures labelled late: yes")
    assert "late" not in page.url


def test_where_too_many_came_since_the_map_is_made_anew(at, client):
    before = client.map("pictures")
    page = at()
    told = page.request.get("/v1/collections/pictures/map").json() | {"unplaced": 3}
    page.route("**/v1/collections/pictures/map", lambda asked: asked.fulfill(json=told))
    page.reload()
    status = page.locator("#view-map .status")
    playwright.expect(status).to_have_text(
        "9 pictures · 3 pictures came since, too many to be placed · make the map anew"
    )
    page.unroute("**/v1/collections/pictures/map")
    status.get_by_role("button", name="make the map anew").click()
    playwright.expect(status).to_have_text("9 pictures")
    playwright.expect(page.locator("#said-text")).to_have_text("The map is made anew.")
    assert client.map("pictures").made_at > before.made_at


def test_values_of_a_key_have_colours_and_are_lit(at, client):
    entries = list(client.entries("pictures", "image"))
    for i, entry in enumerate(entries):
        client.update_entry("pictures", entry.id, metadata={"hue": "red" if i < 4 else XSS})
    page = at("&by=hue")
    rows = page.locator(".legend button.row")
    playwright.expect(rows).to_have_count(2)
    assert rows.locator(".text").all_inner_texts() == [XSS, "red"]
    rows.filter(has_text="red").last.click()
    playwright.expect(page.get_by_role("status").get_by_text("4 pictures of 9 lit")).to_be_visible()
    assert "f=hue:red" in page.url
    playwright.expect(page.locator(".legend [aria-pressed=true]")).to_have_count(1)
    assert page.title() == "Map · glimpse"


def test_a_picture_shows_what_is_pulled_and_what_is_pushed(at, client):
    entries = list(client.entries("pictures", "image"))
    for i, entry in enumerate(entries):
        client.update_entry("pictures", entry.id, metadata={"hue": "red" if i < 4 else "blue", "caption": f"{XSS} {i}"})
    page = at(f"&by=hue&near={entries[0].id}")
    card = page.get_by_role("complementary", name="The chosen picture")
    playwright.expect(card).to_contain_text("hue: red")
    for kind, n in (("pull", 3), ("push", 5)):
        shares = card.locator(f"h3.{kind} ~ ul").first.locator(".size").all_inner_texts()
        assert len(shares) == n
        assert all(re.fullmatch(rf"{kind} \d+ %", share) for share in shares)
    pushes = [int(re.search(r"\d+", text)[0]) for text in card.locator("h3.push ~ ul .size").all_inner_texts()]
    assert pushes == sorted(pushes, reverse=True)
    assert 95 <= sum(pushes) <= 105
    card.get_by_role("link", name=f"{XSS} 1").click()
    playwright.expect(card.get_by_role("heading", level=2)).to_have_text(f"{XSS} 1")
    card.get_by_role("button", name="Close").click()
    playwright.expect(card).to_be_hidden()
    assert page.title() == "Map · glimpse"


def test_by_keyboard_alone(at):
    page = at()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "application":
            break
    playwright.expect(surface(page)).to_be_focused()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**at=*")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    card = page.get_by_role("complementary", name="The chosen picture")
    playwright.expect(card).to_be_visible()
    page.keyboard.press("s")
    playwright.expect(page.get_by_role("heading", name="9 pictures selected")).to_be_visible()
    playwright.expect(card).to_be_hidden()
    page.keyboard.press("Enter")
    playwright.expect(card).to_be_visible()
    card.get_by_role("button", name="Close").press("Enter")
    playwright.expect(card).to_be_hidden()
    playwright.expect(surface(page)).to_be_focused()
    page.keyboard.press("Enter")
    card.get_by_role("link", name="Open").focus()
    page.keyboard.press("Escape")
    playwright.expect(card).to_be_hidden()
    playwright.expect(surface(page)).to_be_focused()
    page.keyboard.press("s")
    playwright.expect(page.get_by_role("heading", name="9 pictures selected")).to_be_visible()
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("heading", name="9 pictures selected")).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_serious_finding_and_nothing_wider_than_the_page(at, axe, client, theme, width):
    near = next(iter(client.entries("pictures", "image"))).id
    for more in (f"&near={near}", "&sel=0,0;1,0;1,1;0,1"):
        page = at(more, width=width, theme=theme)
        shown = page.locator(".card h2, .below h2").locator("visible=true")
        playwright.expect(shown.first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        axe(page)
        page.close()


def test_without_webgl_it_is_told_in_words(opened, mapped):
    page = opened(None)
    page.add_init_script(NO_WEBGL)
    page.goto("/?v=map&c=pictures")
    playwright.expect(page.get_by_text("This browser cannot draw the map")).to_be_visible()
    row = page.locator(".legend button.row").first
    n = int(row.locator(".size").inner_text())
    row.click()
    playwright.expect(page.get_by_role("heading", name=f"{n} picture")).to_be_visible()
    playwright.expect(page.get_by_role("list", name="Selected pictures").get_by_role("link")).to_have_count(n)


@pytest.mark.parametrize("broken", ["info", "columns", "map"])
def test_a_map_is_shown_though_what_is_asked_for_at_its_end_fails_first(opened, client, broken):
    with contextlib.suppress(ServiceError):
        client.forget_map("pictures")
    page = opened("/?v=map&c=pictures", expected=(STALL, "500", "503"), clock=True)
    page.get_by_role("button", name="Make the map").wait_for()
    statuses = [503, 500]

    def answer(asked):
        if statuses and asked.request.method == "GET":
            asked.fulfill(status=statuses.pop(0), json={"error": {"message": "it is not well"}})
        else:
            asked.fallback()

    page.route(re.compile({"info": "/v1/info$", "columns": "/columns$", "map": "/pictures/map$"}[broken]), answer)
    page.get_by_role("button", name="Make the map").click()
    said = page.locator("#said")
    playwright.expect(said).to_contain_text("it is not well")  # and asked for again, for a while may help
    again = said.get_by_role("button", name="Try again")
    until(lambda: len(statuses) < 2 or page.wait_for_timeout(50))
    page.clock.fast_forward(5000)
    until(lambda: not statuses or page.wait_for_timeout(100))  # which somebody has to want: an error may stay
    playwright.expect(said).to_contain_text("it is not well")
    again.click()
    playwright.expect(surface(page)).to_be_visible()
    playwright.expect(page.get_by_role("heading", name="Making the map")).to_be_hidden()
    playwright.expect(said).to_be_hidden()


def test_of_a_collection_that_is_gone_the_map_says_so(opened):
    page = opened("/?v=map&c=gone", expected=("404",))
    playwright.expect(page.get_by_role("heading", name="There is no collection gone")).to_be_visible()
    playwright.expect(page.locator("#said")).to_be_hidden()


def test_of_too_few_pictures_there_is_no_map_and_why_is_said(opened, client):
    client.create_collection("few")
    try:
        page = opened("/?v=map&c=few")
        told = page.locator("#view-map .empty")
        playwright.expect(told).to_contain_text("It needs three pictures at least: add some first.")
        assert told.locator("> *").count() == 3
        assert "false" not in told.inner_text()
    finally:
        client.delete_collection("few")


def test_what_is_not_there_is_no_word(page):
    page.goto("/")
    found = page.evaluate("""async () => {
      const { el, fill } = await import("/static/parts/dom.js");
      const box = el("p", {}, false, null, undefined, 0, "a", [el("b"), false]);
      const first = box.innerHTML;
      fill(box, "b", false, [null, el("i")]);
      return [first, box.innerHTML];
    }""")
    assert found == ["0a<b></b>", "b<i></i>"]


# 40,000 points on a lattice: which of them are drawn while they move, and how many pixels are lit then and at rest
DRAWN = """async () => {
  const { Points } = await import("./static/map/points.js");
  const points = new Points(document.createElement("canvas"));
  const places = Uint16Array.from({ length: 80_000 }, (_, i) => (i % 2 ? Math.floor(i / 400) : (i / 2) % 200) * 320);
  const [width, height] = [900, 900];
  points.show(places);
  points.paint([[1, 1, 1]]);
  const lit = (options) => {
    points.draw({ x: 0.5, y: 0.5, scale: 860, width, height }, 2, options);
    const pixels = new Uint8Array(4 * width * height);
    points.gl.readPixels(0, 0, width, height, points.gl.RGBA, points.gl.UNSIGNED_BYTE, pixels);
    return pixels.filter((value, i) => i % 4 === 3 && value > 60).length;
  };
  const all = lit({});
  const measured = points.every;
  points.every = 8;
  return { measured, all, moved: lit({ moves: true }), rested: lit({}) };
}"""


def test_of_many_points_some_are_drawn_while_they_move_and_all_at_rest(opened):
    drawn = opened("/?v=labs", expected=(STALL,)).evaluate(DRAWN)
    assert drawn["measured"] == 1 or drawn["measured"] in range(4, 61, 4)
    assert drawn["all"] == drawn["rested"] > 40_000
    assert drawn["moved"] == pytest.approx(drawn["all"] / 8, rel=0.1)
