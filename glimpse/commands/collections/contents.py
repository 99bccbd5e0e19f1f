"""`glimpse collections` facets, changes and move: what is in a collection, what becomes of it, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from base.errors import InputError
from glimpse.commands.collections.collections import Name, collections
from glimpse.options import DATA, AsJson, Data, Store, Url, is_remote, read_filter, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glimpse.client import ChangePage, FacetKey, FacetValue
    from index.entry import ChangePage as IndexPage
    from index.entry import FacetKey as IndexKey
    from index.entry import FacetValue as IndexValue

Kind = Literal["image", "text"]
Modality = Annotated[Kind, typer.Option(help="Of which entries.")]


@collections.command(epilog="Example: glimpse collections facets shop --key colour --key brand --filter @cheap.json")
def facets(
    context: typer.Context,
    name: Name,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Count the values of this metadata key; repeatable. Default: name the keys."),
    ] = None,
    filter: Annotated[  # noqa: A002
        str | None, typer.Option(metavar="JSON", help="Only entries that pass; @FILE reads it from a file.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many values of a key.")] = 10,
    modality: Modality = "image",
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Say which metadata keys a collection has, or how many entries have which values of some."""
    from dataclasses import asdict

    from glimpse import console

    wanted = read_filter(filter)
    if wanted is not None and not key:
        raise InputError("--filter goes with --key: give the keys whose values are to be counted")
    remote = url if url is not None and is_remote(context) else None
    if not key:
        refuse(context, ["k"], "is how many values of a --key, and none is given")
        found = _keys(remote, data, name, modality)
        if json:
            console.print_json({"keys": [asdict(each) for each in found]})
            return
        range_of = {each.key: "" if each.min is None else f"{each.min:g} to {each.max:g}" for each in found}
        rows: list[tuple[Any, ...]] = [(each.key, each.entries, each.values, range_of[each.key]) for each in found]
        columns = ("key", "entries", "values", "numbers")
        console.out.print(console.table(*columns, rows=rows) if rows else f"no {modality} of {name} has metadata")
        return
    counted = _values(remote, data, name, list(dict.fromkeys(key)), wanted, k, modality)
    if json:
        shown = [{"key": each, "hits": [asdict(value) for value in values]} for each, values in counted.items()]
        console.print_json({"facets": shown})
        return
    rows_of_values = [(each, _as_text(one.value), one.count) for each, values in counted.items() for one in values]
    none = f"no {modality} of {name} has such a value"
    console.out.print(console.table("key", "value", "entries", rows=rows_of_values) if rows_of_values else none)


@collections.command(epilog="Example: glimpse collections move shop --to milvus://localhost:19530/default")
def move(
    name: Name,
    to: Annotated[
        str, typer.Option("--to", metavar="ADDRESS", help="Where it is to lie: local, or milvus://HOST:19530/DATABASE.")
    ],
    data: Data = DATA,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Move a collection to another store: ids, vectors, all that is said. It is compared, then deleted here.

    May be interrupted at any moment; the same command goes on. Uploaded files stay in the data folder.
    """
    from dataclasses import asdict

    from glimpse import console
    from index.collection import LOCAL
    from index.moving import move as run

    with console.progress_bar(f"moving {name}") as progress:
        moved = run(data, name, store or LOCAL, to, progress=progress)
    if json:
        console.print_json({"collection": name, **asdict(moved)})
    else:
        console.out.print(
            f"{name} moved: {moved.entries} entries, {moved.copied} copied now, {moved.compared} vectors compared"
        )
        console.err.print(f"it is found from now on with --store {to}, or GLIMPSE_STORE={to}")


@collections.command(epilog="Example: glimpse collections changes shop --after 5f0c1d2e3a4b5968-0-1c-0 --follow")
def changes(
    context: typer.Context,
    name: Name,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Where to go on, or now. Default: begin with every entry.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Print so many and end.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more; Ctrl-C ends it.")] = False,
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
) -> None:
    """Print what was created, updated and deleted, a JSON object a line, each with the cursor to go on from.

    Each entry stands once, at what happened to it last. At the end the cursor of all of it is on standard error. One
    that has been overtaken (the collection was made anew or restored, or more was deleted than is kept) is an error:
    then begin again without, and let go of what that does not name.
    """
    import sys

    from glimpse import console

    remote = url if url is not None and is_remote(context) else None
    left = limit
    for page in _pages(remote, data, name, after, follow):
        shown = page.changes if left is None else page.changes[:left]
        for change in shown:
            console.print_json(_as_json(change), indent=None)
        sys.stdout.flush()
        if left is not None:
            left -= len(shown)
            if not left:
                after = shown[-1].cursor
                break
        after = page.cursor
    console.err.print(f"cursor {after}")


def _keys(url: str | None, data: Path, name: str, modality: Kind) -> Sequence[FacetKey | IndexKey]:
    if url is not None:
        from glimpse.client import Client

        with Client(url) as client:
            return client.facet_keys(name, modality)
    from index.collection import open_collection

    with open_collection(data, name) as collection:
        return collection.facet_keys(modality)


def _values(
    url: str | None, data: Path, name: str, keys: list[str], wanted: dict[str, Any] | None, k: int, modality: Kind
) -> dict[str, Sequence[FacetValue | IndexValue]]:
    if url is not None:
        from glimpse.client import Client

        with Client(url) as client:
            return dict(client.facets(name, keys, filter=wanted, limit=k, modality=modality))
    from index.collection import open_collection

    with open_collection(data, name) as collection:
        return {key: collection.facet(key, k, wanted, modality) for key in keys}


def _pages(url: str | None, data: Path, name: str, after: str | None, follow: bool) -> Iterator[ChangePage | IndexPage]:
    """Pages of changes, to the last that there is, or without end."""
    import time

    if url is not None:
        from glimpse.client import Client
        from glimpse.client.changes import LONGEST

        with Client(url) as client:
            more = True
            while more or follow:
                page = client.changes(name, after, limit=PAGE, wait=0 if more or not follow else LONGEST)
                yield page
                after, more = page.cursor, page.has_more
        return
    from index.collection import open_collection

    with open_collection(data, name) as collection:
        more = True
        while more or follow:
            here = collection.changes_after(after, PAGE)
            yield here
            after, more = here.cursor, here.has_more
            if follow and not more:
                time.sleep(LOOK)


PAGE = 500  # changes read at a time
LOOK = 0.5  # seconds between two looks for one


def _as_json(change: Any) -> dict[str, Any]:
    """A change of this machine or of a service."""
    entry = change.entry if hasattr(change, "entry") else change.record
    return {
        "event": change.event,
        "id": change.id,
        "external_id": change.external_id,
        "modality": change.modality,
        "path": change.path,
        "text": entry and entry.text,
        "taken": entry and entry.taken,
        "metadata": entry and entry.metadata,
        "cursor": change.cursor,
    }


def _as_text(value: object) -> str:
    """A value as JSON has it, a text without quotes."""
    import json

    return value if isinstance(value, str) else json.dumps(value)
