"""What is known of a model without loading it: noted when it was, and held for true while its files stay as they are.

Its fingerprint takes reading all weights, and its embedding length takes torch. A command that turns out to have
nothing to encode needs no more than these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from base.cache import cache_folder
from base.files import write_whole
from encoder.image import Preprocess

NO_NOTE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
)  # what reading none, or a damaged one, raises
_FORMAT = 1  # of the notes; and whatever else decides what a fingerprint is


@dataclass(frozen=True)
class ModelCard:
    """What an Encoder says of its model; the fields are those of `encoder.encoder.Encoder`."""

    fingerprint: str
    dim: int
    logit_scale: float
    logit_bias: float | None
    preprocess: Preprocess

    def to_json(self) -> dict[str, Any]:
        """As `of_json` takes it."""
        return asdict(self)

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> ModelCard:
        """Of what `to_json` gave. TypeError, KeyError or AttributeError for anything else."""
        return cls(**content | {"preprocess": Preprocess.from_open_clip(content["preprocess"])})


class Stamp(NamedTuple):
    """A file as it was: one of another content has another stamp."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int  # which nobody can set, unlike the time before
    inode: int

    @classmethod
    def of(cls, file: Path) -> Stamp:
        """As it is now. OSError."""
        stat = file.stat()
        return cls(str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def stamps(files: Iterable[Path]) -> tuple[Stamp, ...]:
    """Of files as they are now, and of the names by which a hub's cache tells which of its snapshots is the newest."""
    found: dict[Path, None] = {}
    for file in files:
        found[file.absolute()] = None
        if file.absolute().parent.parent.name == "snapshots":
            names = file.absolute().parents[2] / "refs"
            found.update(dict.fromkeys(name for name in sorted(names.rglob("*")) if name.is_file()))
    return tuple(Stamp.of(file) for file in found)


def lasting(ref: str | Path) -> str:
    """The reference as a collection can keep it: a path must work from any other folder."""
    text = str(ref)
    path = Path(text.removeprefix("local-dir:")).expanduser()
    if path.exists():
        return str(path.resolve())
    name, _, rest = text.partition("/")
    if rest and not text.startswith("hf-hub:") and (file := Path(rest).expanduser()).is_file():
        return f"{name}/{file.resolve()}"
    return text


def recall(ref: str | Path, files: tuple[Stamp, ...] | None = None) -> ModelCard | None:
    """The card of the model behind a reference, if it was noted here and no file of it has changed since.

    `files` are those that it was just read from, as stamped before; left out, they are looked at now.
    """
    try:
        note = _noted(ref)
        noted = tuple(Stamp(*stamp) for stamp in note["files"])
        now = tuple(Stamp.of(Path(stamp.path)) for stamp in noted) if files is None else files
        return ModelCard.of_json(note["card"]) if noted == now and note["made_by"] == _made_by() else None
    except NO_NOTE:
        return None


def noted_bytes(ref: str | Path) -> int | None:
    """Of the files that the model behind a reference was last read from here, about what loading it takes."""
    try:
        return sum(Stamp(*stamp).size for stamp in _noted(ref)["files"])
    except NO_NOTE:
        return None


def remember(ref: str | Path, files: tuple[Stamp, ...], card: ModelCard) -> None:
    """Note what was found out of a model that was made of these files, as stamped before they were read."""
    text = lasting(ref)
    note = {"ref": text, "made_by": _made_by(), "files": files, "card": card.to_json()}
    with suppress(OSError):  # a cache that cannot be written is none
        write_whole(_note_of(text), json.dumps(note, indent=1))


def _noted(ref: str | Path) -> Any:
    return json.loads(_note_of(lasting(ref)).read_text(encoding="utf-8"))


def _note_of(ref: str) -> Path:
    return cache_folder() / "models" / f"{hashlib.sha256(ref.encode(errors='surrogateescape')).hexdigest()[:32]}.json"


@cache
def _made_by() -> str:
    """Who noted it: an architecture that is named is what open_clip has under that name."""
    return f"{_FORMAT}, open_clip {version('open_clip_torch')}"
