"""What the page says at the bottom: one message after the other, none unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.seen_pages import tiles, until_so

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

SAY = """async (all) => {
  const { say } = await import("/static/frame/messages.js");
  window.acted = [];
  for (const [text, { act, ...more }] of all) say(text, { ...more, again: act && (() => acted.push(act)), how: act });
}"""

HEARD = """() => {
  window.heard = [];
  const aloud = document.getElementById("aloud");
  new MutationObserver(() => window.heard.push(aloud.textContent)).observe(aloud, { childList: true });
}"""


def said(page: Any) -> Any:
    return page.locator("#said-text")


@pytest.fixture
def saying(opened: Callable[..., Any]) -> Callable[..., Any]:
    """A page whose time is put on, which says these at once: (words, how)."""

    def show(*messages: tuple[str, dict[str, str]]) -> Any:
        page = opened("/?c=pictures", clock=True)
        tiles(page, 9)
        page.network.rests()
        page.clock.pause_at(page.evaluate("Date.now()") + 1000)
        page.evaluate(SAY, messages)
        return page

    return show


def test_the_second_of_a_moment_waits_until_the_first_is_seen(saying: Callable[..., Any]) -> None:
    page = saying(("It is deleted.", {}), ("This cannot be read.", {"kind": "bad"}), ("Copied.", {}))
    aloud = page.locator("#aloud")
    expect(said(page)).to_have_text("It is deleted.")
    page.clock.run_for(1400)
    expect(said(page)).to_have_text("It is deleted.")
    expect(aloud).to_have_text("It is deleted.")
    page.clock.run_for(400)
    expect(said(page)).to_have_text("This cannot be read.")
    expect(aloud).to_have_text("This cannot be read.")
    page.clock.run_for(2600)
    expect(said(page)).to_have_text("This cannot be read.")
    page.clock.run_for(600)
    expect(said(page)).to_have_text("Copied.")
    page.clock.run_for(6000)
    expect(page.locator("#said")).to_be_hidden()


def test_how_far_something_is_hides_nothing_and_is_said_as_it_is_by_then(saying: Callable[..., Any]) -> None:
    page = saying(
        ("1 of 3…", {"kind": "busy"}), ("Copied.", {}), ("2 of 3…", {"kind": "busy"}), ("3 of 3…", {"kind": "busy"})
    )
    expect(said(page)).to_have_text("Copied.")
    page.clock.run_for(1600)
    expect(said(page)).to_have_text("3 of 3…")
    page.evaluate(SAY, [("All added.", {})])
    expect(said(page)).to_have_text("All added.")


def test_what_is_closed_or_pressed_has_been_seen(saying: Callable[..., Any]) -> None:
    page = saying(("One.", {"kind": "bad"}), ("Two.", {"kind": "bad", "act": "Mend"}), ("Three.", {"act": "Look"}))
    page.get_by_role("button", name="Close the message").click()
    expect(said(page)).to_have_text("Two.")
    page.get_by_role("button", name="Mend").click()
    expect(said(page)).to_have_text("Three.")
    page.clock.run_for(60_000)
    page.get_by_role("button", name="Look").click()  # what offers something stays
    expect(page.locator("#said")).to_be_hidden()
    assert page.evaluate("acted") == ["Mend", "Look"]


def test_what_offers_something_makes_way_and_comes_back(saying: Callable[..., Any]) -> None:
    page = saying(("12 are not added.", {"act": "Go on"}), ("Copied.", {}), ("1 of 3…", {"kind": "busy"}))
    page.clock.run_for(1600)
    expect(said(page)).to_have_text("Copied.")
    page.clock.run_for(1600)
    expect(said(page)).to_have_text("1 of 3…")
    page.evaluate(SAY, [("3 added.", {})])
    expect(said(page)).to_have_text("3 added.")
    page.clock.run_for(6100)
    expect(said(page)).to_have_text("12 are not added.")
    page.get_by_role("button", name="Library").click()
    library = page.get_by_role("dialog", name="Library")
    library.get_by_role("button", name="Go on").click()
    assert page.evaluate("acted") == ["Go on"]
    expect(page.locator("#said")).to_be_hidden()


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_who_presses_a_message_by_keys_is_back_where_they_were(saying: Callable[..., Any]) -> None:
    page = saying()
    page.evaluate("document.getElementById('main').insertAdjacentHTML('beforeend', '<button id=last>Last</button>')")
    for keys in (("Tab", "Enter"), ("Tab", "Tab", "Enter")):  # its own button, or the one that closes it
        page.evaluate(SAY, [("It is gone.", {"act": "Undo"})])
        page.locator("#last").focus()
        for key in keys:
            page.keyboard.press(key)
        expect(page.locator("#said")).to_be_hidden()
        assert focused(page) == "last"
    page.evaluate("document.getElementById('last').focus()")
    page.evaluate(SAY, [("It is gone.", {"act": "Undo"})])
    page.get_by_role("button", name="Undo").click()
    assert focused(page) == "last"  # by the mouse, too
    page.evaluate(SAY, [("One.", {"act": "Mend"}), ("Two.", {"kind": "bad"})])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(said(page)).to_have_text("Two.")
    assert focused(page) == "said-close"
    page.evaluate("document.getElementById('last').remove()")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_be_hidden()
    assert focused(page) == "main"
    page.get_by_role("button", name="Library").click()
    page.evaluate(SAY, [("Three.", {"act": "Look"})])
    page.locator("dialog #said-again").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    assert page.evaluate("acted") == ["Look"]


def test_of_what_could_not_be_had_the_last_alone_is_offered(saying: Callable[..., Any]) -> None:
    page = saying()
    page.evaluate("""async () => {
      const { failed, say } = await import("/static/frame/messages.js");
      window.well = false;
      const again = async (words) => well || failed({ message: words }, () => again(words));
      again("One is not there.");
      again("Another is not there.");
      say("Copied.");
    }""")
    page.clock.run_for(3100)
    expect(said(page)).to_have_text("Another is not there.")
    page.clock.run_for(3100)
    expect(said(page)).to_have_text("Copied.")
    page.clock.run_for(6100)
    expect(said(page)).to_have_text("Another is not there.")
    page.evaluate("well = true")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#said")).to_be_hidden()


def test_who_waits_for_nothing_any_more_does_not_wait(saying: Callable[..., Any]) -> None:
    page = saying()
    ended = page.evaluate("""async () => {
      const { pause } = await import("/static/parts/dom.js");
      const own = new AbortController();
      const late = pause(60_000, own.signal).catch(({ name }) => name);
      own.abort();
      return Promise.all([late, pause(60_000, own.signal).catch(({ name }) => name)]);
    }""")
    assert ended == ["AbortError", "AbortError"]


def test_what_is_said_while_nobody_looks_is_seen_by_who_comes_back(saying: Callable[..., Any]) -> None:
    page = saying()
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.away })")
    page.evaluate("away = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate(SAY, [("12 pictures added.", {}), ("3 more.", {})])
    page.clock.run_for(60_000)
    expect(said(page)).to_have_text("12 pictures added.")
    page.evaluate("away = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(1600)
    expect(said(page)).to_have_text("3 more.")
    page.clock.run_for(6000)
    until_so(page, "document.getElementById('said').hidden")


def test_the_same_of_other_pictures_is_read_out_anew(saying: Callable[..., Any]) -> None:
    page = saying()
    page.evaluate(HEARD)
    for _ in range(2):
        page.evaluate("""async () => {
          const { say } = await import("/static/frame/messages.js");
          say("1 picture tagged.", { undo: () => {} });
        }""")
        page.clock.run_for(200)
    assert page.evaluate("heard.filter(Boolean)") == ["1 picture tagged. Control and Z undoes it."] * 2
