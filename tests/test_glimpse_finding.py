"""What follows a search in the shell, on a collection here and at a running service.

Through pipes and on a terminal it is the installed command, elsewhere the command line in this process.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
import tty
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from base.errors import InputError
from encoder.model.load import load_encoder
from index.collection import Entry, create_collection, open_collection
from service.app import create_app
from tests.conftest import plain_picture
from tests.glimpse_here import bytes_here as glimpse

GLIMPSE = Path(sys.executable).with_name("glimpse")
BARE = {name: value for name, value in os.environ.items() if not name.startswith("GLIMPSE_")}
del BARE["PATH"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A data folder with the collection `pictures`, of six images and two texts, and a service of it."""
    folder = tmp_path_factory.mktemp("world")
    encoder = tiny_encoder(folder)
    add_collection(folder, encoder, draw(folder / "files", 6))
    with serving(create_app(settings_for(folder), encoder)) as url:
        yield folder, url


@pytest.fixture(params=["here", "there"])
def asked(request: pytest.FixtureRequest, world: tuple[Path, str]) -> tuple[str, ...]:
    """The words of a search for five images like the first, here and of the service."""
    where = ("--data", str(world[0])) if request.param == "here" else ("--url", world[1])
    return ("search", "--like", "1", "-k", "5", "-c", "pictures", *where)


def installed(*arguments: object, **given: Any) -> bytes:
    env = BARE | {"PATH": os.environ["PATH"]}
    command = [GLIMPSE, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, env=env, check=True, timeout=60, **given).stdout


