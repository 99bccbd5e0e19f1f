"""Which loss is better at what: each at its recommended settings, from the same weights, on the same pairs, as long.

    python -m bench.training.losses --work ~/losses-demo              # the demo's world
    python -m bench.training.losses PAIRS.csv --work ~/losses-mine    # your own; each seed holds out a tenth

Measured is the last epoch, so that nothing is chosen by what it is measured on: finding an image by its text and the
other way round; telling whether a text and an image belong together by one threshold for all of them (area under the
ROC curve, and the error rate where false alarms are as frequent as misses); and putting in order what InfoNCE of the
same seed found first (recall@1 in its first 50). The ways that come after InfoNCE begin with its model of that seed.

Finished runs are kept in --work; what is interrupted, or ends after --minutes, goes on when run again. Trains a
ResNet of 32 pixels, a minute of one core a run.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from base.machine.cpus import threads
from bench.common import machine
from bench.kept import Kept, mean_sd
from encoder.encoder import Vectors
from encoder.model.load import load_encoder
from glimpse.demo.postcards.scenes import split_scenes, write_postcards
from glimpse.demo.run import N_SEEN, N_UNSEEN, SEED
from training.config import TrainConfig
from training.data.keys import Keys
from training.data.pairs import Pair, read_pairs
from training.data.split import split_pairs
from training.evaluation.evaluate import Encoded, encode_pairs
from training.evaluation.metrics import first_relevant_ranks, recall_at_k
from training.run_folder import LAST, write_json
from training.train import train

MODEL = {  # small, for what counts here is many runs
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
FIRST = 50  # that are put in order
FIRST_LOSS = "info-nce"


class Way(NamedTuple):
    """How to train: what differs from the defaults, and whether it begins with what InfoNCE has learned."""

    changes: dict[str, Any]
    after_first: bool = False


HARD = {"loss": "triplet", "mining": "batch-hard"}
WAYS = {
    FIRST_LOSS: Way({}),
    "siglip": Way({"loss": "siglip"}),
    "contrastive": Way({"loss": "contrastive"}),
    "triplet": Way({"loss": "triplet"}),
    "triplet, batch-hard": Way(HARD),
    "info-nce, batches of 16": Way({"batch_size": 16}),
    "siglip, batches of 16": Way({"loss": "siglip", "batch_size": 16}),
    "info-nce, then info-nce": Way({}, after_first=True),
    "info-nce, then triplet, batch-hard": Way(HARD, after_first=True),
    "info-nce, then contrastive": Way({"loss": "contrastive"}, after_first=True),
    "info-nce, batches of 32": Way({"batch_size": 32}),
    "siglip, batches of 32": Way({"loss": "siglip", "batch_size": 32}),
    "image-to-text": Way({"loss": "image-to-text"}),
    "text-to-image": Way({"loss": "text-to-image"}),
}
COLUMNS = {
    "text to image @1": ("text_to_image", "recall@1"),
    "@10": ("text_to_image", "recall@10"),
    "image to text @1": ("image_to_text", "recall@1"),
    "@1 in the first 50": ("reranked", "recall@1"),
    "same or not: AUC": ("verification", "auc"),
    "EER": ("verification", "eer"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="?", help="table of pairs; default: the demo's world")
    parser.add_argument("--caption-key", default="title", help="column of the text")
    parser.add_argument("--init", help="as glimpse train takes it (default: a small ResNet at 32 pixels)")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--more-epochs", type=int, default=2, help="of the ways that come after InfoNCE")
    parser.add_argument("--more-lr", type=float, default=1e-4, help="of the same")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), metavar="WAY", help="only these")
    parser.add_argument("--minutes", type=float, help="begin no run later than this")
    parser.add_argument("--work", type=Path, default=Path("losses"), help="folder of runs and results")
    arguments = parser.parse_args()
    torch.set_num_threads(threads())
    work = arguments.work.resolve()
    names = ("caption_key", "init", "epochs", "more_epochs", "more_lr", "batch_size")
    settings = {name: getattr(arguments, name) for name in names} | {"pairs": str(arguments.pairs)}
    kept = Kept(work, settings, arguments.minutes)
    bench = Bench(arguments, work)
    for seed in arguments.seeds:
        for way in arguments.ways:
            if not kept.run(f"{way}, seed {seed}", partial(bench.measured, way, seed)):
                raise SystemExit("the time is up; run it again to go on")
    print_table(kept.runs, arguments.seeds)
    model = arguments.init or "a ResNet at 32 pixels"
    print(f"\n{arguments.pairs or 'the demo'}, {model}, {arguments.epochs} epochs; {machine()}")


class Bench:
    """One set of pairs: what each seed trains on and is measured on."""

    def __init__(self, arguments: argparse.Namespace, work: Path) -> None:
        self._arguments, self._work = arguments, work
        self._init: str = arguments.init or str(work / "model.json")
        if arguments.init is None:
            write_json(work / "model.json", MODEL)
        self._pairs: Path | None = arguments.pairs
        self._caption_key: str = arguments.caption_key
        if self._pairs is None:
            world = work / "world"
            seen, unseen = split_scenes(SEED, N_UNSEEN)
            for name, scenes, n, tagged in (("train", seen, N_SEEN, 0.8), ("unseen", unseen, N_UNSEEN, 0.0)):
                if not (world / f"{name}.csv").exists():
                    write_postcards(world, scenes, n, SEED, name, tagged)
            self._pairs, self._caption_key = world / "train.csv", "caption"
            self._test: Path | None = world / "unseen.csv"
        else:
            self._test = None

    def measured(self, way: str, seed: int) -> dict[str, Any]:
        """Train one way, and measure it."""
        first = self._work / f"{FIRST_LOSS}-{seed}"
        out = first if way == FIRST_LOSS else self._work / "run"
        self._train(WAYS[way], seed, first, out)
        held_out = self._held_out(seed)
        found = encode_pairs(load_encoder(out / LAST, precision="fp32"), held_out)
        best = found if way == FIRST_LOSS else encode_pairs(load_encoder(first / LAST, precision="fp32"), held_out)
        return found.retrieval() | {"reranked": reranked(found, best), "verification": verification(found)}

    def _train(self, way: Way, seed: int, first: Path, out: Path) -> None:
        arguments = self._arguments
        start = {"model": str(first / LAST), "lr": arguments.more_lr} if way.after_first else {"init": self._init}
        options = {"batch_size": arguments.batch_size} | start | way.changes
        shutil.rmtree(out, ignore_errors=True)  # what an interrupted run left
        config = TrainConfig(
            pairs=str(self._pairs),
            out=str(out),
            caption_key=self._caption_key,
            epochs=arguments.more_epochs if way.after_first else arguments.epochs,
            interpolate=False,
            optimizer="adamw",  # of all, for losses are compared and no optimisers
            seed=seed,
            **options,
        )
        for _ in train(config):
            pass

    def _held_out(self, seed: int) -> list[Pair]:
        assert self._pairs is not None
        keys = Keys.of(caption=self._caption_key)
        if self._test is not None:
            return read_pairs(self._test, keys).pairs
        return split_pairs(read_pairs(self._pairs, keys).pairs, 0.1, seed)[1]  # as the trainer splits


def related(encoded: Encoded) -> npt.NDArray[np.bool_]:
    """(n_texts, n_images), true where they belong together."""
    together = np.zeros((len(encoded.texts), len(encoded.images)), bool)
    together[encoded.text_of_pair, encoded.image_of_pair] = True
    return together


def reranked(encoded: Encoded, first: Encoded) -> dict[str, float]:
    """Recall of a text's image where those that another model has first are put in order; the rest cannot be found."""
    found_first = first.texts @ first.images.T
    least = np.sort(found_first, axis=1)[:, -min(FIRST, found_first.shape[1]), None]
    scores: Vectors = np.where(found_first >= least, encoded.texts @ encoded.images.T, -np.inf)
    return recall_at_k(first_relevant_ranks(scores, related(encoded)))


