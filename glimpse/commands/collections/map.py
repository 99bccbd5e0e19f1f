"""`glimpse collections map`: makes the map of a collection, here or at a service, and says what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from base.errors import InputError
from glimpse.commands.collections.collections import Name, collections
from glimpse.options import DATA, AsJson, Data, Store, Url, is_remote

if TYPE_CHECKING:
    from index.map.projection import Method


@collections.command("map", epilog="Example: glimpse collections map shop --method umap")
def make(
    context: typer.Context,
    name: Name,
    method: Annotated[
        Literal["pca", "umap"],
        typer.Option(help="pca: in seconds. umap: in minutes, keeps neighbours together; needs umap-learn."),
    ] = "pca",
    names: Annotated[
        bool, typer.Option("--names/--no-names", help="Name its clusters by the words nearest to them.")
    ] = True,
    data: Data = DATA,
    store: Store = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Make a map of a collection's images, for the page: a place for each, clusters, and names for these.

    It is kept beside the collection and made anew by the same command; images that come later find their places in it
    by themselves. Words are encoded once a model, which takes a while.
    """
    from glimpse import console

    if url is not None and is_remote(context):
        made = _there(url, name, method, names)
    else:
        made = _here(data, name, method, names)
    if json:
        console.print_json({"collection": name, **made})
        return
    rows = [(one["number"], one["size"], ", ".join(one["words"])) for one in made["clusters"]]
    console.out.print(f"{name}: {made['placed']} images have a place in a map by {made['method']}")
    console.out.print(console.table("cluster", "images", "words", rows=rows))


def _here(data: Path, name: str, method: Method, names: bool) -> dict[str, Any]:
    from encoder.query import query_encoder
    from encoder.zero_shot.word_bank import with_words, word_bank
    from glimpse import console
    from index.collection import open_collection
    from index.map.kept import make_map

    with open_collection(data, name) as collection, console.progress_bars() as bars:

        def words(own: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
            def tell(done: int, total: int | None) -> None:
                bars("words", done, total)

            encoder = query_encoder(*collection.made_by(), images=False)
            collection.check_model(encoder.fingerprint)
            bank = with_words(word_bank(encoder, progress=tell), encoder, own, progress=tell)
            return bank.words, bank.vectors

        made = make_map(collection, method, words if names else None, lambda done, total: bars("images", done, total))
    clusters = [
        {"number": i, "size": one.size, "x": one.place[0], "y": one.place[1], "words": list(one.words)}
        for i, one in enumerate(made.known, start=1)
    ]
    told = {"method": made.method, "made_at": made.made_at, "placed": len(made.ids), "unplaced": 0}
    return {**told, "clusters": clusters}


def _there(url: str, name: str, method: str, names: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        started = client.start_job("map", collection=name, method=method, names=names)
        with console.progress_bar("images") as bar:
            for job in client.job_events(started.id):
                if job.state != "queued":
                    bar(job.done, job.total)
        if job.state != "succeeded":
            raise InputError(f"job {job.id} {job.state}: {(job.error or {}).get('message', 'it was cancelled')}")
        return asdict(client.map(name))
