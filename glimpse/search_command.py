"""The command that searches a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encoder.errors import InputError
from glimpse.options import DATA, AsJson, Collection, Data, Device, ModelOfCollection, Precision


def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[Path | None, typer.Option(help="Look for images like this file; with TEXT: for both.")] = None,
    collection: Collection = "images",
    data: Data = DATA,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    model: ModelOfCollection = None,
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Search a collection by words, by an example image, or by both together."""
    import time

    from glimpse import console
    from index.collection import open_collection

    if text is None and image is None:
        raise InputError('give a text, as in glimpse search "red shirt", or --image FILE')
    with open_collection(data, collection) as source:
        from encoder.load import load_encoder

        encoder = load_encoder(model or source.model, device, precision)
        source.check_model(encoder.fingerprint)
        started = time.perf_counter()
        query = encoder.encode_query(text=text, image=image)
        hits = source.search(query, k)
        seconds = round(time.perf_counter() - started, 4)
    if json:
        console.print_json(
            {
                "hits": [
                    {
                        "id": hit.id,
                        "path": hit.record.path,
                        "score": round(hit.score, 6),
                        "metadata": hit.record.metadata,
                    }
                    for hit in hits
                ],
                "seconds": seconds,
            }
        )
        return
    console.out.print(console.table("score", "path", rows=[(hit.score, str(hit.record.path)) for hit in hits]))
