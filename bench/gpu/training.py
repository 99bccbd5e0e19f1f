"""Parts of bench/gpu that train: speed, what feeds it, memory of big batches, a real run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import training.train
from base.machine.cpus import cpus
from base.read_ahead import READERS, one_ahead
from bench.common import photos
from bench.gpu.rows import TINY, Bench
from bench.training.training_speed import (
    Setup,
    glimpse_rate,
    hold_batches,
    matrix_rate,
    open_clip_rate,
    operations_per_sample,
    write_pairs,
)
from encoder.image import Preprocess
from encoder.model.load import build_clip, load_encoder
from glimpse.demo.postcards.scenes import split_scenes, write_postcards
from training.config import TrainConfig
from training.data.augment import Augmentation
from training.data.keys import Keys
from training.data.loader import Feeding, PairIds, RowReader
from training.data.pairs import Pair, read_pairs
from training.evaluation.evaluate import evaluate_pairs
from training.model.distributed import Ranks
from training.records.events import Epoch, Step
from training.source import make_loader, open_source
from training.train import train

CORES = cpus().usable  # a container has fewer than its machine


def measure_speed(bench: Bench) -> None:
    """One batch kept on the device: what the steps themselves take."""
    hold_batches()
    pictures = photos(*bench.pick((256, (256, 256)), (16, (160, 120))))
    for size in bench.pick((1024, 4096), (8, 16)):
        batches = bench.pick(max(8, 20_480 // size), 2)
        setup = Setup(bench.architecture, size, batches, 1 + batches, "bf16", bench.device, held=True)
        compare_trainers(bench, setup, pictures, workers=0, of=f"batch {size:,}")


def measure_reading(bench: Bench) -> None:
    """JPEGs read in the time: how fast they are read without a model, and how long a step waits for them."""
    workers = bench.pick(CORES, 1)
    batches = 2 * workers  # whole rounds of the reference's workers, of which each reads whole batches
    size = bench.pick(1024, 8)
    setup = Setup(bench.architecture, size, batches, 1 + 2 * batches, "bf16", bench.device)
    pictures = photos(*bench.pick((256, (400, 533)), (16, (160, 120))))
    waits = watch_waiting()
    compare_trainers(bench, setup, pictures, workers=workers, of=f"batch {size:,}, JPEGs read", waits=waits)
    with bench.attempt("glimpse's loader alone"):
        rate = loader_rate(setup, bench.work / str(size) / "pairs.csv", batches // 2)
        bench.row("glimpse's loader alone", images_per_s=rate, threads=READERS)
    with bench.attempt(f"the same reading in {workers} processes"):
        rate = processes_rate(sorted(pictures.iterdir()) * bench.pick(4, 1), workers)
        bench.row(f"the same reading in {workers} processes", images_per_s=rate)


def loader_rate(setup: Setup, pairs: Path, batches: int) -> float:
    """Images a second that the trainer's loader reads while nothing else runs."""
    config = TrainConfig(
        str(pairs), out="", init=setup.architecture, batch_size=setup.batch_size, val_fraction=4 / (setup.samples + 4)
    )
    preprocess = build_clip(setup.architecture).preprocess
    found = make_loader(open_source(config), preprocess, config, Ranks(), overlap=True).epoch(1)
    next(found)
    started = time.perf_counter()
    for _ in range(batches):
        next(found)
    seconds = time.perf_counter() - started
    del found
    return batches * setup.batch_size / seconds


def processes_rate(files: Sequence[Path], processes: int) -> float:
    """Images a second where nobody shares an interpreter, as the threads of the loader do."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(read_files, [files[:2]] * 4 * processes))  # they have all started then
        started = time.perf_counter()
        list(pool.map(read_files, [files] * processes))
        return processes * len(files) / (time.perf_counter() - started)


def read_files(files: Sequence[Path]) -> None:
    """Read and crop them as the loader does, in a process that has no other thread of Python's."""
    torch.set_num_threads(1)
    reader = RowReader(Preprocess(), Feeding(1, 0, Augmentation()))
    for file in files:
        reader.read(Pair(file, ("",)), PairIds((0,), 0, 0), str(file))


