"""Labels as JSON lines: an object an image, those too that have no label or could not be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labelling.outputs.output import Listing
from labelling.rows import Answer, Labelled


def write_jsonl(part: Path, listing: Listing) -> None:
    """The whole file of a run, in UTF-8; bytes of a name that are no UTF-8 are escaped as Python does. OSError."""
    with part.open("w", encoding="utf-8", newline="\n") as file:
        for image in listing.images():
            file.write(_line(_object(image)) + "\n")


def _object(image: Labelled) -> dict[str, Any]:
    if image.error:
        return {"path": str(image.path), "error": image.error}
    found: dict[str, Any] = {
        "path": str(image.path),
        "labels": [_answer(answer) for answer in image.answers],
        "guess": _answer(image.guess) if image.guess else None,
        "width": image.width,
        "height": image.height,
    }
    return found | {"cut_off": image.cut_off} if image.cut_off else found


def _answer(answer: Answer) -> dict[str, Any]:
    return {"label": answer.label, "score": round(answer.score, 6)}


def _line(content: dict[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