def ok(*arguments: object, **given: Any) -> bytes:
    done = glimpse(*arguments, **given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hits(*asked: str) -> list[dict]:
    return json.loads(ok(*asked, "--json"))["hits"]


def test_paths_go_into_a_pipe(asked: tuple[str, ...], tmp_path: Path) -> None:
    paths = [hit["path"] for hit in hits(*asked)]
    assert len(paths) == 5
    assert installed(*asked, "-0").decode() == "".join(f"{path}\0" for path in paths)
    copies = ok(*asked, "-0", "--copy-to", tmp_path).decode().split("\0")[:-1]
    assert [Path(copy).read_bytes() for copy in copies] == [Path(path).read_bytes() for path in paths]


def test_images_are_copied_in_their_order_and_nothing_is_overwritten(asked: tuple[str, ...], tmp_path: Path) -> None:
    found = [Path(hit["path"]) for hit in hits(*asked)]
    folder = tmp_path / "new" / "found"
    first = glimpse(*asked, "--copy-to", folder)
    assert first.returncode == 0
    assert first.stderr.decode() == f"5 images copied into {folder}\n"
    names = [f"{number:03}-{path.name}" for number, path in enumerate(found, 1)]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [(folder / name).read_bytes() for name in names] == [path.read_bytes() for path in found]

    (folder / names[0]).write_bytes(b"mine")
    (folder / names[1]).unlink()
    (folder / names[1]).symlink_to("nowhere")
    again = json.loads(ok(*asked, "--copy-to", folder, "--json"))["files"]
    others = [f"{number:03}-{path.stem}~2{path.suffix}" for number, path in enumerate(found[:2], 1)]
    assert [Path(path).name for path in again] == [*others, *names[2:]]
    assert (folder / names[0]).read_bytes() == b"mine"
    assert (folder / names[1]).is_symlink()
    assert [(folder / name).read_bytes() for name in others] == [path.read_bytes() for path in found[:2]]
    last = glimpse(*asked, "--copy-to", folder)
    assert last.stderr.decode() == f"0 images copied into {folder}, 5 there already\n"
    page = json.loads(ok(*asked, "--offset", "3", "-k", "1", "--copy-to", folder, "--json"))["files"]
    assert page == [str(folder / names[3])]


def test_links_lead_to_the_images_and_none_to_a_service(world: tuple[Path, str], tmp_path: Path) -> None:
    search = ("search", "--like", 1, "-k", 2, "-c", "pictures", "--link-to", tmp_path / "links")
    for said in ("2 images linked into", "0 images linked into"):
        done = glimpse(*search, "--data", world[0])
        assert done.returncode == 0
        assert said in done.stderr.decode()
    assert all(link.is_symlink() and link.is_file() for link in (tmp_path / "links").iterdir())
    assert len(list((tmp_path / "links").iterdir())) == 2
    refused = glimpse(*search, "--url", world[1])
    assert refused.returncode == 2
    assert b"--copy-to downloads it" in refused.stderr


def test_what_is_gone_is_said_and_the_others_are_copied(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 4)
    add_collection(tmp_path, encoder, files)
    files[2].unlink()
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        for where in (("--data", tmp_path), ("--url", url)):
            folder = tmp_path / where[0].strip("-")
            done = glimpse("search", "--like", 1, "-c", "pictures", *where, "--copy-to", folder)
            assert done.returncode == 1
            left_out, copied = done.stderr.decode().splitlines()
            assert left_out.startswith("left out: ")
            assert copied == f"2 images copied into {folder}"
            assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-0", "--json"), "-0 prints paths alone"),
        (("--copy-to", "a", "--link-to", "b"), "give either --copy-to or --link-to"),
        (("--copy-to", "FILE"), "is a file; name a folder"),
        (("--copy-to", "a", "--modality", "text"), "--copy-to is about image files"),
        (("-0", "--modality", "text"), "-0 is about image files"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_follow_is_said_before_anything_is_done(
    options: tuple[str, ...], message: str, asked: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = glimpse(*asked, *(str(tmp_path / "file") if word == "FILE" else word for word in options))
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS opens with its own program")
def test_the_best_image_is_shown_by_the_viewer_of_the_system(asked: tuple[str, ...], tmp_path: Path) -> None:
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ok(*asked, "--open", DISPLAY=":0", PATH=path)
    opened = (tmp_path / "opened").read_text()
    best = Path(hits(*asked)[0]["path"])
    if opened.startswith("http"):
        import httpx

        assert httpx.get(opened).content == best.read_bytes()
    else:
        assert opened == str(best)
    ok(*asked, "--sheet", tmp_path / "found.html", "--open", DISPLAY=":0", PATH=path)
    assert (tmp_path / "opened").read_text() == str(tmp_path / "found.html")
    opener.write_text("#!/bin/sh\nexit 3\n")
    refused = glimpse(*asked, "--open", DISPLAY=":0", PATH=path)
    assert (refused.returncode, b"xdg-open ended with 3" in refused.stderr) == (1, True)
    no_display = glimpse(*asked, "--open", DISPLAY="", WAYLAND_DISPLAY="")
    assert no_display.returncode == 1
    assert b"score" in no_display.stdout
    assert b"there is no display here; --sheet and --copy-to keep" in no_display.stderr
    opener.unlink()
    no_opener = glimpse(*asked, "--open", DISPLAY=":0", PATH=str(tmp_path))
    assert (no_opener.returncode, b"there is no xdg-open here" in no_opener.stderr) == (1, True)


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        (None, "/a/b/red car.JPG", "red car.JPG"),
        ("../../etc/pass wd.png", "/up/0a.png", "pass wd.png"),
        ("C:\\x\\con.png", "/up/0a.png", "%63on.png"),
        ("bell\a.png", "/up/0a.png", "bell%07.png"),
        ("no suffix", "/up/0a.webp", "no suffix.webp"),
        ("..", "/up/0a.png", "%2E%2E.png"),
        ("ü" * 300 + ".png", "/up/0a.png", None),
        (7, None, "image"),
    ],
)
def test_a_name_fits_every_disk(given: object, path: str | None, name: str | None) -> None:
    from glimpse.finding.folder import name_of

    made = name_of({"id": 1, "path": path, "metadata": {"filename": given}})
    assert len(made.encode()) < 200
    assert "/" not in made
    if name is not None:
        assert made == name


class Sheet(HTMLParser):
    """A page: what it shows, and that it asks for nothing and runs nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.images: list[bytes] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        assert not any(name.startswith("on") for name, _ in attrs)
        given = dict(attrs)
        if tag == "img":
            head, _, data = str(given["src"]).partition(",")
            assert head in ("data:image/jpeg;base64", "data:image/webp;base64")
            self.images.append(base64.b64decode(data))
        elif "href" in given:
            self.links.append(str(given["href"]))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_sheet_shows_what_was_found(asked: tuple[str, ...], tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    done = glimpse(*asked, "--sheet", page)
    assert (done.returncode, done.stderr.decode()) == (0, f"wrote {page}\n")
    sheet, found = Sheet(page), hits(*asked)
    assert len(sheet.images) == 5
    for data, hit in zip(sheet.images, found, strict=True):
        with Image.open(io.BytesIO(data)) as small, Image.open(hit["path"]) as whole:
            assert max(small.size) == 256
            ours, theirs = (np.asarray(each.convert("RGB").resize((4, 3))) for each in (small, whole))
            assert np.abs(ours.astype(int) - theirs).mean() < 12
        assert hit["metadata"]["caption"] in sheet.text
        assert f"{hit['score']:.3f}" in sheet.text
        assert hit["path"] in sheet.text
    assert "like entry 1" in sheet.text
    local = "--data" in asked
    assert sheet.links == [Path(hit["path"]).as_uri() for hit in found for _ in "pt"] * local
    page.write_text("old")
    ok(*asked, "--sheet", page, "--modality", "text")
    assert "a red boat" in Sheet(page).text


def test_a_sheet_holds_any_name_and_shows_gaps(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e \"'&"
    folder = os.fsencode(tmp_path) + b"/\xff<b>"
    Path(os.fsdecode(folder)).mkdir()
    paths = [Path(os.fsdecode(folder + name)) for name in (b'/a&".png', b"/gone.png", b"/broken.png")]
    plain_picture("red").save(paths[0])
    paths[2].write_bytes(b"broken")
    with create_collection(tmp_path, "images", model="x", fingerprint="x", dim=2) as made:
        rows = np.asarray([[1, 0.1 * i] for i in range(4)], np.float32)
        names = [tmp_path / "q.png", *paths]
        made.upsert([Entry(r, "image", p, metadata={"title": evil}) for r, p in zip(rows, names, strict=True)])
    page = tmp_path / "found.HTML"
    done = glimpse("search", "--like", 1, "--data", tmp_path, "--sheet", page)
    assert done.returncode == 0
    assert done.stderr.decode() == f"wrote {page}, 2 places empty: the file is gone or cannot be read\n"
    sheet = Sheet(page)
    assert len(sheet.images) == 1
    assert sheet.text.count("<script>alert(1)</script>\\u202e \"'&") == 3
    assert "\\xff<b>" in sheet.text
    assert sheet.links[0] == paths[0].as_uri()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photo.jpg", "is written as a page; name it so, as sheet.html"),
        ("none/there.html", "there is no such folder to write it in"),
        ("folder.html", "a folder; name a file in it"),
    ],
)
def test_a_sheet_takes_the_place_of_no_photo(name: str, message: str, asked: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    (tmp_path / "folder.html").mkdir()
    done = glimpse(*asked, "--sheet", tmp_path / name)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert message in done.stderr.decode()
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


def test_a_browser_shows_the_sheet_light_and_dark_and_narrow(world: tuple[Path, str], tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no chromium here: apt-get install chromium")
    page_file = tmp_path / "found.html"
    ok("search", "--like", 1, "-c", "pictures", "--data", world[0], "--sheet", page_file)
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        grounds = []
        for scheme, width in (("light", 1200), ("dark", 360)):
            page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
            page.goto(page_file.as_uri())
            sync_api.expect(page.get_by_role("img")).to_have_count(5)
            for image in page.get_by_role("img").all():
                sync_api.expect(image).to_have_js_property("naturalWidth", 256)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        browser.close()
    assert grounds[0] != grounds[1]


def on_a_terminal(
    *arguments: object,
    term: str = "xterm-256color",
    says: Mapping[bytes, bytes] | None = None,
    after: float = 0,
    typed: bytes = b"",
) -> str:
    """What the command writes to a terminal of 200 columns, 10 by 20 pixels each, that answers what it is asked, so
    many seconds after. What was typed before is there for the next command when it ends, and nothing else.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 2000, 480))
    os.write(ours, typed)
    env = BARE | {"PATH": os.environ["PATH"], "TERM": term, "COLUMNS": "200"}
    command = [GLIMPSE, *map(str, arguments)]
    written, answered = b"", Counter[bytes]()
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=env) as running:
        while (block := read_soon(ours)) or running.poll() is None:
            written += block
            for question, answer in (says or {}).items():
                if answered[question] < len(re.findall(question, written)):
                    time.sleep(after)
                    os.write(ours, answer)
                    answered[question] += 1
    tty.setcbreak(its, termios.TCSANOW)
    assert read_soon(its) == typed
    os.close(its)
    os.close(ours)
    assert running.returncode == 0, written
    return written.decode()


