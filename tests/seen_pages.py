"""What tests of several views look for in a page that is open."""

from __future__ import annotations

from typing import Any

from service_world import until

# an init script: which addresses of blobs are held
BLOBS = """
  window.blobs = new Set();
  window.blobsMade = 0;
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (what) => {
    const address = createObjectURL.call(URL, what);
    window.blobs.add(address);
    window.blobsMade += 1;
    return address;
  };
  URL.revokeObjectURL = (address) => {
    window.blobs.delete(address);
    revokeObjectURL.call(URL, address);
  };
"""


def tiles(page: Any, n: int) -> Any:
    """The pictures of the results, once there are n."""
    from playwright.sync_api import expect  # which is not everywhere

    found = page.get_by_role("list", name="Results").get_by_role("link")
    expect(found).to_have_count(n)
    return found


class Network:
    """What a page asks for, from when it is made."""

    def __init__(self, page: Any) -> None:
        self._page, self._begun, self._ended = page, 0, 0
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    def rests(self) -> None:
        """Wait until it has all, and asks for no more: playwright's "networkidle", in half the time.

        A page that has something else to do first does not rest, for a second each time it is asked: one that nobody
        looks at may never be idle.
        """
        seen: list[tuple[int, bool]] = []

        def is_over() -> bool:
            self._page.evaluate("new Promise((done) => requestIdleCallback(done, { timeout: 1000 }))")
            self._page.wait_for_timeout(25)
            seen.append((self._begun, self._begun == self._ended))
            return len(seen) > 4 and set(seen[-5:]) == {(self._begun, True)}

        until(is_over)

    def _begin(self, _request: Any) -> None:
        self._begun += 1

    def _end(self, _request: Any) -> None:
        self._ended += 1


def touched(page: Any, *moves: Any, stays: int = 0) -> None:
    """Fingers that go down, move and go up: each move the place of each of them. They stay for so many ms at last."""
    hand = page.context.new_cdp_session(page)
    for i, places in enumerate([*moves, ()]):
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
        if not points:
            page.wait_for_timeout(stays)
        kind = "touchEnd" if not points else "touchMove" if i else "touchStart"
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def until_so(page: Any, script: str, given: Any = None) -> None:
    """Wait until a script of the page gives something true.

    Not by `wait_for_function`: what it cannot have at once it looks for by eval, which the page's policy forbids.
    """
    until(lambda: page.evaluate(script, given) or page.wait_for_timeout(20))
