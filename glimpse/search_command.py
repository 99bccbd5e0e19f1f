"""The command that searches a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from encoder.errors import InputError
from glimpse.options import DATA, AsJson, Collection, Data, Device, ModelOfCollection, Precision

if TYPE_CHECKING:
    from index.collection import Hit

# Weight of what is not wanted. On a shop's photos, asked for a thing but not in one colour, 0.5 left a quarter of the
# hits in that colour and nine of ten of the right things; 1 left a twentieth, and two of three.
AWAY = 0.5


def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Like this image file; repeatable.")] = None,
    like: Annotated[list[int] | None, typer.Option(help="Like the entry of this id; repeatable.")] = None,
    no: Annotated[list[str] | None, typer.Option("--not", help="Away from these words; repeatable.")] = None,
    collection: Collection = "images",
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
    json: AsJson = False,
) -> None:
    """Search a collection by words, example images, entries of its own, or all of these together."""
    import time
    from dataclasses import replace

    import numpy as np

    from glimpse import console
    from index.collection import open_collection
    from index.query import Query, mix

    texts = [text] if text is not None else []
    images, ids, away = image or [], like or [], no or []
    if not (texts or images or ids):
        raise InputError('give a text, as in glimpse search "red shirt", or --image FILE, or --like ID')
    weights = [1.0] * len(texts) + [-AWAY] * len(away) + [1.0] * (len(images) + len(ids))
    query = Query(  # made before the model is loaded, so that a wrong value is said at once
        np.empty(0, np.float32), k, offset, cast(Any, modality), _read_filter(filter), score_threshold,
        cast(Any, cutoff), group_by, collapse=collapse, diversity=diversity, exclude=ids,
        text=not (images or ids or away),
    )  # fmt: skip
    with open_collection(data, collection) as source:
        vectors, made_by = [*source.vectors(ids)], None
        if texts or images or away:  # entries alone need no model
            from encoder.load import load_encoder

            encoder = load_encoder(model or source.model, device, precision)
            made_by = encoder.fingerprint
            source.check_model(made_by)
            started = time.perf_counter()
            vectors = [*encoder.encode_texts(texts + away), *encoder.encode_images(images), *vectors]
        else:
            started = time.perf_counter()
        query = replace(query, vector=mix(vectors, weights), fingerprint=made_by)
        hits = source.query(query)
        seconds = round(time.perf_counter() - started, 4)
        best = None if hits else source.query(replace(query, cutoff=None, score_threshold=None, limit=1, offset=0))
    if json:
        console.print_json({"hits": [_as_json(hit) for hit in hits], "seconds": seconds})
        return
    judged = any(hit.relevance is not None for hit in hits)
    columns = ["score", *(["relevance"] if judged else []), "id", "path" if modality == "image" else "text"]
    rows = [
        (hit.score, *([hit.relevance] if judged else []), hit.id, str(hit.record.path or hit.record.text))
        for hit in hits
    ]
    console.out.print(console.table(*columns, rows=rows))
    if best and (cutoff or score_threshold is not None):
        console.err.print(f"nothing in {collection} fits: the best scored {best[0].score:.3f}, and was cut off")
    elif not hits:
        why = (
            f"there are fewer than {offset + 1} hits"
            if best
            else "nothing passes the filter"
            if filter
            else "it is empty"
        )
        console.err.print(f"nothing found in {collection}: {why}")


def _read_filter(given: str | None) -> dict[str, Any] | None:
    """A filter as JSON, or @ and the file that holds it."""
    import json

    if given is None:
        return None
    try:
        found = json.loads(Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given)
    except (OSError, ValueError) as error:
        raise InputError(f"--filter: {error}; give JSON, or @FILE that holds it") from None
    if not isinstance(found, dict):
        raise InputError('--filter: give a JSON object, as {"must": [{"key": "colour", "match": {"value": "red"}}]}')
    return found


def _as_json(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "modality": hit.record.modality,
        "path": hit.record.path,
        "text": hit.record.text,
        "score": round(hit.score, 6),
        "z": hit.z,
        "relevance": hit.relevance,
        "metadata": hit.record.metadata,
    }
