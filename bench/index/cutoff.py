"""Where a list of hits should end: the automatic cut-off against the best fixed cosine, z-score and length.

    python -m bench.index.cutoff --captions fashion/captions.csv --out runs/cutoff

trains a small model on three quarters of the titles of a table of product photos (columns image, title, baseColour,
articleType), asks for what was held out, and prints the F1 of what each way returns, a mean over the queries of each
family and over the families. With --model it takes a model that an earlier run trained with the same --fold.

Families: a held-out title (right: the images with that title), "colour type" and "type" (the images with those
attributes), an image (the others with its title), and a query that fits nothing, where only an empty list is right.
The fixed opponents are oracles: their one value is chosen on the very queries that they are scored on, and anew in each
resample of the bootstrap. The automatic cut-off has its constants from other queries (index/search/calibration.py).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from bench.common import machine
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_encoder
from encoder.zero_shot.word_bank import some_words
from index.search.calibration import SAMPLE, Calibration, background, fit
from training.config import TrainConfig
from training.data.pairs import text_key
from training.train import train

MODEL = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 32, "head_width": 64},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}
FOLDS, SHARDS = 4, 12
QUERIES = 500  # of each family at most
FEWEST = 3  # held-out images that a "colour type" or a type needs
NOTHING = (  # none of them is in a shop of clothes
    "a giraffe drinking at a waterhole",
    "the surface of mars",
    "oil rig in the north sea",
    "grilled salmon with rice",
    "how to install a printer driver",
    "the second law of thermodynamics",
    "a steam locomotive",
    "coral reef with clownfish",
    "wiring of a three way switch",
    "the cost of renting an office",
    "a wheat field before the harvest",
    "qwz plmokn",
    "a hospital corridor at night",
    "the president signed the treaty",
    "stir fried noodles",
    "a suspension bridge in fog",
    "microscope image of bacteria",
    "the rules of chess",
    "a polar bear on ice",
    "an empty parliament",
    "sheet music for piano",
    "kitchen sink full of dishes",
    "a lighthouse in a storm",
    "traffic jam on the motorway",
    "the eruption of vesuvius",
    "a toddler blowing out a candle",
    "crop rotation in the middle ages",
    "a beehive",
    "a violin without strings",
    "the last page of the diary",
    "northern lights over norway",
    "a bulldozer",
    "public library opening hours",
    "the speed of light in glass",
    "a plate of spaghetti",
    "telescope pointing at saturn",
    "a frozen waterfall",
    "why is the sky blue",
    "a rusty anchor",
    "election results by district",
)
Array = npt.NDArray[np.float32]


class Query(NamedTuple):
    """One question and what is right for it."""

    family: str
    vector: Array  # (dim,)
    right: npt.NDArray[np.bool_]  # (n_images,)
    itself: int | None = None  # the image that asks, which is no hit


class Answers(NamedTuple):
    """The F1 of a family's queries, way by way."""

    automatic: Array  # (n_queries,)
    ideal: Array  # (n_queries,) the best that any end of the list gives
    fixed: dict[str, Array]  # way -> (n_queries, n_values)
    returned: list[int]  # how many hits the automatic cut-off leaves


