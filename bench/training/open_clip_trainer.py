"""open_clip's own trainer as a program of its own: the reference of the training benchmarks.

    python -m bench.training.open_clip_trainer [--model-config FILE] [--held] ARGUMENTS OF open_clip_train.main

It trains as it was released. What is added: torchvision imports beside a CPU torch, an architecture comes from a JSON
file (named by the file's stem), and `--held` keeps one batch on the device, so that nothing is read. It imports
pandas, which glimpse does not need: `pip install pandas`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from encoder.model.lean_open_clip import open_clip


def check_library() -> None:
    """Say that a library is missing before anything is measured.

    Raises:
        SystemExit: pandas is.
    """
    if importlib.util.find_spec("pandas") is None:
        raise SystemExit("open_clip's trainer needs the library pandas; pip install pandas")


def open_clip_train(arguments: Iterable[object], folder: Path, threads: int | None = None) -> Iterator[str]:
    """Run it in a process of its own, which ends with this generator.

    Args:
        arguments: as `main` takes them.
        folder: where it runs.
        threads: of torch's products; None leaves it to torch.

    Yields:
        The lines that it logs.

    Raises:
        SystemExit: it failed; with its last line.
    """
    check_library()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # its workers belong to it and end with it
    )
    line = "it printed nothing"
    try:
        for line in process.stdout or ():
            yield line
        if process.wait():
            raise SystemExit(f"open_clip's trainer failed: {line.strip()}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


class Held:
    """A loader that gives one batch again and again; its tensors lie on the device."""

    def __init__(self, batch: list[torch.Tensor], num_batches: int, num_samples: int) -> None:
        self.batch, self.num_batches, self.num_samples = batch, num_batches, num_samples

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        return itertools.repeat(self.batch, self.num_batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model-config", type=Path)
    parser.add_argument("--held", action="store_true")
    ours, theirs = parser.parse_known_args()
    import open_clip_train.main as trainer

    if ours.model_config:
        open_clip.add_model_config(ours.model_config)
    if ours.held:
        read_data = trainer.get_data

        def held_data(args: Any, *rest: Any, **named: Any) -> Any:
            data = read_data(args, *rest, **named)
            loader = data["train"].dataloader
            batch = [tensor.to(args.device) for tensor in next(iter(loader))]
            data["train"].dataloader = Held(batch, loader.num_batches, loader.num_samples)
            return data

        trainer.get_data = held_data
    sys.exit(trainer.main(theirs))


if __name__ == "__main__":
    main()
