"""`glimpse train`: fine-tunes a model on the user's pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from base.errors import InputError
from glimpse.options import AsJson, Device, Precision


def train(
    context: typer.Context,
    pairs: Annotated[
        Path | None,
        typer.Argument(
            help="CSV, TSV or JSONL of image-text pairs; a folder of images with a .txt beside each, of class "
            "folders (--folders), or of images alone (--loss nt-xent); WebDataset shards as 'shards/{000..009}.tar'."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Run folder to write; --model and load_encoder take it.")] = Path(
        "runs/new"
    ),
    model: Annotated[str | None, typer.Option(help="Fine-tune this model.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from random weights: an open_clip architecture or a JSON config.")
    ] = None,
    images_root: Annotated[Path | None, typer.Option(help="Where relative image paths start.")] = None,
    image_key: Annotated[str, typer.Option(help="Column of the image's path.")] = "image",
    caption_key: Annotated[str, typer.Option(help="Column of the text; several with commas between.")] = "title",
    label_key: Annotated[
        str | None,
        typer.Option(help="Column of a label; rows with the same one are not pushed apart."),
    ] = None,
    negative_key: Annotated[
        str | None,
        typer.Option(help="Column of hard negatives, as glimpse mine writes them."),
    ] = None,
    folders: Annotated[bool, typer.Option("--folders", help="PAIRS is a folder with a folder a class.")] = False,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", help="With --folders: caption with {} for the label."),
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Part that is held out to measure on.")] = 0.1,
    probe: Annotated[
        Path | None,
        typer.Option(help="A second set that must not be forgotten: pairs, class folders, or a folder of images."),
    ] = None,
    lock_image: Annotated[bool, typer.Option("--lock-image", help="Keep the image tower as it is.")] = False,
    lock_text: Annotated[bool, typer.Option("--lock-text", help="Keep the text tower as it is.")] = False,
    unlocked_groups: Annotated[int, typer.Option(help="Last layers of a locked tower that learn.")] = 0,
    lora: Annotated[int | None, typer.Option(help="Learn adapters of this rank instead of the weights.")] = None,
    interpolate: Annotated[
        bool,
        typer.Option(help="At the end try weights between start and best (WiSE-FT)."),
    ] = True,
    loss: Annotated[
        str,
        typer.Option(help="info-nce, image-to-text, text-to-image, siglip, contrastive, triplet or nt-xent."),
    ] = "info-nce",
    temperature: Annotated[float | None, typer.Option(help="Fix it.", show_default="learned")] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Distance of contrastive and triplet.", show_default="contrastive 1, triplet 0.2"),
    ] = None,
    mining: Annotated[str, typer.Option(help="Of triplet: semi-hard or batch-hard.")] = "semi-hard",
    hardness: Annotated[float, typer.Option(help="Near negatives count exp(hardness * cosine) times.")] = 0.0,
    multi_positive: Annotated[
        bool,
        typer.Option(help="Rows with the same caption, image or label are not pushed apart."),
    ] = True,
    epochs: Annotated[int, typer.Option(help="Passes over the pairs.")] = 10,
    batch_size: Annotated[
        int,
        typer.Option(help="Pairs a step, of all processes; each is the others' negative."),
    ] = 128,
    chunk_size: Annotated[
        int | None,
        typer.Option(help="Pairs at a time through the model; the gradient stays that of the batch."),
    ] = None,
    grad_checkpointing: Annotated[bool, typer.Option("--grad-checkpointing", help="Less memory, more time.")] = False,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Under torchrun, spread the model over the processes (FSDP2).")
    ] = False,
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate.", show_default="1e-5 with --model, 5e-4 with --init"),
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="AdamW's decay of weight matrices.")] = 0.2,
    warmup: Annotated[float, typer.Option(help="Part of all steps in which the learning rate rises.")] = 0.1,
    layer_decay: Annotated[float, typer.Option(help="Each layer learns so much slower than the one above.")] = 1.0,
    grad_clip: Annotated[float, typer.Option(help="Largest norm of a gradient.")] = 1.0,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better one.")] = None,
    min_crop: Annotated[
        float | None,
        typer.Option(
            help="Smallest part of an image that a random crop keeps.",
            show_default="0.9, for nt-xent 0.2",
        ),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror every second image (nt-xent: always on).")] = False,
    color_jitter: Annotated[
        float | None,
        typer.Option(help="Strength of random colours, 0 to 1.", show_default="0, for nt-xent 0.4"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write OUT/tensorboard; OUT/log.jsonl is always written.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where and how it was left.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Fine-tune a model on your images and texts, or train one from random weights.

    Measures on a held-out part before the first step and after each epoch; keeps the best and the last epoch, and
    writes OUT/report.html. Ctrl-C saves: --resume goes on. On several GPUs: torchrun --nproc-per-node 4 -m training ...
    """
    from glimpse.training_view import run_training
    from training.config import TrainConfig

    if resume:
        given = [
            name
            for name in context.params
            if name not in ("out", "json", "resume")
            and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        ]
        if given:
            flag = "PAIRS" if given[0] == "pairs" else f"--{given[0].replace('_', '-')}"
            raise InputError(
                f"--resume goes on with the settings of the run in --out, without {flag}; to train it further, start a "
                f"new run with --model {out}"
            )
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
            label_key=label_key,
            negative_key=negative_key,
            folders=folders,
            templates=tuple(template or ()),
            val_fraction=val_fraction,
            probe=str(probe.absolute()) if probe else None,
            model=_absolute(model),
            init=_absolute(init),
            lock_image=lock_image,
            lock_text=lock_text,
            unlocked_groups=unlocked_groups,
            lora=lora,
            interpolate=interpolate,
            loss=loss,
            temperature=temperature,
            margin=margin,
            mining=mining,
            hardness=hardness,
            multi_positive=multi_positive,
            epochs=epochs,
            batch_size=batch_size,
            chunk_size=chunk_size,
            grad_checkpointing=grad_checkpointing,
            fsdp=fsdp,
            lr=lr,
            weight_decay=weight_decay,
            warmup=warmup,
            layer_decay=layer_decay,
            grad_clip=grad_clip,
            patience=patience,
            min_crop=min_crop,
            flip=flip,
            color_jitter=color_jitter,
            tensorboard=tensorboard,
            seed=seed,
            device=device,
            precision=precision,
        )
    run_training(config, resume=resume, as_json=json)


def _absolute(reference: str | None) -> str | None:
    """A path that exists here as one that is right from any other folder; other references as they are."""
    return str(Path(reference).absolute()) if reference and Path(reference).exists() else reference
