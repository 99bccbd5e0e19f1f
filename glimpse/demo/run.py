"""`glimpse demo`: the whole product on a small drawn world, offline. Draws, trains, measures, indexes, labels, serves.

Each step leaves its result in the demo's folder and is skipped when that is there, so a second start is immediate and
an interrupted one goes on.
"""

from __future__ import annotations

import json
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from base.errors import InputError
from encoder.model.architectures import ARCHITECTURES
from encoder.model.device import choose_device
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder, make_encoder
from glimpse import console
from glimpse.demo.postcards.scenes import SUBJECTS, split_scenes, write_postcards
from glimpse.training_view import run_training
from index.collection import open_collection
from index.ingest.captions import Captions, read_captions
from index.ingest.sync import SyncOptions, index_folders, open_or_create
from labelling.label_sets import LabelSet
from labelling.labeller import build_labeller
from labelling.rows import LabelReport, images_below, label_images
from training.config import TrainConfig
from training.data.keys import Keys
from training.data.pairs import read_pairs
from training.evaluation.evaluate import evaluate_pairs
from training.run_folder import LAST, STATE

if TYPE_CHECKING:
    from service.settings import Settings

N_SEEN, N_UNSEEN, SEED = 4000, 500, 0
COLLECTION = "postcards"
TEMPLATES = ("{}",)  # its captions are sentences and tags; it has never met "a photo of"
QUERIES = (  # no numbers, for so small a model counts badly; what fits is far ahead (0.08 and more) of what does not
    "blue flowers in the snow",
    "orange cats in a meadow by day",
    "white boats in the snow",
    "yellow balloons in a meadow by day",
    "purple birds in the desert at sunset",
)
ARCHITECTURE = "resnet-64"  # small enough for two cores


def run_demo(folder: Path, *, host: str, port: int, serve: bool) -> None:
    """Do what is not done yet, print the summary, and serve unless told not to."""
    if serve:
        from service.http.auth import check_exposure  # before the work, not after it

        check_exposure(_settings(folder, host, port))
    summary = folder / "summary.json"
    if not summary.is_file():
        started = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        world = folder / "world"
        console.out.print("1/4  drawing postcards", style="bold")
        _draw(world)
        console.out.print("2/4  training a dual encoder on them, from random weights", style="bold")
        before, after, encoder = _train(folder, world)
        console.out.print("3/4  indexing", style="bold")
        _index(folder, world, encoder)
        console.out.print("4/4  labelling postcards of combinations it has never seen", style="bold")
        top1 = _label(world, encoder)
        results: dict[str, Any] = {"before": before, "after": after, "top1": top1}
        results["seconds"] = round(time.perf_counter() - started, 1)
        summary.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _print_summary(folder, json.loads(summary.read_text(encoding="utf-8")))
    if serve:
        _serve(folder, host, port)


def _draw(world: Path) -> None:
    """Postcards of scenes to learn from, and of combinations that are kept back."""
    seen, unseen = split_scenes(SEED, N_UNSEEN)
    with console.progress_bar("drawing") as bar:
        for name, scenes, n, tagged in (("train", seen, N_SEEN, 0.8), ("unseen", unseen, N_UNSEEN, 0.0)):
            if not (world / f"{name}.csv").is_file():
                write_postcards(world, scenes, n, SEED, name, tagged, progress=partial(bar, total=n))
    console.out.print(f"     {N_SEEN} to learn from, {N_UNSEEN} of other combinations, in {world}")


def _train(folder: Path, world: Path) -> tuple[dict[str, Any], dict[str, Any], DualEncoder]:
    """Train with the product's own trainer; recall on the unseen postcards before and after."""
    run = folder / "model"
    unseen = read_pairs(world / "unseen.csv", Keys.of(caption="caption")).pairs

    torch.manual_seed(SEED)  # the weights that the trainer starts from
    untrained = make_encoder(build_clip(ARCHITECTURE), "untrained", choose_device("auto"), "fp32")
    before = _recall(untrained, unseen)
    config = TrainConfig(
        pairs=str(world / "train.csv"),
        out=str(run),
        caption_key="caption",
        init=ARCHITECTURE,
        epochs=10,
        batch_size=64,
        lr=ARCHITECTURES[ARCHITECTURE].lr,
        min_crop=0.7,
        val_fraction=0.05,
        seed=SEED,
    )
    if run_training(config, resume=(run / LAST / STATE).is_file()):
        raise KeyboardInterrupt
    encoder = load_encoder(run)
    return before, _recall(encoder, unseen), encoder


