"""`glimpse collections ...`: list, check, back up, restore, export, import, compact, prune, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse.options import DATA, AsJson, Data, Url, is_remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glimpse.client import Collection
    from index.entry import CollectionInfo

collections = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Name of the collection.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file.")]


@collections.callback(invoke_without_command=True, epilog="Example: glimpse collections --data glimpse-data")
def list_(context: typer.Context, data: Data = DATA, url: Url = None, json: AsJson = False) -> None:
    """List the collections of a data folder or service, or look after them with one of the commands below."""
    if context.invoked_subcommand:
        for option in ("data", "url", "json"):
            source = context.get_parameter_source(option)
            if source and source.name == "COMMANDLINE":  # it would be the list's, and silently not the command's
                raise InputError(f"give --{option} behind {context.invoked_subcommand}, not before it")
        return
    from dataclasses import asdict

    from glimpse import console

    infos: Sequence[CollectionInfo | Collection]
    where = str(data)
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            infos, where = client.collections(), client.url
    else:
        from index.collection import list_collections

        infos = list_collections(data)
    if json:
        console.print_json({"collections": [asdict(info) for info in infos]})
        return
    rows = [
        (info.name, info.counts.get("image", 0), info.counts.get("text", 0), f"{info.bytes / 2**20:.1f} MiB",
         _state(info.index), info.problem or _model(info))
        for info in infos
    ]  # fmt: skip
    columns = ("collection", "images", "texts", "size", "index", "model")
    console.out.print(console.table(*columns, rows=rows) if rows else f"none in {where}")


@collections.command(epilog="Example: glimpse collections check shop")
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Read all that is stored, uploaded files too, and name every problem. Exits with 1 if a collection has one."""
    from glimpse import console
    from index.collection import check_collection, collection_names

    found: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    for name in names or collection_names(data):
        with console.working(f"checking {name}"):
            found[name], files = check_collection(data, name)
        if files:
            left[name] = [str(file) for file in files]
    if json:
        console.print_json({"problems": found, **({"leftovers": left} if left else {})})
    else:
        for name, problems in found.items():
            console.out.print(f"{name}: {'; '.join(problems) or 'sound'}")
        for name, paths in left.items():
            console.out.print(
                f"{name}: {len(paths)} uploaded files that no entry has, as a kill leaves them, the first {paths[0]}; "
                f"glimpse collections compact {name} removes them"
            )
    raise typer.Exit(1 if any(found.values()) else 0)