VALUES: dict[str, npt.NDArray[np.float64]] = {
    "cosine": np.arange(0, 1, 0.01),
    "z": np.arange(0, 8, 0.05),
    "length": np.unique(np.geomspace(1, 3000, 80).astype(int)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, required=True, help="table of image, title, baseColour, articleType")
    parser.add_argument("--images", type=Path, help="where its image paths start [the folder of the table]")
    parser.add_argument("--model", type=Path, help="run folder of an earlier run; else one is trained")
    parser.add_argument("--out", type=Path, default=Path("runs/cutoff"), help="where it is trained")
    parser.add_argument(
        "--fold", type=int, default=0, choices=range(FOLDS), help="which quarter of the titles is held out"
    )
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with arguments.captions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folder = arguments.images or arguments.captions.parent
    held_out = np.array([zlib.crc32(text_key(row["title"]).encode()) % FOLDS == arguments.fold for row in rows])
    run = arguments.model or train_model(rows, held_out, folder, arguments)
    encoder = load_encoder(run)
    images = encoder.encode_images([folder / row["image"] for row in rows])
    print(f"{machine()}\n{run}: {len(rows)} images, {held_out.sum()} of titles that it was not trained on\n")
    for name, kept in (("held-out images", held_out), ("all images", np.ones(len(rows), bool))):
        queries = list(ask(encoder, rows, images, held_out, kept))
        report(name, images[kept], encoder.encode_texts(some_words(encoder.vocabulary())), queries)


def train_model(rows: Sequence[dict[str, str]], held_out: Array, folder: Path, arguments: argparse.Namespace) -> Path:
    """Train on titles, "colour type" and type of what is not held out; returns the run folder.

    Shards, since types repeat: pairs of a table that share a caption could not be split for validation.
    """
    shards: Path = arguments.out.with_name(f"{arguments.out.name}-shards")
    shards.mkdir(parents=True, exist_ok=True)
    tars = [tarfile.open(shards / f"{i:02}.tar", "w") for i in range(SHARDS)]  # noqa: SIM115  closed below
    for i, row in enumerate(rows):
        if held_out[i]:
            continue
        tar = tars[zlib.crc32(text_key(row["title"]).encode()) // FOLDS % SHARDS]
        tar.add(folder / row["image"], arcname=f"{i:06}{Path(row['image']).suffix}")
        data = json.dumps({"captions": [row["title"], *phrases(row)]}).encode()
        member = tarfile.TarInfo(f"{i:06}.json")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    for tar in tars:
        tar.close()
    (shards / "model.json").write_text(json.dumps(MODEL))
    config = TrainConfig(
        pairs=str(shards / "*.tar"),
        out=str(arguments.out),
        init=str(shards / "model.json"),
        caption_key="captions",
        val_fraction=0.05,
        epochs=arguments.epochs,
        batch_size=256,
        lr=1e-3,
    )
    for _ in train(config):
        pass
    return Path(config.out)


def phrases(row: dict[str, str]) -> tuple[str, str]:
    """A product's "colour type" and type."""
    return f"{row['baseColour']} {row['articleType']}".lower(), row["articleType"].lower()


def ask(
    encoder: DualEncoder, rows: Sequence[dict[str, str]], images: Array, held_out: Array, kept: Array
) -> Iterator[Query]:
    """The queries, all about held-out images, with what is right among the images that are `kept`."""
    rng = np.random.default_rng(0)
    place = np.cumsum(kept) - 1  # of a row among those kept
    attributes = {
        "title": np.array([text_key(row["title"]) for row in rows]),
        "colour type": np.array([phrases(row)[0] for row in rows]),
        "type": np.array([phrases(row)[1] for row in rows]),
    }
    for family, values in attributes.items():
        found, counts = np.unique(values[held_out], return_counts=True)
        texts = rng.permutation(found if family == "title" else found[counts >= FEWEST])[:QUERIES]
        for text, vector in zip(texts, encoder.encode_texts([str(text) for text in texts]), strict=True):
            yield Query(family, vector, (values == text)[kept])
    titles = attributes["title"]
    repeated = {title for title in titles[held_out] if (titles[held_out] == title).sum() > 1}
    for i in rng.permutation([i for i in np.flatnonzero(held_out) if titles[i] in repeated])[:QUERIES]:
        yield Query("image", images[i], (titles == titles[i])[kept], int(place[i]))
    for vector in encoder.encode_texts(NOTHING):
        yield Query("nothing", vector, np.zeros(int(kept.sum()), bool))


def report(name: str, images: Array, words: Array, queries: Sequence[Query]) -> None:
    """Print the table of one collection."""
    sample = images[np.random.default_rng(0).choice(len(images), min(SAMPLE, len(images)), replace=False)]
    calibration = fit(sample, words, best=lambda texts: (texts @ images.T).max(axis=1))
    if calibration is None:
        raise SystemExit(f"{name}: too few images")
    families = list(dict.fromkeys(query.family for query in queries))
    answers = {family: answer(calibration, images, [q for q in queries if q.family == family]) for family in families}
    mixes = {"mean of all": families, "without nothing": [family for family in families if family != "nothing"]}
    print(f"{name}: {len(images)}; F1, mean over queries")
    print(f"{'':22}" + "".join(f"{column:>16}" for column in [*families, *mixes]))
    line("queries", [len(answers[family].automatic) for family in families])
    line("hits left, median", [float(np.median(answers[family].returned)) for family in families])

    def row(title: str, f1: dict[str, float]) -> None:
        line(title, [*f1.values(), *(float(np.mean([f1[family] for family in mix])) for mix in mixes.values())])

    row("automatic", {family: float(of.automatic.mean()) for family, of in answers.items()})
    for way, values in VALUES.items():
        means = {family: of.fixed[way].mean(axis=0) for family, of in answers.items()}
        for best in dict.fromkeys(int(np.mean([means[f] for f in mix], axis=0).argmax()) for mix in mixes.values()):
            row(f"{way} {values[best]:.3g}", {family: float(f1[best]) for family, f1 in means.items()})
        row(f"{way}, one a family", {family: float(f1.max()) for family, f1 in means.items()})
    row("ideal end of each", {family: float(of.ideal.mean()) for family, of in answers.items()})
    for title, mix in mixes.items():
        for way in VALUES:
            low, middle, high = lead(answers, mix, way)
            print(f"{title}: automatic less the best {way:7} {middle:+.3f}, 95% from {low:+.3f} to {high:+.3f}")
    print()


def line(title: str, values: Sequence[float]) -> None:
    print(f"{title:22}" + "".join(f"{value:16.3f}" if isinstance(value, float) else f"{value:16}" for value in values))


def answer(calibration: Calibration, images: Array, queries: Sequence[Query]) -> Answers:
    """Search for each query of a family, exactly, and score every end of its list."""
    automatic, ideal, returned = [], [], []
    fixed: dict[str, list[Array]] = {way: [] for way in VALUES}
    for query in queries:
        scores = images @ query.vector
        order = np.argsort(-scores)
        order = order[order != query.itself]
        scores, right = scores[order], query.right[order]
        f1 = f1_of_ends(right)
        judged = calibration.judge(query.vector, scores, text=query.itself is None)
        automatic.append(f1[judged.cut])
        returned.append(judged.cut)
        ideal.append(f1.max())
        middle, spread = background(calibration.sample, query.vector[None])
        ends = {
            "cosine": np.searchsorted(-scores, -VALUES["cosine"], side="right"),
            "z": np.searchsorted(-(scores - middle) / spread, -VALUES["z"], side="right"),
            "length": VALUES["length"].clip(max=len(scores)),
        }
        for way, values in ends.items():
            fixed[way].append(f1[values])
    return Answers(np.array(automatic), np.array(ideal), {way: np.array(f1) for way, f1 in fixed.items()}, returned)


def f1_of_ends(right: npt.NDArray[np.bool_]) -> Array:
    """(n + 1,) F1 of the first 0 to n hits. Where nothing is right, the empty list has 1 and all others 0."""
    n_right = np.count_nonzero(right)
    if not n_right:
        return np.array([1.0] + [0.0] * len(right), np.float32)
    found = np.concatenate([[0], np.cumsum(right)])
    return (2 * found / (np.arange(len(right) + 1) + n_right)).astype(np.float32)


def lead(
    answers: dict[str, Answers], mix: Sequence[str], way: str, resamples: int = 1000
) -> tuple[float, float, float]:
    """Automatic less the best value of a way, over a mix: 2.5%, 50% and 97.5% of resamples of the queries."""
    rng = np.random.default_rng(0)
    leads = []
    for _ in range(resamples):
        automatic, fixed = [], []
        for family in mix:
            chosen = answers[family]
            n = len(chosen.automatic)
            weight = np.bincount(rng.integers(0, n, n), minlength=n) / n
            automatic.append(weight @ chosen.automatic)
            fixed.append(weight @ chosen.fixed[way])
        leads.append(np.mean(automatic) - np.mean(fixed, axis=0).max())
    low, middle, high = np.percentile(leads, [2.5, 50, 97.5])
    return float(low), float(middle), float(high)


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s")