def _recall(encoder: DualEncoder, pairs: list[Any]) -> dict[str, Any]:
    metrics = evaluate_pairs(encoder, pairs)
    return {"text_to_image": metrics["text_to_image"], "image_to_text": metrics["image_to_text"]}


def _index(folder: Path, world: Path, encoder: DualEncoder) -> None:
    cards = read_captions(world / "train.csv") | read_captions(world / "unseen.csv")
    captions = Captions()
    for path, card in cards.items():
        captions.add(path, card | {"caption": _title(path)}, path.name)
    with open_or_create(folder / "data", COLLECTION, encoder) as collection, console.progress_bar("indexing") as bar:
        report = index_folders(collection, encoder, [world], SyncOptions(captions), progress=bar)
    console.out.print(f"     {collection.name}: {report.added} images, {report.images_per_second:.0f} images/s")


def _title(path: Path) -> str:
    """What a card shows, in plain words, from its file name."""
    return path.stem.rsplit("-", 1)[0].replace("-", " ")


def _label(world: Path, encoder: DualEncoder) -> float:
    """Zero-shot accuracy on the main object of the unseen postcards; shows the first few."""
    labeller = build_labeller(encoder, LabelSet.of(SUBJECTS, TEMPLATES))
    unseen = images_below(world / "unseen", LabelReport())
    rows = [image for batch in label_images(encoder, labeller, unseen) for image in batch]
    truth = {path.name: caption["subject"] for path, caption in read_captions(world / "unseen.csv").items()}
    for row in rows[:5]:
        console.out.print("".join(f"     {_title(row.path)}: {label} ({score:.2f})" for label, score in row.answers))
    return float(np.mean([[a.label for a in row.answers] == [truth[row.path.name]] for row in rows]))


def _print_summary(folder: Path, results: dict[str, Any]) -> None:
    before, after = results["before"]["text_to_image"], results["after"]["text_to_image"]
    console.out.print()
    console.out.print(f"On {N_UNSEEN} postcards of combinations that the model has never seen:", style="bold")
    rows = [(f"text->image {name}", before[name], after[name]) for name in ("recall@1", "recall@5", "recall@10")]
    console.out.print(console.table("", "before", "after", rows=rows))
    console.out.print(f"zero-shot top-1 on the main object, of {len(SUBJECTS)}: {results['top1']:.3f}")
    console.out.print()
    console.out.print("Searches:", style="bold")
    encoder = load_encoder(folder / "model")
    with open_collection(folder / "data", COLLECTION) as collection:
        for query, vector in zip(QUERIES, encoder.encode_texts(QUERIES), strict=True):
            best = collection.search(vector, 3)
            found = "; ".join(hit.record.metadata["caption"] for hit in best)
            console.out.print(f"  {query}")
            console.out.print(f"    -> {found}")
    console.out.print()
    console.out.print("This model knows only its small drawn world. For your own photos take a real checkpoint:")
    console.out.print("  glimpse index ~/Pictures --collection photos --model ViT-B-32/laion2b_s34b_b79k")
    console.out.print('  glimpse search "a dog on the beach" --collection photos')


def _serve(folder: Path, host: str, port: int) -> None:
    from service.app import serve

    port = _free_port(host, port)
    console.out.print()
    console.out.print(f"Open http://{host}:{port}/  (Ctrl-C ends)", style="bold")
    serve(_settings(folder, host, port))


def _settings(folder: Path, host: str, port: int) -> Settings:
    from service.settings import read_settings

    return read_settings({"model": str(folder / "model"), "data": folder / "data", "host": host, "port": port})


def _free_port(host: str, port: int) -> int:
    """The port, or the next one that nobody listens on."""
    reason = "no such port"
    for candidate in range(port, min(port + 100, 2**16)):
        try:
            with socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return candidate
        except OSError as error:
            reason = str(error.strerror)
    raise InputError(f"{host}:{port}: cannot be listened on ({reason})")
