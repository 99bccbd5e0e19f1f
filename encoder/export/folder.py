"""export_model: one model into one new folder, as other programs take it; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from base.files import new_folder
from encoder.export import clip_model, graphs
from encoder.model.load import ClipParts, load_clip

Form = Literal["onnx", "hf"]
Cosines = dict[str, float]  # of "image" and "text": the least of a vector to torch's


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    files: dict[str, int]  # name -> bytes
    least_cosine: Cosines | None  # None: nothing was there to run it with
    notes: tuple[str, ...]  # what of the model has no place in it


class _Writer(NamedTuple):
    write: Callable[[ClipParts, str, Path], tuple[Cosines | None, tuple[str, ...]]]
    names: frozenset[str]  # of all files that it may write


_WRITERS: dict[Form, _Writer] = {
    "onnx": _Writer(graphs.write, graphs.NAMES),
    "hf": _Writer(clip_model.write, clip_model.NAMES),
}


def export_model(ref: str, to: Form, folder: Path, *, force: bool = False) -> Exported:
    """Write a model for other programs.

    Args:
        ref: as `encoder.model.load.load_encoder` takes it.
        to: "onnx", graphs for ONNX Runtime, or "hf", the CLIPModel of transformers.
        folder: not there, or empty.
        force: it may hold an earlier export, which goes.

    Raises:
        InputError: the folder holds something else.
        ModelError, ModelUnavailable: there is no such model, or it has no such form; nothing is left behind.
        OSError: it cannot be written.
    """
    old = frozenset[str]().union(*(writer.names for writer in _WRITERS.values()))
    with new_folder(folder, instead_of=old, overwrite=force) as new:
        cosines, notes = _WRITERS[to].write(load_clip(ref), ref, new)
        files = {file.name: file.stat().st_size for file in sorted(new.iterdir())}
    return Exported(files, cosines, notes)