def compare_trainers(
    bench: Bench, setup: Setup, pictures: Path, *, workers: int, of: str, waits: list[float] | None = None
) -> None:
    """Ours, then open_clip's, on the same pairs."""
    folder = bench.work / str(setup.batch_size)
    folder.mkdir()
    captions = write_pairs(folder, setup.samples, pictures)
    padded, cut = operations_per_sample(setup.architecture, captions[: setup.batch_size])
    peak = matrix_rate(setup.precision, setup.device)
    ours = float("nan")
    with bench.attempt(f"glimpse, {of}"):
        bench.reset_peak()
        ours = glimpse_rate(folder, setup)
        seconds = setup.batches * setup.batch_size / ours
        waited = {} if waits is None else {"waits_for_images": sum(waits[1 : 1 + setup.batches]) / seconds}
        bench.row(
            f"glimpse, {of}",
            samples_per_s=ours,
            of_matrix_rate=ours * cut / peak,
            ms_a_step=seconds / setup.batches * 1e3,
            **waited,
            peak_GB=bench.peak_gb(),
        )
    with bench.attempt(f"open_clip_train, {of}"):
        theirs = open_clip_rate(folder, setup, workers)
        bench.row(
            f"open_clip_train, {of}",
            samples_per_s=theirs,
            of_matrix_rate=theirs * padded / peak,
            ms_a_step=setup.batch_size / theirs * 1e3,
            workers=workers,
            glimpse_per_this=ours / theirs,
        )


def watch_waiting() -> list[float]:
    """Seconds that the trainer waits for each batch from now on, its tokens included."""
    waits: list[float] = []

    def watched(items: Any, *, overlap: bool) -> Iterator[Any]:
        iterator = one_ahead(items, overlap=overlap)
        while True:
            started = time.perf_counter()
            item = next(iterator, None)
            waits.append(time.perf_counter() - started)
            if item is None:
                return
            yield item

    training.train.one_ahead = watched  # type: ignore[attr-defined]
    return waits


def measure_memory(bench: Bench) -> None:
    """Batches that go through in chunks (GradCache): memory of one chunk, whatever the batch."""
    hold_batches()
    pictures = photos(*bench.pick((256, (256, 256)), (16, (160, 120))))
    for size, chunk in bench.pick(((4096, 1024), (16_384, 1024)), ((16, 4), (32, 4))):
        name = f"glimpse, batch {size:,} in chunks of {chunk:,}"
        with bench.attempt(name):
            folder = bench.work / str(size)
            folder.mkdir()
            batches = bench.pick(3, 1)
            setup = Setup(bench.architecture, size, batches, 1 + batches, "bf16", bench.device, True, chunk)
            write_pairs(folder, setup.samples, pictures)
            bench.reset_peak()
            rate = glimpse_rate(folder, setup)
            bench.row(name, samples_per_s=rate, s_a_step=size / rate, peak_GB=bench.peak_gb())


def measure_learning(bench: Bench) -> None:
    """A whole run at 224 pixels on drawn postcards, from random weights, by its recall on scenes that it never saw."""
    name = "a real run at 224 pixels" if not bench.tiny else "a real run"
    with bench.attempt(name):
        seen, unseen = split_scenes(0, 500)
        pairs = write_postcards(bench.work, seen, bench.pick(6000, 40), 0, "train", 0.8)
        held = read_pairs(
            write_postcards(bench.work, unseen, bench.pick(500, 12), 0, "unseen"), Keys.of(caption="caption")
        )
        model = bench.work / "postcards.json"
        model.write_text(json.dumps(bench.pick(RESNET, TINY)))
        config = TrainConfig(
            pairs=str(pairs),
            out=str(bench.work / "run"),
            caption_key="caption",
            init=str(model),
            epochs=bench.pick(12, 1),
            batch_size=bench.pick(128, 16),
            lr=1.5e-3,
            min_crop=0.7,
            val_fraction=0.05 if not bench.tiny else 0.2,
            device=bench.device,
            precision="bf16",
        )
        bench.reset_peak()
        started, first = time.perf_counter(), 0.0
        events = []
        for event in train(config):
            events.append(event)
            if isinstance(event, Epoch) and event.epoch == 0:
                first = time.perf_counter()
        seconds = time.perf_counter() - started
        steps = sum(isinstance(event, Step) for event in events)
        measured = evaluate_pairs(load_encoder(config.out, bench.device), held.pairs)
        epochs = [event for event in events if isinstance(event, Epoch)]
        bench.row(
            name,
            s=seconds,
            samples_per_s=steps * config.batch_size / (started + seconds - first),
            first_loss=next(event.loss for event in events if isinstance(event, Step)),
            last_loss=epochs[-1].loss,
            **{f"unseen_{way}_recall@10": measured[way]["recall@10"] for way in ("text_to_image", "image_to_text")},
            peak_GB=bench.peak_gb(),
        )


RESNET = {  # convolutions learn from few pictures
    "embed_dim": 256,
    "vision_cfg": {"image_size": 224, "layers": [1, 1, 1, 1], "width": 48, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 3},
}
