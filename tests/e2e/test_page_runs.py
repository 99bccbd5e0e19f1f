"""Training runs in a real browser: a list, one that grows, two beside each other, and one that is served."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_folders import run_folder
from service_world import add_collection, draw, serving, settings_for, tiny_encoder, until

from glimpse.client import Client
from service.app import create_app
from training.run_folder import LOG

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

LOOK = 2000  # ms from one look at a run that trains to the next
HOUR = 3_600_000  # ms, for which the address of a report is good
EVIL = '<img src=x onerror="window.hurt=1">'.replace("/", "")


def ended(run: Path) -> Path:
    """The same, as if it had been written an hour ago."""
    for file in run.iterdir():
        os.utime(file, (time.time() - 3600,) * 2)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A folder with a run that is done and has a model, one that was stopped, and one with a bad name."""
    folder = tmp_path_factory.mktemp("runs")
    done = run_folder(folder / "clothes", [0.1, 0.6, 0.5], held_out="/1.png", lr=1e-3, epochs=2)
    for file in tiny_run.iterdir():
        (done / file.name).write_bytes(file.read_bytes())
    (done / "report.html").write_text("<!doctype html><title>report</title><h1>The report</h1>")
    ended(done)
    stopped = run_folder(folder / "shoes", [0.1, 0.4], held_out="/1.png", lr=3e-4)
    result = json.loads((stopped / "metrics.json").read_text())
    (stopped / "metrics.json").write_text(json.dumps(result | {"warnings": [f"Overfitting: {EVIL}"]}))
    ended(stopped)
    ended(run_folder(folder / EVIL, [0.2]))
    return folder


@pytest.fixture(scope="module")
def url(data: Path, runs: Path) -> Iterator[str]:
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 4))
    settings = settings_for(data, runs=str(runs), job_roots=[str(data / "files")], device="cpu")
    with serving(create_app(settings, encoder)) as url:
        yield url


def test_what_a_run_measures_is_a_line_on_a_phone(opened: Callable[..., Any]) -> None:
    page = opened("/?v=runs", width=360)
    row = page.locator("#view-runs .rows > li").filter(has_text="clothes")
    one, two = (row.get_by_text(words).bounding_box() for words in ("clothes", "Recall@10 from text to image"))
    assert one["x"] == pytest.approx(two["x"], abs=1)
    assert two["height"] < 2 * one["height"]


def test_runs_are_listed_opened_and_compared_by_keys_alone(page: Any) -> None:
    page.goto("/?v=runs")
    rows = page.locator("#view-runs .rows > li")
    expect(rows).to_have_count(3)
    row = rows.filter(has_text="clothes")
    expect(row).to_contain_text("done · epoch 2")
    expect(row).to_contain_text("0.100 → 0.600")
    expect(rows.filter(has_text="shoes")).to_contain_text("stopped · epoch 1 of 10")
    expect(rows.filter(has_text="shoes")).to_contain_text("1 warning")
    compare = page.get_by_role("link", name="Compare", exact=True)
    expect(compare).to_be_hidden()
    for name in ("clothes", "shoes"):
        page.get_by_role("checkbox", name=f"Compare {name}").focus()
        page.keyboard.press("Space")
    compare.focus()
    page.keyboard.press("Enter")
    ahead = "clothes is ahead, with a score of 0.600; shoes follows with 0.400, which may be chance"
    expect(page.get_by_text(ahead)).to_be_visible()
    expect(page.get_by_role("region", name="Settings that differ")).to_contain_text("0.001")
    expect(
        page.get_by_role("img", name="Recall@10 from text to image, by epoch; now clothes 0.5, shoes 0.4")
    ).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="clothes").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="clothes")).to_be_visible()
    expect(page.get_by_role("region", name="Recall from text to image")).to_contain_text("+0.500")
    loss = page.get_by_role("img", name="Loss, by step; now")
    expect(loss).to_be_visible()
    loss.hover(position={"x": 100, "y": 80})
    expect(page.locator("#view-runs .cursor text").first).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Report").click()
    expect(opened.value.get_by_role("heading", name="The report")).to_be_visible()
    opened.value.close()
    page.get_by_role("link", name="All runs").click()
    expect(rows).to_have_count(3)


def test_the_curves_of_a_run_grow_while_it_trains(opened: Callable[..., Any], runs: Path) -> None:
    live = run_folder(runs / "live", [0.1], epochs=3)
    page = opened("/?v=runs&run=live", clock=True)
    expect(page.get_by_text("training · first epoch of 3")).to_be_visible()
    expect(page.get_by_role("img", name="Learning rate, by step; now 0.001")).to_be_visible()
    expect(page.get_by_text("It can be served once it has ended")).to_be_visible()
    with (live / LOG).open("a") as file:
        file.write('{"step": 6, "loss": 0.5, "lr": 0.0001}\n')
    page.clock.fast_forward(LOOK)
    expect(page.get_by_role("img", name="Learning rate, by step; now 1e-4")).to_be_visible()
    result = json.loads((live / "metrics.json").read_text())
    after = dict(result["epochs"][0], epoch=3, score=0.7)
    (live / "metrics.json").write_text(json.dumps(result | {"epochs": [*result["epochs"], after]}))
    page.clock.fast_forward(LOOK)
    expect(page.get_by_text("done · epoch 3")).to_be_visible()