def verification(encoded: Encoded) -> dict[str, float]:
    """Whether a text and an image belong together, by their cosine: area under the ROC curve and equal error rate.

    The area is the share of (right pair, wrong pair) in which the right one scores higher (Mann and Whitney's U).
    """
    together = related(encoded)
    cosines = encoded.texts @ encoded.images.T
    right, wrong = np.sort(cosines[together]), np.sort(cosines[~together])
    below = np.searchsorted(wrong, right, "left") + np.searchsorted(wrong, right, "right")
    thresholds = np.concatenate((right, wrong))
    missed = np.searchsorted(right, thresholds, "left") / len(right)
    alarms = 1 - np.searchsorted(wrong, thresholds, "left") / len(wrong)
    equal = np.abs(missed - alarms).argmin()
    return {"auc": float(below.mean() / 2 / len(wrong)), "eer": float((missed + alarms)[equal] / 2)}


def print_table(runs: dict[str, Any], seeds: Sequence[int]) -> None:
    """A row a way, of the seeds that are done."""
    print("\n| | seeds | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 2) + "|")
    for way in WAYS:
        of_seeds = [runs[name] for seed in seeds if (name := f"{way}, seed {seed}") in runs]
        if of_seeds:
            cells = [mean_sd([run[part][name] for run in of_seeds]) for part, name in COLUMNS.values()]
            print(f"| {way} | {len(of_seeds)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
