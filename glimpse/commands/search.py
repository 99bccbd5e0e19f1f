"""`glimpse search`: a collection of this machine or of a service."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import unquote

import typer

from base.errors import InputError
from base.walk import is_image_name
from glimpse.options import (
    DATA,
    AsJson,
    Data,
    Device,
    ModelOfCollection,
    Precision,
    Threads,
    Url,
    is_remote,
    read_filter,
)

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from glimpse.client import Client, Hit
    from index.entry import Hit as IndexHit
    from index.entry import Record

# Weight of what is not wanted. On a shop's photos, asked for a thing but not in one colour, 0.5 left a quarter of the
# hits in that colour and nine of ten of the right things; 1 left a twentieth, and two of three.
AWAY = 0.5


def search(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Like this image file; repeatable.")] = None,
    like: Annotated[list[int] | None, typer.Option(help="Like the entry of this id; repeatable.")] = None,
    no: Annotated[list[str] | None, typer.Option("--not", help="Away from these words; repeatable.")] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            help="Name of the collection; repeatable: those of one model are searched as one.",
            show_default="images",
        ),
    ] = None,
    data: Data = DATA,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many results.")] = 10,
    offset: Annotated[int, typer.Option(min=0, max=10_000, help="Results to pass over, for the next page.")] = 0,
    modality: Annotated[str, typer.Option(help="What to find: image or text.")] = "image",
    filter: Annotated[  # noqa: A002
        str | None, typer.Option(metavar="JSON", help="Conditions on metadata and file; @FILE reads them from a file.")
    ] = None,
    score_threshold: Annotated[float | None, typer.Option(help="The least score.")] = None,
    cutoff: Annotated[str | None, typer.Option(help="auto: end where relevance ends.")] = None,
    group_by: Annotated[str | None, typer.Option(help="One result for each value of this metadata key.")] = None,
    collapse: Annotated[float | None, typer.Option(help="Drop near-duplicates: cosine from which on, as 0.95.")] = None,
    diversity: Annotated[float, typer.Option(help="0: by score alone; 1: each unlike those before.")] = 0.0,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Search a collection by words, example images, entries of its own, or all of these together."""
    from glimpse import console

    names = list(dict.fromkeys(collection or ["images"]))
    if like and len(names) > 1:
        raise InputError("--like names an entry of one collection: give one --collection, or --image FILE")
    asked = Asked([text] if text is not None else [], no or [], image or [], like or [])
    for words in (*asked.texts, *asked.away):
        _check_words(words)
    if not (asked.texts or asked.images or asked.ids):
        raise InputError('give a text, as in glimpse search "red shirt", or --image FILE, or --like ID')
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
    if url is not None and is_remote(context):
        from glimpse.client import Client

        with Client(url) as client:
            found = _ask(client, names, asked, shape)
    else:
        found = _search(data, names, asked, shape, model, device, precision)
    console.print_warnings(found.warnings)
    if json:
        console.print_json({"hits": found.hits, "seconds": found.seconds, "cut_texts": found.cut_texts})
    else:
        _print(found, names, shape)
    if found.encoder is not None and device == precision == "auto":
        console.prepare_queries(found.encoder, images=bool(image))


def _print(found: Outcome, collections: list[str], shape: dict[str, Any]) -> None:
    from glimpse import console

    collection, several = " and ".join(collections), len(collections) > 1
    judged = any(hit["relevance"] is not None for hit in found.hits)
    own = any(hit["external_id"] is not None for hit in found.hits)
    named = not own or any(found.shown)
    shown_as = "path" if shape["modality"] == "image" else "text"
    columns = ["score", *["relevance"] * judged, *["collection"] * several, "id", *["external_id"] * own]
    rows = [
        (
            hit["score"],
            *[hit["relevance"]] * judged,
            *[hit.get("collection")] * several,
            hit["id"],
            *[hit["external_id"] or ""] * own,
            *[shown] * named,
        )
        for hit, shown in zip(found.hits, found.shown, strict=True)
    ]
    columns += [shown_as] * named
    console.out.print(console.table(*columns, rows=rows))
    if found.best is not None and (shape["cutoff"] or shape["score_threshold"] is not None):
        console.err.print(f"nothing in {collection} fits: the best scored {found.best:.3f}, and was cut off")
    elif not found.hits:
        why = (
            f"there are fewer than {shape['offset'] + 1} hits"
            if found.best is not None
            else "nothing passes the filter"
            if shape["filter"]
            else f"{'they are' if several else 'it is'} empty"
        )
        console.err.print(f"nothing found in {collection}: {why}")


