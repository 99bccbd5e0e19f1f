"""`glimpse show`: one entry of a collection of this machine or of a service."""

from __future__ import annotations

from typing import Annotated

import typer

from glimpse.options import DATA, AsJson, Collection, Data, Store, Url, is_remote


def show(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="ID|PATH", help="Its id, your own id of it, or the path of its file.")],
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Show one entry: its file, its ids, and its metadata. With --url a path is one of the service's machine."""
    from glimpse import console
    from glimpse.finding.entry import entry_as_json, entry_here, entry_there, print_entry

    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            entry = entry_as_json(entry_there(client, collection, what))
    else:
        from index.collection import open_collection

        with open_collection(data, collection) as source:
            entry = entry_as_json(entry_here(source, what))
    if json:
        console.print_json(entry)
    else:
        print_entry(entry)
