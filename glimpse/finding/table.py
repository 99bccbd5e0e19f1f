"""What was found as a table, and why there is nothing in it."""

from __future__ import annotations

from typing import Any

from glimpse.finding.asked import Outcome


def print_table(found: Outcome, collections: list[str], shape: dict[str, Any]) -> None:
    """Print it; what is to be said of it goes to standard error."""
    from glimpse import console

    collection, several = " and ".join(collections), len(collections) > 1
    judged = any(hit["relevance"] is not None for hit in found.hits)
    shown_as = "path" if shape["modality"] == "image" else "text"
    columns = ["score", *["relevance"] * judged, *["collection"] * several, "id", shown_as]
    rows = [
        (hit["score"], *[hit["relevance"]] * judged, *[hit.get("collection")] * several, hit["id"], shown)
        for hit, shown in zip(found.hits, found.shown, strict=True)
    ]
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
