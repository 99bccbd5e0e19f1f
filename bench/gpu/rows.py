"""The rows of bench/gpu: each is written as soon as it is measured, and one that fails keeps no other back.

A row is `{"part", "row", "figures": {name with its unit: number or text}}`, or has "failed" with the reason in one line
instead of figures. Knows how memory and time are measured on a card and on a processor.
"""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")
TINY: dict[str, Any] = {  # of everything that the parts touch: patches, blocks in a list, a text tower that can be cut
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


class Unfit(Exception):
    """What a row needs is not there; says what."""


@dataclass(frozen=True)
class Bench:
    """What a part is given.

    Attributes:
        part: its name.
        out: file that its rows are appended to.
        work: a folder of its own.
        tiny: sizes that a processor does in seconds; the figures mean nothing then.
    """

    part: str
    out: Path
    work: Path
    tiny: bool

    @property
    def device(self) -> str:
        """Where the model runs: "cuda" or "cpu"."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def architecture(self) -> str:
        """As `TrainConfig.init` takes it."""
        if not self.tiny:
            return "ViT-B-32"
        file = self.work / "gpu-tiny.json"
        file.write_text(json.dumps(TINY))
        return str(file)

    def pick(self, full: T, tiny: T) -> T:
        """The size for a card, or the one for a test of the script."""
        return tiny if self.tiny else full

    def need_cuda(self) -> None:
        """Leave a row out on a processor."""
        if self.device != "cuda":
            raise Unfit("needs a CUDA device")

    def row(self, name: str, **figures: Any) -> None:
        """Write a row; underscores of a figure's name are spaces, `_per_` is a stroke."""
        named = {key.rstrip("_").replace("_per_", "/").replace("_", " "): value for key, value in figures.items()}
        self._write({"row": name, "figures": named})

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Measure a row; where that fails, write why and go on."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if not isinstance(error, Unfit):
                traceback.print_exc()
            self._write({"row": name, "failed": reason(error)})
        gc.collect()  # after the exception, whose frames hold tensors, is gone
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _write(self, row: dict[str, Any]) -> None:
        with self.out.open("a") as file:
            file.write(json.dumps({"part": self.part} | row) + "\n")

    def synchronize(self) -> None:
        """Until the card has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], repeats: int) -> float:
        """Mean seconds of a call, warmed up, the card's work included."""
        for _ in range(min(3, repeats)):
            run()
        self.synchronize()
        started = time.perf_counter()
        for _ in range(repeats):
            run()
        self.synchronize()
        return (time.perf_counter() - started) / repeats

    def reset_peak(self) -> None:
        """Count memory from here."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def peak_gb(self) -> float:
        """The most memory since `reset_peak`, 10^9 bytes: the card's tensors, or resident pages."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM"))


def reason(error: BaseException) -> str:
    """Why something failed, in one line."""
    said = str(error).strip().splitlines()
    first = said[0][:200] if said else ""
    return first if isinstance(error, Unfit | SystemExit) else f"{type(error).__name__}: {first}".rstrip(": ")
