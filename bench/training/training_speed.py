"""Samples a second in training, images read in the time, against open_clip's own trainer on the same everything.

Both train one architecture from random weights on the same JPEGs, in the same batches and precision, in turns. The
first batch of a run warms up, and a run ends while its workers still read, so that each batch that counts has paid for
the reading of one. Measuring and saving are left out. The operations of a sample are those of the products in forward
and backward that each way computes: open_clip_train pads every text, ours are cut at the longest, here a dozen tokens.
On a GPU both keep one batch on the device.
"""

from __future__ import annotations

import argparse
import csv
import gc
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.common import compare, machine, photos
from bench.training.open_clip_trainer import check_library, open_clip_train
from encoder.model.dual_encoder import Normalise
from encoder.model.load import build_clip
from encoder.model.text import TextTower
from training.config import TrainConfig
from training.data.loader import Batch, PairLoader
from training.data.pairs import read_pairs
from training.data.split import split_pairs
from training.records.events import Step
from training.step import Stepper
from training.train import train

OURS = "glimpse train"
HELD_OUT = 4  # pairs; our trainer measures itself on them, outside the time
CAPTION = "photo {:05} of soft shapes in many colours"


@dataclass(frozen=True)
class Setup:
    """One way to train.

    Attributes:
        architecture: a name of open_clip's, or a JSON file.
        batch_size: samples.
        batches: that count.
        run: batches that a run has, the first one and what workers read ahead included.
        precision: "fp32" or "bf16".
        device: "cuda" or "cpu".
        held: read one batch and keep it on the device; see `hold_batches`.
        chunk_size: of ours, as `TrainConfig.chunk_size`.
    """

    architecture: str
    batch_size: int
    batches: int
    run: int
    precision: str
    device: str
    held: bool = False
    chunk_size: int | None = None

    @property
    def samples(self) -> int:
        """To train on."""
        return self.batch_size * self.run


def main() -> None:
    check_library()
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--batch-size", type=int, default=1024 if gpu else 32)
    parser.add_argument("--batches", type=int, default=20 if gpu else 3, help="that count, of a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--precisions", nargs="+", choices=["fp32", "bf16"], default=["bf16"] if gpu else ["fp32", "bf16"]
    )
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2], help="of open_clip's loader, each one a row")
    parser.add_argument("--held", action=argparse.BooleanOptionalAction, default=gpu, help="read one batch and keep it")
    arguments = parser.parse_args()
    arguments.workers = arguments.workers[:1] if arguments.held else arguments.workers
    setup = Setup(
        architecture=arguments.architecture,
        batch_size=arguments.batch_size,
        batches=arguments.batches,
        run=1 + arguments.batches + 2 * max(arguments.workers),  # a worker reads two ahead
        precision="",
        device="cuda" if gpu else "cpu",
        held=arguments.held,
    )
    if arguments.held:
        hold_batches()
    work = Path(tempfile.mkdtemp())
    captions = write_pairs(work, setup.samples, photos(256))
    operations = operations_per_sample(arguments.architecture, captions[: arguments.batch_size])

    print(machine())
    print(
        f"{arguments.architecture}, {arguments.batches} batches of {arguments.batch_size} a run, "
        f"{arguments.rounds} rounds in turns, {'one batch kept on the device' if arguments.held else 'images read'}"
    )
    for precision in arguments.precisions:
        setup = replace(setup, precision=precision)
        peak = matrix_rate(precision, setup.device)
        names = {f"open_clip_train, {workers} workers": workers for workers in arguments.workers}
        rates: dict[str, list[float]] = {name: [] for name in (OURS, *names)}
        for _ in range(arguments.rounds):
            rates[OURS].append(glimpse_rate(work, setup))
            for name, workers in names.items():
                rates[name].append(open_clip_rate(work, setup, workers))
        print(f"\n{precision}; one matrix product alone runs at {peak / 1e9:.0f} GFLOP/s")
        print(f"{'':30}{'samples/s':>10}{'range':>16}{'GFLOP each':>12}{'of that':>9}{'glimpse / this, range':>28}")
        for name, values in rates.items():
            middle, each = statistics.median(values), operations[name == OURS]
            ratios = [ours / this for ours, this in zip(rates[OURS], values, strict=True)]
            compared = (
                "" if name == OURS else f"{statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
            )
            spread = f"{min(values):.2f} to {max(values):.2f}"
            print(f"{name:30}{middle:>10.2f}{spread:>16}{each / 1e9:>12.1f}{middle * each / peak:>9.2f}{compared:>28}")
    shutil.rmtree(work)


def write_pairs(work: Path, n: int, pictures: Path) -> list[str]:
    """`pairs.csv` for ours and `train.csv`, what ours trains on, for the reference; the captions of the latter.

    Args:
        work: the folder that they are written to.
        n: pairs to train on.
        pictures: a folder of JPEGs, which they go round.
    """
    drawn = sorted(pictures.iterdir())
    rows: list[tuple[Path | bytes, str]] = []
    for i in range(n + HELD_OUT):  # links: what is drawn differently is not decoded differently
        image = work / f"{i:05}.jpg"
        image.symlink_to(drawn[i % len(drawn)])
        rows.append((image, CAPTION.format(i)))
    write_csv(work / "pairs.csv", rows)
    pairs, _ = split_pairs(read_pairs(work / "pairs.csv").pairs, HELD_OUT / len(rows), seed=0)
    assert len(pairs) == n, "both must train on the same pairs"
    write_csv(work / "train.csv", [(pair.image, pair.captions[0]) for pair in pairs])
    return [pair.captions[0] for pair in pairs]


