"""`glimpse index`: folders of images into a collection, once or as they change, here or at a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse.options import (
    DATA,
    AnyName,
    AsJson,
    Collection,
    Data,
    Device,
    Exclude,
    FollowLinks,
    ModelOfCollection,
    Precision,
    Store,
    Threads,
    Url,
    is_remote,
    refuse,
)

if TYPE_CHECKING:
    from base.sources.rules import Rules
    from encoder.encoder import Encoder
    from index.ingest.captions import Captions
    from index.ingest.report import IndexReport
    from index.ingest.sync import SyncOptions


def index(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(help="Folders of images; subfolders are included.")],
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    model: ModelOfCollection = None,
    captions: Annotated[
        Path | None, typer.Option(help="Table whose other columns become metadata of the images it names.")
    ] = None,
    image_key: Annotated[str, typer.Option(help="Column of --captions that holds the image's path.")] = "image",
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Remove the entries of a folder in which no image is left.")
    ] = False,
    check_contents: Annotated[
        bool, typer.Option("--check-contents", help="Read every file: finds what changed with its time and size kept.")
    ] = False,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Then follow the folders, a line for each batch of changes, until Ctrl-C.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Bring a collection in step with folders of images: only what is new or changed is encoded.

    May be interrupted at any moment; the next run goes on. Files that cannot be read are listed and left out. With
    --watch and --json each batch is one JSON object on a line of its own. With --url the images are sent to a service,
    which keeps copies; what it has of the same bytes stays, and nothing is removed there.
    """
    from base.sources.rules import Rules
    from base.sources.walk import check_folder
    from glimpse import console
    from index.ingest.captions import Captions, read_captions

    for folder in folders:
        check_folder(folder)
    metadata = read_captions(captions, image_key=image_key, folders=folders) if captions else Captions()
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    if captions is None:
        refuse(context, ["image_key"], "is a column of --captions, which is not given")
    if watch and follow_links:
        raise InputError("--watch does not see what happens behind links: name the folders that they lead to instead")
    if url is not None and is_remote(context, "allow_empty", "check_contents", "watch"):
        _upload(url, collection, folders, rules, metadata, json)
        return
    from encoder.lazy import open_encoder
    from encoder.processor import runs_exported_images
    from index.ingest.scan import check_any_image
    from index.ingest.sync import SyncOptions, index_folders, open_or_create

    if not (watch or allow_empty):
        check_any_image(data, collection, folders, rules)
    encoder = open_encoder(model or _model_of(data, collection), device, precision)
    exported = runs_exported_images(device, precision)
    options = SyncOptions(metadata, allow_empty, rules=rules, check_contents=check_contents)
    if watch:
        _watch(data, collection, encoder, folders, options, json)
        return
    with open_or_create(data, collection, encoder) as target, console.progress_bar("indexing") as progress:
        report = index_folders(target, encoder, folders, options, progress=progress)
        total = target.count("image")
        with console.working("building the index"):
            target.close()
    if json:
        console.print_left_out(report.left_out)
        console.print_json({"collection": collection, **_as_json(report)})
        console.prepare_queries(encoder, images=exported)
        return
    _say_what_was_not_taken(report)
    rate = f", {report.images_per_second:.0f} images/s" if report.encoded else ""
    console.out.print(
        f"{collection}: {total} images ({report.added} added, {report.updated} updated, {report.moved} moved, "
        f"{report.removed} removed, {report.unchanged} unchanged, {len(report.skipped)} skipped) "
        f"in {report.seconds:.1f} s{rate}"
    )
    if report.skipped and not total:
        raise typer.Exit(1)
    console.prepare_queries(encoder, images=exported)