def read_soon(terminal: int) -> bytes:
    """What is there to be read, or comes within 50 ms."""
    return os.read(terminal, 65536) if select.select([terminal], [], [], 0.05)[0] else b""


def test_the_table_has_captions_and_on_a_terminal_links(world: tuple[Path, str]) -> None:
    here = ("search", "--like", "1", "-c", "pictures", "--data", str(world[0]))
    there = (*here[:-2], "--url", world[1])
    [head, *rows] = ok(*here).decode().splitlines()
    assert head.split() == ["score", "id", "caption", "path"]
    for row, hit in zip(rows, hits(*here), strict=True):
        caption = hit["metadata"]["caption"]
        assert row.split() == [f"{hit['score']:.3f}", str(hit["id"]), *caption.split(), hit["path"]]
    assert ok(*there).decode().splitlines() == [head, *rows]
    on_screen = on_a_terminal(*here)
    for hit in hits(*here):
        link = re.escape(Path(hit["path"]).as_uri())
        assert re.search(rf"\x1b\]8;id=[^;]*;{link}\x1b\\", on_screen)
    assert "\x1b]8" not in on_a_terminal(*here, term="dumb")
    assert "\x1b]8" not in on_a_terminal(*there)  # what lies at a service has no address here


SIXELS = {rb"\x1b\[c": b"\x1b[?62;4;22c"}  # device attributes: a VT200 with sixels and colour
KITTY = {
    rb"\x1b\[c": b"\x1b[?62;c",
    rb"\x1b_G[^;]*a=q[^;]*;AAAA\x1b\\": b"\x1b_Gi=1;OK\x1b\\",
    rb"\x1b\[>q": b"\x1bP>|kitty(0.28.0)\x1b\\",
}


