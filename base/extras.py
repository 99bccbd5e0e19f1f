"""What is not installed, and how to install it from where glimpse runs: a checkout, or a wheel. Installs nothing.

On PyPI `glimpse` is somebody else's: the distribution is called glimpse-client, the packages and the command are not.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "glimpse-client"


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


def product_version() -> str:
    """The installed version; run from a checkout without an install there is none."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+source"


def what_is_missing(error: ModuleNotFoundError) -> str | None:
    """In one line, if a client is all that is installed here, with the remedy; None if something else is wrong."""
    library = (error.name or "").partition(".")[0]
    if not library or find_spec(library):
        return None
    return (
        f"this needs {library}, which a client comes without: give the --url of a service, if the command takes one, "
        f"or add the extra search: {install('search')}"
    )
