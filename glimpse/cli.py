"""The commands: each parses its options, makes one call, and prints. What is heavy is imported inside a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encoder.errors import InputError
from glimpse import __version__, training_commands
from glimpse.mine_command import mine
from glimpse.options import DATA, AsJson, Collection, Data, Device, Model, ModelOfCollection, Precision, Template

app = typer.Typer(
    name="glimpse",
    help="Find, label and learn images by words: train, index, search, classify, label and serve a CLIP-style model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"glimpse {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: glimpse index ~/Pictures --collection photos --model ViT-B-32/laion2b_s34b_b79k")
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


@app.command(epilog='Example: glimpse search "red shirt" --collection photos -k 5')
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[Path | None, typer.Option(help="Look for images like this file; with TEXT: for both.")] = None,
    collection: Collection = "images",
    data: Data = DATA,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Search a collection by words, by an example image, or by both together."""
    import time

    from glimpse import console
    from index.collection import open_collection

    if text is None and image is None:
        raise InputError('give a text, as in glimpse search "red shirt", or --image FILE')
    with open_collection(data, collection) as source:
        from encoder.load import load_encoder

        encoder = load_encoder(model or source.model, device, precision)
        source.check_model(encoder.fingerprint)
        started = time.perf_counter()
        query = encoder.encode_query(text=text, image=image)
        hits = source.search(query, k)
        seconds = round(time.perf_counter() - started, 4)
    if json:
        console.print_json(
            {
                "hits": [
                    {
                        "id": hit.id,
                        "path": hit.record.path,
                        "score": round(hit.score, 6),
                        "metadata": hit.record.metadata,
                    }
                    for hit in hits
                ],
                "seconds": seconds,
            }
        )
        return
    console.out.print(console.table("score", "path", rows=[(hit.score, str(hit.record.path)) for hit in hits]))


@app.command(epilog='Example: glimpse label photos --labels "dress,hat,t-shirt" --model runs/clothes --out labels.csv')
def label(
    folder: Annotated[Path, typer.Argument(help="Folder of images; subfolders are included.")],
    model: Model,
    labels: Annotated[str | None, typer.Option(help='What to choose from: "cat,dog,bird".')] = None,
    labels_file: Annotated[Path | None, typer.Option(help="The same from a file, one label a line.")] = None,
    template: Template = None,
    out: Annotated[Path, typer.Option(help="CSV to write: path,label,score. - is standard output.")] = Path("-"),
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Label each image of a folder with the likeliest of your labels (zero-shot; no training needed)."""
    import sys

    from encoder.prompts import check_labels, check_templates, read_labels

    if (labels is None) == (labels_file is None):
        raise InputError('give either --labels "cat,dog" or --labels-file FILE')
    to_stdout = str(out) == "-"
    if json and to_stdout:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    names = read_labels(labels_file) if labels_file else check_labels((labels or "").split(","))
    templates = check_templates(template or ())
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")

    from contextlib import nullcontext

    from encoder.folder import walk_images
    from encoder.label import label_folder
    from encoder.load import load_encoder
    from encoder.zero_shot import build_classifier
    from glimpse import console

    total = sum(1 for _ in walk_images(folder))
    encoder = load_encoder(model, device, precision)
    classifier = build_classifier(encoder, names, templates)
    try:
        target = (
            nullcontext(sys.stdout)
            if to_stdout
            else out.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        )
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    with target as file, console.progress_bar("labelling") as bar:
        report = label_folder(encoder, classifier, folder, file, progress=lambda done: bar(done, total))
    if json:
        console.print_json(
            {
                "out": str(out),
                "labelled": report.labelled,
                "labels": report.per_label,
                "skipped": [{"path": path, "reason": reason} for path, reason in report.skipped],
            }
        )
        return
    console.print_skipped(report.skipped)
    console.err.print(f"{report.labelled} images labelled, {len(report.skipped)} skipped")
    if not to_stdout:
        rows = sorted(report.per_label.items(), key=lambda item: -item[1])
        console.out.print(console.table("label", "images", rows=rows))


app.command(epilog="Example: glimpse eval --model runs/pets --folders pets-by-breed")(training_commands.eval)
app.command(epilog="Example: glimpse train pairs.csv --model ViT-B-32/laion2b_s34b_b79k --out runs/shop --epochs 5")(
    training_commands.train
)
app.command(epilog="Example: glimpse mine pairs.csv --collection shop --out mined.jsonl")(mine)


@app.command(epilog="Example: glimpse serve --model runs/pets --data glimpse-data --port 8000")
def serve(
    model: Model,
    data: Data = DATA,
    host: Annotated[str, typer.Option(envvar="GLIMPSE_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="GLIMPSE_PORT", help="Port to listen on.")] = 8000,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Serve the REST API and the search page. Other settings: environment variables GLIMPSE_*, see docs/api.md."""
    import socket

    from pydantic import ValidationError

    from service.app import serve as run
    from service.settings import Settings

    if data.exists() and not data.is_dir():
        raise InputError(f"{data}: not a folder")
    try:
        settings = Settings(model=model, data=data, host=host, port=port, device=device, precision=precision)
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass  # so that an address in use is said before the model is loaded
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}: {first['msg']} (--{first['loc'][0]} or GLIMPSE_*)") from error
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot be listened on ({error.strerror}); choose another --port") from error
    run(settings)


@app.command(epilog="Example: glimpse demo")
def demo(
    data: Annotated[Path, typer.Option(help="Folder for the demo's pictures, model and collection.")] = Path(
        "glimpse-demo"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after the summary.")] = False,
) -> None:
    """See it all work offline in about two minutes: draw a small world, train on it, index, label, search, serve."""
    from glimpse.demo import run_demo

    run_demo(data, host=host, port=port, serve=not no_serve)


@app.command(epilog="Example: glimpse models ViT-B-32")
def models(
    contains: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
    json: AsJson = False,
) -> None:
    """List the published open_clip models that --model takes. hf-hub:ORG/NAME and run folders work as well."""
    from encoder.load import published_models
    from glimpse import console

    names = [name for name in published_models() if contains.lower() in name.lower()]
    if json:
        console.print_json({"models": names})
    else:
        print("\n".join(names))


@app.command(epilog="Example: glimpse collections --data glimpse-data")
def collections(data: Data = DATA, json: AsJson = False) -> None:
    """List the collections of a data folder."""
    from dataclasses import asdict

    from glimpse import console
    from index.collection import list_collections

    infos = list_collections(data)
    if json:
        console.print_json({"collections": [asdict(info) for info in infos]})
        return
    rows = [
        (info.name, info.counts.get("image", 0), f"{info.bytes / 2**20:.1f} MiB", info.problem or info.model)
        for info in infos
    ]
    console.out.print(console.table("collection", "images", "size", "model", rows=rows) if rows else f"none in {data}")


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