def shown_by_sixels(written: str) -> list[tuple[int, int]]:
    """Width and height of each picture, which its raster attributes tell."""
    pictures = re.findall(r"\x1bP[\d;]*q\"1;1;(\d+);(\d+)[^\x1b]*\x1b\\", written)
    return [(int(width), int(height)) for width, height in pictures]


def shown_by_kitty(written: str) -> list[tuple[int, int]]:
    """The same of the PNGs that were sent, of which each has a place with its number."""
    parts: dict[str, str] = {}
    for number, data in re.findall(r"\x1b_Gi=(\d+),m=[01],f=100,q=2;([^\x1b]*)\x1b\\", written):
        parts[number] = parts.get(number, "") + data
    assert re.findall(r"\x1b_Ga=p,i=(\d+)", written) == list(parts)
    return [Image.open(io.BytesIO(base64.b64decode(data))).size for data in parts.values()]


@pytest.mark.parametrize(
    ("says", "shown"), [(SIXELS, shown_by_sixels), (KITTY, shown_by_kitty)], ids=["sixels", "kitty"]
)
def test_a_terminal_that_shows_pictures_has_one_beside_each_hit(
    asked: tuple[str, ...], says: Mapping[bytes, bytes], shown: Callable[[str], list[tuple[int, int]]]
) -> None:
    on_screen = on_a_terminal(*asked, says=says)
    [head] = [line for line in re.sub(r"\x1b\[[\d;]*m", "", on_screen).splitlines() if "score" in line]
    assert head.partition("preview")[2].split() == ["score", "id", "caption", "path"]
    assert shown(on_screen) == [(110, 80)] * 5  # 4 cells high, and as wide as 4 to 3 is


