"""`glimpse backup` and `glimpse restore`: a whole data folder in one file, and back. `collections` has those of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from base.errors import InputError
from glimpse.options import DATA, AsJson, Data, Threads, refuse

if TYPE_CHECKING:
    from service.backup.archive import Manifest


def backup(
    context: typer.Context,
    to: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="File to write; with --keep the folder that they are in.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Collections with uploads, keys, the signing secret, label sets, labelling runs, jobs."
        ),
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, help="Name the file by its time, in the folder, and keep so many of this data folder's, the newest."
        ),
    ] = None,
    keep_weekly: Annotated[int, typer.Option(min=0, help="With --keep: also of so many weeks the newest of each.")] = 0,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Leave out this collection; repeatable.")
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead: read a backup to its end, and say whether it is sound."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Write all of a data folder to one file, while a service and others write to it.

    Each collection is as of one moment, and checked. The file appears whole or not at all, and only you may read it:
    keys and the signing secret are in it. One collection alone: glimpse collections backup.
    """
    if verify is not None:
        of_writing = ["everything", "to", "keep", "keep_weekly", "without", "force", "data"]
        refuse(context, of_writing, "is for writing a backup, and --verify FILE reads one")
        _verify(verify, json)
        return
    if not everything:
        raise InputError("say --all, to back up the whole data folder; one collection: glimpse collections backup")
    if to is None:
        raise InputError("name the file to write, as in: glimpse backup --all /backup/all.glimpse")
    if keep is None and keep_weekly:
        raise InputError("--keep-weekly goes with --keep")
    from datetime import UTC, datetime

    from glimpse import console
    from service.backup.contents import strangers
    from service.backup.rotation import new_name, superfluous, sweep
    from service.backup.writing import back_up_all

    began = datetime.now(UTC)
    file = new_name(to, began) if keep is not None else to
    if keep is not None:
        sweep(to)
    with console.progress_bar("backing up, MB") as bar:
        manifest = back_up_all(
            data,
            file,
            overwrite=force,
            without=without or (),
            progress=lambda done, total: bar(done // 10**6, total // 10**6),
        )
    removed = superfluous(to, data, began, keep=keep, weekly=keep_weekly) if keep is not None else []
    for path in removed:
        path.unlink(missing_ok=True)
    for name in manifest.left_out:
        why = "is not glimpse's" if name in strangers(data) else "is a link; have the file itself there"
        console.err.print(f"left out: {name}, which {why}")
    for name in manifest.deleted:
        console.err.print(f"left out: collection {name}, which was deleted or renamed meanwhile")
    if json:
        console.print_json({"file": str(file), **_content(manifest, file), "removed": [str(path) for path in removed]})
        return
    console.beside(file).print(f"{data} kept in {file}: {_summary(manifest, file)}")
    for path in removed:
        console.out.print(f"removed {path}")


def restore(
    file: Annotated[Path, typer.Argument(help="File that `glimpse backup --all` wrote.")],
    everything: Annotated[bool, typer.Option("--all", help="All of it, into an empty data folder.")] = False,
    collections: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            help="Only this collection, into the data folder as it is; repeatable.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --all: in the place of all that glimpse keeps in the data folder.")
    ] = False,
    data: Data = DATA,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Make a data folder of a backup, or one of its collections.

    All is read, held against its checksum, opened, indexed and counted first; then it is there whole, or not at all.
    Keys are readable by you alone, as before. Run it as the user that the service has.
    """
    if everything == bool(collections):
        raise InputError("give --all, or --collection NAME")
    if force and not everything:
        raise InputError("--force goes with --all; a collection that is there: glimpse collections delete NAME")
    from glimpse import console
    from service.backup.restoring import restore_all, restore_one

    if collections:
        kept = {}
        for name in collections:
            with console.working(f"copying, checking and indexing {name}"):
                kept[name] = restore_one(data, file, name).entries
        if json:
            console.print_json({"file": str(file), "data": str(data), "collections": kept})
        for name, entries in kept.items() if not json else ():
            console.out.print(f"{name} restored from {file}: {entries} entries")
        return
    with console.progress_bar("restoring, MB") as bar:
        done = restore_all(data, file, replace=force, progress=lambda done, total: bar(done // 10**6, total // 10**6))
    console.print_warnings([*_of_another_version(done.manifest), *done.warnings])
    if json:
        found = {**_content(done.manifest, file), "warnings": list(done.warnings)}
        console.print_json({"file": str(file), "restored_to": str(data), **found})
    else:
        console.out.print(f"{data} restored from {file}: {_summary(done.manifest, file)}")


def _verify(file: Path, json: bool) -> None:
    from glimpse import console
    from service.backup.restoring import verify

    with console.progress_bar("reading, MB") as bar:
        manifest = verify(file, progress=lambda done, total: bar(done // 10**6, total // 10**6))
    console.print_warnings(_of_another_version(manifest))
    if json:
        console.print_json({"file": str(file), "sound": True, **_content(manifest, file)})
    else:
        console.out.print(f"{file} is sound: {_summary(manifest, file)}, of {manifest.data}, {manifest.created_at}")


def _of_another_version(manifest: Manifest) -> list[str]:
    """Those that cannot be read at all are refused; of others a person should know."""
    from base.extras import product_version

    here = product_version()
    written = f"the backup was written by glimpse {manifest.glimpse}, this is {here}"
    return [] if manifest.glimpse == here else [written]


def _content(manifest: Manifest, file: Path) -> dict[str, object]:
    from dataclasses import asdict

    content = {name: value for name, value in asdict(manifest).items() if name != "members"}
    return {**content, "files": len(manifest.members), "bytes": _size(file)}


def _summary(manifest: Manifest, file: Path) -> str:
    entries = sum(held.entries for held in manifest.collections.values())
    parts = [f"{_number(len(manifest.collections), 'collections')} with {_number(entries, 'entries')}"]
    parts += [_number(n, name.replace("-", " ")) for name, n in manifest.counts.items() if n]
    size = _size(file)
    return ", ".join(parts if size is None else [*parts, f"{size / 2**20:.1f} MiB"])


def _size(file: Path) -> int | None:
    """Its bytes; None: it went into a pipe, which has none."""
    from base.files import is_stream

    return None if is_stream(file) else file.stat().st_size


def _number(n: int, what: str) -> str:
    one = {"entries": "entry"}.get(what, what.removesuffix("s"))
    return f"{n:,} {one if n == 1 else what}"
