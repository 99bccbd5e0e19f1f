"""`glimpse models`: what --model takes, how fast one of them is here, or what a service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from base.errors import InputError
from glimpse import completion
from glimpse.options import AsJson, Threads, Url, is_remote

if TYPE_CHECKING:
    from encoder.measure import Measured


def models(
    context: typer.Context,
    contains: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
    here: Annotated[
        bool, typer.Option("--here", help="Only those that are on this machine, so need no network.")
    ] = False,
    measure: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Measure this one instead, as --model takes it: speed, memory, precisions."),
    ] = None,
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """List the published open_clip models that --model takes. hf-hub:ORG/NAME and run folders work as well.

    With --url list instead what the service there has: the names that requests may give, and which are loaded.

    With --measure load one of any kind and say what it gives on this machine in each precision, and which of them
    `--precision auto` takes. Takes some ten seconds, more for a large model.
    """
    if is_remote(context) and not here and measure is None:
        _list_served(url, contains, json)
        return
    if measure is not None:
        if contains or here:
            raise InputError("--measure takes one model and lists none: give it without a name to look for and --here")
        _measure(measure, json)
        return
    from encoder.hub.published import published_models
    from encoder.hub.repository import models_here
    from glimpse import console

    known = models_here() if here else published_models()
    if not here:
        completion.keep_published(known)
    names = [name for name in known if contains.lower() in name.lower()]
    if json:
        console.print_json({"models": names})
    else:
        print("\n".join(names))


def _list_served(url: str | None, contains: str, json: bool) -> None:
    from dataclasses import asdict

    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        found = [model for model in client.models() if contains.lower() in model.id.lower()]
    if json:
        console.print_json({"models": [asdict(model) for model in found]})
        return
    rows = [
        (
            model.id,
            "default" if model.default else "",
            "loaded" if model.loaded else model.problem or "",
            model.dim or "",
            f"{model.bytes / 2**20:.0f}" if model.bytes else "",
            model.precision or "",
        )
        for model in found
    ]
    console.out.print(console.table("model", "", "", "vector", "MB", "precision", rows=rows))


def _measure(ref: str, json: bool) -> None:
    from dataclasses import asdict

    from base.cpus import Others, cpus, threads
    from encoder.measure import cold_query_ms, measure
    from glimpse import console

    others = Others()
    with console.working("measuring"):
        rows = measure(ref)
        cold = cold_query_ms(ref)
    busy = others.busy()
    [auto] = [row.precision for row in rows if row.is_auto]
    if json:
        console.print_json(
            {
                "model": ref,
                "auto": auto,
                "threads": threads(),
                "others_busy": None if busy is None else round(busy, 2),
                "cold_query_ms": cold,
                "precisions": [asdict(row) for row in rows],
            }
        )
        return
    console.out.print(
        console.table(
            "precision", "images/s", "ms a query", "MB", "s to load", "cosine to fp32", "", rows=[*map(_row, rows)]
        )
    )
    console.out.print(
        f"a first query from the shell, without torch: {cold:.0f} ms and what starting Python takes"
        if cold is not None
        else "a first query from the shell loads torch: glimpse index or search with this model prepares one without"
    )
    console.out.print(f"{threads()} threads, for {cpus()}")
    if said := others.said():
        console.err.print(f"warning: {said}")


def _row(row: Measured) -> tuple[object, ...]:
    notes = [f"on {row.device}", *(["what auto takes"] if row.is_auto else [])]
    notes += [] if row.native else ["not native here"]
    figures = (row.images_per_second, row.query_ms, round(row.peak_mb), row.load_seconds)
    return (row.precision, *map(str, figures), f"{row.least_cosine:.4f}", ", ".join(notes))
