"""rclip 3.3 for bench/commands/cold_speed.py: its commands, with a model of ours in place of the one that it downloads.

Its model is a ViT-B-32-256 as two ONNX files; it is given one with the same graph and random weights, each file whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx

from bench.commands.processes import Took, run
from bench.common import open_clip
from encoder.model.load import fingerprint, load_clip
from encoder.towers.export import export_towers
from encoder.towers.folder import TEXTUAL, VISUAL

MODEL = "ViT-B-32-256-datacomp_s34b_b86k"


class Rclip:
    """rclip of a folder of programs, its data in `home`."""

    def __init__(self, programs: Path, home: Path, model: Path) -> None:
        self._program, self._home = programs / "rclip", home
        if not (home / "tokenizer").exists():
            _place(model, home)

    def index(self, folder: Path, *, fresh: bool = False) -> Took:
        """Bring its index of a folder up to date, and search it; `fresh` forgets all it had."""
        if fresh:
            for file in self._home.glob("db.sqlite3*"):
                file.unlink()
        return self._run(folder, "a dog on the beach")

    def search(self, folder: Path, query: str) -> Took:
        """Search only; `query` is words or the path of an image."""
        return self._run(folder, "--no-indexing", query)

    def _run(self, folder: Path, *arguments: str) -> Took:
        return run([str(self._program), *arguments], os.environ | {"RCLIP_DATADIR": str(self._home)}, folder)


def _place(model: Path, home: Path) -> None:
    """Write a model's towers as rclip names them: one file each, from "input" to rows that it scales to unit length."""
    towers = home / "towers"
    towers.mkdir(parents=True)
    parts = load_clip(str(model))
    card = export_towers(parts, fingerprint(parts), towers)
    if card.why_not:
        raise RuntimeError(f"no towers for rclip: {card.why_not}")
    (home / MODEL).mkdir(exist_ok=True)
    for name in (VISUAL, TEXTUAL):
        graph = onnx.load(str(towers / name))  # with its weights
        [given] = graph.graph.input
        for node in graph.graph.node:
            node.input[:] = ["input" if each == given.name else each for each in node.input]
        given.name = "input"
        onnx.save(graph, str(home / MODEL / name))
    shutil.rmtree(towers)
    merges = next(Path(open_clip.__file__).parent.glob("bpe_simple_vocab*"))
    (home / "tokenizer").mkdir()
    shutil.copyfile(merges, home / "tokenizer" / merges.name)
