"""`glimpse eval`: an encoder measured on the user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from base.errors import InputError
from glimpse.options import AsJson, Device, Model, Precision, Template


def eval(  # noqa: A001  the command's name
    model: Model,
    pairs: Annotated[Path | None, typer.Option(help="CSV of image-text pairs: retrieval both ways.")] = None,
    folders: Annotated[Path | None, typer.Option(help="Folder with a folder a class: zero-shot accuracy.")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --folders: labels to choose from, one a line.")] = None,
    template: Template = None,
    images_root: Annotated[Path | None, typer.Option(help="Where relative paths of --pairs start.")] = None,
    image_key: Annotated[str, typer.Option(help="Column of the image's path.")] = "image",
    caption_key: Annotated[str, typer.Option(help="Column of the text.")] = "title",
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Measure a model on your own data: recall@k on pairs, or zero-shot accuracy on class folders."""
    from base.walk import check_folder
    from encoder.load import load_encoder
    from encoder.prompts import read_labels
    from glimpse import console
    from training.data.keys import Keys
    from training.data.pairs import read_pairs
    from training.evaluation.evaluate import evaluate_folders, evaluate_pairs

    if (pairs is None) == (folders is None):
        raise InputError("give either --pairs CSV or --folders DIR")
    names = read_labels(labels) if labels else ()
    content: dict[str, Any]
    if pairs is not None:
        file = read_pairs(pairs, Keys.of(image_key, caption_key), images_root=images_root)
        encoder = load_encoder(model, device, precision)
        with console.progress_bar("encoding") as progress:
            content = evaluate_pairs(encoder, file.pairs, progress=progress)
    else:
        assert folders is not None
        check_folder(folders)
        encoder = load_encoder(model, device, precision)
        with console.progress_bar("encoding") as progress:
            content = evaluate_folders(encoder, folders, labels=names, templates=template or (), progress=progress)
    if json:
        console.print_json(content)
        return
    console.print_skipped([(file["path"], file["reason"]) for file in content["skipped"]])
    if pairs is not None:
        console.out.print(f"{content['n_images']} images, {content['n_texts']} texts")
        rows = [(way.replace("_to_", " -> "), *content[way].values()) for way in ("text_to_image", "image_to_text")]
        console.out.print(console.table("", "recall@1", "recall@5", "recall@10", "median rank", rows=rows))
    else:
        console.out.print(f"{content['n_images']} images: top-1 {content['top1']:.3f}, top-5 {content['top5']:.3f}")
        console.out.print(console.table("label", "top-1", rows=list(content["per_class"].items())))
