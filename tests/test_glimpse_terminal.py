"""What a search shows on a terminal: a table with captions and links, and pictures where the terminal has them."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import tty
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from glimpse_here import ok_here as ok
from glimpse_process import GLIMPSE, bare
from PIL import Image

from index.collection import Entry, create_collection


def hits(*asked: str) -> list[dict]:
    return json.loads(ok(*asked, "--json"))["hits"]


def on_a_terminal(
    *arguments: object,
    term: str = "xterm-256color",
    says: Mapping[bytes, bytes] | None = None,
    after: float = 0,
    typed: bytes = b"",
    columns: int = 200,
) -> str:
    """What the command writes to a terminal of columns of 10 by 20 pixels each, that answers what it is asked, so many
    seconds after. What was typed before is there for the next command when it ends, and nothing else.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 10 * columns, 480))
    os.write(ours, typed)
    env = bare() | {"TERM": term, "COLUMNS": str(columns)}
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


def with_pictures(*arguments: object, says: Mapping[bytes, bytes]) -> str:
    """The same on one that shows pictures: it has 0.08 s for each answer, which a busy machine may keep it from."""

    def tried() -> str:
        written = on_a_terminal(*arguments, says=says)
        assert "preview" in written
        return written

    for _ in range(9):
        with suppress(AssertionError):
            return tried()
    return tried()


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


def test_a_terminal_too_narrow_for_a_table_has_its_rows_one_below_another(world: tuple[Path, str]) -> None:
    search = ("search", "--like", "1", "-c", "pictures", "--data", str(world[0]), "-k", "2")
    found = hits(*search)
    drawn = re.compile(r"\x1b(\[[\d;]*[mc]|\]8;[^\x1b]*\x1b\\)")
    shown = [drawn.sub("", on_a_terminal(*search, columns=columns)).splitlines() for columns in (40, 28, 90)]
    assert max(map(len, shown[0])) <= 40
    assert [line.split()[0] for line in shown[0] if line[0] in "01"] == [f"{hit['score']:.3f}" for hit in found]
    assert max(map(len, shown[1])) <= 28
    assert [line.split() for line in shown[1] if line.startswith(("score", "id"))] == [
        cells for hit in found for cells in (["score", f"{hit['score']:.3f}"], ["id", str(hit["id"])])
    ]
    for hit in found:
        assert hit["path"] in re.sub(r"\s", "", "".join(shown[1]))
    head, *rows = shown[2]
    assert head.split() == ["score", "id", "caption", "path"]
    assert rows[0].startswith(f"{found[0]['score']:.3f}  ")
    assert max(map(len, rows)) <= 90


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
    on_screen = with_pictures(*asked, says=says)
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
    written = with_pictures("search", "--like", len(paths) + 1, "--data", tmp_path, says=SIXELS)
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
