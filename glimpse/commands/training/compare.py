"""`glimpse compare`: training runs beside each other, in a table and on a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from glimpse.options import DATA, AsJson, Data, Device, Precision, Store, Threads, check_page, refuse

if TYPE_CHECKING:
    from training.data.pairs import Pair
    from training.evaluation.answers import Answer
    from training.reading.run import Run

T = TypeVar("T")
OF_PAGE = ("query", "collection", "images", "k", "device", "precision")
OWN_QUERIES = 5  # captions of what the first run holds out, where nobody gives queries


def compare(
    context: typer.Context,
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; what else is named is left out.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Also write a page: the curves over each other, and answers to the same queries."),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(help="On the page, ask each model this; repeatable.", show_default="captions that are held out"),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", help="Images to search for them.", show_default="those held out"),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="At most so many of these images, spread over them.")] = 300,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Images a query and model.")] = 4,
    data: Data = DATA,
    store: Store = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Compare training runs: the settings that differ, the best figures, time, samples/s, warnings.

    Runs that are not measured on the same images are named. With --out, one page that needs no network.
    """
    from glimpse import console
    from training.reading.comparison import HEAD, differing, headline, objections, read_runs, rows, setting, verdict

    if out is None:
        refuse(context, OF_PAGE, "is for the page", "name it by --out compare.html")
    else:
        check_page(out, "compare.html")
    if collection is None:
        refuse(context, ["data", "store"], "says where --collection lies, and none is given")
    found, left_out = read_runs(runs)
    said = objections(found)
    path, measure = headline(found)
    if out is not None:
        from training.records.comparison_page import write_page

        write_page(out, found, _answers(found, query or [], collection, images, k, data, device, precision))
    if json:
        as_json = [run.as_json(path, measure) for run in found]
        content = {"runs": as_json, "settings": differing(found), "objections": said}
        console.print_json(content | {"left_out": left_out.as_json()} | ({"out": str(out)} if out else {}))
        return
    console.print_left_out(left_out)
    console.print_warnings(said)
    told = console.beside(out) if out else console.out
    told.print(f"{verdict(found)} Before and after: {measure[0].lower()}{measure[1:]}.")
    told.print(console.table(*HEAD, rows=rows(found)))
    if settings := differing(found):
        lines = [(name, *map(setting, values)) for name, values in settings.items()]
        told.print(console.table("setting", *(run.name for run in found), rows=lines))
    for run in found:
        console.print_warnings([f"{run.name}: {warning}" for warning in run.warnings])
    if out is not None:
        console.err.print(f"wrote {out}")


def _answers(
    runs: Sequence[Run], queries: Sequence[str], collection: str | None, most: int, k: int,
    data: Path, device: str, precision: str,
) -> list[Answer]:  # fmt: skip
    """What each run's model finds; runs whose model or images are gone are said, and left out."""
    from base.errors import GlimpseError
    from encoder.model.load import load_encoder
    from glimpse import console
    from training.evaluation.answers import Answer, nearest_images
    from training.evaluation.evaluate import encode_images

    try:
        pictures = _images(collection, data) if collection else _held_out_images(runs[0])
        asked = list(queries) or _spread(_held_out_captions(runs[0]), OWN_QUERIES)
    except GlimpseError as error:
        console.print_warnings([f"no answers on the page: {error}"])
        return []
    pictures = _spread(pictures, most)
    if not pictures or not asked:
        console.print_warnings(["no answers on the page: no images with captions are held out; give --query and -c"])
        return []
    hits = {}
    for run in runs:
        try:
            encoder = load_encoder(run.out, device, precision)
            with console.working(f"encoding {len(pictures)} images with {run.name}"):
                good, vectors = encode_images(encoder, pictures)
        except GlimpseError as error:
            console.print_warnings([f"no answers of {run.name} on the page: {error}"])
            continue
        hits[run.name] = nearest_images(encoder, [Path(str(path)) for path in good], vectors, asked, k)
    return [Answer(text, {name: found[i] for name, found in hits.items()}) for i, text in enumerate(asked)]


def _images(collection: str, data: Path) -> list[Path]:
    from index.collection import open_collection

    with open_collection(data, collection) as opened:
        return [Path(record.path) for record in opened.records(modality="image") if record.path]


def _held_out_images(run: Run) -> list[Path]:
    return list(dict.fromkeys(pair.image for pair in _held_out(run) if isinstance(pair.image, Path)))


def _held_out_captions(run: Run) -> list[str]:
    return list(dict.fromkeys(caption for pair in _held_out(run) for caption in pair.captions))


def _held_out(run: Run) -> list[Pair]:
    from training.run.held_out_table import read_held_out

    return read_held_out(run.out)[1].pairs


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly from all."""
    step = max(1, -(-len(items) // most))
    return list(items[::step])
