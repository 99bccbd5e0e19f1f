"""`glimpse entries ...`: entries of a collection by their owner's own ids, here or at a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Url,
    is_remote,
    read_filter,
    read_object,
)

if TYPE_CHECKING:
    from glimpse.catalogue import LocalCatalogue, SyncReport
    from glimpse.client import Client

entries = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Keep a collection in step with a catalogue: entries by the ids that they have there.",
)

ExternalId = Annotated[str, typer.Argument(metavar="ID", help="Your own id of the entry.")]
Metadata = Annotated[
    str | None, typer.Option(metavar="JSON", help="A JSON object; @FILE reads it from a file.", show_default=False)
]
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", help="Instead of ids: all that passes it; @FILE reads it from a file."),
]
All = Annotated[bool, typer.Option("--all", help="Say so where a --filter without a condition is meant.")]
AddTags = Annotated[
    list[str] | None, typer.Option("--add-tag", metavar="TAG", help="Give them this tag; may be given again.")
]
RemoveTags = Annotated[
    list[str] | None, typer.Option("--remove-tag", metavar="TAG", help="Take this tag away; may be given again.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@entries.command(epilog="Example: glimpse entries sync catalogue.csv --collection shop --delete-others")
def sync(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or a JSON array, a row an entry.")],
    collection: Collection = "images",
    id_key: Annotated[str, typer.Option(help="Column that holds your ids.")] = "external_id",
    delete_others: Annotated[
        bool, typer.Option("--delete-others", help="Delete entries of other ids than these, after asking.")
    ] = False,
    yes: Yes = False,
    data: Data = DATA,
    store: Store = None,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Bring a collection in step with a catalogue: put each row, encoding only what is new.

    A row has its id, and one of image (a file, relative names starting at the table's folder), image_url (fetched by
    the service, so with --url alone) and text. tags are split at commas, metadata is a JSON object, and any other
    column becomes metadata. What is so already is not sent. May be interrupted at any moment and run again.
    """
    from glimpse import console
    from glimpse.catalogue import carry_out, plan_sync, read_catalogue

    found, left_out = read_catalogue(file, id_key=id_key)
    if not found:
        console.print_left_out(left_out)
        raise InputError(f"{file}: has no row that can be used")
    if delete_others and left_out.found:
        console.print_left_out(left_out)
        raise InputError(f"{file}: rows were left out, so --delete-others could delete what they name: correct them")
    with _target(
        context, collection, data, url, model=model, device=device, precision=precision, create=True
    ) as target:
        with console.working("looking what is there"):
            plan = plan_sync(target, collection, found)
        if delete_others and plan.others and not yes:
            console.confirm_deletion(f"{len(plan.others)} entries of {collection} that are not in {file}")
        with console.progress_bar("syncing") as progress:
            report = carry_out(target, collection, plan, delete_others=delete_others, progress=progress)
    report.left_out = left_out
    _print_report(report, collection, json)
    if report.failed:
        raise typer.Exit(1)