def test_no_picture_is_sent_where_nobody_would_see_one(world: tuple[Path, str]) -> None:
    here = ("search", "--like", "1", "-c", "pictures", "--data", str(world[0]))
    dumb = on_a_terminal(*here, term="dumb", says=SIXELS)
    assert "\x1b[c" not in dumb  # nor is it asked
    for written in (
        dumb,
        on_a_terminal(*here),  # which answers nothing
        on_a_terminal(*here, says={rb"\x1b\[c": b"\x1b[?62;22c"}),  # which shows none
        on_a_terminal(*here, says=KITTY | {rb"\x1b\[>q": b"\x1bP>|kitty(0.26.5)\x1b\\"}),  # nor a place for them
        on_a_terminal(*here, says=SIXELS, after=0.2),  # over a line that is too slow to ask more
        on_a_terminal(*here, says=SIXELS, typed=b"ls"),  # where an answer is not told from what is typed
        on_a_terminal(*here, "--json", says=SIXELS),
        on_a_terminal(*here, "--modality", "text", says=SIXELS),
    ):
        assert "preview" not in written
        assert "^[" not in written  # an answer that nobody waited for
        assert shown_by_sixels(written) == shown_by_kitty(written) == []


def test_a_preview_of_any_shape_keeps_to_its_place(tmp_path: Path) -> None:
    shapes = [(2000, 3), (3, 2000), (1, 1), (400, 600), (1200, 300)]
    (tmp_path / "files").mkdir()
    for number, shape in enumerate(shapes):
        Image.new("RGB", shape, "red").save(tmp_path / "files" / f"{number}.png")
    paths = [*(str(tmp_path / "files" / f"{number}.png") for number in range(len(shapes))), "/gone.png"]
    with create_collection(tmp_path, "images", model="x", fingerprint="x", dim=2) as made:
        made.upsert([Entry(np.array([1, -i / 10], np.float32), "image", path) for i, path in enumerate(paths)])
        made.upsert([Entry(np.array([1, 0.1], np.float32), "text", text="a text")])
    written = on_a_terminal("search", "--like", len(paths) + 1, "--data", tmp_path, says=SIXELS)
    assert shown_by_sixels(written) == [(120, 20), (10, 80), (80, 80), (50, 80), (120, 40)]  # of 10 by 20 a cell


@pytest.mark.parametrize(
    ("metadata", "caption"),
    [
        ({"description": "d", "title": "t", "caption": "c"}, "c"),
        ({"description": "d", "title": "t"}, "t"),
        ({"description": " a \n b\t"}, "a b"),
        ({"caption": "  ", "title": 7, "description": ["x"]}, ""),
        ({"Caption": "c"}, ""),
    ],
)
def test_one_rule_says_what_an_entry_is_called(metadata: dict, caption: str) -> None:
    from glimpse.finding.captions import caption_of

    assert caption_of(metadata) == caption


def test_a_caption_cannot_write_to_the_terminal_nor_push_the_path_away(tmp_path: Path) -> None:
    with create_collection(tmp_path, "images", model="x", fingerprint="x", dim=2) as made:
        long = "\x1b]0;evil\a" + "long " * 100
        made.upsert([Entry(np.ones(2, np.float32), "image", f"/{i}.png", metadata={"title": long}) for i in range(2)])
    [_, row] = ok("search", "--like", 1, "--data", tmp_path).decode().splitlines()
    assert re.search(r"\\x1b\]0;evil\\x07long .{,60}…\s+/1\.png$", row)


