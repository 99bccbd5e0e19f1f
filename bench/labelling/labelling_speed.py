"""Labelling against what it cannot be faster than, and against a plain loop.

decide       scores of many images and labels, against the product of their vectors alone; and the most memory
collection   `glimpse label --collection` of as many vectors, beside their product with the labels
folder       `glimpse label FOLDER`, cold, against `glimpse index FOLDER`
loop         against a loop image by image that encodes the labels each time, as autodistill-clip's
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import torch
from PIL import Image

from base.sources.walk import walk_images
from bench.common import compare, embeddings, machine, open_clip, random_model
from encoder.model.load import load_encoder
from encoder.query import query_encoder
from encoder.zero_shot.classifier import Classifier, build_classifier
from index.collection import Entry, create_collection
from labelling.label_sets import LabelSet
from labelling.labeller import Labeller, build_labeller
from labelling.rejection import Rejection
from labelling.rows import answers_of, label_images
from labelling.standardise import Standard

DIM = 512
NEGATIVES = 2_500  # as many of 5,000 words are kept
POOL = 16_384  # vectors, again and again
TWENTY = "dress,hat,shirt,pants,shoes,shorts,skirt,coat,bag,belt,scarf,glove,sock,watch,tie,suit,boots,sandal,vest,cap"
GLIMPSE = Path(sys.executable).with_name("glimpse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="decide", choices=("decide", "collection", "folder", "loop"))
    parser.add_argument("--images", type=Path, help="folder of photos, of `folder` and `loop`")
    parser.add_argument("--model", type=Path, help="run folder (default: ViT-B-32-256 with random weights)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors, of `decide` and `collection`")
    parser.add_argument("--labels", type=int, default=1_000)
    parser.add_argument("--outputs", nargs="+", default=["csv"], help="of `collection`: csv, jsonl, parquet, metadata")
    parser.add_argument(
        "--data", type=Path, help="of `collection`: data folder that keeps it from one time to the next"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of `folder`, of which the best counts")
    arguments = parser.parse_args()
    print(machine())
    if arguments.part == "decide":
        decide(arguments.rows, arguments.labels)
    elif arguments.part == "collection":
        model = arguments.model or random_model("ViT-B-32-256")
        collection(arguments.rows, arguments.labels, model, arguments.outputs, arguments.data)
    elif arguments.images is None:
        parser.error(f"{arguments.part} labels photos: give --images FOLDER")
    elif arguments.part == "folder":
        folder(arguments.images, arguments.model or random_model("ViT-B-32-256"), arguments.rounds)
    else:
        loop(arguments.images, arguments.model or random_model("ViT-B-32-256"))


def decide(n: int, n_labels: int) -> None:
    """Each way beside the products that it is made of, in turns, block by block; of each its best block counts."""
    images = embeddings(POOL)
    others = embeddings(n_labels + 2 * NEGATIVES, seed=1)
    labels, words = others[:n_labels], others[n_labels:]
    classifier = Classifier(tuple(map(str, range(n_labels))), labels, 100.0)
    rejection = Rejection(words[:NEGATIVES], 100.0)
    standard = Standard.of(labels, words, images[:2048])
    ways = {
        "one label": (Labeller(classifier), [labels]),
        "one or none": (Labeller(classifier, rejection=rejection), [labels, rejection.negatives]),
        "several": (Labeller(classifier, standard=standard), [labels, standard.covariance]),
    }
    print(f"{n:,} images, {n_labels:,} labels, {DIM} dimensions\n")
    print(f"{'':16}{'images/s':>12}{'product alone':>15}{'share':>8}{'with rows':>12}{'share':>8}")
    before = _most_memory()
    for name, (labeller, factors) in ways.items():
        seconds = dict.fromkeys(("product", "decide", "rows"), float("inf"))  # of an image, in the best block
        for start in range(0, n, POOL):
            some = images[: min(POOL, n - start)]
            for what, one in _ways_of(labeller, factors, some).items():
                started = time.perf_counter()
                one()
                seconds[what] = min(seconds[what], (time.perf_counter() - started) / len(some))
        rate = {what: 1 / took for what, took in seconds.items()}
        print(
            f"{name:16}{rate['decide']:>12,.0f}{rate['product']:>15,.0f}{rate['decide'] / rate['product']:>8.2f}"
            f"{rate['rows']:>12,.0f}{rate['rows'] / rate['product']:>8.2f}"
        )
    print(f"\nmost memory: {_most_memory()} MB, of it {before} before the first decision")


def _ways_of(labeller: Labeller, factors: list[np.ndarray], some: np.ndarray) -> dict[str, Callable[[], None]]:
    def product() -> None:
        for start in range(0, len(some), 1024):  # the fastest of 256 to 16,384 rows here
            for factor in factors:
                some[start : start + 1024] @ factor.T

    def alone() -> None:
        for _ in labeller.decide_in_parts(some):
            pass

    def with_rows() -> None:
        for _, decisions in labeller.decide_in_parts(some):
            for given, _ in answers_of(labeller.labels, decisions):
                orjson.dumps(given)

    return {"product": product, "decide": alone, "rows": with_rows}


def collection(n: int, n_labels: int, model: Path, outputs: list[str], kept: Path | None) -> None:
    """Whole commands, each in a process of its own; the second time there is nothing to do."""
    with tempfile.TemporaryDirectory() as scratch:
        data = kept or Path(scratch)
        if not (data / "collections").exists():
            _make(data, n, model)
        words = data / "labels.txt"
        words.write_text("\n".join(f"word {i}" for i in range(n_labels)))
        run = ["label", "-c", "bench", "--labels-file", str(words), "--data", str(data), "--force"]
        encoder = query_encoder(str(model), None, images=False)
        started = time.perf_counter()
        labels = build_classifier(encoder, [f"word {i}" for i in range(n_labels)]).weights
        texts = time.perf_counter() - started
        images = embeddings(POOL, encoder.dim)
        started = time.perf_counter()
        for start in range(0, n, 1024):
            images[start % POOL :][: min(1024, n - start)] @ labels.T
        product = time.perf_counter() - started
        print(f"{n:,} images, {n_labels:,} labels: their texts take {texts:.1f} s, the product {product:.1f} s\n")
        print(f"{'':10}{'seconds':>9}{'images/s':>10}{'but texts':>11}{'of product':>12}{'again':>8}{'most MB':>9}")
        for name in outputs:
            asked = ["--write-metadata", "lab"] if name == "metadata" else ["--out", str(data / f"x.{name}")]
            shutil.rmtree(data / "label-runs", ignore_errors=True)
            (first, memory), (again, _) = _timed([*run, *asked]), _timed([*run, *asked])
            rest = first - texts
            print(
                f"{name:10}{first:>9.1f}{n / first:>10,.0f}{rest:>11.1f}{product / rest:>12.2f}{again:>8.1f}{memory:>9}"
            )


def _make(data: Path, n: int, model: Path) -> None:
    """A collection of as many vectors, float16 as all are."""
    encoder = load_encoder(model)
    images = embeddings(POOL, encoder.dim)
    with create_collection(data, "bench", model=str(model), fingerprint=encoder.fingerprint, dim=encoder.dim) as made:
        for start in range(0, n, POOL):
            some = images[: min(POOL, n - start)]
            made.upsert([_entry(start + i, vector) for i, vector in enumerate(some)])


def _entry(key: int, vector: np.ndarray) -> Entry:
    path = f"/photos/{key // 1000:04}/{key:07}.jpg"
    return Entry(vector, "image", path=path, sha256=f"{key:064x}", mtime_ns=key, size=1000, width=400, height=300)


def folder(images: Path, model: Path, rounds: int) -> None:
    """Whole commands, cold, in turns."""
    n = sum(1 for _ in walk_images(images))
    seconds: dict[str, float] = {}
    asked = ["--labels", TWENTY, "--model", str(model)]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            at = ["--data", scratch]
            ways = {
                "index": ["index", str(images), "--model", str(model), *at],
                "label": ["label", str(images), *asked, *at, "--out", f"{scratch}/one.csv"],
                "label --abstain": ["label", str(images), *asked, *at, "--abstain", "--out", f"{scratch}/none.csv"],
                "label --multi": ["label", str(images), *asked, *at, "--multi", "--out", f"{scratch}/several.csv"],
                "index, nothing new": ["index", str(images), "--model", str(model), *at],
                "label, nothing new": ["label", str(images), *asked, *at, "--out", f"{scratch}/one.csv"],
            }
            for name, command in ways.items():
                seconds[name] = min(seconds.get(name, float("inf")), _timed(command)[0])
    print(f"{n} images, {model.name}\n\n{'':24}{'seconds':>9}{'images/s':>10}{'of index':>10}")
    for name, took in seconds.items():
        base = seconds["index, nothing new" if "nothing" in name else "index"]
        print(f"{name:24}{took:>9.2f}{n / took:>10.1f}{base / took:>10.2f}")


def loop(images: Path, model: Path) -> None:
    """Both warm, with the model loaded: per image opened, preprocessed and encoded, with all labels anew."""
    files = [path for path, _ in walk_images(images)]
    few = files[:: max(1, len(files) // 8)][:8]  # it is slow
    encoder = load_encoder(model)
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}", device=encoder.device)
    clip.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{model}")
    names = TWENTY.split(",")

    @torch.no_grad()
    def plain() -> None:
        for path in few:
            picture = transform(Image.open(path)).unsqueeze(0).to(encoder.device)
            image = clip.encode_image(picture, normalize=True)
            texts = clip.encode_text(tokens(names).to(encoder.device), normalize=True)
            (100 * image @ texts.T).softmax(dim=-1).argmax().item()

    def ours() -> None:
        labeller = build_labeller(encoder, LabelSet.of(names, ("{}",)))
        for _ in label_images(encoder, labeller, files):
            pass

    ours()
    seconds = compare({"loop": plain, "glimpse": ours})
    rates = {"loop": len(few) / seconds["loop"], "glimpse": len(files) / seconds["glimpse"]}
    print(f"{len(files)} images, {len(names)} labels, {model.name}, {encoder.precision}\n")
    for name, rate in rates.items():
        print(f"{name:12}{rate:>10.1f} images/s{rate / rates['loop']:>8.1f}")


def _timed(command: list[str]) -> tuple[float, int]:
    """Seconds and MB of a command of glimpse."""
    started = time.perf_counter()
    subprocess.run([GLIMPSE, *command], check=True, capture_output=True)
    took = time.perf_counter() - started
    return took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def _most_memory() -> int:
    """MB of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