@entries.command(epilog="Example: glimpse entries put sku-4711 --image shoe.jpg --metadata '{\"price\": 49.9}' -c shop")
def put(
    context: typer.Context,
    external_id: ExternalId,
    collection: Collection = "images",
    image: Annotated[Path | None, typer.Option(help="An image file.")] = None,
    image_url: Annotated[str | None, typer.Option(help="The address of one, fetched by the service.")] = None,
    text: Annotated[str | None, typer.Option(help="Or a text.")] = None,
    metadata: Metadata = None,
    data: Data = DATA,
    store: Store = None,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Make one entry, or replace it: its image or text, and all of its metadata."""
    from dataclasses import asdict

    from glimpse import console
    from glimpse.client import NewEntry

    if sum(given is not None for given in (image, image_url, text)) != 1:
        raise InputError("give exactly one of --image FILE, --image-url URL and --text TEXT")
    entry = NewEntry(external_id, image, image_url, text, _metadata(metadata) or {})
    with _target(context, collection, data, url, model=model, device=device, precision=precision) as target:
        [done] = target.put_entries(collection, [entry])
    if done.error is not None:
        raise InputError(f"{external_id}: {done.error['message']}")
    if json:
        console.print_json({name: value for name, value in asdict(done).items() if name != "error"})
        return
    if done.cut_off:
        console.print_cut_off([(str(image or image_url), done.cut_off)])
    console.out.print(f"{external_id}: {done.status}, entry {done.id} of {collection}")


@entries.command(epilog="Example: glimpse entries get sku-4711 --collection shop --json")
def get(
    context: typer.Context,
    external_id: ExternalId,
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Show one entry."""
    from dataclasses import asdict

    from glimpse import console
    from glimpse.finding.entry import print_entry

    with _reader(context, collection, data, url) as target:
        record = asdict(target.entry(collection, external_id))
    if json:
        console.print_json(record)
        return
    print_entry(record)


@entries.command(epilog="Example: glimpse entries patch sku-4711 sku-4712 --add-tag summer --remove-tag new -c shop")
def patch(
    context: typer.Context,
    external_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Your own ids.")] = None,
    metadata: Metadata = None,
    add_tags: AddTags = None,
    remove_tags: RemoveTags = None,
    filter: Filter = None,  # noqa: A002
    all: All = False,  # noqa: A002
    dry_run: DryRun = False,
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Change the metadata of entries: null takes a key away, objects merge, all else replaces; tags come and go.

    Tags are the list `tags` of the metadata. Entries without an id of your own are meant by --filter, as in
    '{"must": [{"has_id": [12, 57]}]}'. --json names those that were changed (changed_ids).
    """
    from dataclasses import asdict

    from glimpse import console

    change = _metadata(metadata)
    if change is None and not add_tags and not remove_tags:
        raise InputError("give what is to change, as in --metadata '{\"sale\": true}' or --add-tag summer")
    chosen = _chosen(external_ids, filter, all)
    with _target(context, collection, data, url, encode=False) as target:
        done = target.patch_entries(
            collection,
            **chosen,
            metadata=change,
            add_tags=add_tags or (),
            remove_tags=remove_tags or (),
            list_changed=json,
            dry_run=dry_run,
        )
    if json:
        console.print_json(asdict(done))
    elif dry_run:
        console.out.print(f"{collection}: {done.matched} entries would be looked at")
    else:
        for one in done.first_refused:
            console.err.print(f"left as it is: {one['external_id'] or one['id']}: {one['error']['message']}")
        left = f", {done.refused} left as they are" if done.refused else ""
        console.out.print(f"{collection}: {done.changed} of {done.matched} entries changed{left}")
    _check_found(external_ids, done.matched)


@entries.command(epilog="Example: glimpse entries delete sku-4711 sku-4712 --collection shop")
def delete(
    context: typer.Context,
    external_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Your own ids.")] = None,
    filter: Filter = None,  # noqa: A002
    all: All = False,  # noqa: A002
    dry_run: DryRun = False,
    yes: Yes = False,
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Delete entries by their ids, or all that pass a filter, after asking; their files go with them if uploaded."""
    from dataclasses import asdict

    from glimpse import console

    chosen = _chosen(external_ids, filter, all)
    with _target(context, collection, data, url, encode=False) as target:
        if not (dry_run or yes or external_ids):
            console.confirm_deletion(f"{target.delete_entries(collection, **chosen, dry_run=True).matched} entries")
        done = target.delete_entries(collection, **chosen, dry_run=dry_run)
    if json:
        console.print_json(asdict(done))
    elif dry_run:
        console.out.print(f"{collection}: {done.matched} entries would be deleted")
    else:
        console.out.print(f"{collection}: {done.deleted} entries deleted")
    _check_found(external_ids, done.matched)


@contextmanager
def _target(
    context: typer.Context,
    collection: str,
    data: Path,
    url: str | None,
    *,
    encode: bool = True,
    create: bool = False,
    model: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Iterator[Client | LocalCatalogue]:
    """Where entries are written: a service, or a collection of this machine, perhaps with its model."""
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            if create:
                client.create_collection(collection)
            yield client
        return
    from encoder.lazy import open_encoder
    from glimpse.catalogue import LocalCatalogue
    from index.collection import collection_names, open_collection
    from index.ingest.sync import open_or_create

    if create and collection not in collection_names(data):
        if model is None:
            raise InputError(
                f"collection {collection} is new: give the model that shall embed it, as --model runs/pets"
            )
        open_or_create(data, collection, open_encoder(model, device, precision)).close()
    with open_collection(data, collection, writable=True) as opened:
        encoder = open_encoder(model or opened.model, device, precision) if encode else None
        yield LocalCatalogue(data, opened, encoder)


@contextmanager
def _reader(context: typer.Context, collection: str, data: Path, url: str | None) -> Iterator[Client | LocalCatalogue]:
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            yield client
        return
    from glimpse.catalogue import LocalCatalogue
    from index.collection import open_collection

    with open_collection(data, collection) as opened:
        yield LocalCatalogue(data, opened)


def _metadata(given: str | None) -> dict[str, Any] | None:
    return read_object(given, "--metadata", '{"price": 49.9}')


def _chosen(external_ids: list[str] | None, given: str | None, every: bool) -> dict[str, Any]:
    """What is meant, by ids or by a filter."""
    if bool(external_ids) == (given is not None):
        raise InputError("give either ids, or --filter JSON")
    if external_ids and every:
        raise InputError("--all is for a --filter without a condition: leave it out")
    if external_ids:
        return {"external_ids": external_ids}
    return {"filter": read_filter(given), "all": every}


def _check_found(external_ids: list[str] | None, matched: int) -> None:
    """End with 1 where ids were given that are not there."""
    from glimpse import console

    if external_ids and matched < len(set(external_ids)):
        console.err.print(f"{len(set(external_ids)) - matched} of the ids are not there")
        raise typer.Exit(1)


def _why(failed: dict[str, Any]) -> str:
    """Why an entry could not be put; of an image that is wrong also which one its row names."""
    message, image = failed["error"]["message"], failed["image"]
    return f"{image}: {message}" if image and failed["error"]["code"] == "invalid_image" else str(message)


def _print_report(report: SyncReport, collection: str, json: bool) -> None:
    from glimpse import console

    console.print_left_out(report.left_out)
    counts = {name: getattr(report, name) for name in ("created", "replaced", "unchanged", "deleted")}
    if json:
        left_out = report.left_out.as_json()
        console.print_json({"collection": collection, **counts, "failed": report.failed, "left_out": left_out})
        return
    console.print_skipped([(one["external_id"], _why(one)) for one in report.failed])
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.out.print(f"{collection}: {said}, {len(report.failed)} failed")