@pytest.fixture(scope="module")
def run_and_data(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder with the collection `colours`, made by the model in a run folder; and its images."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "pictures").mkdir()
    for colour in ("red", "green", "blue", "yellow"):
        plain_picture(colour).save(folder / "pictures" / f"{colour}.png")
    ok("index", folder / "pictures", "-c", "colours", "--data", folder / "data", "--model", tiny_run, **CPU)
    return folder / "data", folder / "pictures"


CPU = {"GLIMPSE_DEVICE": "cpu", "GLIMPSE_PRECISION": "fp32"}


def test_queries_of_a_file_are_answered_a_line_each(
    run_and_data: tuple[Path, Path], tiny_run: Path, tmp_path: Path
) -> None:
    data, pictures = run_and_data
    objects: list[dict] = [
        {"text": "a blue thing", "limit": 1, "offset": 1},
        {"image": str(pictures / "red.png"), "limit": 2},
        {"id": 1, "not": ["snow", "ice"], "text": None},
        {"text": "word " * 90},
        {"id": 99},
        {"text": "x", "limit": 0},
        {"text": "x", "filter": {"must": [{"key": "n", "between": [1, 2]}]}},
        {"text": "x", "filter": {"must": [{"key": "file.path", "match": {"value": str(pictures / "red.png")}}]}},
    ]
    file = tmp_path / "queries.txt"
    file.write_text("\n".join(["a red thing", "", *map(json.dumps, objects), " ein grünes Ding \n"]), encoding="utf-8")
    asked = ("search", "--queries", file, "-c", "colours", "-k", 3)
    with serving(create_app(settings_for(data), load_encoder(tiny_run, device="cpu", precision="fp32"))) as url:
        here, there = glimpse(*asked, "--data", data, **CPU), glimpse(*asked, "--url", url)
    assert (here.returncode, there.returncode) == (1, 1)
    for done in (here, there):
        assert done.stderr.decode() == (
            "warning: 1 of 10 queries are longer than the model reads; their ends are not read\n"
            "3 of 10 queries could not be answered: their lines say why\n"
        )
    ours, theirs = ([json.loads(line) for line in done.stdout.splitlines()] for done in (here, there))
    assert [answer["query"] for answer in ours] == ["a red thing", *objects, "ein grünes Ding"]
    assert [len(answer["hits"]) for answer in ours] == [3, 1, 2, 3, 3, 0, 0, 0, 1, 3]
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.keys() == its.keys()
        assert [hit["id"] for hit in mine["hits"]] == [hit["id"] for hit in its["hits"]]
    assert [answer["error"]["code"] for answer in ours if "error" in answer] == [
        "entry_not_found", "invalid_input", "invalid_input",
    ]  # fmt: skip
    alone = json.loads(ok("search", "a red thing", "-c", "colours", "-k", 3, "--data", data, "--json", **CPU))["hits"]
    assert [hit["id"] for hit in alone] == [hit["id"] for hit in ours[0]["hits"]]
    assert ours[2]["hits"][0]["path"] == str(pictures / "red.png")


def test_queries_may_be_one_array_and_pictures_addresses_of_files(
    run_and_data: tuple[Path, Path], tmp_path: Path
) -> None:
    data, _ = run_and_data
    plain_picture("red").save(tmp_path / "a red.png")
    address = (tmp_path / "a red.png").as_uri()
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps(["a red thing", {"image": address, "limit": 1}], indent=1))
    where = ("-c", "colours", "--data", data)
    lines = ok("search", "--queries", queries, *where, **CPU).splitlines()
    assert [len(json.loads(line)["hits"]) for line in lines] == [4, 1]
    by_path, by_address = (
        json.loads(ok("search", "--image", image, *where, "--json", **CPU))["hits"]
        for image in (tmp_path / "a red.png", address)
    )
    assert by_path == by_address
    for words in (["--image", "https://example.com/a.jpg"], ["https://example.com/a.jpg"]):
        done = glimpse("search", *words, *where, **CPU)
        assert done.returncode == 2
        assert b"https://example.com/a.jpg is not on this machine: save the picture as a file" in done.stderr