def test_who_uses_keys_stays_where_they_are_while_a_run_trains(opened: Callable[..., Any], runs: Path) -> None:
    live = run_folder(runs / "focused", [0.1, 0.2], epochs=9)

    def goes_on(page: Any, step: int) -> None:
        with (live / LOG).open("a") as file:
            file.write(json.dumps({"step": step, "loss": 0.5, "lr": 0.0001}) + "\n")
        result = json.loads((live / "metrics.json").read_text())
        (live / "metrics.json").write_text(
            json.dumps(result | {"epochs": [*result["epochs"], dict(result["epochs"][0], epoch=step)]})
        )
        page.clock.fast_forward(LOOK)
        expect(page.get_by_text(f"training · epoch {step} of 9")).to_be_visible()

    page = opened("/?v=runs", clock=True)
    for step, which in ((5, page.get_by_label("Compare focused")), (6, page.get_by_role("link", name="focused"))):
        which.focus()
        goes_on(page, step)
        expect(which).to_be_focused()
    page.keyboard.press("Enter")
    table = page.get_by_role("region", name="Recall from text to image")
    table.focus()
    goes_on(page, 7)
    expect(table).to_be_focused()


CHANGED = """(selector) => {
  window.changed = 0;
  const whatever = { childList: true, subtree: true, characterData: true, attributes: true };
  new MutationObserver((all) => (window.changed += all.length)).observe(document.querySelector(selector), whatever);
}"""


def looked(page: Any, times: int = 1) -> None:
    """The page has looked again, and drawn what came of it."""
    for _ in range(times):
        with page.expect_response("**/v1/training-runs*"):
            page.clock.fast_forward(LOOK)
        page.wait_for_timeout(100)


def test_what_is_as_it_was_is_not_drawn_again(opened: Callable[..., Any], runs: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    settings = settings_for(tmp_path / "data", runs=str(tmp_path / "runs"))
    with serving(create_app(settings, tiny_encoder(tmp_path))) as own:
        page = opened("/?v=runs", base=own, clock=True)
        expect(page.get_by_role("heading", name="No run yet")).to_be_visible()
        page.evaluate(CHANGED, "#view-runs")
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#view-runs code'))")
        looked(page, 2)
        assert page.evaluate("changed") == 0
        assert "--out" in page.evaluate("getSelection().toString()")
        for name in ("first", "second"):
            run_folder(tmp_path / "runs" / name, [0.1], epochs=3)
            looked(page)
        second = page.get_by_role("link", name="second")
        expect(second).to_be_visible()
        first = page.get_by_role("link", name="first")
        first.focus()
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#view-runs [data-key=first] .state'))")
        run_folder(tmp_path / "runs" / "third", [0.1], epochs=3)
        looked(page)
        expect(page.locator("#view-runs .rows > li")).to_have_count(3)
        expect(first).to_be_focused()
        assert "first epoch" in page.evaluate("getSelection().toString()")


HIDDEN = "(is) => Object.defineProperty(document, 'hidden', { configurable: true, get: () => is })"


def test_who_looks_elsewhere_asks_for_nothing_and_a_report_is_there_after_hours(opened: Callable[..., Any]) -> None:
    asked: list[str] = []
    page = opened(None, clock=True)
    page.on(
        "requestfinished", lambda one: asked.append(one.url) if one.url.endswith("/training-runs/clothes") else None
    )
    page.goto("/?v=runs&run=clothes")
    report = page.get_by_role("link", name="Report")
    expect(report).to_be_visible()

    def put_on(ms: int, looks: int) -> None:
        """The page's time, once it has looked so often, and drawn what came of it."""
        until(lambda: len(asked) == looks or page.wait_for_timeout(50))
        page.wait_for_timeout(500)
        page.clock.fast_forward(ms)

    page.evaluate(HIDDEN, True)
    put_on(HOUR, 1)
    page.evaluate(HIDDEN, False)
    put_on(LOOK, 1)  # nobody has seen it meanwhile
    until(lambda: len(asked) == 2 or page.wait_for_timeout(50))
    page.evaluate("document.querySelector('#view-runs .head a').href = '#stale'")
    put_on(HOUR, 2)
    expect(report).to_have_attribute("href", re.compile("signature="))


def test_what_is_marked_of_a_run_stays_marked_while_it_trains(opened: Callable[..., Any], runs: Path) -> None:
    live = run_folder(runs / "marked", [0.1], epochs=3)
    page = opened("/?v=runs&run=marked", clock=True)
    expect(page.get_by_text("training · first epoch of 3")).to_be_visible()
    page.get_by_role("img", name="Loss, by step; now").hover(position={"x": 100, "y": 80})
    pointed = page.locator("#view-runs .cursor text")
    expect(pointed.first).to_be_visible()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#view-runs h1'))")
    with (live / LOG).open("a") as file:
        file.write('{"step": 6, "loss": 0.5, "lr": 0.0001}\n')
    page.clock.fast_forward(LOOK)
    expect(page.get_by_role("img", name="Learning rate, by step; now 1e-4")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == "marked"
    expect(pointed.first).to_be_visible()


def test_runs_beside_each_other_are_compared_anew_only_where_they_grow(opened: Callable[..., Any], runs: Path) -> None:
    live = run_folder(runs / "growing", [0.1], epochs=3)
    looks, compared = [], []
    page = opened(None, clock=True)
    page.on("request", lambda asked: compared.append(asked.url) if "/compare" in asked.url else None)
    page.on("request", lambda asked: looks.append(asked.url) if asked.url.endswith("/growing") else None)
    page.goto("/?v=runs&run=clothes&with=growing")
    expect(page.get_by_role("img", name="Learning rate, by step; now")).to_be_visible()
    for seen in (2, 3):
        page.clock.fast_forward(LOOK)
        until(lambda seen=seen: len(looks) >= seen or page.wait_for_timeout(50))
    page.wait_for_timeout(300)  # longer than a comparison takes to be asked for
    assert len(compared) == 1
    with (live / LOG).open("a") as file:
        file.write('{"step": 6, "loss": 0.5, "lr": 0.0001}\n')
    with page.expect_request("**/compare*"):
        page.clock.fast_forward(LOOK)


def test_a_run_is_served_for_a_collection(page: Any, url: str) -> None:
    page.goto("/?v=runs&run=clothes")
    expect(page.get_by_text("Reads 4 pictures anew with this model.")).to_be_visible()
    page.get_by_role("button", name="Serve this one").click()
    expect(page.locator("#said-text")).to_have_text("pictures is searched by clothes now.")
    with Client(url) as client:
        [collection] = client.collections()
        assert collection.model == "clothes"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (360, "dark")])
