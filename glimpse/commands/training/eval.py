"""`glimpse eval`: an encoder measured on the user's data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse.options import (
    AnyName,
    AsJson,
    Device,
    Exclude,
    FollowLinks,
    Labels,
    LabelsFile,
    Model,
    Precision,
    Template,
    Threads,
    given_labels,
    refuse,
)

if TYPE_CHECKING:
    from encoder.cut import CutTexts
    from encoder.model.dual_encoder import DualEncoder
    from encoder.zero_shot.prompts import Label
    from training.config import TrainConfig
    from training.data.pairs import Pair


def eval(  # noqa: A001  the command's name
    context: typer.Context,
    model: Model,
    pairs: Annotated[Path | None, typer.Option(help="Table of image-text pairs: retrieval both ways.")] = None,
    folders: Annotated[Path | None, typer.Option(help="Folder with a folder a class: zero-shot accuracy.")] = None,
    split: Annotated[
        Path | None, typer.Option(help="Run folder: what that run holds out, measured as it does.")
    ] = None,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    template: Template = None,
    images_root: Annotated[
        Path | None, typer.Option(help="Where relative paths of --pairs start, or what --split measures lies now.")
    ] = None,
    image_key: Annotated[str, typer.Option(help="Column of the image's path.")] = "image",
    caption_key: Annotated[str, typer.Option(help="Column of the text.")] = "title",
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Measure a model on your own data: recall@k on pairs, or zero-shot accuracy on class folders.

    --split runs/a measures any model on what the training run runs/a holds out, for one number to compare by.

    What of it could not be used is counted, in text and in JSON. A class folder that cannot be entered ends it. With
    --folders the labels to choose from are the classes, unless --labels or --labels-file gives more.
    """
    from base.sources.rules import Rules
    from encoder.model.load import load_encoder
    from glimpse import console
    from training.data.folders import check_several, labelled_images
    from training.data.keys import Keys
    from training.data.pairs import read_pairs
    from training.reading.measures import telling
    from training.run.held_out_table import read_held_out

    if sum(source is not None for source in (pairs, folders, split)) != 1:
        raise InputError("give one of --pairs TABLE, --folders DIR and --split RUN")
    names = given_labels(labels, labels_file)
    if folders is None and (names or template or exclude or follow_links or any_name):
        raise InputError(
            "--labels, --labels-file, --template, --exclude, --follow-links and --any-name go with --folders"
        )
    if folders is not None and images_root is not None:
        raise InputError("--images-root goes with --pairs and --split; --folders names the folder itself")
    if pairs is None:
        refuse(context, ["image_key", "caption_key"], "is a column of --pairs")
    if split is not None:
        run, held_out = read_held_out(split, images_root)
        left_out = held_out.left_out
        content, cut, unread = _held_out(load_encoder(model, device, precision), held_out.pairs, run)
    elif pairs is not None:
        file = read_pairs(pairs, Keys.of(image_key, caption_key), images_root=images_root)
        left_out = file.left_out
        content, cut, unread = _pairs(load_encoder(model, device, precision), file.pairs)
    else:
        assert folders is not None
        labelled, left_out = labelled_images(folders, Rules(tuple(exclude or ()), follow_links, any_name))
        if not names:
            check_several(labelled, folders)
        content, cut, unread = _classes(load_encoder(model, device, precision), labelled, names, template or ())
        skipped = {file["path"] for file in content["skipped"]}
        read = {label for path, label in labelled if str(path) not in skipped}
        for label in sorted({label for _, label in labelled} - read):
            left_out.add("classes without an image that can be read", label)
    if json:
        console.print_json(content | {"left_out": left_out.as_json(), "cut_texts": len(cut.read)})
        return
    console.print_skipped([(file["path"], file["reason"]) for file in content["skipped"]])
    console.print_left_out(left_out)
    console.print_warnings([*unread, *cut.warnings()])
    lost = left_out.count() + len(content["skipped"])
    without = f" ({lost} left out)" if lost else ""
    if "top1" not in content:
        texts = f", {content['n_texts']} texts" if "n_texts" in content else ""
        console.out.print(f"{content['n_images']} images{texts}{without}")
        rows = [(way.replace("_to_", " -> "), *content[way].values()) for way in WAYS if way in content]
        console.out.print(console.table("", "recall@1", "recall@5", "recall@10", "median rank", rows=rows))
    else:
        top5 = f", top-5 {content['top5']:.3f}" if "top5" in telling(content) else ""
        console.out.print(f"{content['n_images']} images{without}: top-1 {content['top1']:.3f}{top5}")
        console.out.print(console.table("label", "top-1", rows=list(content["per_class"].items())))


Measured = tuple[dict[str, Any], "CutTexts", list[str]]  # and what is to be said of words
WAYS = ("text_to_image", "image_to_text", "view_to_view")


def _held_out(encoder: DualEncoder, pairs: Sequence[Pair], run: TrainConfig) -> Measured:
    from glimpse import console
    from training.run.held_out import measure

    with console.progress_bar("encoding") as progress:
        metrics, score, encoded = measure(encoder, pairs, run, progress)
    texts = [] if run.images_only else [caption for pair in pairs for caption in pair.captions]
    unread = encoder.unread_words(texts).counted(texts, "texts")
    return metrics | {"score": score, "skipped": encoded.skipped}, encoder.cut_texts(texts), unread


def _pairs(encoder: DualEncoder, pairs: Sequence[Pair]) -> Measured:
    from glimpse import console
    from training.evaluation.evaluate import encode_pairs

    with console.progress_bar("encoding") as progress:
        encoded = encode_pairs(encoder, pairs, progress=progress)
    unread = encoder.unread_words(encoded.strings).counted(encoded.strings, "texts")
    return encoded.retrieval() | {"skipped": encoded.skipped}, encoder.cut_texts(encoded.strings), unread


def _classes(
    encoder: DualEncoder, labelled: Sequence[tuple[Path, str]], labels: Sequence[Label], templates: Sequence[str]
) -> Measured:
    from itertools import chain

    from encoder.zero_shot.classifier import unread_labels
    from encoder.zero_shot.prompts import Label
    from glimpse import console
    from labelling.label_sets import LabelSet
    from training.evaluation.evaluate import evaluate_classes

    asked = LabelSet.of(labels or [Label(label) for label in sorted({label for _, label in labelled})], templates)
    with console.progress_bar("encoding") as progress:
        metrics, encoded = evaluate_classes(
            encoder, labelled, labels=asked.labels if labels else (), templates=asked.templates, progress=progress
        )
    cut = encoder.cut_texts(list(chain(*asked.prompts())))
    return metrics | {"skipped": encoded.skipped}, cut, unread_labels(encoder, asked.labels)
