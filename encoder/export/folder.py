"""export_model: one model into one new folder, as other programs take it; whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.files import new_folder
from encoder.export.names import NAMES

Form = Literal["onnx", "hf"]
Cosines = dict[str, float]  # of "image" and "text": the least of a vector to torch's


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    files: dict[str, int]  # name -> bytes
    least_cosine: Cosines | None  # None: nothing was there to run it with
    notes: tuple[str, ...]  # what of the model has no place in it


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
    with new_folder(folder, instead_of=NAMES, overwrite=force) as new:
        from encoder.export import clip_model, graphs  # torch: what is wrong with the folder is said before
        from encoder.model.load import load_clip

        write = {"onnx": graphs.write, "hf": clip_model.write}[to]
        cosines, notes = write(load_clip(ref), ref, new)
        files = {file.name: file.stat().st_size for file in sorted(new.iterdir())}
    return Exported(files, cosines, notes)
