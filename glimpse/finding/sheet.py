"""A contact sheet: what a search found as one HTML page with small pictures in it, to keep or to hand on.

Needs no network and no script. Files of this machine are links; those of a service are named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from base.files import out_file
from base.page import page, tiles
from base.words import counted
from glimpse.console import shown_as
from glimpse.finding.captions import caption_of
from glimpse.finding.files import Files, Found, thumbnails


def write_sheet(
    path: Path,
    asked: str,
    hits: Sequence[Found],
    files: Files,
    *,
    first: int = 1,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> int:
    """Write the page, whole or not at all, in place of one that is there.

    Args:
        path: of the page.
        asked: what was looked for, as its heading.
        hits: best first; texts too.
        files: where their pictures come from.
        first: number of the first hit.
        progress: called with how many of how many pictures are there.

    Returns:
        how many pictures could not be had; their places are empty.

    Raises:
        OSError: it cannot be written. NoService: nobody answers any more.
    """
    pictures = thumbnails(hits, files, progress)
    shown = [_tile(*each, files) for each in zip(range(first, first + len(hits)), hits, pictures, strict=True)]
    found = f"{counted(len(hits), 'hit')}, the best first" if hits else "Nothing was found."
    parts = [
        f'<header><p class="soft">glimpse search</p><h1>{_safe(asked)}</h1><p class="verdict">{found}</p></header>',
        tiles(shown),
    ]
    with out_file(path) as part:
        part.write_bytes(page(shown_as(asked, terminal=True), parts).encode("utf-8", "replace"))
    return sum(picture is None for picture, hit in zip(pictures, hits, strict=True) if hit["modality"] == "image")


def _tile(number: int, hit: Found, picture: str | None, files: Files) -> str:
    """One hit."""
    is_text = hit["modality"] == "text"
    caption = hit["text"] if is_text else caption_of(hit["metadata"])
    link, sent_as = files.link(hit), hit["metadata"].get("filename")
    where = hit["path"] if link or not sent_as else sent_as  # the path of what was sent is the service's own
    frame, place = _frame(picture, caption or where) if not is_text else "", _safe(where)
    if link:
        frame, place = (f'<a href="{escape(link)}">{one}</a>' if one else "" for one in (frame, place))
    facts = [f"{hit['score']:.3f}", *([f"relevance {hit['relevance']:.2f}"] if hit["relevance"] is not None else [])]
    facts += [_safe(hit[key]) for key in ("collection", "external_id") if hit.get(key)]
    facts += [f"taken {_safe(hit['taken'].replace('T', ' '))}"] if hit["taken"] else []
    lines = [
        f"<strong>{_safe(caption)}</strong>" if caption else "",
        f'<span class="soft">{number} · {" · ".join(facts)}</span>',
        f'<span class="soft">{place}</span>' if place else "",
    ]
    return f"{frame}<figcaption>{''.join(lines)}</figcaption>"


def _frame(picture: str | None, what: str) -> str:
    inner = f'<img src="{picture}" alt="{_safe(what)}">' if picture else '<span class="soft">no picture</span>'
    return f'<div class="frame">{inner}</div>'


def _safe(text: object) -> str:
    """As HTML that shows it, with marks that turn the direction of writing and bytes that are no UTF-8 spelt out."""
    return escape(shown_as(str(text or ""), terminal=True))
