"""The commands `glimpse train` and `glimpse eval`; glimpse/cli.py puts them beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from encoder.errors import InputError
from glimpse.options import AsJson, Device, Model, Precision, Template


def train(
    pairs: Annotated[Path | None, typer.Argument(help="CSV of image-text pairs; not needed with --resume.")] = None,
    out: Annotated[Path, typer.Option(help="Run folder to write; --model and load_encoder take it.")] = Path(
        "runs/new"
    ),
    model: Annotated[str | None, typer.Option(help="Fine-tune this model.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from random weights: an open_clip architecture or a JSON config.")
    ] = None,
    images_root: Annotated[Path | None, typer.Option(help="Where relative image paths start.")] = None,
    image_key: Annotated[str, typer.Option(help="Column of the image's path.")] = "image",
    caption_key: Annotated[str, typer.Option(help="Column of the text.")] = "title",
    epochs: Annotated[int, typer.Option(help="Passes over the pairs.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Pairs a step; each is the others' negative.")] = 128,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate.", show_default="1e-5 with --model, 5e-4 with --init")
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="AdamW's decay of weight matrices.")] = 0.2,
    warmup: Annotated[float, typer.Option(help="Part of all steps in which the learning rate rises.")] = 0.1,
    grad_clip: Annotated[float, typer.Option(help="Largest norm of a gradient.")] = 1.0,
    min_crop: Annotated[float, typer.Option(help="Smallest part of an image that a random crop keeps.")] = 0.9,
    val_fraction: Annotated[float, typer.Option(help="Part of the pairs held out to measure recall.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where and how it was left.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Fine-tune a model on image-text pairs, or train one from random weights (symmetric InfoNCE).

    Measures recall on held-out pairs before the first step and after each epoch; keeps the best and the last epoch.
    Ctrl-C saves: --resume goes on.
    """
    from glimpse.training_view import run_training
    from training.config import TrainConfig

    if resume:
        if pairs is not None:
            raise InputError("--resume goes on with the pairs and settings of the run in --out; give no others")
        config = TrainConfig.load(out)
    elif pairs is None:
        raise InputError("give a CSV of image-text pairs, as in glimpse train pairs.csv --model REF --out runs/new")
    else:
        config = TrainConfig(
            pairs=str(pairs.absolute()),
            out=str(out),
            images_root=str(images_root.absolute()) if images_root else None,
            image_key=image_key,
            caption_key=caption_key,
            model=_absolute(model),
            init=_absolute(init),
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            warmup=warmup,
            grad_clip=grad_clip,
            min_crop=min_crop,
            val_fraction=val_fraction,
            seed=seed,
            device=device,
            precision=precision,
        )
    run_training(config, resume=resume, as_json=json)


def _absolute(reference: str | None) -> str | None:
    """A path that exists here as one that is right from any other folder; other references as they are."""
    return str(Path(reference).absolute()) if reference and Path(reference).exists() else reference


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
    from encoder.load import load_encoder
    from encoder.prompts import read_labels
    from glimpse import console
    from training.data import read_pairs
    from training.evaluate import evaluate_folders, evaluate_pairs

    if (pairs is None) == (folders is None):
        raise InputError("give either --pairs CSV or --folders DIR")
    names = read_labels(labels) if labels else ()
    content: dict[str, Any]
    if pairs is not None:
        file = read_pairs(pairs, images_root=images_root, image_key=image_key, caption_key=caption_key)
        encoder = load_encoder(model, device, precision)
        with console.progress_bar("encoding") as progress:
            content = evaluate_pairs(encoder, file.pairs, progress=progress)
    else:
        assert folders is not None
        if not folders.is_dir():
            raise InputError(f"{folders}: no such folder")
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
