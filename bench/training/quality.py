"""Retrieval after training from the same weights, on the same pairs, as long: glimpse against open_clip's own trainer.

    python -m bench.training.quality PAIRS.csv --folders CLASSES --epochs 20 --seeds 0 1 2 --work ~/quality

For each seed our split holds out a tenth. All ways start from the same weights and take the same batch size, epochs,
learning rate, schedule, decay and clipping. The last epoch of each is measured in fp32: on the held-out pairs, and with
`--folders` on images of another kind in class folders. What is left to differ are our defaults: how a step is made of a
gradient, which rows of a batch count as negatives, what is computed twice.

"As many seconds" has as many epochs more as fit into the time that open_clip's trainer took with the same seed. The
time is the processor's, of each way's own process with its readers, start and measuring included: on a machine that
does other things too it says more than the clock, and counts no core that waits.

Finished runs are kept in `--work`/results.json and not repeated, so it can be interrupted, and seeds added.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.common import ROOT, machine
from bench.kept import Kept, mean_sd
from bench.training.open_clip_trainer import check_library, open_clip_train
from encoder.encoder import Encoder
from encoder.model.device import choose_device, choose_precision
from encoder.model.load import build_clip, load_encoder
from encoder.model.weights import WEIGHTS
from training.data.folders import labelled_images
from training.data.pairs import Pair, read_pairs
from training.data.split import split_pairs
from training.evaluation.evaluate import evaluate_classes, evaluate_pairs
from training.records.checkpoint import save_model

SMALL = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "head_width": 64},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}
REFERENCE, SAME_TIME = "open_clip_train", "glimpse, as many seconds"
WAYS: dict[str, tuple[str, ...]] = {  # flags; the reference has its own, and comes before what has its time
    "glimpse": (),
    REFERENCE: (),
    SAME_TIME: (),
    "glimpse, AdamW": ("--optimizer", "adamw"),
    "glimpse, one positive a row": ("--no-multi-positive",),
    "glimpse, mirrored": ("--flip",),
    "glimpse, smaller crops": ("--min-crop", "0.5"),
    "glimpse, near negatives": ("--hardness", "1"),
    "glimpse, twice the rate": ("--lr", "2e-3"),
    "glimpse, whole captions": ("--word-dropout", "0"),
    "glimpse, own grounds": ("--grounds", "0"),
    "glimpse, pairs as they are": ("--word-dropout", "0", "--grounds", "0"),
    "glimpse, other grounds": ("--word-dropout", "0", "--grounds", "0.75"),
}
MEASURES = {
    "text_to_image": "text to image, recall@10",
    "image_to_text": "image to text, recall@10",
    "top1": "zero-shot, top-1",
}
VAL_FRACTION, WARMUP, WEIGHT_DECAY = 0.1, 0.1, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="CSV with the columns image and title")
    parser.add_argument("--folders", type=Path, help="class folders to measure zero-shot accuracy on")
    parser.add_argument("--init", type=Path, help="open_clip model config (default: a small ResNet at 64 pixels)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS)[:3])
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
    settings |= {"pairs": len(pairs), "folders": str(arguments.folders), "model": json.loads(config.read_text())}
    kept = Kept(work, settings)

    def trained(way: str, seed: int) -> dict[str, float]:
        run = Run(arguments, config, pairs, seed, work / f"seed{seed}")
        epochs = arguments.epochs
        if way == SAME_TIME:
            ours, theirs = (kept.runs[f"{other}, seed {seed}"]["seconds"] for other in ("glimpse", REFERENCE))
            epochs = max(1, int(epochs * theirs / ours))
        before = seconds_of_children()
        folder = run.train_open_clip() if way == REFERENCE else run.train_glimpse(way, epochs)
        seconds = round(seconds_of_children() - before, 1)
        return {"epochs": epochs, "seconds": seconds} | measure(folder, run.held_out, arguments.folders)

    ways = [way for way in WAYS if way in arguments.ways]
    for seed, way in itertools.product(arguments.seeds, ways):
        kept.run(f"{way}, seed {seed}", partial(trained, way, seed))
    print_table(kept.runs, ways, arguments.seeds)
    print(f"\n{len(pairs)} pairs, {arguments.epochs} epochs, batches of {arguments.batch_size}; {machine()}")


def seconds_of_children() -> float:
    """Of the processor, of all processes that this one has waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, held_out: list[Pair], classes: Path | None) -> dict[str, float]:
    """Recall@10 both ways on the held-out pairs, and top-1 on class folders where there are some."""
    encoder: Encoder = load_encoder(folder, precision="fp32")
    metrics = evaluate_pairs(encoder, held_out)
    found = {way: metrics[way]["recall@10"] for way in ("text_to_image", "image_to_text")}
    if classes is not None:
        found["top1"] = evaluate_classes(encoder, labelled_images(classes)[0])[0]["top1"]
    return found


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

    def train_glimpse(self, way: str, epochs: int) -> Path:
        """The run folder of our last epoch."""
        out = self.folder / way.replace(", ", "-").replace(" ", "-")
        shutil.rmtree(out, ignore_errors=True)  # what an interrupted run left
        options = {
            "--init": self.model_config,  # with this seed the weights of `self.start`
            "--epochs": epochs,
            "--batch-size": self.arguments.batch_size,
            "--lr": self.arguments.lr,
            "--weight-decay": WEIGHT_DECAY,
            "--warmup": WARMUP,
            "--val-fraction": VAL_FRACTION,
            "--precision": self.precision,
            "--seed": self.seed,
            "--out": out,
        }
        flags = [str(word) for option in options.items() for word in option]
        command = [sys.executable, "-m", "training", str(self.folder.parent / "pairs.csv"), *flags, *WAYS[way]]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.arguments.threads)}
        with (self.folder / "glimpse.log").open("w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, env=environment, cwd=ROOT)
        return out / "last"

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


def print_table(runs: dict[str, Any], ways: list[str], seeds: list[int]) -> None:
    """Each measure of each way: mean and standard deviation over seeds, what it is above the reference, each seed."""
    for measure, title in MEASURES.items():
        if any(measure not in run for run in runs.values()):
            continue
        print(f"\n{title:32}{'mean ± sd':>18}{'less open_clip':>18}{'± 2 SE':>9}{'seconds':>9}  each seed")
        for way in ways:
            of_seed = [runs[f"{way}, seed {seed}"] for seed in seeds]
            values = [run[measure] for run in of_seed]
            lead = error = ""
            if way != REFERENCE and REFERENCE in ways:
                ahead = [
                    run[measure] - runs[f"{REFERENCE}, seed {seed}"][measure]
                    for run, seed in zip(of_seed, seeds, strict=True)
                ]
                lead = mean_sd(ahead)
                error = f"{2 * statistics.stdev(ahead) / len(ahead) ** 0.5:.3f}" if len(ahead) > 1 else ""
            seconds = statistics.mean(run["seconds"] for run in of_seed)
            each = " ".join(f"{value:.3f}" for value in values)
            print(f"{way:32}{mean_sd(values):>18}{lead:>18}{error:>9}{seconds:>9.0f}  {each}")


if __name__ == "__main__":
    main()
