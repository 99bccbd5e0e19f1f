"""The lineup in a real browser: what the service says as bars, the temperature applied by the page, label sets."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from glimpse.client import Client
from index.collection import open_collection
from service.app import create_app
from service.keys import add_key

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

XSS = "<img src=x onerror=\"document.title='broken'\">"
THREE = "/?v=lineup&c=pictures&p=1&p=2&l=cat&l=dog&l=boat"


def bars(page: Any, n: int) -> Any:
    found = page.get_by_role("list", name="Chances").get_by_role("button")
    playwright.expect(found).to_have_count(n)
    return found


def chances(page: Any) -> list[float]:
    """Those of the bars, as they are drawn, 0 to 1."""
    widths = page.locator(".bars i").evaluate_all("bars => bars.map((bar) => bar.style.transform)")
    return [float(re.search(r"\(([\d.e-]+)\)", width)[1]) for width in widths]


def said(url: str, **asked: Any) -> dict[str, Any]:
    return httpx.post(f"{url}/v1/classify", json={"collection": "pictures", "id": 1} | asked).json()


def test_what_the_service_warns_of_is_told_and_calmly(opened: Callable[..., Any]) -> None:
    page = opened(f"{THREE}&l={'+'.join(['boat'] * 120)}&l={'x' * 300}", width=360)
    bars(page, 5)
    status = page.locator("#view-lineup p.status")
    playwright.expect(status).to_contain_text("texts are cut after 77 tokens")
    assert "bad" not in status.get_attribute("class")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_labels_are_typed_and_bars_follow(opened: Callable[..., Any], url: str) -> None:
    asked, page = [], opened("/?v=lineup", clock=True)
    page.on("request", lambda request: asked.append(request.url) if "classify" in request.url else None)
    playwright.expect(page.get_by_role("list", name="Pictures in the lineup").get_by_role("listitem")).to_have_count(4)
    page.network.rests()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)  # who types fast, however slow this machine is
    page.get_by_label("Labels", exact=True).press_sequentially("cat\ndog, hot air balloon")
    page.clock.resume()
    found = bars(page, 3)
    expected = said(url, labels=["cat", "dog", "hot air balloon"])["results"][0]["scores"]
    assert found.locator(".name").all_inner_texts() == [each["label"] for each in expected]
    assert chances(page) == pytest.approx([each["score"] for each in expected], abs=1e-5)
    playwright.expect(page.locator(".strip .best")).to_have_text([re.compile(r"\w+\s[<\d.]+ %")] * 4)
    assert len(asked) == 4  # once for each picture, and not for each of 21 letters
    assert "l=cat&l=dog&l=hot+air+balloon" in page.url


def test_the_slider_sharpens_and_flattens_and_the_learned_temperature_is_marked(page: Any, url: str) -> None:
    page.goto(THREE)
    bars(page, 3)
    answer = said(url, labels=["cat", "dog", "boat"])
    cosines = np.array([each["cosine"] for each in answer["results"][0]["scores"]])
    slider = page.get_by_role("slider", name="Temperature")
    assert slider.get_attribute("aria-valuetext") == "0.010"  # 1 / logit_scale
    for key, temperature in (("Home", 0.001), ("End", 1.0)):
        slider.press(key)
        exponents = np.exp((cosines - cosines.max()) / temperature)
        assert chances(page) == pytest.approx(list(exponents / exponents.sum()), abs=1e-4)
    bars(page, 3).first.click()  # it is the right one
    right = answer["results"][0]["scores"][0]["label"]
    flat = -math.log(float(np.exp(cosines[0]) / np.exp(cosines).sum()))
    playwright.expect(page.locator(".loss")).to_contain_text(f"If {right} is right, the loss at temperature 1.0")
    playwright.expect(page.locator(".loss")).to_contain_text(f"{flat:.2f} nats. Guessing among 3 costs log 3 = 1.10.")
    page.reload()
    bars(page, 3)
    assert slider.get_attribute("aria-valuetext") == "1.0"
    page.get_by_role("button", name="learned 0.010").click()
    assert chances(page) == pytest.approx([each["score"] for each in answer["results"][0]["scores"]], abs=1e-5)
    playwright.expect(page.locator(".loss")).to_contain_text("the loss is −log p")


def test_each_on_its_own_and_none_of_these(page: Any, url: str) -> None:
    page.goto(THREE)
    bars(page, 3)
    page.get_by_text("Each on its own").click()
    playwright.expect(page.locator(".bars.each")).to_be_visible()
    multi = said(url, labels=["cat", "dog", "boat"], mode="multi")
    assert chances(page) == pytest.approx([each["score"] for each in multi["results"][0]["scores"]], abs=1e-5)
    page.get_by_text("One of them").click()
    page.get_by_label("or none of these").check()
    known = said(url, labels=["cat", "dog", "boat"], abstain=True)["results"][0]
    playwright.expect(page.locator(".known")).to_contain_text(f"Any of these at all{known['known']:.2f}")
    verdict = "None of these" if known["abstained"] else known["label"]
    playwright.expect(page.locator(".verdict")).to_have_text(verdict)
    page.go_back()
    playwright.expect(page.get_by_label("or none of these")).not_to_be_checked()


def test_pictures_are_chosen_searched_for_dropped_and_taken_out(page: Any, data: Path, url: str) -> None:
    page.goto("/?v=lineup&c=pictures&p=1&l=cat&l=dog")
    page.get_by_role("button", name="Choose pictures").click()
    dialog = page.get_by_role("dialog", name="Pictures for the lineup")
    choices = dialog.get_by_role("listitem")
    playwright.expect(choices).to_have_count(9)
    dialog.get_by_role("searchbox").fill("a boat")
    dialog.get_by_role("button", name="picture 05").click()
    dialog.get_by_role("button", name="picture 06").click()
    dialog.get_by_role("button", name="Add 2").click()
    strip = page.get_by_role("list", name="Pictures in the lineup").get_by_role("listitem")
    playwright.expect(strip).to_have_count(3)
    file = next((data / "files").glob("03.*"))
    page.get_by_label("Pictures of this computer").set_input_files(file)
    playwright.expect(strip).to_have_count(4)
    playwright.expect(page.locator("figcaption")).to_have_text(file.name)
    playwright.expect(strip.nth(3).locator(".best")).not_to_be_empty()
    expected = said(url, id=4, labels=["cat", "dog"])["results"][0]["scores"]  # the same picture, kept in float16
    assert chances(page) == pytest.approx([each["score"] for each in expected], abs=0.02)
    strip.nth(3).hover()
    page.get_by_role("button", name=f"Take {file.name} out of the lineup").click()
    playwright.expect(strip).to_have_count(3)


def test_a_label_set_is_saved_opened_and_edited(page: Any, url: str) -> None:
    page.goto(THREE)
    bars(page, 3)
    page.get_by_role("button", name="Save as a set").click()
    dialog = page.get_by_role("dialog", name="Save a label set")
    dialog.get_by_label("Name").fill("Pets!")
    dialog.get_by_role("button", name="Save").click()
    playwright.expect(dialog).to_be_visible()  # that cannot name one
    dialog.get_by_label("Name").fill("pets")
    page.keyboard.press("Enter")
    playwright.expect(dialog).to_be_hidden()
    playwright.expect(page.get_by_label("Open a label set")).to_have_value("pets")
    assert httpx.get(f"{url}/v1/label-sets/pets").json()["labels"] == ["cat", "dog", "boat"]
    assert "set=pets" in page.url
    page.goto("/?v=lineup&c=pictures&p=1")
    page.get_by_label("Open a label set").select_option("pets")
    bars(page, 3)
    assert page.get_by_label("Labels", exact=True).input_value() == "cat\ndog\nboat"
    page.get_by_label("Labels", exact=True).fill("cat\ndog")
    bars(page, 2)
    assert "set=" not in page.url
    httpx.delete(f"{url}/v1/label-sets/pets")


def test_a_label_set_that_is_there_is_replaced_only_by_who_says_so(opened: Callable[..., Any], url: str) -> None:
    page = opened(THREE, expected=("412",))
    bars(page, 3)
    httpx.put(f"{url}/v1/label-sets/theirs", json={"labels": ["sofa|couch", "b", "c", "d", "e", "f", "g"]})
    page.get_by_role("button", name="Save as a set").click()
    dialog = page.get_by_role("dialog", name="Save a label set")
    dialog.get_by_label("Name").fill("theirs")
    dialog.get_by_role("button", name="Save").click()
    playwright.expect(dialog.get_by_role("alert")).to_have_text(
        "There is a set theirs already, of sofa|couch, b, c, d, e and 2 more. Replace it, or choose another name."
    )
    assert len(httpx.get(f"{url}/v1/label-sets/theirs").json()["labels"]) == 7
    dialog.get_by_label("Name").fill("their")
    playwright.expect(dialog.get_by_role("button", name="Replace it")).to_have_count(0)
    dialog.get_by_label("Name").fill("theirs")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Replace it").click()
    playwright.expect(dialog).to_be_hidden()
    assert httpx.get(f"{url}/v1/label-sets/theirs").json()["labels"] == ["cat", "dog", "boat"]
    page.get_by_label("or none of these").check()
    page.get_by_role("button", name="Save as a set").click()
    dialog.get_by_role("button", name="Save").click()  # the one that is open is not asked about
    playwright.expect(dialog).to_be_hidden()
    assert httpx.get(f"{url}/v1/label-sets/theirs").json()["abstains"]
    httpx.delete(f"{url}/v1/label-sets/theirs")


def test_a_label_set_that_somebody_changed_is_shown_as_it_is_and_overwritten_by_who_says_so(
    opened: Any, url: str
) -> None:
    page, place = opened(None, expected=("412", "404")), f"{url}/v1/label-sets/ours"
    httpx.put(place, json={"labels": ["cat", "dog"]})
    page.goto("/?v=lineup&c=pictures&p=1&set=ours")
    bars(page, 2)
    httpx.put(place, json={"labels": ["cat", "fish", "boat"]})
    page.get_by_label("asked as").select_option("plain")
    bars(page, 3)
    playwright.expect(page.get_by_label("Labels", exact=True)).to_have_value("cat\nfish\nboat")
    httpx.put(place, json={"labels": ["cat", "bird"]})
    page.get_by_role("button", name="Save as a set").click()
    dialog = page.get_by_role("dialog", name="Save a label set")
    dialog.get_by_role("button", name="Save").click()
    playwright.expect(dialog.get_by_role("alert")).to_have_text(
        "Somebody has changed the set ours meanwhile: it is of cat, bird now. Replace it, or choose another name."
    )
    assert httpx.get(place).json()["labels"] == ["cat", "bird"]
    httpx.put(place, json={"labels": ["cat", "bird"], "templates": ["{}"]})  # once more, while it is read
    dialog.get_by_role("button", name="Replace it").click()
    playwright.expect(dialog.get_by_role("alert")).to_contain_text("meanwhile")
    assert httpx.get(place).json()["templates"] == ["{}"]
    dialog.get_by_role("button", name="Replace it").click()
    playwright.expect(dialog).to_be_hidden()
    assert httpx.get(place).json()["labels"] == ["cat", "fish", "boat"]
    httpx.delete(place)
    page.get_by_role("button", name="Save as a set").click()
    dialog.get_by_role("button", name="Save").click()
    playwright.expect(dialog.get_by_role("alert")).to_have_text(
        "The set ours is gone meanwhile, or cannot be read. Save it anew, or choose another name."
    )
    httpx.put(place, json={"labels": ["theirs"]})  # whoever else has it anew meanwhile
    dialog.get_by_role("button", name="Save it anew").click()
    playwright.expect(dialog.get_by_role("alert")).to_contain_text("meanwhile: it is of theirs now.")
    assert httpx.get(place).json()["labels"] == ["theirs"]
    dialog.get_by_role("button", name="Replace it").click()
    playwright.expect(dialog).to_be_hidden()
    assert httpx.get(place).json()["labels"] == ["cat", "fish", "boat"]
    httpx.delete(place)


def test_a_label_set_is_saved_as_often_as_one_likes(page: Any, url: str) -> None:
    place = f"{url}/v1/label-sets/often"
    httpx.put(place, json={"labels": ["cat", "dog"]})
    page.goto("/?v=lineup&c=pictures&p=1&set=often")
    bars(page, 2)
    dialog = page.get_by_role("dialog", name="Save a label set")
    for _ in range(2):
        page.get_by_role("button", name="Save as a set").click()
        with page.expect_response("**/classify"):  # what is shown is of the set as it is
            dialog.get_by_role("button", name="Save").click()
        playwright.expect(dialog).to_be_hidden()
    httpx.delete(place)


def test_a_label_set_that_nobody_asked_with_is_saved_under_another_name(page: Any, data: Path, url: str) -> None:
    httpx.put(f"{url}/v1/label-sets/one", json={"labels": ["cat", "dog"]})
    httpx.put(f"{url}/v1/collections/bare")
    page.goto("/?v=lineup&c=bare&set=one")
    page.get_by_role("button", name="Save as a set").click()
    dialog = page.get_by_role("dialog", name="Save a label set")
    dialog.get_by_label("Name").fill("two")
    dialog.get_by_role("button", name="Save").click()
    playwright.expect(dialog).to_be_hidden()
    assert httpx.get(f"{url}/v1/label-sets/two").json()["labels"] == ["cat", "dog"]
    for name in ("label-sets/one", "label-sets/two", "collections/bare"):
        httpx.delete(f"{url}/v1/{name}")


def test_what_was_typed_last_is_not_put_into_another_views_address(page: Any) -> None:
    page.goto("/?v=lineup&c=pictures&l=cat")
    bars(page, 1)
    page.evaluate(
        """() => {
          const text = document.querySelector("#lineup-labels");
          text.value = "dog";
          text.dispatchEvent(new Event("input"));
          document.querySelector("[data-view=labs]").click();
        }"""
    )
    playwright.expect(page.locator("#view-labs")).to_be_visible()
    page.wait_for_timeout(500)
    assert "l=dog" not in page.url
    page.locator("#labs-pull .dot").first.focus()
    page.evaluate(
        """() => {
          document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
          document.querySelector("[data-view=lineup]").click();
        }"""
    )
    playwright.expect(page.locator("#lineup-labels")).to_be_visible()
    page.wait_for_timeout(500)
    assert "x=" not in page.url  # nor where the labs' points are


def test_a_label_set_that_comes_late_is_not_shown_as_another(page: Any, url: str) -> None:
    with Client(url) as client:
        for name, labels in (("late", ["snail", "sloth"]), ("soon", ["hare", "swift"])):
            client.keep_label_set(name, labels)
    held: list[Any] = []
    page.route("**/v1/label-sets/late", lambda route: held.append(route))
    page.goto("/?v=lineup&c=pictures&set=late")
    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(50)
    page.get_by_label("Open a label set").select_option("soon")
    playwright.expect(page.locator("#lineup-labels")).to_have_value("hare\nswift")
    held[0].continue_()
    page.wait_for_timeout(500)
    playwright.expect(page.locator("#lineup-labels")).to_have_value("hare\nswift")


def test_errors_are_said_and_the_lineup_goes_on(opened: Callable[..., Any]) -> None:
    page = opened("/?v=lineup&c=pictures&p=1&p=99&l=cat&l=dog&tpl=nothing", expected=("404", "422"))
    playwright.expect(page.get_by_role("status")).to_contain_text("has no {} for the label")
    page.get_by_label("asked as").select_option("plain")
    bars(page, 2)
    page.get_by_role("list", name="Pictures in the lineup").get_by_role("link").nth(1).click()
    playwright.expect(page.locator("figcaption")).to_contain_text("no longer in the collection")
    for address, told in (
        ("c=pictures&p=1&set=gone", "There is no such label set here, or no longer"),
        ("c=gone&p=1&l=cat", "There is no such collection here, or no longer"),
    ):
        page.goto(f"/?v=lineup&{address}")
        playwright.expect(page.locator("#view-lineup .answer").get_by_role("status")).to_have_text(told)


def test_a_key_that_only_reads_is_not_offered_to_save(browser: Any, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 2))
    key = add_key(tmp_path, "page", "read")
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = browser.new_page(base_url=url)  # the browser logs each 401 and 403
        page.goto("/?v=lineup&c=pictures&p=1&l=cat&l=dog")
        page.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        bars(page, 2)
        playwright.expect(page.locator("img.large")).not_to_have_js_property("naturalWidth", 0)
        playwright.expect(page.get_by_role("button", name="Save as a set")).to_be_hidden()
        page.close()


def test_names_and_labels_stay_text(page: Any, data: Path) -> None:
    with open_collection(data, "pictures", writable=True) as writer:
        [before] = [record.metadata for record in writer.records("image", limit=1)]
        writer.update({1: {"metadata": {"caption": XSS}}})
    try:
        page.goto("/?v=lineup&c=pictures&p=1&l=dog")
        page.get_by_label("Labels", exact=True).fill(f"{XSS}\ndog")
        assert XSS in bars(page, 2).locator(".name").all_inner_texts()
        playwright.expect(page.locator("figcaption")).to_have_text(XSS)
        assert page.title() == "Lineup · glimpse"
    finally:
        with open_collection(data, "pictures", writable=True) as writer:
            writer.update({1: {"metadata": before}})


def test_by_keyboard_alone(page: Any) -> None:
    page.goto("/?v=lineup&c=pictures&p=1&p=2")
    page.get_by_label("Labels", exact=True).focus()
    page.keyboard.type("cat, dog")
    playwright.expect(bars(page, 2).get_by_text("dog", exact=True)).to_be_visible()  # and none of a part of it
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.bars') !== null"):
            break
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".loss")).to_contain_text("is right")
    playwright.expect(page.locator(".bars button[aria-pressed=true]")).to_be_focused()
    page.get_by_role("slider", name="Temperature").focus()
    before = chances(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    assert max(chances(page)) < max(before)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_narrow_and_accessible(opened: Callable[..., Any], axe: Callable[[Any], None], theme: str) -> None:
    page = opened(f"{THREE}&right=dog", width=360, theme=theme)
    bars(page, 3)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    page.get_by_role("button", name="Choose pictures").click()
    playwright.expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(9)
    axe(page)


def test_the_arithmetic_of_the_page_is_that_of_the_service(page: Any) -> None:
    page.goto("/")
    logits = [3.0, -2.0, 900.0, 0.5]
    asked = {"scored_by": "softmax", "logit_scale": 20.0, "temperature": 2.0}
    found = page.evaluate(
        """async ([logits, asked]) => {
          const { chancesAt } = await import(new URL("static/parts/chances.js", location).href);
          const scores = logits.map((logit) => ({ logit }));
          return [chancesAt(0.1, asked, scores), chancesAt(0.05, { ...asked, scored_by: "sigmoid" }, scores)];
        }""",
        [logits, asked],
    )
    shown = np.array(logits) / 2  # at the learned temperature, 2 / 20
    log_all = shown.max() + np.log(np.exp(shown - shown.max()).sum())
    assert found[0]["losses"] == pytest.approx(list(log_all - shown))
    assert found[0]["chances"] == pytest.approx(list(np.exp(shown - log_all)))
    assert found[1]["chances"] == pytest.approx(list(1 / (1 + np.exp(-2 * shown))))
    assert found[1]["losses"][1] == pytest.approx(math.log1p(math.exp(2.0)))


def test_pictures_that_are_put_there_are_of_the_collection_that_is_shown(page: Any, data: Path) -> None:
    """Whoever changes the collection while the first pictures of another come sees none of those."""
    add_collection(data, tiny_encoder(data), draw(data / "others", 2), "others")
    held: list[Any] = []
    page.route("**/v1/collections/pictures/images?limit=4", lambda asked: held.append(asked))
    page.goto("/?v=lineup&c=pictures")
    playwright.expect(page.get_by_label("Collection")).to_have_value("pictures")
    while not held:
        page.wait_for_timeout(20)
    page.route("**/v1/collections/others/images?limit=4", lambda asked: held.append(asked))
    page.get_by_label("Collection").select_option("others")
    while len(held) < 2:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_timeout(200)
    assert page.evaluate("new URLSearchParams(location.search).getAll('p')") == []
    held[1].continue_()
    strip = page.get_by_role("list", name="Pictures in the lineup").get_by_role("listitem")
    playwright.expect(strip).to_have_count(2)
