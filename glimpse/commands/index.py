"""The commands that fill a collection from folders of images, change its model, and find what it holds twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse.options import DATA, AsJson, Collection, Data, Device, ModelOfCollection, Precision, Url, is_remote

if TYPE_CHECKING:
    from index.collection import Record
    from index.ingest.sync import IndexReport


def index(
    context: typer.Context,
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
    watch: Annotated[
        bool, typer.Option("--watch", help="Then follow the folders, a line for each batch of changes, until Ctrl-C.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Bring a collection in step with folders of images: only what is new or changed is encoded.

    May be interrupted at any moment; the next run goes on. Files that cannot be read are listed and left out. With
    --watch and --json each batch is one JSON object on a line of its own. With --url the images are sent to a service,
    which keeps copies; what it has of the same bytes stays, and nothing is removed there.
    """
    from glimpse import console
    from index.ingest.captions import read_captions

    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    metadata = read_captions(captions, image_key=image_key) if captions else None
    if url is not None and is_remote(context, "allow_empty", "watch"):
        _upload(url, collection, folders, captions, metadata or {}, json)
        return
    from encoder.load import load_encoder
    from index.ingest.sync import index_folders, open_or_create

    encoder = load_encoder(model or _model_of(data, collection), device, precision)
    if watch:
        from index.ingest.watch import watch_folders

        with console.progress_bar("indexing") as progress:
            reports = watch_folders(
                data,
                collection,
                encoder,
                folders,
                captions=metadata,
                allow_empty=allow_empty,
                progress=progress,
                on_wait=console.err.print,
            )
            first = next(reports)
        try:
            _print_batch(first, json)
            for report in reports:
                _print_batch(report, json)
        except KeyboardInterrupt:  # this is how a watch ends
            return
    with open_or_create(data, collection, encoder) as target, console.progress_bar("indexing") as progress:
        report = index_folders(target, encoder, folders, captions=metadata, allow_empty=allow_empty, progress=progress)
        total = target.count("image")
        with console.working("building the index"):
            target.close()
    if metadata and not report.captioned:
        _say_no_captions(captions, metadata)
    if json:
        console.print_json({"collection": collection, **_as_json(report)})
        return
    console.print_skipped([(file["path"], file["reason"]) for file in report.skipped])
    console.out.print(
        f"{collection}: {total} images ({report.added} added, {report.updated} updated, {report.moved} moved, "
        f"{report.removed} removed, {report.unchanged} unchanged, {len(report.skipped)} skipped) "
        f"in {report.seconds:.1f} s, {report.images_per_second:.0f} images/s"
    )


