"""The command that fills a collection from folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encoder.errors import InputError
from glimpse.options import DATA, AsJson, Collection, Data, Device, ModelOfCollection, Precision


def index(
    folders: Annotated[list[Path], typer.Argument(help="Folders of images; subfolders are included.")],
    collection: Collection = "images",
    data: Data = DATA,
    model: ModelOfCollection = None,
    captions: Annotated[
        Path | None, typer.Option(help="CSV whose other columns become metadata of the images it names.")
    ] = None,
    image_key: Annotated[str, typer.Option(help="Column of --captions that holds the image's path.")] = "image",
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Remove the entries of a folder in which no image is left.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Bring a collection in step with folders of images: only what is new or changed is encoded.

    May be interrupted at any moment; the next run goes on. Files that cannot be read are listed and left out.
    """
    from encoder.load import load_encoder
    from glimpse import console
    from index.build import index_folders, open_or_create
    from index.captions import read_captions

    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    metadata = read_captions(captions, image_key=image_key) if captions else None
    encoder = load_encoder(model or _model_of(data, collection), device, precision)
    with open_or_create(data, collection, encoder) as target, console.progress_bar("indexing") as progress:
        report = index_folders(target, encoder, folders, captions=metadata, allow_empty=allow_empty, progress=progress)
        total = target.count("image")
    if metadata and not report.captioned:
        console.err.print(f"{captions}: none of its {len(metadata)} images is in these folders; no captions attached")
    if json:
        console.print_json(
            {
                "collection": collection,
                "added": report.added,
                "updated": report.updated,
                "moved": report.moved,
                "removed": report.removed,
                "unchanged": report.unchanged,
                "skipped": report.skipped,
                "seconds": report.seconds,
                "images_per_second": round(report.images_per_second, 1),
            }
        )
        return
    console.print_skipped([(file["path"], file["reason"]) for file in report.skipped])
    console.out.print(
        f"{collection}: {total} images ({report.added} added, {report.updated} updated, {report.moved} moved, "
        f"{report.removed} removed, {report.unchanged} unchanged, {len(report.skipped)} skipped) "
        f"in {report.seconds:.1f} s, {report.images_per_second:.0f} images/s"
    )


def _model_of(data: Path, collection: str) -> str:
    """The model that built a collection; there must be one."""
    from encoder.errors import CollectionNotFound
    from index.collection import open_collection

    try:
        with open_collection(data, collection) as source:
            return source.model
    except CollectionNotFound:
        raise InputError(
            f"collection {collection} is new: give the model that shall embed it, as in --model "
            "ViT-B-32/laion2b_s34b_b79k or --model runs/pets"
        ) from None
