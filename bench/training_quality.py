"""Retrieval after training from the same weights, on the same pairs, as long: glimpse against open_clip's own trainer.

    python bench/training_quality.py PAIRS.csv --epochs 20 --seeds 0 1 2 --work ~/quality

For each seed our split holds out a tenth. All ways start from the same weights and take the same batch size, epochs,
schedule, optimiser and clipping; each decodes each image once an epoch. The last epoch of each is measured on the
held-out pairs in fp32. What is left to differ are our defaults: above all which rows of a batch count as negatives.

Finished runs are kept in `--work`/results.json and not repeated, so it can be interrupted.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from common import machine
from open_clip_trainer import check_library, open_clip_train

from encoder.device import choose_device, choose_precision
from encoder.load import build_clip, load_encoder
from encoder.weights import WEIGHTS
from training.config import TrainConfig
from training.data.pairs import Pair, read_pairs
from training.data.split import split_pairs
from training.evaluation.evaluate import evaluate_pairs
from training.records.checkpoint import save_model
from training.run_folder import write_json
from training.train import train

SMALL = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "head_width": 64},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}
WAYS: dict[str, dict[str, Any] | None] = {  # what differs from our defaults; None: not ours
    "glimpse": {},
    "glimpse, one positive a row": {"multi_positive": False},
    "open_clip_train": None,
}
DIRECTIONS = {"text_to_image": "text to image", "image_to_text": "image to text"}
VAL_FRACTION, WARMUP, WEIGHT_DECAY = 0.1, 0.1, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="CSV with the columns image and title")
    parser.add_argument("--init", type=Path, help="open_clip model config (default: a small ResNet at 64 pixels)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, help="pairs to use, from the first")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, default=Path("quality"), help="folder of runs and results")
    arguments = parser.parse_args()
    check_library()
    os.nice(10)
    torch.set_num_threads(arguments.threads)
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    config = work / "bench-model.json"  # open_clip names an architecture by its file
    config.write_text(arguments.init.read_text() if arguments.init else json.dumps(SMALL))
    pairs = read_pairs(arguments.pairs).pairs[: arguments.limit]
    write_pairs(work / "pairs.csv", pairs)
    settings = {name: getattr(arguments, name) for name in ("epochs", "batch_size", "lr")}
    settings |= {"pairs": len(pairs), "model": json.loads(config.read_text())}
    results_file = work / "results.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else {"settings": settings, "runs": {}}
    if results["settings"] != settings:
        raise SystemExit(f"{results_file} is of other settings; choose another --work")

    for seed, (way, changes) in itertools.product(arguments.seeds, WAYS.items()):
        name = f"{way}, seed {seed}"
        if name in results["runs"]:
            continue
        started = time.perf_counter()
        run = Run(arguments, config, pairs, seed, work / f"seed{seed}")
        folder = run.train_open_clip() if changes is None else run.train_glimpse(way, changes)
        metrics = evaluate_pairs(load_encoder(folder, precision="fp32"), run.held_out)
        results["runs"][name] = {key: metrics[key] for key in DIRECTIONS}
        write_json(results_file, results)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    print_table(results["runs"], arguments.seeds)
    print(f"\n{len(pairs)} pairs, {arguments.epochs} epochs, batches of {arguments.batch_size}; {machine()}")


class Run:
    """One seed: its split, its first weights, and each way to train from them."""

    def __init__(
        self, arguments: argparse.Namespace, model_config: Path, pairs: list[Pair], seed: int, folder: Path
    ) -> None:
        self.arguments, self.model_config, self.seed, self.folder = arguments, model_config, seed, folder
        self.device = choose_device("auto")
        self.precision = choose_precision("auto", self.device)
        train_pairs, self.held_out = split_pairs(pairs, VAL_FRACTION, seed)  # as our trainer splits
        self.steps = arguments.epochs * (len(train_pairs) // arguments.batch_size)
        self.start = folder / "start"
        torch.manual_seed(seed)
        save_model(self.start, build_clip(model_config))
        write_pairs(folder / "train.csv", train_pairs)

    def train_glimpse(self, way: str, changes: dict[str, Any]) -> Path:
        """The run folder of our last epoch."""
        config = TrainConfig(
            pairs=str(self.folder.parent / "pairs.csv"),
            out=str(self.folder / way.replace(", ", "-").replace(" ", "-")),
            init=str(self.model_config),  # with this seed the weights of `self.start`
            epochs=self.arguments.epochs,
            batch_size=self.arguments.batch_size,
            lr=self.arguments.lr,
            weight_decay=WEIGHT_DECAY,
            warmup=WARMUP,
            val_fraction=VAL_FRACTION,
            seed=self.seed,
            precision=self.precision,
            **changes,
        )
        shutil.rmtree(config.out, ignore_errors=True)  # what an interrupted run left
        for _ in train(config):
            pass
        return Path(config.out) / "last"

    def train_open_clip(self) -> Path:
        """Its last checkpoint as a run folder."""
        out = self.folder / "open_clip"
        shutil.rmtree(out, ignore_errors=True)
        options = {
            "--model-config": self.model_config,
            "--model": self.model_config.stem,
            "--pretrained": self.start / WEIGHTS,
            "--train-data": self.folder / "train.csv",
            "--csv-separator": ",",
            "--csv-img-key": "image",
            "--epochs": self.arguments.epochs,
            "--batch-size": self.arguments.batch_size,
            "--lr": self.arguments.lr,
            "--wd": WEIGHT_DECAY,
            "--warmup": round(WARMUP * self.steps),
            "--beta1": 0.9,
            "--beta2": 0.98,
            "--eps": 1e-6,
            "--grad-clip-norm": 1.0,
            "--precision": "amp_bf16" if self.precision == "bf16" else "fp32",
            "--device": self.device,
            "--workers": self.arguments.threads,
            "--seed": self.seed,
            "--save-frequency": 0,  # the last epoch is saved all the same
            "--logs": out,
            "--name": "run",
        }
        arguments = [str(word) for option in options.items() for word in option]
        with (self.folder / "open_clip.log").open("w") as log:
            log.writelines(open_clip_train(arguments, self.folder, self.arguments.threads))
        checkpoint = out / "run" / "checkpoints" / f"epoch_{self.arguments.epochs}.pt"
        parts = build_clip(self.model_config)
        parts.clip.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
        save_model(out, parts)
        return out


def write_pairs(path: Path, pairs: list[Pair]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "title"))
        writer.writerows((Path(str(pair.image)).resolve(), pair.captions[0]) for pair in pairs)


def print_table(runs: dict[str, Any], seeds: list[int]) -> None:
    """Recall@10 of each way: mean and standard deviation over seeds, each seed, and ours less this, seed by seed."""
    ours = next(iter(WAYS))
    for direction, title in DIRECTIONS.items():
        print(f"\n{title + ', recall@10':32}{'mean +- sd':>18}{'glimpse - this':>18}  each seed")
        of_way = {way: [runs[f"{way}, seed {seed}"][direction]["recall@10"] for seed in seeds] for way in WAYS}
        for way, values in of_way.items():
            ahead = [mine - this for mine, this in zip(of_way[ours], values, strict=True)]
            lead = "" if way == ours else mean_sd(ahead)
            print(f"{way:32}{mean_sd(values):>18}{lead:>18}  {' '.join(f'{value:.3f}' for value in values)}")


def mean_sd(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} +- {spread:.3f}"


if __name__ == "__main__":
    main()