def reindex(
    collection: Collection = "images",
    data: Data = DATA,
    model: Annotated[
        str | None,
        typer.Option("--model", help="The new model. Default: that of a reindex which was interrupted."),
    ] = None,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Delete the entries whose file is gone or cannot be read.")
    ] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Forget an unfinished reindex; nothing else.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Give a collection another model: encode every entry anew, then swap all at once.

    Searches use the old model until the swap. May be interrupted at any moment; the same command goes on.
    """
    from dataclasses import asdict

    from glimpse import console
    from index.collection import open_collection

    if model is not None and abandon:
        raise InputError("give either --model or --abandon")
    with open_collection(data, collection, writable=True) as target:
        begun = target.next_info()
        if abandon:
            target.abandon_next()
            what = f"the change to {begun['model']} is forgotten" if begun else "no change of model had begun"
            console.err.print(f"{collection}: stays with {target.model}; {what}")
            return
        if model is None and begun:
            model = str(begun["model"])
        if model is None:
            raise InputError("give the new model, as in --model runs/pets")
        from encoder.load import load_encoder
        from index.ingest.reindex import reindex as run

        encoder = load_encoder(model, device, precision)
        same = target.fingerprint == encoder.fingerprint
        with console.progress_bar("encoding") as progress:
            report = run(target, encoder, drop_unreadable=drop_unreadable, progress=progress)
    if json:
        console.print_json({"collection": collection, "model": encoder.ref, "same_model": same, **asdict(report)})
    elif same:
        console.out.print(f"{collection}: is of this model already; nothing to do")
    else:
        console.print_skipped(
            [(str(entry["path"] or entry["id"]), str(entry["reason"])) for entry in report.unreadable]
        )
        console.out.print(
            f"{collection}: {report.encoded} entries encoded ({report.resumed} before, {report.changed} changed files, "
            f"{report.dropped} dropped) in {report.seconds:.1f} s"
        )
        if report.swapped:
            console.err.print(
                f"a running service must be started anew with --model {encoder.ref} to search it by words"
            )
    if not same and not report.swapped:
        console.err.print(
            f"glimpse: {collection} keeps its old model, for {len(report.unreadable)} entries cannot be read: bring "
            "their files back and run this again, or give --drop-unreadable to delete them"
        )
        raise typer.Exit(1)


def duplicates(
    collection: Collection = "images",
    data: Data = DATA,
    threshold: Annotated[float, typer.Option(help="Cosine from which two images are the same picture, 0 to 1.")] = 0.95,
    identical: Annotated[bool, typer.Option("--identical", help="Only files with the same bytes.")] = False,
    spare: Annotated[
        bool, typer.Option("--spare", help="Only print the paths that could go: all but the best of each group.")
    ] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="With --spare: end each path with NUL, for xargs -0.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Find images that a collection has more than once, the largest groups first. Nothing is deleted.

    A group is the image with the most pixels and those that are as near to it as --threshold. Scores are those of the
    collection's own model; look at some groups before you trust a threshold.
    """
    from glimpse import console
    from index.collection import open_collection
    from index.duplicates import identical_files, near_duplicates, spare_files

    if (null and not spare) or (spare and json):
        raise InputError("--null goes with --spare, and --spare with no --json")
    with open_collection(data, collection) as source, console.progress_bar("comparing") as progress:
        groups = identical_files(source) if identical else near_duplicates(source, threshold, progress=progress)
    if spare:
        for path in (path for group in groups for path in spare_files(group)):
            print(path, end="\0" if null else "\n")
        return
    if json:
        console.print_json(
            {
                "collection": collection,
                "groups": [
                    {
                        "best": _file(group.best),
                        "others": [
                            _file(other.record) | {"score": round(other.score, 6), "identical": other.identical}
                            for other in group.others
                        ],
                    }
                    for group in groups
                ],
            }
        )
        return
    for group in groups:
        console.out.print(f"{group.best.path}  ({group.best.width} x {group.best.height})")
        for other in group.others:
            kind = "identical" if other.identical else f"{other.score:.3f}"
            console.out.print(f"  {kind:9}  {other.record.path}  ({other.record.width} x {other.record.height})")
    extra = sum(len(group.others) for group in groups)
    console.err.print(f"{len(groups)} groups, {extra} images more than needed" if groups else "no duplicates")


def _upload(
    url: str, collection: str, folders: list[Path], captions: Path | None, metadata: dict[Path, Any], json: bool
) -> None:
    from glimpse import console
    from glimpse.client import Client
    from glimpse.upload import upload_folders

    with Client(url) as client, console.progress_bar("uploading") as progress:
        report = upload_folders(client, collection, folders, metadata, progress)
        total = client.collection(collection).counts.get("image", 0)
    if metadata and not report.captioned:
        _say_no_captions(captions, metadata)
    if json:
        counts = {name: getattr(report, name) for name in ("added", "unchanged", "skipped", "seconds")}
        console.print_json(
            {"collection": collection, **counts, "images_per_second": round(report.images_per_second, 1)}
        )
        return
    console.print_skipped([(file["path"], file["reason"]) for file in report.skipped])
    console.out.print(
        f"{collection}: {total} images ({report.added} added, {report.unchanged} unchanged, "
        f"{len(report.skipped)} skipped) in {report.seconds:.1f} s, {report.images_per_second:.0f} images/s"
    )


def _say_no_captions(captions: Path | None, metadata: dict[Path, Any]) -> None:
    from glimpse import console

    console.err.print(f"{captions}: none of its {len(metadata)} images is in these folders; no captions attached")


def _print_batch(report: IndexReport, json: bool) -> None:
    """One line for what was just done, at once, also into a pipe."""
    from datetime import datetime
    from json import dumps

    from glimpse import console

    now = datetime.now().astimezone()
    if json:
        print(dumps({"time": now.isoformat(timespec="seconds"), **_as_json(report)}), flush=True)
        return
    console.print_skipped([(file["path"], file["reason"]) for file in report.skipped])
    counts = {name: getattr(report, name) for name in ("added", "updated", "moved", "removed")}
    counts["skipped"] = len(report.skipped)
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    print(f"{now:%H:%M:%S} {said or f'nothing new, {report.unchanged} unchanged'}", flush=True)


def _as_json(report: IndexReport) -> dict[str, Any]:
    return {
        "added": report.added,
        "updated": report.updated,
        "moved": report.moved,
        "removed": report.removed,
        "unchanged": report.unchanged,
        "skipped": report.skipped,
        "seconds": report.seconds,
        "images_per_second": round(report.images_per_second, 1),
    }


def _file(record: Record) -> dict[str, Any]:
    return {"id": record.id, "path": record.path, "width": record.width, "height": record.height, "size": record.size}


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
