"""`glimpse reindex`: gives a collection another model."""

from __future__ import annotations

from typing import Annotated

import typer

from base.errors import CollectionError, InputError
from glimpse.options import DATA, AsJson, Collection, Data, Device, Precision, Store, Threads, refuse


def reindex(
    context: typer.Context,
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
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
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Give a collection another model: encode every entry anew, then swap all at once.

    Searches use the old model until the swap. May be interrupted at any moment; the same command goes on.
    """
    from dataclasses import asdict

    from glimpse import console
    from index.collection import open_collection

    if abandon:
        refuse(context, ["model", "drop_unreadable", "device", "precision"], "is for going on, and --abandon forgets")
    with open_collection(data, collection, writable=True) as target:
        if abandon:
            begun = None
            try:
                begun = target.next.info()
                what = f"the change to {begun.model} is forgotten" if begun else "no change of model had begun"
            except CollectionError:  # what cannot be read can be forgotten
                what = "an unfinished change of model is forgotten"
            target.next.abandon()
            if json:
                abandoned = begun and begun.model
                console.print_json({"collection": collection, "model": target.model, "abandoned": abandoned})
            else:
                console.err.print(f"{collection}: stays with {target.model}; {what}")
            return
        begun = target.next.info()
        if model is None and begun:
            model = begun.model
        if model is None:
            raise InputError("give the new model, as in --model runs/pets")
        from encoder.lazy import open_encoder
        from index.ingest.reindex import reindex as run

        encoder = open_encoder(model, device, precision)
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
    if report.swapped:
        console.prepare_queries(encoder)
    elif not same:
        console.err.print(
            f"glimpse: {collection} keeps its old model, for {len(report.unreadable)} entries cannot be read: bring "
            "their files back and run this again, or give --drop-unreadable to delete them"
        )
        raise typer.Exit(1)
