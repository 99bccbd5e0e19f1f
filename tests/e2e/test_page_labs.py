"""The labs in a real browser: forces that the service computes, points that are moved, and what each lab is to show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from seen_pages import touched, until_so
from service_world import until

from index.collection import open_collection

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

XSS = "<img src=x onerror=\"document.title='broken'\">"
NUMBER = re.compile(r"[\d.]+")


def loss(page: Any) -> float:
    playwright.expect(page.locator("#labs-pull .value")).to_contain_text("Loss")
    return float(NUMBER.search(page.locator("#labs-pull .value strong").inner_text())[0])


def on_circle(*degrees: float) -> list[list[float]]:
    return [[math.cos(math.radians(each)), math.sin(math.radians(each))] for each in degrees]


def expect_loss(page: Any, value: float) -> None:
    playwright.expect(page.locator("#labs-pull .value strong")).to_have_text(f"{value:.3f}")


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("", {"loss": "info-nce", "temperature": 0.2}),
        ("&t=0.5", {"loss": "info-nce", "temperature": 0.5}),
        ("&loss=triplet&m=0.6&mining=batch-hard", {"loss": "triplet", "margin": 0.6, "mining": "batch-hard"}),
        ("&loss=contrastive&m=1.2", {"loss": "contrastive", "margin": 1.2}),
        ("&loss=siglip&t=0.3&b=-1", {"loss": "siglip", "temperature": 0.3, "bias": -1}),
    ],
)
def test_a_link_shows_its_loss_with_its_forces(page: Any, url: str, address: str, asked: dict[str, Any]) -> None:
    page.goto(f"/?v=labs&x=90,30,110,250{address}")
    anchor, *others = on_circle(90, 30, 110, 250)
    found = httpx.post(f"{url}/v1/labs/forces", json=asked | {"anchors": [anchor], "others": others}).json()
    expect_loss(page, found["loss"])
    cosines = page.locator(".pulls tbody td:nth-child(2)").all_inner_texts()
    assert [float(each.replace("−", "-")) for each in cosines] == pytest.approx(found["cosines"], abs=6e-4)
    felt = [*found["gradients"]["anchors"], *found["gradients"]["others"]]
    # an arrow goes against the gradient, from where its point is
    lines = page.locator("#labs-pull .arrows line").evaluate_all(
        "lines => lines.map((line) => ['x1', 'y1', 'x2', 'y2'].map((name) => Number(line.getAttribute(name))))"
    )
    strong = [
        (place, slope) for place, slope in zip([anchor, *others], felt, strict=True) if math.hypot(*slope) > 0.0175
    ]
    assert len(lines) == len(strong) >= 2  # too weak a force is not drawn
    for (x1, y1, x2, y2), (place, slope) in zip(lines, strong, strict=True):
        assert (x1, -y1) == pytest.approx([100 * each for each in place], abs=0.1)
        along = np.array([x2 - x1, y1 - y2])
        assert along @ -np.array(slope) == pytest.approx(np.linalg.norm(along) * np.linalg.norm(slope), rel=1e-2)


def test_points_are_dragged_and_go_where_the_forces_lead(page: Any) -> None:
    page.goto("/?v=labs")
    before = loss(page)
    figure = page.locator("#labs-pull svg.figure").first
    box = figure.bounding_box()
    middle, radius = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), box["width"] * 100 / 296
    page.get_by_role("slider", name="Negative 1").hover()
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] + radius, steps=4)  # to the far side
    page.mouse.up()
    playwright.expect(page).to_have_url(re.compile("x=90,42,270,205,318"))
    expect_loss(page, 0.006)
    page.locator("#labs-pull").get_by_role("button", name="Start again").click()
    expect_loss(page, before)
    page.get_by_role("button", name="One step").click()
    playwright.expect(page.locator("#labs-pull .value strong")).not_to_have_text(f"{before:.3f}")
    after = loss(page)
    assert after < before
    page.get_by_role("button", name="Let go").click()
    playwright.expect(page.get_by_role("button", name="Hold")).to_be_visible()
    told = "document.querySelector('#labs-pull .value strong').textContent"
    until_so(page, f"most => parseFloat({told}) < most", after / 2)
    page.get_by_role("button", name="Hold").click()
    page.get_by_role("button", name="One more negative").click()
    playwright.expect(page.get_by_role("slider", name="Negative 4")).to_be_visible()


def test_without_negatives_the_space_collapses_and_the_warning_of_a_training_says_so(page: Any) -> None:
    page.goto("/?v=labs")
    lab = page.locator("#labs-collapse")
    playwright.expect(lab.locator("dl")).to_contain_text("Step")
    lab.get_by_label("Negatives").uncheck()
    lab.get_by_role("button", name="Train").click()
    playwright.expect(lab.get_by_role("status")).to_contain_text("Collapse: after epoch", timeout=60_000)
    assert "negatives=off" in page.url
    lab.get_by_label("Negatives").check()
    playwright.expect(lab.get_by_role("status")).to_be_hidden()
    playwright.expect(lab.locator("dl")).to_contain_text("Step0")


def test_who_trains_before_the_first_answer_is_there_is_warned_all_the_same(page: Any) -> None:
    page.goto("/?v=labs")
    lab = page.locator("#labs-collapse")
    playwright.expect(lab.locator("dl")).to_contain_text("Step")
    held: list[Any] = []
    page.route("**/v1/labs/**", lambda asked: held.append(asked) if not held else asked.continue_())
    lab.get_by_label("Negatives").uncheck()
    lab.get_by_role("button", name="Train").click()
    until(lambda: held or page.wait_for_timeout(20))
    page.wait_for_timeout(300)
    held[0].continue_()
    playwright.expect(lab.get_by_role("status")).to_contain_text("Collapse: after epoch", timeout=60_000)


def test_a_batch_proves_no_more_than_log_n(page: Any) -> None:
    page.goto("/?v=labs")
    lab = page.locator("#labs-batch")
    told = lab.locator(".value")
    playwright.expect(told).to_contain_text("With 16 in a batch guessing costs log 16 = 2.77")
    for key, n in (("Home", 2), ("End", 128)):
        lab.get_by_role("slider", name="Batch size").press(key)
        playwright.expect(told).to_contain_text(f"With {n} in a batch guessing costs log {n} = {math.log(n):.2f}")
        proved, most = (float(each) for each in told.locator("strong").all_inner_texts())
        assert proved <= most == pytest.approx(math.log(n), abs=0.005)
    lab.get_by_role("slider", name="How alike").press("Home")
    playwright.expect(told.locator("strong").first).to_have_text("0.00")


def test_pictures_of_the_collection_by_their_own_vectors(page: Any, url: str, data: Path) -> None:
    with open_collection(data, "pictures", writable=True) as writer:
        [before] = [record.metadata for record in writer.records("image", limit=1)]
        writer.update({1: {"metadata": {"caption": XSS}}})
    try:
        page.goto("/?v=labs&c=pictures&space=pictures&a=1&pos=2&neg=3&neg=4")
        body = {"pictures": {"collection": "pictures", "anchors": [1], "others": [2, 3, 4]}, "temperature": 0.01}
        found = httpx.post(f"{url}/v1/labs/forces", json=body).json()
        expect_loss(page, found["loss"])  # at the temperature that the model learned
        playwright.expect(page.get_by_role("button", name="learned 0.010")).to_be_visible()
        playwright.expect(page.locator(".own image")).to_have_count(4)
        page.get_by_role("button", name="Add negatives").click()
        page.get_by_role("dialog").get_by_role("button", name="picture 06").click()
        page.get_by_role("dialog").get_by_role("button", name="Add 1").click()
        playwright.expect(page.locator(".own image")).to_have_count(5)
        page.get_by_role("button", name=re.compile("^Anchor")).click()
        page.get_by_role("dialog").get_by_role("button", name="picture 05").click()
        playwright.expect(page).to_have_url(re.compile("a=6"))
        assert page.title() == "Labs · glimpse"
    finally:
        with open_collection(data, "pictures", writable=True) as writer:
            writer.update({1: {"metadata": before}})


def test_of_pictures_asked_for_in_quick_succession_the_last_are_shown(page: Any) -> None:
    held: list[Any] = []
    page.route("**/v1/collections/pictures/search", lambda asked: held.append((asked, asked.fetch())))
    page.goto("/?v=labs&c=pictures&space=pictures")  # looks for neighbours
    until(lambda: page.wait_for_timeout(20) or held)
    page.evaluate("""() => {
      history.pushState({}, "", "?v=labs&c=pictures&space=pictures&a=5&pos=2&neg=3");
      dispatchEvent(new PopStateEvent("popstate"));
    }""")
    anchor = page.locator(".own image").first
    playwright.expect(anchor).to_have_attribute("href", re.compile("/images/5/"))
    asked, answer = held[0]
    asked.fulfill(response=answer)
    page.network.rests()
    page.wait_for_timeout(100)
    playwright.expect(anchor).to_have_attribute("href", re.compile("/images/5/"))
    playwright.expect(page.locator(".own image")).to_have_count(3)


def test_by_keyboard_alone(page: Any) -> None:
    page.goto("/?v=labs")
    before = loss(page)
    positive = page.get_by_role("slider", name="The positive")
    positive.focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    playwright.expect(positive).to_have_attribute("aria-valuetext", "74 degrees")
    playwright.expect(page).to_have_url(re.compile("x=90,74,"))
    until(lambda: loss(page) < before or page.wait_for_timeout(20))
    page.get_by_role("radio", name="Circle").focus()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator("svg.sphere")).to_be_visible()
    positive.focus()
    before = loss(page)
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    playwright.expect(page.locator("#labs-pull .value strong")).not_to_have_text(f"{before:.3f}")


def test_a_turned_sphere_turns_back(page: Any) -> None:
    page.goto("/")
    found = page.evaluate(
        """async () => {
          const points = await import(new URL("static/labs/points.js", location).href);
          const camera = { yaw: 0.7, pitch: -0.4 };
          const given = points.scattered(20, 3, 5);
          const back = given.map((point) => points.turnedBack(points.turned(point, camera), camera));
          return [given, back, points.scattered(20, 3, 5)];
        }"""
    )
    assert found[1] == [pytest.approx(point) for point in found[0]]
    assert found[2] == found[0]
    assert np.linalg.norm(found[0], axis=1) == pytest.approx(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_narrow_and_accessible(opened: Callable[..., Any], axe: Callable[[Any], None], theme: str) -> None:
    page = opened("/?v=labs&c=pictures&space=pictures&loss=siglip", width=360, theme=theme)
    playwright.expect(page.locator(".own image").first).to_be_visible()
    playwright.expect(page.locator("#labs-batch .value")).to_contain_text("With 16")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    page.get_by_text("Sphere").click()
    playwright.expect(page.locator("svg.sphere")).to_be_visible()
    axe(page)


def test_without_a_collection_the_labs_are_open(browser: Any, tmp_path: Path) -> None:
    from service_world import serving, settings_for, tiny_encoder

    from service.app import create_app

    with serving(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as url:
        page = browser.new_page(base_url=url)
        page.goto("/?v=labs")
        assert loss(page) > 0
        playwright.expect(page.get_by_role("radio", name="My pictures")).to_be_disabled()
        page.close()


def test_a_finger_moves_a_point_and_not_the_page(opened: Callable[..., Any]) -> None:
    page = opened("/?v=labs", width=360, height=740, has_touch=True, is_mobile=True)
    before = loss(page)
    dot = page.locator("#labs-pull .dot.movable").nth(1)
    dot.scroll_into_view_if_needed()
    box, y = dot.bounding_box(), page.evaluate("scrollY")
    place = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    touched(page, *([(place[0] - by, place[1] + by)] for by in range(0, 80, 10)))
    assert page.evaluate("scrollY") == y
    moved = dot.bounding_box()
    assert moved["y"] - box["y"] == pytest.approx(70, abs=12)
    until(lambda: loss(page) != before)