def write_csv(path: Path, rows: Sequence[tuple[Path | bytes, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "title"), *rows])


def glimpse_rate(work: Path, setup: Setup) -> float:
    """Samples a second of our trainer."""
    config = TrainConfig(
        pairs=str(work / "pairs.csv"),
        out=str(work / "glimpse"),
        init=setup.architecture,
        epochs=1,
        batch_size=setup.batch_size,
        chunk_size=setup.chunk_size,
        val_fraction=HELD_OUT / (setup.samples + HELD_OUT),
        device=setup.device,
        precision=setup.precision,
        min_crop=0.9,  # as open_clip's
    )
    run = train(config)
    try:
        seconds = time_steps((event for event in run if isinstance(event, Step)), setup.batches)
    finally:
        run.close()  # type: ignore[attr-defined]  # a generator
        del run
        shutil.rmtree(config.out, ignore_errors=True)
        gc.collect()
        torch.cuda.empty_cache()  # the reference is another process and needs the memory
    return setup.batches * setup.batch_size / seconds


def open_clip_rate(work: Path, setup: Setup, workers: int) -> float:
    """Samples a second of open_clip's trainer, its loader with so many processes."""
    file = Path(setup.architecture)
    options = {
        **({"--model-config": file} if file.suffix == ".json" else {}),
        "--train-data": work / "train.csv",
        "--csv-separator": ",",
        "--csv-img-key": "image",
        "--model": file.stem if file.suffix == ".json" else setup.architecture,
        "--epochs": 1,
        "--batch-size": setup.batch_size,
        "--warmup": 1,
        "--grad-clip-norm": 1.0,  # ours clips too
        "--precision": "amp_bf16" if setup.precision == "bf16" else "fp32",
        "--device": setup.device,
        "--workers": workers,
        "--logs": "none",
        "--log-every-n-steps": 1,
    }
    held = ["--held"] if setup.held else []
    lines = open_clip_train([*held, *itertools.chain.from_iterable(options.items())], work)
    steps = (line for line in lines if "Train Epoch" in line)
    return setup.batches * setup.batch_size / time_steps(steps, setup.batches)


def time_steps(steps: Iterator[object], n: int) -> float:
    """Seconds from the end of the first step to the end of the one `n` later; no more are taken."""
    taken = itertools.islice(steps, 1 + n)
    if next(taken, None) is None:
        raise RuntimeError("it ended before its first step")
    started = time.perf_counter()
    if sum(1 for _ in taken) < n:
        raise RuntimeError(f"it ended before step {1 + n}")
    return time.perf_counter() - started


def matrix_rate(precision: str, device: str) -> float:
    """Operations a second of a large matrix product, the best of ten."""
    side = 8192 if device == "cuda" else 2048
    factor = torch.randn(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)

    def product() -> None:
        factor @ factor
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * side**3 / compare({"product": product}, rounds=10)["product"]


def operations_per_sample(architecture: str, captions: Sequence[str]) -> tuple[float, float]:
    """Floating-point operations of forward and backward a sample: with texts padded, and with texts cut as ours."""
    parts = build_clip(architecture)
    clip: Any = parts.clip.train()
    text = TextTower(clip, parts.tokenizer)
    tokens = text.tokenize(captions)
    tokens = tokens[text.lengths(tokens).argsort(descending=True)[:2]]  # the longest decides how long all are
    images = torch.zeros(2, 3, *parts.preprocess.height_width)

    def count(encode_text: Any) -> float:
        # the counter knows no fused attention on a CPU
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            (clip.encode_image(images).sum() + encode_text(tokens).sum()).backward()
        return counter.get_total_flops() / 2

    return count(clip.encode_text), count(text)


def hold_batches() -> None:
    """Have our trainer read one batch an epoch and keep it on the device, as `open_clip_trainer --held` does."""
    read, normalise, inputs = PairLoader.epoch, Normalise.__call__, Stepper.inputs
    made: dict[int, Any] = {}

    def epoch(self: PairLoader, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return itertools.repeat(next(read(self, epoch, skip)), len(self) - skip)

    def keep(self: Any, pixels: torch.Tensor) -> torch.Tensor:
        if not (hasattr(self, "held") and self.held[0].data_ptr() == pixels.data_ptr()):
            self.held = (pixels, normalise(self, pixels))
        return self.held[1]

    def keep_inputs(self: Stepper, batch: Batch) -> Any:
        if id(batch) not in made:
            made.clear()
            made[id(batch)] = batch, inputs(self, batch)
        return made[id(batch)][1]

    PairLoader.epoch, Normalise.__call__, Stepper.inputs = epoch, keep, keep_inputs  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
