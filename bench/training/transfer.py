"""What a model that was trained on other pictures is worth where there are a few labelled ones: against none at all.

    python -m bench.training.transfer FOLDER --captions runs/a runs/b runs/c --views runs/v --work ~/transfer
    python -m bench.training.transfer pairs.csv --label-key type --least 200 --captions runs/a ... --work ~/transfer2

--captions are runs on other pictures with their captions, --views one on pictures alone (`--loss nt-xent`); draws take
them in turn. Of each draw half of every class is for testing, and the k images come from the other half. Everything
starts from those weights, or from random ones of the same architecture, and is trained by `glimpse train FOLDER
--folders` on the k images, of which that holds some out. A model labels by its names for the classes (zero-shot), and
by the same k images as `glimpse labels create --examples` does. Also shown for each recipe: its last epoch, without
what guards the model (the best epoch by the held-out images, mixed with the start).

Finished parts are kept in --work; what is interrupted, or ends after --minutes, goes on when run again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from base.machine.cpus import threads
from bench.common import machine
from bench.kept import Kept, mean_sd
from bench.labelling.few_shot import Images, encode, halve, lay_out, read, stack, ways_of
from encoder.model.device import choose_device
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder, make_encoder
from encoder.model.weights import CONFIG
from encoder.zero_shot.classifier import build_classifier
from training.config import TrainConfig
from training.run_folder import LAST
from training.train import train

CAPTIONS, VIEWS, NOTHING = "captions", "views", "nothing"


class Recipe(NamedTuple):
    """How to train on the k images: from what, and what differs from the defaults."""

    start: str
    changes: dict[str, Any]


RECIPES = {
    "from scratch, --lr 1e-3": Recipe(NOTHING, {"lr": 1e-3, "optimizer": "adamw"}),
    "--lr 1e-4": Recipe(CAPTIONS, {"lr": 1e-4}),
    "--lr 1e-3": Recipe(CAPTIONS, {"lr": 1e-3}),
    "--lora 8 --lr 1e-3": Recipe(CAPTIONS, {"lora": 8, "lr": 1e-3}),
    "--lock-image --lr 1e-3": Recipe(CAPTIONS, {"lock_image": True, "lr": 1e-3}),
    "after views, --lr 1e-3": Recipe(VIEWS, {"lr": 1e-3}),
    "after views, --lora 8 --lr 1e-3": Recipe(VIEWS, {"lora": 8, "lr": 1e-3}),
}
FROZEN = {"random weights": NOTHING, "frozen": CAPTIONS, "frozen, after views": VIEWS}
LABELS_BY = {"names": "names", "examples": "names and examples", "last names": "names, last epoch unguarded"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder with a folder a class, or a table of images")
    parser.add_argument("--captions", nargs="+", required=True, help="runs on other pictures and their captions")
    parser.add_argument("--views", nargs="+", default=[], help="runs on other pictures alone")
    parser.add_argument("--image-key", default="image", help="of a table: the column with the images")
    parser.add_argument("--label-key", default="label", help="of a table: the column with the classes")
    parser.add_argument("--least", type=int, default=40, help="images of a class, or it is left out")
    parser.add_argument("--most", type=int, default=30, help="images of a class for testing")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16], help="images a class")
    parser.add_argument("--draws", type=int, default=5, help="how many")
    parser.add_argument("--epochs", type=int, default=10, help="of training")
    parser.add_argument("--minutes", type=float, help="begin no part later than this")
    parser.add_argument("--work", type=Path, default=Path("transfer"), help="folder of results")
    arguments = parser.parse_args()
    torch.set_num_threads(threads())
    names = ("source", "captions", "label_key", "least", "most", "epochs")
    kept = Kept(arguments.work, {name: str(getattr(arguments, name)) for name in names}, arguments.minutes)
    images_of = {name: paths for name, paths in read(arguments).items() if len(paths) >= arguments.least}
    for draw in range(arguments.draws):
        bench = Draw(arguments, images_of, draw)
        for k in arguments.shots:
            parts: dict[str, tuple[str, Callable[[], Any]]] = {
                name: (start, partial(bench.frozen, k, start)) for name, start in FROZEN.items()
            }
            parts |= {name: (recipe.start, partial(bench.trained, k, recipe)) for name, recipe in RECIPES.items()}
            for name, (start, part) in parts.items():
                if start in bench.starts and not kept.run(f"{name}, {k} a class, draw {draw}", part):
                    raise SystemExit("the time is up; run it again to go on")
    print_table(kept.runs, arguments)
    print(f"\n{arguments.source}: {len(images_of)} classes; {machine()}")


class Draw:
    """A draw of images, and the models that it starts with."""

    def __init__(self, arguments: argparse.Namespace, images_of: Images, draw: int) -> None:
        self._arguments, self._draw = arguments, draw
        self._names = list(images_of)
        self._pool, self._test = halve(images_of, draw, arguments.most)
        self._model = {CAPTIONS: arguments.captions[draw % len(arguments.captions)]}
        if arguments.views:
            self._model[VIEWS] = arguments.views[draw % len(arguments.views)]
        self._config = Path(self._model[CAPTIONS]) / CONFIG  # of the architecture that all of them have

    @property
    def starts(self) -> set[str]:
        """What there is to start from."""
        return {NOTHING, *self._model}

    def frozen(self, k: int, start: str) -> dict[str, float]:
        """A model before any training."""
        if start != NOTHING:
            return self._accuracy(load_encoder(self._model[start], precision="fp32"), k)
        torch.manual_seed(self._draw)
        untrained = make_encoder(build_clip(self._config), "untrained", choose_device("auto"), "fp32")
        return self._accuracy(untrained, k)

    def trained(self, k: int, recipe: Recipe) -> dict[str, float]:
        """Trained on k images a class, guarded and not."""
        work = Path(tempfile.mkdtemp())
        lay_out(work / "shots", self._shots(k))
        n = k * len(self._names)
        start = {"init": str(self._config)} if recipe.start == NOTHING else {"model": self._model[recipe.start]}
        config = TrainConfig(
            pairs=str(work / "shots"),
            folders=True,
            out=str(work / "run"),
            epochs=self._arguments.epochs,
            batch_size=max(2, min(32, n // 2)),
            seed=self._draw,
            **start,
            **recipe.changes,
        )
        for _ in train(config):
            pass
        guarded = self._accuracy(load_encoder(config.out, precision="fp32"), k)
        last = self._accuracy(load_encoder(Path(config.out) / LAST, precision="fp32"), k)
        shutil.rmtree(work)
        return guarded | {"last names": last["names"]}

    def _shots(self, k: int) -> dict[str, Sequence[Path]]:
        return {name: paths[:k] for name, paths in self._pool.items()}

    def _accuracy(self, encoder: DualEncoder, k: int) -> dict[str, float]:
        """Top-1 on the test half by the classes' names, and by names and the k images."""
        shots = self._shots(k)
        vector_of = encode(encoder, [p for part in (shots, self._test) for paths in part.values() for p in paths])
        vectors, labels = stack(shots, vector_of)
        queries, truth = stack(self._test, vector_of)
        ways = ways_of(build_classifier(encoder, self._names))
        found = {"names": ways["zero-shot"], "examples": ways["examples"]}
        return {
            name: float((way(vectors, labels, queries).argmax(axis=1) == truth).mean()) for name, way in found.items()
        }


def print_table(runs: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """A row a model and a way to label, a column a number of images, of the draws that are done."""
    shots = arguments.shots
    print("\n| | labels by | " + " | ".join(f"{k} a class" for k in shots) + " |\n" + "|---" * (len(shots) + 2) + "|")
    for name in (*FROZEN, *RECIPES):
        for by, said in LABELS_BY.items():
            cells = []
            for k in shots:
                parts = [runs.get(f"{name}, {k} a class, draw {draw}", {}) for draw in range(arguments.draws)]
                found = [part[by] for part in parts if by in part]
                cells.append(mean_sd(found) if found else "")
            if any(cells):
                print(f"| {name} | {said} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