def test_an_entry_is_found_by_its_path_whatever_the_form_of_its_accents(tiny_run: Path, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Été/süß.png") for form in ("NFC", "NFD"))
    (tmp_path / decomposed).parent.mkdir()
    plain_picture("red").save(tmp_path / decomposed)
    data = ("--data", tmp_path / "data")
    ok("index", tmp_path, *data, "--model", tiny_run, **CPU)
    for path in (composed, decomposed):
        assert json.loads(ok("show", tmp_path / path, *data, "--json"))["path"] == str(tmp_path / decomposed)
    ok("search", "--like", tmp_path / composed, *data)


def test_queries_come_through_a_pipe_and_are_more_than_a_request_takes(world: tuple[Path, str]) -> None:
    lines = b"".join(b'{"id": %d, "limit": 2}\n' % (1 + i % 6) for i in range(230))
    for where in (("--data", world[0]), ("--url", world[1])):
        said = installed("search", "--queries", "-", "-c", "pictures", *where, input=lines)
        answers = [json.loads(line) for line in said.splitlines()]
        assert [answer["query"]["id"] for answer in answers] == [1 + i % 6 for i in range(230)]
        assert all(len(answer["hits"]) == 2 for answer in answers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no query; give one a line"),
        (b"\n \n", "has no query; give one a line"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"red\n{nonsense\n", r"line 2: this is not JSON \(from column 2 on\)"),
        (b'{"limit": 3}', "line 1: give text, image, id or external_id"),
        (b'{"text": "x", "limit": "3"}', "line 1: limit must be a whole number"),
        (b'{"text": "x", "limit": true}', "line 1: limit must be a whole number"),
        (b'{"text": "x", "colour": 1}', "line 1: a query has no colour; it has text, not, image"),
        (b'{"image": "none.png"}', "line 1: none.png: no such file"),
        (b'{"text": "x", "not": [1]}', "line 1: not must be a text or a list of texts"),
        (b'{"text": " "}', "line 1: the text is empty"),
        (b'[{"text": "x"}, 3]', "item 2: no query; give a text, or an object"),
        (b'["x", {"limit": 3}]', "item 2: give text, image, id or external_id"),
    ],
)
def test_a_line_that_is_no_query_is_named_before_anything_is_asked(
    content: bytes, message: str, tmp_path: Path
) -> None:
    from glimpse.finding.many import read_queries

    (tmp_path / "queries.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_queries(tmp_path / "queries.txt", {})


def test_a_file_of_queries_goes_with_nothing_that_follows_one_search(tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    for options, message in (
        (("x",), "give it without text"),
        (("--copy-to", tmp_path), "give it without --copy-to"),
        (("-c", "a", "-c", "b"), "--queries asks one collection"),
        ((), f"--queries {file}: No such file or directory"),
    ):
        done = glimpse("search", "--queries", file, *options)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
        assert message in done.stderr.decode()


def test_one_entry_is_shown_by_whatever_one_has_of_it(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 3)
    odd = tmp_path / "files" / "odd \u202e name.png"
    add_collection(tmp_path, encoder, files)
    with open_collection(tmp_path, "pictures", writable=True) as made:
        row = np.ones(32, np.float32)
        known = {"caption": "odd\x1b[2J", "n": [1, {"a": "ü"}]}
        made.upsert([Entry(row, "image", odd, metadata=known, external_id="shoe/1", width=3, height=2)])
        made.upsert([Entry(row, "text", text="by its own id", external_id="2")])
        number = made.find_external(["shoe/1"])["shoe/1"].id
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        for where in (("--data", tmp_path), ("--url", url)):
            shown = ("show", "-c", "pictures", *where)
            entry = json.loads(ok(*shown, number, "--json"))
            assert entry == {
                "external_id": "shoe/1", "id": number, "modality": "image", "path": str(odd), "text": None,
                "width": 3, "height": 2, "sha256": None, "metadata": known,
            }  # fmt: skip
            for what in ("shoe/1", odd):
                assert json.loads(ok(*shown, what, "--json")) == entry
            relative = ok(*shown, f"files/{files[0].name}", cwd=tmp_path).decode()
            assert f"path: {files[0]}\n" in relative
            assert "metadata.caption: picture 00\n" in relative
            assert json.loads(ok(*shown, 2, "--json"))["path"] == str(files[1])  # the id comes first
            like = ("search", "-c", "pictures", *where, "--json", "--like")
            found = json.loads(ok(*like, number))["hits"]
            assert len(found) == 3
            assert json.loads(ok(*like, "shoe/1"))["hits"] == json.loads(ok(*like, odd))["hits"] == found
            lines = ['{"external_id": "shoe/1"}', f'{{"id": {number}}}', '{"external_id": "none"}']
            (tmp_path / "queries.jsonl").write_text("\n".join(lines))
            done = glimpse("search", "--queries", tmp_path / "queries.jsonl", "-c", "pictures", *where)
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            assert [answer["hits"] for answer in answers] == [found, found, []]
            assert answers[2]["error"] == {"code": "entry_not_found", "message": "no entry with external_id 'none'"}
            assert "text: a red boat" in ok(*shown, 4).decode()
            lines = ok(*shown, "shoe/1").decode()
            assert "metadata.caption: odd\\x1b[2J\n" in lines
            assert 'metadata.n: [1, {"a": "ü"}]\n' in lines
            for what in ("nothing", "0", "9" * 30, "/none.png"):
                done = glimpse(*shown, what)
                assert done.returncode == 1
                assert done.stderr.decode() == (
                    f"glimpse: no entry {what}: it is neither an id, nor an external id, nor the path of one\n"
                )
