"""`glimpse mine`: hard negatives for pairs, from a collection of their images.

A pair's captions ask the collection for images. The nearest images that are wrong lend their captions to the pair as
hard negatives; `training.mine` chooses among them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from base.errors import InputError
from glimpse.options import (
    DATA,
    AsJson,
    Collection,
    Data,
    Device,
    ModelOfCollection,
    Precision,
    Store,
    Threads,
    check_out,
)

if TYPE_CHECKING:
    from encoder.encoder import Vectors
    from encoder.model.dual_encoder import DualEncoder
    from index import collection as index_collection
    from training.data.pairs import Pair
    from training.mine import Choice

BATCH = 512  # pairs searched at a time, at most
HITS = 1_000_000  # hits in memory, at most, as far as one pair has no more


def mine(
    pairs: Annotated[Path, typer.Argument(help="Table of image-text pairs, as glimpse train takes it.")],
    out: Annotated[Path, typer.Option(help="JSON Lines to write: the pairs, each with its negatives.")],
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    negatives: Annotated[int, typer.Option(help="Hard negatives a pair, at most.")] = 3,
    rank_window: Annotated[
        str,
        typer.Option(help="First and last rank to choose from: the very nearest may be right, if unlabelled."),
    ] = "1:50",
    relative_margin: Annotated[
        float, typer.Option(help="Leave out what scores above (1 - this) times the pair's own score.")
    ] = 0.05,
    images_root: Annotated[Path | None, typer.Option(help="Where relative image paths start.")] = None,
    image_key: Annotated[str, typer.Option(help="Column of the image's path.")] = "image",
    caption_key: Annotated[str, typer.Option(help="Column of the text, or several with commas between.")] = "title",
    label_key: Annotated[
        str | None, typer.Option(help="Column of a label; rows with the same one are not negatives of each other.")
    ] = None,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Find hard negatives: for each pair, captions of the wrong images that the model takes to fit it best.

    Index the images of the pairs first; then train with: glimpse train OUT --negative-key negative.
    """
    from encoder.model.load import load_encoder
    from glimpse import console
    from index.collection import open_collection
    from training.data.keys import Keys
    from training.data.pairs import read_pairs
    from training.mine import Choice
    from training.run_folder import artefact

    choice = Choice(negatives, _window(rank_window), relative_margin)
    _check_out(out, pairs)
    keys = Keys.of(image_key, caption_key, label_key)
    file = read_pairs(pairs, keys, images_root=images_root)
    with open_collection(data, collection) as source:
        ids = [_id_of(source, pair) for pair in file.pairs]
        known = [(pair, key) for pair, key in zip(file.pairs, ids, strict=True) if key is not None]
        if not known:
            raise InputError(
                f"collection {collection} has none of the images of {pairs}; index them first: glimpse index FOLDER "
                f"--collection {collection}"
            )
        encoder = load_encoder(model or source.model, device, precision)
        source.check_model(encoder.fingerprint)
        cut = encoder.cut_texts([caption for pair, _ in known for caption in pair.captions])
        found: list[list[str]] = []
        with console.progress_bar("mining") as progress:
            for batch in _mine(source, encoder, known, choice):
                found += batch
                progress(len(found), len(known))

    if out.exists() and not any(found):
        raise InputError(
            f"{out}: left as it is, for no negative passed: widen --rank-window or lower --relative-margin"
        )
    root = images_root or out.parent
    mined = iter(found)
    caption_name = keys.captions[0]
    rows = [
        {image_key: _path_from(root, pair), caption_name: _plain(pair.captions)}
        | ({label_key: pair.label} if label_key else {})
        | {"negative": negative}
        for pair, key in zip(file.pairs, ids, strict=True)
        for negative in [next(mined) if key is not None else []]
    ]
    with artefact(out) as part:
        _write(part, rows)
    summary = {
        "out": str(out),
        "pairs": len(rows),
        "with_negatives": sum(map(bool, found)),
        "mean_negatives": round(sum(map(len, found)) / len(rows), 3),
        "not_in_collection": len(rows) - len(known),
        "without_caption": file.without_caption,
        "without_image": file.without_image,
        "left_out": file.left_out.as_json(),
        "cut_texts": len(cut.read),
    }
    if json:
        console.print_json(summary)
        return
    lone = next((str(pair.image) for pair, key in zip(file.pairs, ids, strict=True) if key is None), "")
    console.print_left_out(file.left_out)
    console.print_warnings(cut.warnings())
    console.out.print(
        f"{out}: {summary['pairs']} pairs, {summary['with_negatives']} with negatives, {summary['mean_negatives']} "
        f"each on average"
        + (
            f"; {summary['not_in_collection']} are not in collection {collection}, so they have none, the first: {lone}"
            if lone
            else ""
        )
    )
    if not summary["with_negatives"]:
        console.err.print("no negative passed: widen --rank-window or lower --relative-margin")


