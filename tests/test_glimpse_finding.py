"""What follows a search in the shell, on a collection here and at a running service.

Through pipes it is the installed command, elsewhere the command line in this process.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from glimpse_here import bytes_here as glimpse
from glimpse_here import ok_here as ok
from glimpse_process import installed
from PIL import Image
from service_world import add_collection, draw, serving, settings_for, tiny_encoder
from tiny_world import plain_picture

from index.collection import Entry, create_collection
from service.app import create_app


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
        times = [None, "2024-05-01T12:34:56", "2024-05-01T12:34:56-03:00", None]
        entries = zip(rows, names, times, strict=True)
        made.upsert([Entry(r, "image", p, metadata={"title": evil}, taken=t) for r, p, t in entries])
    page = tmp_path / "found.HTML"
    done = glimpse("search", "--like", 1, "--data", tmp_path, "--sheet", page)
    assert done.returncode == 0
    assert done.stderr.decode() == f"wrote {page}, 2 places empty: the file is gone or cannot be read\n"
    sheet = Sheet(page)
    assert len(sheet.images) == 1
    assert sheet.text.count("<script>alert(1)</script>\\u202e \"'&") == 3
    assert "\\xff<b>" in sheet.text
    assert re.findall(r"taken [\d:+ -]+\d", sheet.text) == [
        "taken 2024-05-01 12:34:56",
        "taken 2024-05-01 12:34:56-03:00",
    ]
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
