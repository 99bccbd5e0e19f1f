"""Labels as JSON lines: an object an image, those too that have no label or could not be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelling.outputs.output import Listing
from labelling.rows import Listed


def write_jsonl(part: Path, listing: Listing) -> None:
    """The whole file of a run, in UTF-8; bytes of a name that are no UTF-8 are escaped as Python does. OSError."""
    from orjson import dumps  # a client comes without, and asks for no such file

    with part.open("wb") as file:
        file.writelines(_line(_object(image), dumps) for image in listing.images())


def _object(image: Listed) -> dict[str, Any]:
    if image.error:
        return {"path": image.path, "error": image.error}
    given = [{"label": label, "score": round(score, 6)} for label, score in image.answers]
    guess = given[0] if given else None
    if image.guess and not given:
        guess = {"label": image.guess[0], "score": round(image.guess[1], 6)}
    found: dict[str, Any] = {
        "path": image.path, "labels": given, "guess": guess, "width": image.width, "height": image.height
    }  # fmt: skip
    return found | {"cut_off": image.cut_off} if image.cut_off else found


def _line(content: dict[str, Any], packed: Callable[[Any], bytes]) -> bytes:
    try:
        line = packed(content)
    except TypeError:  # a name that is no UTF-8
        line = json.dumps(content).encode()
    if not line.isascii():
        for end in "\u2028\u2029\x85":  # which some take for the end of a line
            line = line.replace(end.encode(), f"\\u{ord(end):04x}".encode())
    return line + b"\n"
