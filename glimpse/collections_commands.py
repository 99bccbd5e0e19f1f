"""The commands that look after collections: list them."""

from __future__ import annotations

from glimpse.options import DATA, AsJson, Data


def collections(data: Data = DATA, json: AsJson = False) -> None:
    """List the collections of a data folder."""
    from dataclasses import asdict

    from glimpse import console
    from index.collection import list_collections

    infos = list_collections(data)
    if json:
        console.print_json({"collections": [asdict(info) for info in infos]})
        return
    rows = [
        (info.name, info.counts.get("image", 0), f"{info.bytes / 2**20:.1f} MiB", info.problem or info.model)
        for info in infos
    ]
    console.out.print(console.table("collection", "images", "size", "model", rows=rows) if rows else f"none in {data}")