def _mine(
    source: index_collection.Collection,
    encoder: DualEncoder,
    pairs: Sequence[tuple[Pair, int]],
    choice: Choice,
) -> Iterator[list[list[str]]]:
    """The hard negatives of (pair, id of its image), a list a pair, a batch at a time.

    An image is right for a pair if it is the pair's own or shares a caption or a label with it; every other one is
    wrong.
    """
    import numpy as np

    from training.data.pairs import text_key
    from training.mine import hard_negatives

    number: dict[str, int] = {}
    texts: list[str] = []  # by number; each text once, as it was first written
    lends: dict[int, int] = {}  # the first text of each image
    marks: dict[int, set[int | str]] = {}  # the texts and labels of each image
    for pair, image in pairs:
        for caption in pair.captions:
            text = number.setdefault(text_key(caption), len(texts))
            if text == len(texts):
                texts.append(caption)
            lends.setdefault(image, text)
            marks.setdefault(image, set()).add(text)
        if pair.label is not None:
            marks[image].add(pair.label)
    sharing = Counter(mark for of_image in marks.values() for mark in of_image)
    # Images that no pair names have no caption to lend.
    among = np.array(sorted(lends)) if len(lends) < source.count("image") else None

    start = 0
    while start < len(pairs):
        images = [image for _, image in pairs[start : start + BATCH]]
        right = max(sum(sharing[mark] for mark in marks[image]) for image in images)  # or fewer
        k = min(choice.window[1] + right, len(lends))  # so that the window is full of wrong ones
        batch = pairs[start : start + max(1, min(BATCH, HITS // k))]
        start += len(batch)
        images = images[: len(batch)]
        queries = _queries(encoder, [pair.captions for pair, _ in batch])
        own_scores = (queries * source.vectors(images)).sum(axis=1)
        candidates = np.full((len(images), k), -1)
        scores = np.zeros((len(images), k), np.float32)
        same = np.zeros((len(images), k), bool)
        for row, (found, ids) in enumerate(source.read_view().nearest(queries, k, "image", among)):
            scores[row, : len(found)] = found
            own = marks[images[row]]
            for column, key in enumerate(ids.tolist()):
                if key in lends:
                    candidates[row, column] = lends[key]
                    same[row, column] = not marks[key].isdisjoint(own)
        chosen = hard_negatives(candidates, scores, own_scores, same, choice)
        yield [[texts[text] for text in row] for row in chosen]


def _queries(encoder: DualEncoder, captions: Sequence[Sequence[str]]) -> Vectors:
    """One unit vector (n, dim) an image: the mean of those of its captions."""
    import numpy as np

    vectors = encoder.encode_texts([caption for texts in captions for caption in texts])
    starts = np.cumsum([0, *map(len, captions)])[:-1]
    sums = np.add.reduceat(vectors, starts)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)  # type: ignore[no-any-return]


def _id_of(source: index_collection.Collection, pair: Pair) -> int | None:
    """The id of a pair's image in the collection, under its path as written or where that leads."""
    assert isinstance(pair.image, Path)
    record = source.find_path(os.path.abspath(pair.image)) or source.find_path(os.path.realpath(pair.image))  # noqa: PTH100
    return record.id if record else None


def _path_from(root: Path, pair: Pair) -> str:
    """A pair's image as the written file names it: relative where paths of that file will start, or absolute."""
    assert isinstance(pair.image, Path)
    image, root = pair.image.absolute(), root.absolute()
    return str(image.relative_to(root) if image.is_relative_to(root) else image)


def _plain(captions: Sequence[str]) -> str | list[str]:
    return captions[0] if len(captions) == 1 else list(captions)


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    import json

    # A file's name in another encoding is no UTF-8; backslashreplace writes it as the escape that JSON has for it.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _check_out(out: Path, pairs: Path) -> None:
    """Refuse, before any work, a file that cannot be written or that training would not read."""
    check_out(out, "mined.jsonl")
    if out.suffix.lower() != ".jsonl":
        raise InputError(f"--out {out}: what is written is JSON Lines; give a name that ends so: {out.stem}.jsonl")
    if out.resolve() == pairs.resolve():
        raise InputError(f"--out {out}: the table of pairs itself; give another name, so that it is not overwritten")


def _window(text: str) -> tuple[int, int]:
    try:
        first, last = map(int, text.split(":"))
    except ValueError:
        raise InputError(f"--rank-window {text}: give first and last rank, as in 1:50") from None
    return first, last