def _watch(
    data: Path, collection: str, encoder: Encoder, folders: list[Path], options: SyncOptions, json: bool
) -> None:
    """A line for each batch of changes, until Ctrl-C."""
    from glimpse import console
    from index.ingest.watch import Watching, watch_folders

    with console.progress_bar("indexing") as progress:
        watching = Watching(on_wait=console.err.print)
        reports = watch_folders(data, collection, encoder, folders, options, watching, progress=progress)
        first = next(reports)
    try:
        _print_batch(first, json)
        for report in reports:
            _print_batch(report, json)
    except KeyboardInterrupt:  # this is how a watch ends
        return


def _upload(url: str, collection: str, folders: list[Path], rules: Rules, metadata: Captions, json: bool) -> None:
    from base.sources.walk import image_names, no_images
    from glimpse import console
    from glimpse.client import Client
    from glimpse.upload import upload_folders

    if not any(next(image_names(folder, rules), None) for folder in folders):
        raise InputError(no_images(folders, rules))
    with Client(url) as client, console.progress_bar("uploading") as progress:
        report = upload_folders(client, collection, folders, rules, metadata, progress)
        total = client.collection(collection).counts.get("image", 0)
    if json:
        console.print_left_out(report.left_out)
        counts = {name: getattr(report, name) for name in ("added", "unchanged", "skipped", "cut_off", "seconds")}
        console.print_json(
            {
                "collection": collection,
                **counts,
                "left_out": report.left_out.as_json(),
                "others": dict(report.others.most_common()),
                "images_per_second": round(report.images_per_second, 1),
            }
        )
        return
    console.print_not_taken(report.skipped, report.left_out, report.cut_off, report.others)
    console.out.print(
        f"{collection}: {total} images ({report.added} added, {report.unchanged} unchanged, "
        f"{len(report.skipped)} skipped) in {report.seconds:.1f} s, {report.images_per_second:.0f} images/s"
    )


def _say_what_was_not_taken(report: IndexReport) -> None:
    from glimpse import console

    console.print_not_taken(report.skipped, report.left_out, report.cut_off, report.others)
    for folder in report.no_image:
        console.err.print(f"no image in {folder}")
    for kept in report.kept:
        console.err.print(str(kept))
    if report.returned:
        console.err.print(f"{report.returned} were here before: what was kept of them is theirs again")
    if report.left_out_entries:
        console.err.print(f"{report.left_out_entries} of those removed are there, and left out now by their names")


def _print_batch(report: IndexReport, json: bool) -> None:
    """One line for what was just done, at once, also into a pipe."""
    from datetime import datetime
    from json import dumps

    now = datetime.now().astimezone()
    if json:
        print(dumps({"time": now.isoformat(timespec="seconds"), **_as_json(report)}), flush=True)
        return
    _say_what_was_not_taken(report)
    counts = {name: getattr(report, name) for name in ("added", "updated", "moved", "removed")}
    counts["skipped"] = len(report.skipped)
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    print(f"{now:%H:%M:%S} {said or f'nothing new, {report.unchanged} unchanged'}", flush=True)


def _as_json(report: IndexReport) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "added": report.added,
        "updated": report.updated,
        "moved": report.moved,
        "removed": report.removed,
        "unchanged": report.unchanged,
        "returned": report.returned,
        "skipped": report.skipped,
        "cut_off": report.cut_off,
        "left_out": report.left_out.as_json(),
        "others": dict(report.others.most_common()),
        "left_out_entries": report.left_out_entries,
        "kept": [asdict(kept) for kept in report.kept],
        "no_image": report.no_image,
        "seconds": report.seconds,
        "images_per_second": round(report.images_per_second, 1),
    }


def _model_of(data: Path, collection: str) -> str:
    """The model that built a collection; there must be one."""
    from base.errors import CollectionNotFound
    from index.collection import open_collection

    try:
        with open_collection(data, collection) as source:
            return source.model
    except CollectionNotFound:
        raise InputError(
            f"collection {collection} is new: give the model that shall embed it, as in --model "
            "ViT-B-32/laion2b_s34b_b79k or --model runs/pets"
        ) from None
