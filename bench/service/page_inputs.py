"""What people do on the page, view by view, as page_speed.py does it."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page


def type_words(page: Page) -> None:
    """Letter by letter."""
    page.get_by_role("searchbox", name="Search by words").click()
    page.keyboard.type("boats at sea", delay=60)


def type_labels(page: Page) -> None:
    """Letter by letter, with a pause in which the bars come."""
    page.get_by_role("textbox", name="Labels").click()
    for word in ("boat, ", "balloon, ", "house, ", "bird"):
        page.keyboard.type(word, delay=30)
        page.wait_for_timeout(400)


def press(*keys: str, each: int = 120) -> Callable[[Page], None]:
    """These keys, one after the other."""

    def act(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(each)

    return act


def click(selector: str, times: int = 1) -> Callable[[Page], None]:
    """Some clicks on what is visible."""

    def act(page: Page) -> None:
        for i in range(times):
            page.locator(f"{selector}:visible").nth(i).click()
            page.wait_for_timeout(400)

    return act


def slide(selector: str) -> Callable[[Page], None]:
    """A slider, a step a key, as fast as keys repeat."""

    def act(page: Page) -> None:
        page.locator(selector).first.focus()
        press(*["ArrowRight"] * 12, *["ArrowLeft"] * 12, each=35)(page)

    return act


def drag(selector: str) -> Callable[[Page], None]:
    """Across the middle of it."""

    def act(page: Page) -> None:
        box = page.locator(selector).first.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.evaluate(FRAMES)
        for i in range(40):
            page.mouse.move(x + 4 * i, y + 2 * i)
            page.wait_for_timeout(16)
        page.mouse.up()

    return act


def move(page: Page) -> None:
    """The map, by keys."""
    page.locator("#view-map .surface").focus()
    press("ArrowRight", "+", "+", "ArrowUp", "-", "0")(page)


def select(page: Page) -> None:
    """Two pictures, by keys."""
    page.locator(".pictures a").first.focus()
    press(" ", "ArrowRight", " ")(page)


def choose(page: Page) -> None:
    """The filters, and two of their chips."""
    click("button:text-is('Filters')")(page)
    click(".facets .chip", 2)(page)


FRAMES = """() => {
  seen.frames = [];
  let last = performance.now();
  const next = (now) => {
    seen.frames.push(now - last);
    last = now;
    if (seen.frames.length < 60) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""

# view, address, what is done, doing it
INPUTS: tuple[tuple[str, str, str, Callable[[Page], None]], ...] = (
    ("Search", "", "typing", type_words),
    ("Search", "", "a picture opened for the first time", click(".pictures a")),
    ("Search", "&open=9", "stepping through pictures", press(*["ArrowRight"] * 6)),
    ("Search", "&open=9", "closing one", press("Escape")),
    ("Search", "", "selecting pictures", select),
    ("Search", "", "filters and their chips", choose),
    ("Lineup", "&v=lineup", "typing labels", type_labels),
    ("Lineup", "&v=lineup&l=boat&l=house&l=bird", "the temperature", slide("#view-lineup input[type=range]")),
    ("Lineup", "&v=lineup&l=boat&l=house&l=bird", "the right one", click("#view-lineup .bars button", 3)),
    ("Map", "&v=map", "keys", move),
    ("Map", "&v=map", "dragging it", drag("#view-map canvas")),
    ("Map", "&v=map", "a cluster", click("#view-map .legend button", 2)),
    ("Review", "&v=review", "opening a run", click("#view-review .rows a")),
    ("Review", "&v=review&run=RUN", "digits", press("1", "2", "3", "Enter", "u", each=300)),
    ("Labs", "&v=labs", "the temperature", slide("#labs-pull input[type=range]")),
    ("Labs", "&v=labs", "dragging a point", drag("#labs-pull .dot.movable")),
    ("Runs", "&v=labs", "opening the view", click("nav [data-view=runs]")),
)
