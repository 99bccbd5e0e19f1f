"""Small pictures in the table of hits, where the terminal says that it shows some: sixels, or Kitty's protocol.

Needs the extra `previews`, which asks the terminal. Without it, or without a terminal that can, there are none: what is
made of characters does not help to tell photos apart.
"""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from glimpse.finding.files import Files, Found, thumbnails

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDE, HIGH = 12, 4  # cells that a picture may fill; a cell is about twice as high as wide
MOST = 100  # hits: who asks for more wants a list
PATIENCE = 0.5  # seconds for a terminal to say what it is
SOON = 0.08  # seconds; textual_image waits for 0.1, and what comes later it leaves to the shell


def previews(hits: Sequence[Found], files: Files) -> list[RenderableType] | None:
    """A picture for each hit, empty where there is none.

    Returns:
        None where this terminal shows no pictures, none of the hits has one, or there are more than MOST.

    Raises:
        NoService: nobody answers any more.
    """
    if not any(hit["modality"] == "image" for hit in hits) or len(hits) > MOST:
        return None
    if not _may_ask() or not _answers_soon():
        return None
    from textual_image.renderable import Image, SixelImage, TGPImage  # the import asks the terminal

    if Image is not SixelImage and not (Image is TGPImage and _has_placeholders()):
        return None
    return [_picture(uri) if uri else "" for uri in thumbnails(hits, files)]


def _may_ask() -> bool:
    """Whether there is a terminal to ask, which answers by standard input, and something to ask with."""
    return (
        find_spec("textual_image") is not None
        and os.environ.get("TERM") != "dumb"
        and sys.stdin.isatty()
        and sys.stdout.isatty()
        and not _in_background()
    )


def _in_background() -> bool:
    """Whether the terminal is another job's, and this one would be stopped for touching it."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    except OSError:  # no jobs on this terminal
        return False


def _answers_soon() -> bool:
    """Whether the terminal says what it is (DA1, in xterm's control sequences) before textual_image, asking the same,
    would have stopped listening: over a slow line its answer would stand at the next prompt.
    """
    asked = time.monotonic()
    return _answer(b"\x1b[c", until=b"c") != b"" and time.monotonic() - asked < SOON


def _has_placeholders() -> bool:
    """Whether Kitty knows the characters that hold a picture's place, which it does from 0.28 on; others always do."""
    # XTVERSION, in xterm's control sequences
    version = re.match(rb"\x1bP>\|kitty\((\d+)\.(\d+)", _answer(b"\x1b[>q", until=b"\x1b\\"))
    return version is None or (int(version[1]), int(version[2])) >= (0, 28)


def _answer(question: bytes, until: bytes) -> bytes:
    """What the terminal answers; whatever came of it when it falls silent. It is not asked where something was typed
    ahead, which would be taken for the answer.
    """
    terminal, answer = sys.stdin.fileno(), b""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        if select.select([terminal], [], [], 0)[0]:
            return b""
        os.write(sys.stdout.fileno(), question)
        while not answer.endswith(until) and select.select([terminal], [], [], PATIENCE)[0]:
            answer += os.read(terminal, 1)
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
    return answer


def _picture(uri: str) -> RenderableType:
    """What a data URI holds, as large as its place allows."""
    from PIL import Image
    from textual_image.renderable import Image as Shown

    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    width, height = picture.size
    place: tuple[int | str, int | str]
    if width * HIGH * 2 > height * WIDE:
        place = (WIDE, "auto" if width < 8 * height else 1)
    else:
        place = ("auto" if height < 4 * width else 1, HIGH)
    return Shown(picture, *place)
