"""`glimpse collections` compact, title, rename, quota, prune and delete: what a collection is called, what bounds it or
takes away from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from base.errors import InputError
from base.names import check_still_called
from glimpse.commands.collections.collections import Name, collections, state_of
from glimpse.options import DATA, AsJson, Data, Store, Threads, Url, is_remote


@collections.command(epilog="Example: glimpse collections compact shop --recall 0.99")
def compact(
    name: Name,
    kind: Annotated[
        Literal["auto", "exact", "ivf-rabitq", "ivf-sq8", "ivf-pq", "hnsw-sq8"] | None,
        typer.Option(help="Of its index; kept for the next times."),
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Share of the true first ten to find, from 0.5 to 1; kept as well.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            metavar="DIR",
            help="Another disk, for the rows of a large index: a search reads few of them, so it may be slow. "
            "Kept as well; the data folder brings them back.",
        ),
    ] = None,
    data: Data = DATA,
    store: Store = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Build a collection's index now, and say what it finds; it is otherwise done in the background, when it pays.

    Uploaded files that no entry has, as a kill leaves them, are removed. Entries that say another place of their
    uploaded files than where these lie, as in a data folder that was moved, say the right one from then on.
    """
    from glimpse import console
    from index.collection import open_collection
    from index.config import IndexConfig
    from index.local.layout import uploads_folder
    from index.uploads import remove_leftovers, take_home

    with open_collection(data, name, writable=True) as collection:
        kept = collection.index_config
        with console.working("building the index"):
            collection.compact(IndexConfig(kind or kept.kind, kept.recall if recall is None else recall), rows)
        home = take_home(collection, uploads_folder(data, name))
        removed = remove_leftovers(collection, data)
        info = collection.info()
    if json:
        done = {"collection": name, "bytes": info.bytes, "index": info.index, "removed": removed, "taken_home": home}
        console.print_json(done)
        return
    if home:
        console.err.print(f"{home} entries say now where their uploaded files lie")
    if removed:
        console.err.print(f"removed {removed} uploaded files that no entry had")
    console.out.print(f"{name}: {state_of(info.index) or 'empty'}")


