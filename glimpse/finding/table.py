"""What was found as a table, on some terminals with small pictures, and why there is nothing in it."""

from __future__ import annotations

from typing import Any

from glimpse.finding.asked import Outcome
from glimpse.finding.captions import caption_of
from glimpse.finding.files import Files

WIDEST = 60  # characters of a caption; --json has all
LONGEST = 500  # of a text that was found


def _cut(text: str, most: int = WIDEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def print_table(found: Outcome, collections: list[str], shape: dict[str, Any], files: Files) -> None:
    """Print it, with paths that a terminal may follow to `files`; what is to be said of it goes to standard error."""
    from glimpse import console
    from glimpse.finding.previews import previews

    collection, several = " and ".join(collections), len(collections) > 1
    judged = any(hit["relevance"] is not None for hit in found.hits)
    own = any(hit["external_id"] is not None for hit in found.hits)
    named = not own or any(found.shown)
    captions = [_cut(caption_of(hit["metadata"])) for hit in found.hits]
    pictures = previews(found.hits, files)
    shown_as = "path" if shape["modality"] == "image" else "text"
    columns = [
        *["preview"] * (pictures is not None),
        "score",
        *["relevance"] * judged,
        *["collection"] * several,
        "id",
        *["external_id"] * own,
        *["caption"] * any(captions),
        *[shown_as] * named,
    ]
    names = [_cut(name, LONGEST) if hit["text"] else name for hit, name in zip(found.hits, found.shown, strict=True)]
    rows = [
        (
            *[picture] * (pictures is not None),
            hit["score"],
            *[hit["relevance"]] * judged,
            *[hit.get("collection")] * several,
            hit["id"],
            *[hit["external_id"] or ""] * own,
            *[caption] * any(captions),
            *[console.linked(shown, link) if (link := files.link(hit)) else shown] * named,
        )
        for hit, caption, shown, picture in zip(
            found.hits, captions, names, pictures or [""] * len(found.hits), strict=True
        )
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
