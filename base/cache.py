"""Where files lie that can be made again at any time: one folder of the user's, which may be deleted.

Nothing else of a command depends on it: where it cannot be written, things take longer and work alike.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """GLIMPSE_CACHE, else `glimpse` where the system keeps caches; it need not exist."""
    try:
        if given := os.environ.get("GLIMPSE_CACHE"):
            return Path(given).expanduser()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "glimpse"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glimpse"
    except RuntimeError:  # a user without a home
        return Path(os.devnull) / "glimpse"