def _check_words(words: str) -> None:
    """InputError for what nobody means as a description."""
    if not any(character.isprintable() and not character.isspace() for character in words):
        raise InputError('the text is empty: say what to look for, as in glimpse search "red shirt"')
    is_uri = words.startswith("file://")
    path = unquote(words.removeprefix("file://")) if is_uri else words
    if os.sep in path and os.path.isdir(path):  # noqa: PTH112
        raise InputError(f"{words} is a folder: to look for what is like a picture, give --image and one in it")
    if is_uri or (is_image_name(path) and (os.sep in path or os.path.exists(path))):  # noqa: PTH110
        raise InputError(f"{words} is a path: to look for what is like a picture, give --image {shlex.quote(path)}")


class Asked(NamedTuple):
    """The parts of a query as the command line gives them."""

    texts: list[str]
    away: list[str]
    images: list[Path]
    ids: list[int]


class Outcome(NamedTuple):
    """What was found, as JSON and in the words shown; if nothing, the `best` score with nothing cut off, or None.

    Of an image with an id of its owner's own nothing else is shown: its file is a copy that the collection keeps.

    And how many of the texts are longer than the model reads, with what is to be said of it.
    """

    hits: list[dict[str, Any]]
    shown: list[str]
    seconds: float
    best: float | None
    cut_texts: int
    warnings: list[str]
    encoder: Encoder | None = None  # that read the query here


NOT_CUT: dict[str, Any] = {"cutoff": None, "score_threshold": None, "limit": 1, "offset": 0}


def _search(
    data: Path, names: list[str], asked: Asked, shape: dict[str, Any], model: str | None, device: str, precision: str
) -> Outcome:
    """On this machine."""
    import time
    from contextlib import ExitStack
    from dataclasses import replace

    import numpy as np

    from encoder.cut import CutTexts
    from index.collection import open_collection
    from index.search.query import Query, mix, run
    from index.search.together import Together

    texts, away, images, ids = asked
    weights = [1.0] * len(texts) + [-AWAY] * len(away) + [1.0] * (len(images) + len(ids))
    words = not (images or ids or away)
    # made before the model is loaded, so that a wrong value is said at once
    query = Query(np.empty(0, np.float32), exclude=ids, text=words, **shape)
    encoder = None
    with ExitStack() as opened:
        sources = {name: opened.enter_context(open_collection(data, name)) for name in names}
        source, *others = sources.values()
        vectors, made_by, cut = [*source.vectors(ids)], None, CutTexts()
        if texts or images or away:  # entries alone need no model
            ref, known_as = (model, None) if model else (source.model, source.fingerprint)
            if device == precision == "auto":
                from encoder.query import query_encoder

                encoder = query_encoder(ref, known_as, texts=bool(texts or away), images=bool(images))
            else:
                from encoder.lazy import open_encoder

                encoder = open_encoder(ref, device, precision)
            made_by = encoder.fingerprint
            for each in sources.values():
                each.check_model(made_by)
            cut = encoder.cut_texts(texts + away)
            started = time.perf_counter()
            vectors = [*encoder.encode_texts(texts + away), *encoder.encode_images(images), *vectors]
        else:
            started = time.perf_counter()
        searched = Together(sources) if others else source
        query = replace(query, vector=mix(vectors, weights), fingerprint=made_by)
        hits = run(searched, query)
        seconds = round(time.perf_counter() - started, 4)
        best = [] if hits else run(searched, replace(query, **NOT_CUT))
    shown = [_shown(hit.record, hit.record.path) for hit in hits]
    found = [_as_json(hit.record, hit) for hit in hits]
    best_score = best[0].score if best else None
    return Outcome(found, shown, seconds, best_score, len(cut.read), cut.warnings(), encoder)


def _ask(client: Client, names: list[str], asked: Asked, shape: dict[str, Any]) -> Outcome:
    """Of a service."""
    from glimpse.client import Part

    parts = [
        *(Part(text=text) for text in asked.texts),
        *(Part(text=text, weight=-AWAY) for text in asked.away),
        *(Part(image=image) for image in asked.images),
        *(Part(id=entry) for entry in asked.ids),
    ]
    collection = names if len(names) > 1 else names[0]
    found = client.search(collection, query=parts, **shape)
    best = [] if found.hits else client.search(collection, query=parts, **(shape | NOT_CUT)).hits
    # the path of an image that was sent is the service's own, its name says more
    shown = [_shown(hit, hit.metadata.get("filename") or hit.path) for hit in found]
    hits = [_as_json(hit, hit) for hit in found]
    seconds = round(found.seconds, 4)
    return Outcome(hits, shown, seconds, best[0].score if best else None, found.cut_texts, found.warnings)


def _shown(record: Record | Hit, name: object) -> str:
    return record.text or ("" if record.external_id is not None else str(name))


def _as_json(record: Record | Hit, hit: IndexHit | Hit) -> dict[str, Any]:
    collection = getattr(record, "collection", None)  # of a search of several
    return {
        **({"collection": collection} if collection else {}),
        "id": record.id,
        "external_id": record.external_id,
        "modality": record.modality,
        "path": record.path,
        "text": record.text,
        "score": round(hit.score, 6),
        "z": hit.z,
        "relevance": hit.relevance,
        "metadata": record.metadata,
    }