def test_it_is_for_everybody(opened: Any, axe: Any, width: int, theme: str) -> None:
    page = opened("/?v=runs", width=width, theme=theme)
    expect(page.get_by_role("link", name="clothes")).to_be_visible()
    axe(page)
    for address, heading in (("/?v=runs&run=shoes", "shoes"), ("/?v=runs&run=clothes&with=shoes", "clothes and shoes")):
        page.goto(address)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect(page.locator("#view-runs .lines svg path").first).to_be_visible()
        axe(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_names_and_warnings_are_text_and_nothing_more(page: Any) -> None:
    page.goto("/?v=runs")
    page.get_by_role("link", name=EVIL).click()
    expect(page.get_by_role("heading", name=EVIL)).to_be_visible()
    page.goto("/?v=runs&run=shoes")
    expect(page.get_by_label("Warnings")).to_contain_text(EVIL)
    assert page.evaluate("window.hurt") is None


def test_what_is_not_there_is_said_with_what_to_do(opened: Any, tmp_path: Path) -> None:
    page = opened("/?v=runs&run=gone", expected=("404",))
    expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    expect(page.locator("#view-runs .empty p")).to_have_text("Its folder may have been moved or deleted.")
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("heading", name="Training runs")).to_be_visible()
    (tmp_path / "runs").mkdir()
    for settings, heading, command in (
        ({}, "No folder of training runs", "glimpse serve --runs runs"),
        ({"runs": str(tmp_path / "runs")}, "No run yet", f"--out {tmp_path}/runs/first"),
    ):
        with serving(create_app(settings_for(tmp_path / "data", **settings), tiny_encoder(tmp_path))) as own:
            page = opened("/?v=runs", base=own)
            expect(page.get_by_role("heading", name=heading)).to_be_visible()
            expect(page.locator("#view-runs code")).to_contain_text(command)
            if settings:
                run_folder(tmp_path / "runs" / "first", [0.1])
                expect(page.get_by_role("link", name="first")).to_be_visible()


@pytest.mark.parametrize(
    ("most", "written"),
    [
        (0.0015, ["0", "5e-4", "1e-3", "1.5e-3"]),
        (0.01, ["0", "0.005", "0.01"]),
        (2, ["0", "1", "2"]),
    ],
)
def test_all_numbers_of_an_axis_are_written_alike_and_whole(
    opened: Callable[..., Any], most: float, written: list[str]
) -> None:
    page = opened("/?v=runs")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.evaluate(
        """async (most) => {
          const { Lines } = await import("/static/parts/lines.js");
          const lines = new Lines({ title: "A curve", across: "step", fromZero: true });
          document.querySelector("main").prepend(lines.root);
          lines.show([{ name: "", points: [[0, 0], [1, most]] }]);
        }""",
        most,
    )
    numbers = page.get_by_role("img", name="A curve").locator("text[text-anchor=end]")
    expect(numbers).to_have_text(written)
    assert min(numbers.evaluate_all("(all) => all.map((each) => each.getBBox().x)")) >= 0
