"""How to install an optional part of glimpse from where it runs: a checkout, or a wheel. Installs nothing.

On PyPI `glimpse` is somebody else's: the distribution is called glimpse-search, the packages and the command are not.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "glimpse-search"


def install(extra: str) -> str:
    """The command, for a shell, that adds an extra to the environment that this program runs in."""
    what = f"{DISTRIBUTION}[{extra}]"
    with suppress(PackageNotFoundError, ValueError, AttributeError):
        source = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
        url = urlsplit(source.get("url", ""))
        if url.scheme == "file":  # a checkout, or a wheel that lies on this machine
            path = unquote(url.path)
            what = f"{path}[{extra}]" if "dir_info" in source else f"{DISTRIBUTION}[{extra}] @ {source['url']}"
            editable = ["-e"] if source.get("dir_info", {}).get("editable") else []
            return shlex.join([sys.executable, "-m", "pip", "install", *editable, what])
    return shlex.join([sys.executable, "-m", "pip", "install", what])