@collections.command(epilog="Example: glimpse collections title shop 'Autumn and winter'")
def title(
    context: typer.Context,
    name: Name,
    text: Annotated[str | None, typer.Argument(metavar="[TITLE]", help="Default: say what it is.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Take the title away.")] = False,
    expected: Annotated[
        str | None,
        typer.Option(
            metavar="TITLE", help="Change nothing unless it is called so now; '' for no title. Default: whatever it is."
        ),
    ] = None,
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Say what a collection is called on the page, in any words, or what it is. Its name stays, which leads to it."""
    from glimpse import console

    if none and text is not None:
        raise InputError("give a TITLE, or --none to take it away")
    changes = none or text is not None
    if expected is not None and not changes:
        raise InputError("--expected is for a change: give a TITLE, or --none")
    seen = ... if expected is None else expected or None
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            kept = (client.set_title(name, text, expected_title=seen) if changes else client.collection(name)).title
    else:
        from index.collection import open_collection

        with open_collection(data, name, writable=changes) as collection:
            if changes:
                if seen is not ...:
                    check_still_called(name, collection.title, seen)
                collection.set_title(text)
            kept = collection.title
    if json:
        console.print_json({"collection": name, "title": kept})
        return
    console.out.print(f"{name}: {kept}" if kept else f"{name}: no title")


@collections.command(epilog="Example: glimpse collections rename shop autumn")
def rename(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Argument(metavar="NEW", help="What it is to be called.")],
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Give a collection another name. What it holds stays, labelling runs go with it; links to the old name end."""
    from glimpse import console

    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            client.rename_collection(name, to)
    else:
        from service.renaming import rename

        rename(data, name, to)
    if json:
        console.print_json({"collection": to, "before": name})
        return
    console.out.print(f"{name} is {to} now")


@collections.command(epilog="Example: glimpse collections quota shop --entries 100000 --upload-bytes 20000000000")
def quota(
    context: typer.Context,
    name: Name,
    entries: Annotated[
        int | None, typer.Option(min=0, help="Most images and texts, whatever writes them. 0: no bound.")
    ] = None,
    upload_bytes: Annotated[
        int | None, typer.Option(min=0, help="Most bytes of files that are uploaded to a service. 0: no bound.")
    ] = None,
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Bound what a collection may hold, or say what bounds it. What it holds stays, even if it is more.

    A write that would exceed it is refused whole, by the service with 413. `glimpse index` keeps what it has committed.
    """
    from dataclasses import asdict, replace

    from glimpse import console

    given = {"entries": entries, "upload_bytes": upload_bytes}
    changes = {key: value or None for key, value in given.items() if value is not None}
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            kept = (client.set_quota(name, **changes) if changes else client.collection(name)).quota
    else:
        from index.collection import open_collection

        with open_collection(data, name, writable=bool(changes)) as collection:
            if changes:
                collection.set_quota(replace(collection.quota, **changes))
            kept = asdict(collection.quota)
    if json:
        console.print_json({"collection": name, "quota": kept})
        return
    said = [f"{kept[key]} {words}" for key, words in (("entries", "entries"), ("upload_bytes", "bytes of uploads"))
            if kept.get(key) is not None]  # fmt: skip
    console.out.print(f"{name}: {' and '.join(said)} at most" if said else f"{name}: no bound")


@collections.command(epilog="Example: glimpse collections prune photos /media/old-disk")
def prune(
    name: Name,
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="Only what was in these folders. Default: all.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = DATA,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Delete the entries of images whose files are no longer there, with all that is kept of them, after asking.

    It first says how many of which folders. Look at the list: a disk that is not mounted looks like one that is gone
    for good. What `index` keeps of pictures that it removed or found changed, in case they come back, goes too.
    Uploaded images are left alone.
    """
    import os

    from glimpse import console
    from index.collection import open_collection
    from index.ingest.gone import find_dead
    from index.ingest.gone import prune as delete_dead
    from index.local.layout import uploads_folder

    with open_collection(data, name, writable=True) as collection:
        with console.working("looking for the files"):
            roots = [Path(os.path.abspath(folder)) for folder in folders or ()]  # noqa: PTH100  keeps links as named
            dead = find_dead(collection, roots, uploads_folder(data, name).absolute())
        total, removed = sum(len(one.ids) for one in dead), 0
        for one in dead:
            console.err.print(f"{len(one.ids)} of {one.folder}: {one.note}")
        everywhere = roots or [Path("/")]
        kept = sum(collection.keepsakes.count(folder) for folder in everywhere)
        if kept:
            console.err.print(f"{kept} that were removed or changed before: their metadata and vectors are kept")
        if (dead or kept) and not yes:
            parts = [f"{total} entries"] * bool(dead) + [f"what is kept of {kept} others"] * bool(kept)
            console.confirm_deletion(f"{' and '.join(parts)} of {name}")
        removed = delete_dead(collection, dead)
        forgotten = sum(collection.keepsakes.forget(folder) for folder in everywhere)
        left = collection.count("image")
    if json:
        gone = [{"folder": one.folder, "entries": len(one.ids), "note": one.note} for one in dead]
        console.print_json({"collection": name, "removed": removed, "forgotten": forgotten, "folders": gone})
    elif dead or kept:
        also = f", what was kept of {forgotten} others too" if kept else ""
        console.out.print(f"{name}: {removed} entries deleted{also}, {left} images left")
    else:
        console.out.print(f"{name}: nothing to delete, no file of its {left} images is missing")


@collections.command(epilog="Example: glimpse collections delete shop")
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Delete a collection and all that it holds. Images of folders are not touched, those uploaded to a service go."""
    from glimpse import console

    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            client.collection(name)  # one that is not there is not asked about
            if not yes:
                console.confirm_deletion(f"collection {name} of {client.url}")
            client.delete_collection(name)
    else:
        from index.collection import delete_collection, open_collection

        if not yes:
            open_collection(data, name).close()
            console.confirm_deletion(f"collection {name}")
        delete_collection(data, name)
    if json:
        console.print_json({"deleted": name})
    else:
        console.out.print(f"{name} deleted")
