"""A folder with the towers of a model: its files, and where it lies among those that are kept for the next search.

visual.onnx, textual.onnx    the graphs: pixels (n, 3, height, width) or tokens (n, length) to unit rows (n, dim)
visual.onnx.data, ...        their weights, float32
tokenizer.json               for the `tokenizers` library, texts to token ids
read_tokens.json             those that training fed to the model, where that is known
towers.json                  what else there is to know: `TowersCard`
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from base.cache import cache_folder
from base.locks import LockHeld
from base.own_folders import let_go, lock_left, new_own_folder
from encoder.known import ModelCard

VISUAL, TEXTUAL, TOKENIZER, CARD = "visual.onnx", "textual.onnx", "tokenizer.json", "towers.json"
_FORMAT = 2  # of what lies in it: before 2 nothing said what a model has read
Tower = Literal["text", "image"]
_KEPT = 4  # models; each takes as much disk as its weights in float32


@dataclass(frozen=True)
class TextCard:
    """How texts become tokens, beside what tokenizer.json says."""

    context_length: int
    clean: str  # what is done to a text first, one of open_clip's: "lower", "whitespace", "canonicalize"
    cut_at: int | None  # a batch may end behind the last of these ids; None: it is always context_length long
    blank: int | None = None  # the id that becomes 0 wherever it is; None: none does


@dataclass(frozen=True)
class TowersCard:
    """Which towers a folder has, and of what model."""

    model: ModelCard
    text: TextCard | None = None  # None: the text tower could not be exported
    visual: bool | None = None  # None: nobody has asked for it yet
    why_not: tuple[str, ...] = ()  # for each tower that is not there
    cosines: dict[Tower, float] = field(default_factory=dict)  # the least of a vector to torch's
    glances: dict[Tower, list[float]] = field(default_factory=dict)  # what `TowersEncoder.glance` gave of each


def towers_of(fingerprint: str) -> TowersCard | None:
    """The card of the towers that are kept of a model, if any are; from then on they are the last to be dropped."""
    folder = place_of(fingerprint)
    try:
        card = read_card(folder)
        os.utime(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return card if card.model.fingerprint == fingerprint else None


def place_of(fingerprint: str) -> Path:
    """The folder in the cache with a model's towers."""
    return cache_folder() / "towers" / f"{fingerprint}-{_FORMAT}"


def drop_towers(fingerprint: str) -> None:
    """Delete what is kept of a model."""
    shutil.rmtree(place_of(fingerprint), ignore_errors=True)


def read_card(folder: Path) -> TowersCard:
    """The card in a folder. OSError, ValueError, or as `ModelCard.of_json`, where it or what it is of is damaged."""
    content: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if any((folder / name).stat().st_size != size for name, size in content["files"].items()):
        raise ValueError(f"{folder}: its files are not as they were written")
    text = content["text"]
    return TowersCard(
        ModelCard.of_json(content["model"]),
        text and TextCard(**text),
        content["visual"],
        tuple(content["why_not"]),
        content["cosines"],
        content["glances"],
    )


def write_card(folder: Path, card: TowersCard) -> None:
    """Write the card, last of all files. OSError."""
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    (folder / CARD).write_text(json.dumps(asdict(card) | {"files": sizes}, indent=1), encoding="utf-8")


@contextmanager
def new_towers(fingerprint: str) -> Iterator[Path]:
    """An empty folder that becomes a model's when the block ends; of those that lie there few are kept. OSError."""
    place = place_of(fingerprint)
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place.parent)  # first: who is killed for want of memory or disk may be so each time
    work, lock = new_own_folder(place.parent, f".{place.name}.")
    try:
        made = work / "new"
        made.mkdir()
        yield made
        if place.exists():  # damaged, or without an image tower
            place.rename(work / "old")
        with suppress(OSError):  # another process was first, with the same
            made.rename(place)
    finally:
        let_go(work, lock)
    with suppress(FileNotFoundError):  # another process drops some as well
        others = sorted(place.parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
        for old in [folder for folder in others if not folder.name.startswith(".")][:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what was left unfinished, however large, by who was killed."""
    for left in parent.glob(".*"):
        with suppress(OSError, LockHeld):
            let_go(left, lock_left(left))
