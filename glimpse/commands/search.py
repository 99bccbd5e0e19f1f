"""`glimpse search`: a collection of this machine or of a service."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from base.errors import InputError
from glimpse import completion
from glimpse.finding.after import After, print_null
from glimpse.finding.asked import Asked, check_words, picture_at, search_here, search_there
from glimpse.finding.table import print_table
from glimpse.options import (
    DATA,
    AsJson,
    Data,
    Device,
    ModelOfCollection,
    Precision,
    Store,
    Threads,
    Url,
    is_remote,
    read_filter,
)

if TYPE_CHECKING:
    from glimpse.finding.files import Files


def search(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Like this image file; repeatable.")] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|PATH", help="Like this entry, by its id, your own id of it, or its path; repeatable."),
    ] = None,
    no: Annotated[list[str] | None, typer.Option("--not", help="Away from these words; repeatable.")] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            help="Name of the collection; repeatable: those of one model are searched as one.",
            show_default="images",
            autocompletion=completion.collections,
        ),
    ] = None,
    data: Data = DATA,
    store: Store = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many results.")] = 10,
    offset: Annotated[int, typer.Option(min=0, max=10_000, help="Results to pass over, for the next page.")] = 0,
    modality: Annotated[Literal["image", "text"], typer.Option(help="What to find.")] = "image",
    filter: Annotated[  # noqa: A002
        str | None, typer.Option(metavar="JSON", help="Conditions on metadata and file; @FILE reads them from a file.")
    ] = None,
    score_threshold: Annotated[float | None, typer.Option(help="The least score.")] = None,
    cutoff: Annotated[str | None, typer.Option(help="auto: end where relevance ends.")] = None,
    group_by: Annotated[str | None, typer.Option(help="One result for each value of this metadata key.")] = None,
    collapse: Annotated[float | None, typer.Option(help="Drop near-duplicates: cosine from which on, as 0.95.")] = None,
    diversity: Annotated[float, typer.Option(help="0: by score alone; 1: each unlike those before.")] = 0.0,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Instead of a text: a file with a query a line, or JSON Lines as {"text": "snow", "limit": 3}; - is '
            "standard input. A JSON line for each comes out.",
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Print paths alone, each ended with NUL, for xargs -0.")
    ] = False,
    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the images found into this folder, numbered in their order."),
    ] = None,
    link_to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The same as symbolic links; not with --url.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a contact sheet, a page in one file, as found.html.")
    ] = None,
    open: Annotated[  # noqa: A002
        bool, typer.Option("--open", help="Show the best image, or the sheet, in the viewer of this system.")
    ] = False,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Search a collection by words, example images, entries of its own, or all of these together.

    What is found can go on: paths into a pipe (-0); files into a folder, numbered, overwriting none (--copy-to, with
    --url too, or --link-to); small pictures onto a page (--sheet); the best image, or the page, into a viewer (--open).
    """
    from base.files import is_stdout
    from glimpse import console

    names = list(dict.fromkeys(collection or ["images"]))
    if like and len(names) > 1:
        raise InputError("--like names an entry of one collection: give one --collection, or --image FILE")
    shape = {
        "limit": k,
        "offset": offset,
        "modality": modality,
        "filter": read_filter(filter),
        "score_threshold": score_threshold,
        "cutoff": cutoff,
        "group_by": group_by,
        "collapse": collapse,
        "diversity": diversity,
    }
    remote = is_remote(context)
    if queries is not None:
        alone = {"text": text, "--image": image, "--like": like, "--not": no, "-0": null, "--copy-to": copy_to}
        alone |= {"--link-to": link_to, "--sheet": sheet, "--open": open}
        if given := next((name for name, value in alone.items() if value), None):
            raise InputError(f"--queries prints a JSON line for each query of the file: give it without {given}")
        _answer_all(queries, names, shape, data, model, device, precision, url if remote else None)
        return
    asked = Asked([text] if text is not None else [], no or [], [*map(picture_at, image or ())], like or [])
    for words in (*asked.texts, *asked.away):
        check_words(words)
    if not asked.is_of_something:
        raise InputError('give a text, as in glimpse search "red shirt", or --image FILE, or --like ID')
    after = After(null, copy_to, link_to, sheet, open)
    after.check(modality=modality, json=json, remote=remote)
    with ExitStack() as opened:
        files: Files
        if remote:
            from glimpse.client import Client
            from glimpse.finding.files import ServedFiles

            client = opened.enter_context(Client(url))
            found = search_there(client, names, asked, shape)
            files = ServedFiles(client, names[0])
        else:
            from glimpse.finding.files import LocalFiles

            found = search_here(data, names, asked, shape, model, device, precision)
            files = LocalFiles()
        placed = after.placed(found.hits, files, first=offset + 1)
        console.print_warnings(found.warnings)
        if json:
            of_texts = {"cut_texts": found.cut_texts, "unread_words": found.unread_words}
            said = {"hits": found.hits, "seconds": found.seconds} | of_texts
            console.print_json(said | ({"files": [str(path) for path in placed.files]} if placed else {}))
        elif null:
            print_null(found.hits, placed)
        elif sheet is None or not is_stdout(sheet):  # which has the page
            print_table(found, names, shape, files)
        if placed:
            after.tell(placed)
        after.write_sheet(asked.said, found.hits, files, first=offset + 1)
        after.show(found.hits, files)
    if found.encoder is not None and device == precision == "auto":
        console.prepare_queries(found.encoder, images=bool(image))
    if placed and placed.left_out:
        raise typer.Exit(1)


def _answer_all(
    file: Path, names: list[str], shape: dict[str, Any], data: Path, model: str | None, device: str, precision: str,
    url: str | None,
) -> None:  # fmt: skip
    """Many queries; ends with 1 if one of them could not be answered."""
    from glimpse import console
    from glimpse.finding.many import answer_here, answer_there, encoder_for, print_answers, read_queries

    if len(names) > 1:
        raise InputError("--queries asks one collection: give one --collection")
    lines = read_queries(file, shape)
    if url is not None:
        from glimpse.client import Client

        with Client(url) as client:
            done = print_answers(answer_there(client, names[0], lines), len(lines))
    else:
        from index.collection import open_collection

        with open_collection(data, names[0]) as source:
            encoder = encoder_for(source, lines, model, device, precision)
            done = print_answers(answer_here(source, lines, encoder), len(lines))
        if encoder is not None and device == precision == "auto":
            console.prepare_queries(encoder, images=any(line.asked.images for line in lines))
    if not done:
        raise typer.Exit(1)