@collections.command(epilog="Example: glimpse collections backup shop /backup/shop.glimpse")
def backup(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File to write.")],
    force: Force = False,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Copy a collection, as of one moment, into one file, while others search and write. The copy is checked."""
    from glimpse import console
    from index.backup import back_up

    with console.working(f"copying and checking {name}"):
        kept = back_up(data, name, file, overwrite=force)
    _print_kept(json, f"{name} kept in {file}", kept.entries, kept.bytes, collection=name, file=str(file))


@collections.command(epilog="Example: glimpse collections restore /backup/shop.glimpse shop")
def restore(
    file: Annotated[Path, typer.Argument(help="File that `backup` wrote.")],
    name: Annotated[str | None, typer.Argument(help="Name of the new collection. Default: the file's.")] = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Make a collection of a backup. It is checked first, and is there whole or not at all."""
    from glimpse import console
    from index.backup import restore

    name = name or file.name.split(".")[0]
    with console.working("copying, checking and building the index"):
        kept = restore(data, file, name)
    if kept.missing:
        said = f"{len(kept.missing)} uploaded files are neither in the backup nor here, the first: {kept.missing[0]}"
        console.print_warnings([f"{said}; their entries are found and show no picture: upload them again"])
    _print_kept(
        json,
        f"{name} restored from {file}",
        kept.entries,
        kept.bytes,
        collection=name,
        file=str(file),
        missing=list(kept.missing),
    )


@collections.command(epilog="Example: glimpse collections export shop shop.parquet")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    force: Force = False,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Write a collection as Parquet, vectors included. Columns are told in docs/operations.md."""
    from glimpse import console
    from index.parquet import export_parquet

    with console.progress_bar("exporting") as progress:
        kept = export_parquet(data, name, file, overwrite=force, progress=progress)
    _print_kept(json, f"{name} exported to {file}", kept.entries, kept.bytes, collection=name, file=str(file))


@collections.command("import", epilog="Example: glimpse collections import shop.parquet shop-2")
def import_(
    file: Annotated[Path, typer.Argument(help="Parquet file with a column `vector`.")],
    name: Annotated[
        str | None, typer.Argument(help="Name of the new collection. Default: the one that was exported.")
    ] = None,
    into: Annotated[
        str | None, typer.Option(help="Collection of the same model to write to: rows replace those of their path.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model that made the vectors, for a file that does not name it.")
    ] = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Make a collection of a Parquet file, of glimpse or of other programs, or add the file's rows to one."""
    from glimpse import console
    from index.parquet import import_parquet

    if name and into:
        raise InputError("give NAME for a new collection, or --into for one that is there")
    ref = fingerprint = None
    if model:
        from encoder.load import load_encoder

        encoder = load_encoder(model)
        ref, fingerprint = encoder.ref, encoder.fingerprint
    with console.progress_bar("importing") as progress:
        done = import_parquet(data, file, name, into=into, model=ref, fingerprint=fingerprint, progress=progress)
    if json:
        console.print_json(
            {
                "collection": done.collection,
                "entries": done.entries,
                "replaced": done.replaced,
                "ignored_columns": done.ignored,
            }
        )
        return
    if done.ignored:
        console.err.print(f"columns not taken: {', '.join(done.ignored)}")
    replaced = f"; {done.replaced} of them took the place of another with the same path or id" if done.replaced else ""
    console.out.print(f"{done.collection}: {done.entries} entries imported from {file}{replaced}")


@collections.command(epilog="Example: glimpse collections compact shop --recall 0.99")
def compact(
    name: Name,
    kind: Annotated[
        str | None, typer.Option(help="auto, exact, ivf-rabitq, ivf-sq8, ivf-pq or hnsw-sq8; kept for the next times.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Share of the true first ten to find, from 0.5 to 1; kept as well.")
    ] = None,
    data: Data = DATA,
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
            collection.compact(
                IndexConfig(kind or kept.kind, kept.recall if recall is None else recall)  # type: ignore[arg-type]
            )
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
    console.out.print(f"{name}: {_state(info.index) or 'empty'}")


@collections.command(epilog="Example: glimpse collections prune photos /media/old-disk")
def prune(
    name: Name,
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="Only what was in these folders. Default: all.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Delete the entries of images whose files are no longer there, with all that is kept of them, after asking.

    It first says how many of which folders. Look at the list: a disk that is not mounted looks like one that is gone
    for good. What `index` keeps of pictures that it removed or found changed, in case they come back, goes too.
    Uploaded images are left alone.
    """
    import os
    import sys

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
            what = f"{' and '.join(parts)} of {name}"
            if not sys.stdin.isatty():
                raise InputError(f"deleting {what} cannot be undone: say --yes")
            if not typer.confirm(f"Delete {what}? This cannot be undone.", err=True):
                raise typer.Exit(1)
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
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Delete a collection and all that it holds. Images of folders are not touched, those uploaded to a service go."""
    import sys

    from glimpse import console

    if not yes and not sys.stdin.isatty():
        raise InputError(f"deleting {name} cannot be undone: say --yes")
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            client.collection(name)
            _confirm(name, yes, f" of {client.url}")
            client.delete_collection(name)
    else:
        from index.collection import delete_collection, open_collection

        if not yes:
            open_collection(data, name).close()  # one that is not there is not asked about
        _confirm(name, yes)
        delete_collection(data, name)
    if json:
        console.print_json({"deleted": name})
    else:
        console.out.print(f"{name} deleted")


def _confirm(name: str, yes: bool, where: str = "") -> None:
    if not yes and not typer.confirm(f"Delete collection {name}{where}? This cannot be undone.", err=True):
        raise typer.Exit(1)


def _model(info: CollectionInfo | Collection) -> str:
    following = getattr(info, "next", None)  # a service does not tell
    if following is None:
        return info.model
    total = following.done + following.left
    return f"{info.model} (changing to {following.model}: {following.done} of {total})"


def _state(index: dict[str, dict[str, Any]]) -> str:
    """The indexes in a few words, as in: ivf-rabitq, recall 0.985; text: exact."""
    words = []
    for modality, state in index.items():
        recall = "" if state["kind"] == "exact" else f", recall {state['recall']:.3f}"
        words.append(f"{'' if modality == 'image' else f'{modality}: '}{state['kind']}{recall}")
    return "; ".join(words)


def _print_kept(json: bool, words: str, entries: int, size: int, **named: object) -> None:
    from glimpse import console

    if json:
        console.print_json({**named, "entries": entries, "bytes": size})
    else:
        console.out.print(f"{words}: {entries} entries, {size / 2**20:.1f} MiB")
