"""What this system shows a file with: a picture, a page, an address."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from base.errors import GlimpseError

WAIT = 2.0  # seconds for a viewer to say that it cannot; one that stays open is left alone


class NoViewer(GlimpseError):
    """There is nothing here to show it with."""

    code = "no_viewer"


def show(address: str) -> None:
    """Open a path or an address in the program that the system has for it. NoViewer: why not."""
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NoViewer(f"cannot open {address}: there is no display here; --sheet and --copy-to keep what was found")
    if (program := shutil.which(opener)) is None:
        raise NoViewer(f"cannot open {address}: there is no {opener} here; it comes with xdg-utils")
    quiet = subprocess.DEVNULL
    viewer = subprocess.Popen([program, address], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        code = viewer.wait(WAIT)
    except subprocess.TimeoutExpired:
        return
    if code:
        raise NoViewer(f"cannot open {address}: {opener} ended with {code}, as where no program is set for such files")
