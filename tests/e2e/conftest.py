"""What tests in a real browser share: Debian's chromium through playwright, and a service with a small collection.

Skipped where either is missing. A browser and a service are a module's; a page is a test's, and fails it on anything
that the browser complains of, and on any request to another host.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from seen_pages import Network
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from encoder.zero_shot import word_bank
from service.app import create_app

CHROMIUM = shutil.which("chromium")
ARGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """What a page is expected to show is waited for as long as anything else in tests, for a machine may be busy."""
    with suppress(ImportError):
        from playwright.sync_api import expect

        expect.set_options(timeout=20_000)


@pytest.fixture(scope="module", autouse=True)
def few_words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Labels, and clusters of maps, are held against a few words, for here they mean nothing anyway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLIMPSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(word_bank, "MOST", 600)
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the service; its images lie in `files`."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    """A service with the collection `pictures` of nine images; `files` may be read and written by jobs."""
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 9))
    with serving(create_app(settings_for(data, job_roots=[str(data / "files")]), encoder)) as url:
        yield url


class Profile:
    """A profile of the browser whose pages are as clean as those of a new one.

    They share a process, which a page of the same site keeps: to start one takes longer than to show the page.
    """

    def __init__(self, browser: Any, url: str) -> None:
        self.url = url
        self._context = browser.new_context(base_url=url)
        self._keeper = self._context.new_page()
        self._keeper.goto("/health/live")
        self._devtools = self._context.new_cdp_session(self._keeper)
        self._devtools.send("Network.enable")

    def new_page(self, size: dict[str, Any], theme: str) -> Any:
        self._devtools.send("Storage.clearDataForOrigin", {"origin": self.url, "storageTypes": "all"})
        self._devtools.send("Network.clearBrowserCache")
        for disabled in (True, False):  # which forgets what the process has in memory
            self._devtools.send("Network.setCacheDisabled", {"cacheDisabled": disabled})
        page = self._context.new_page()
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=theme)
        return page

    def close_pages(self) -> None:
        """Close all that a test opened, and what its pages opened."""
        for page in self._context.pages:
            if page is not self._keeper:
                page.close()


@pytest.fixture(scope="module")
def profile(browser: Any, url: str) -> Profile:
    return Profile(browser, url)


@pytest.fixture
def opened(browser: Any, profile: Profile, url: str) -> Iterator[Callable[..., Any]]:
    """Opens an address in a page of its own, as `opened("/?v=map", width=360, theme="dark")`.

    `expected` are words of complaints that the test is about, as "404"; `base` is another service; with `clock` the
    page's time can be put on (`page.clock.fast_forward`) where it would be waited for.
    """
    pages, problems, foreign = [], [], []

    def guarded(
        path: str | None = "/",
        *,
        width: int = 1280,
        height: int = 800,
        theme: str = "light",
        base: str = url,
        expected: tuple[str, ...] = (),
        clock: bool = False,
        **more: Any,
    ) -> Any:
        size = {"width": width, "height": height}
        if pages or clock or more or base != url:  # what is a profile's, or beside what another page keeps
            page = browser.new_page(base_url=base, viewport=size, color_scheme=theme, **more)
        else:
            page = profile.new_page(size, theme)
        pages.append(page)
        page.network = Network(page)
        if clock:
            page.clock.install()

        # a service of the test's own may end while its page still asks for what nobody waits for
        foreseen = (*expected, "ERR_CONNECTION_REFUSED") if base != url else expected

        def complain(text: str) -> None:
            if not any(words in text for words in foreseen):
                problems.append(text)

        def heard(said: Any) -> None:
            if said.type in ("error", "warning"):
                complain(f"{said.text} {said.location.get('url', '')}")

        page.on("console", heard)
        page.on("pageerror", lambda error: complain(f"{error}\n{error.stack}"))
        ours = (base, "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(ours) else foreign.append(asked.url))
        if path is not None:
            page.goto(path)
        return page

    yield guarded
    for page in pages:
        page.close()
    profile.close_pages()
    assert problems == []
    assert foreign == []


@pytest.fixture
def page(opened: Callable[..., Any]) -> Any:
    """A page that shows nothing yet."""
    return opened(None)


@pytest.fixture(scope="session")
def axe() -> Callable[[Any], None]:
    """Fails the test if axe-core has a serious finding about what a page shows now."""
    axe_core = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")

    def check(page: Any) -> None:
        found = axe_core.Axe().run(page).response["violations"]
        serious = [
            {"rule": rule["id"], "where": [node["html"][:200] for node in rule["nodes"]], "why": node_summary(rule)}
            for rule in found
            if rule["impact"] in SERIOUS
        ]
        assert serious == [], json.dumps(serious, indent=2)

    return check


def node_summary(rule: dict[str, Any]) -> str:
    """What the first place that breaks a rule would have to do."""
    return str(rule["nodes"][0].get("failureSummary", rule["help"]))
