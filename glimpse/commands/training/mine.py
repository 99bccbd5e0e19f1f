"""`glimpse mine`: hard negatives for pairs, from a collection of their images."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from base.errors import InputError
from base.files import is_stream, out_file
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
    from encoder.cut import CutTexts
    from index import collection as index_collection
    from training.data.keys import Keys
    from training.data.pairs import Pair, PairSet


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
    from glimpse.mining import negatives_of
    from index.collection import open_collection
    from training.data.keys import Keys
    from training.data.mine import Choice
    from training.data.pairs import read_pairs

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
            for batch in negatives_of(source, encoder, known, choice):
                found += batch
                progress(len(found), len(known))
    if not any(found) and out.exists() and not is_stream(out):
        raise InputError(
            f"{out}: left as it is, for no negative passed: widen --rank-window or lower --relative-margin"
        )
    mined = iter(found)
    of_pairs = [next(mined) if key is not None else None for key in ids]  # None: not in the collection
    with out_file(out) as part:
        _write(part, _rows(file.pairs, of_pairs, keys, images_root or out.parent))
    _tell(out, collection, file, of_pairs, cut, json)
    if not json and any(filter(None, of_pairs)) and not is_stream(out):
        _say_what_next(out, replace(keys, captions=keys.captions[:1], negatives=("negative",)), images_root)


def _say_what_next(out: Path, keys: Keys, images_root: Path | None) -> None:
    from glimpse import console
    from training.data.keys import Keys

    usual = {name for name, _ in Keys().flags()}
    told = [word for name, flag in keys.flags() if name not in usual for word in (flag, name)]
    told += ["--images-root", str(images_root)] if images_root else []
    console.err.print(f"{shlex.join(['glimpse', 'train', str(out), *told])} learns from them")


def _rows(
    pairs: Sequence[Pair], negatives: Sequence[list[str] | None], keys: Keys, root: Path
) -> Iterator[dict[str, object]]:
    """The pairs as `glimpse train` reads them, each with its negatives."""
    for pair, of_pair in zip(pairs, negatives, strict=True):
        row: dict[str, object] = {keys.image: _path_from(root, pair), keys.captions[0]: _plain(pair.captions)}
        if keys.label:
            row[keys.label] = pair.label
        yield row | {"negative": of_pair or []}


def _tell(
    out: Path, collection: str, file: PairSet, negatives: Sequence[list[str] | None], cut: CutTexts, json: bool
) -> None:
    """What was written, and what was not used."""
    from glimpse import console

    away = [pair for pair, of_pair in zip(file.pairs, negatives, strict=True) if of_pair is None]
    summary = {
        "out": str(out),
        "pairs": len(negatives),
        "with_negatives": sum(map(bool, negatives)),
        "mean_negatives": round(sum(len(of_pair or ()) for of_pair in negatives) / len(negatives), 3),
        "not_in_collection": len(away),
        "without_caption": file.without_caption,
        "without_image": file.without_image,
        "left_out": file.left_out.as_json(),
        "cut_texts": len(cut.read),
    }
    if json:
        console.print_json(summary)
        return
    console.print_left_out(file.left_out)
    console.print_warnings(cut.warnings())
    lone = (
        f"; {len(away)} are not in collection {collection}, so they have none, the first: {away[0].image!s}"
        if away
        else ""
    )
    console.beside(out).print(
        f"{out}: {summary['pairs']} pairs, {summary['with_negatives']} with negatives, {summary['mean_negatives']} "
        f"each on average{lone}"
    )
    if not summary["with_negatives"]:
        console.err.print("no negative passed: widen --rank-window or lower --relative-margin")


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


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    import json

    # A file's name in another encoding is no UTF-8; backslashreplace writes it as the escape that JSON has for it.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _check_out(out: Path, pairs: Path) -> None:
    """Refuse, before any work, a file that cannot be written or that training would not read."""
    check_out(out, "mined.jsonl")
    if is_stream(out):
        return
    if out.suffix.lower() != ".jsonl":
        raise InputError(f"--out {out}: what is written is JSON Lines; give a name that ends so: {out.stem}.jsonl")
    if out.resolve() == pairs.resolve():
        raise InputError(f"--out {out}: the table of pairs itself; give another name, so that it is not overwritten")
    if out.is_file() and not _is_mined(out):
        raise InputError(f"--out {out}: is there already, and was not mined; choose another name")


def _is_mined(file: Path) -> bool:
    """Whether a file that would be overwritten is one of these, by its first line."""
    with file.open("rb") as lines:
        first = lines.readline()
    return not first or b'"negative": ' in first


def _window(text: str) -> tuple[int, int]:
    try:
        first, last = map(int, text.split(":"))
    except ValueError:
        raise InputError(f"--rank-window {text}: give first and last rank, as in 1:50") from None
    return first, last
