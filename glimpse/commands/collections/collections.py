"""`glimpse collections ...`: list, check, back up, restore, export, import; `maintenance` has the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse import completion
from glimpse.options import DATA, AsJson, Data, Store, Url, is_remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glimpse.client import Collection
    from index.entry import CollectionInfo

collections = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Name of the collection.", autocompletion=completion.collections)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file.")]


@collections.callback(invoke_without_command=True, epilog="Example: glimpse collections --data glimpse-data")
def all_(context: typer.Context, data: Data = DATA, store: Store = None, url: Url = None, json: AsJson = False) -> None:
    """List the collections of a data folder or service, or look after them with one of the commands below."""
    if context.invoked_subcommand:
        for option in ("data", "store", "url", "json"):
            source = context.get_parameter_source(option)
            if source and source.name == "COMMANDLINE":  # it would be the list's, and silently not the command's
                raise InputError(f"give --{option} behind {context.invoked_subcommand}, not before it")
        return
    list_(context, data, store, url, json)


@collections.command("list", epilog="Example: glimpse collections list --data glimpse-data")
def list_(
    context: typer.Context, data: Data = DATA, store: Store = None, url: Url = None, json: AsJson = False
) -> None:
    """List the collections of a data folder or service, as `collections` alone does."""
    from dataclasses import asdict

    from glimpse import console

    infos: Sequence[CollectionInfo | Collection]
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            infos, where = client.collections(), client.url
    else:
        from index.collection import list_collections, store_of

        infos, where = list_collections(data), store_of(data).place
    if json:
        console.print_json({"collections": [asdict(info) for info in infos]})
        return
    titles = any(info.title for info in infos)
    rows = [
        (info.name, *([info.title or ""] if titles else []), info.counts.get("image", 0), info.counts.get("text", 0),
         f"{info.bytes / 2**20:.1f} MiB", state_of(info.index), info.problem or _model(info))
        for info in infos
    ]  # fmt: skip
    columns = ("collection", *(["title"] if titles else []), "images", "texts", "size", "index", "model")
    console.out.print(console.table(*columns, rows=rows) if rows else f"none in {where}")


@collections.command(epilog="Example: glimpse collections check shop")
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    data: Data = DATA,
    store: Store = None,
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
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Write a collection as Parquet, vectors included. Columns are told in docs/operations.md."""
    from glimpse import console
    from index.parquet.collections import export_parquet

    with console.progress_bar("exporting") as progress:
        kept = export_parquet(data, name, file, overwrite=force, progress=progress)
    _print_kept(json, f"{name} exported to {file}", kept.entries, kept.bytes, collection=name, file=str(file))


@collections.command("import", epilog="Example: glimpse collections import shop.parquet shop-2")
def import_(
    file: Annotated[
        Path, typer.Argument(help="Parquet file with a column `vector`, or the folder that `glimpse embed` wrote.")
    ],
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
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Make a collection of a Parquet file, of glimpse or of other programs, or add the file's rows to one.

    Of a folder of `glimpse embed` --into writes what is new or changed there, and leaves alone what is the same.
    """
    from glimpse import console
    from index.parquet.collections import import_parquet

    if name and into:
        raise InputError("give NAME for a new collection, or --into for one that is there")
    if file.is_dir():
        if model:
            raise InputError(f"{file}: says itself which model made its vectors: leave --model out")
        _import_folder(data, file, name, into, json)
        return
    ref = fingerprint = None
    if model:
        from encoder.model.load import load_encoder

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


def _import_folder(data: Path, folder: Path, name: str | None, into: str | None, json: bool) -> None:
    from dataclasses import asdict

    from base.words import counted
    from glimpse import console
    from index.bulk.into_collection import import_folder

    with console.progress_bar("importing") as progress:
        done = import_folder(data, folder, name, into=into, progress=progress)
    if json:
        console.print_json(asdict(done))
        return
    if done.missing:
        console.err.print(
            f"{counted(done.missing, 'shard')} of {folder} are not embedded yet; then import with --into "
            f"{done.collection}"
        )
    rate = done.entries / done.seconds if done.seconds else 0.0
    console.out.print(
        f"{done.collection}: {done.entries} entries in {folder} ({done.added} added, {done.changed} changed, "
        f"{done.unchanged} unchanged) in {done.seconds:.1f} s, {rate:.0f} entries/s"
    )


def _model(info: CollectionInfo | Collection) -> str:
    following = getattr(info, "next", None)  # a service does not tell
    if following is None:
        return info.model
    total = following.done + following.left
    return f"{info.model} (changing to {following.model}: {following.done} of {total})"


def state_of(index: dict[str, dict[str, Any]]) -> str:
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
        console.beside(Path(str(named["file"]))).print(f"{words}: {entries} entries, {size / 2**20:.1f} MiB")
