"""A page of its own: HTML that a person reads and shows others, in one file, with no network and no script.

Light or dark as the reader's system is, and as narrow as a phone. The charts of `base.charts` take its colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document of HTML parts; empty ones are left out."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def section(title: str, content: str, note: str = "", layout: str = "") -> str:
    """A part with a heading, and a note under it; nothing if it has no content."""
    if not content:
        return ""
    told = f'<p class="soft">{escape(note)}</p>' if note else ""
    inner = f'<div class="{layout}">{content}</div>' if layout else content
    return f"<section><h2>{escape(title)}</h2>{told}{inner}</section>"


def figures(charts: Iterable[tuple[str, str]]) -> str:
    """(caption, chart) as cards; the empty ones are left out."""
    drawn = [
        f'<figure class="card"><figcaption>{escape(caption)}</figcaption>{chart}</figure>'
        for caption, chart in charts
        if chart
    ]
    return "".join(drawn)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as a card, its first column as headings; nothing without a row."""
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    ]
    if not lines:
        return ""
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    return (
        f'<div class="card table"><table><caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def matrix(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Counts as a square that is the darker, the larger its share of its row.

    Those whose row and column have one name are of one colour, those in the columns of another row of another; grey is
    what has a column alone.
    """
    titles = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in columns)
    lines, known = [], set(rows)
    for name, row in zip(rows, counts, strict=True):
        cells = []
        for column, count in zip(columns, row, strict=True):
            share = round(100 * count / max(1, sum(row)))
            colour = "--series-1" if column == name else "--series-2" if column in known else "--soft"
            look = f' style="background:color-mix(in srgb,var({colour}) {share}%,transparent)"' if count else ""
            cells.append(f'<td{look} title="{escape(f"{name}: {column}, {count}")}">{count or ""}</td>')
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="card table"><table class="matrix"><thead><tr><td></td>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def pictures(caption: str, note: str, sources: Sequence[tuple[str, str]]) -> str:
    """Small pictures in a row as a card: (data URI, what it is); nothing without one."""
    if not sources:
        return ""
    images = "".join(f'<img src="{uri}" alt="{escape(what)}" title="{escape(what)}">' for uri, what in sources)
    return (
        f'<figure class="card"><figcaption>{escape(caption)} <span class="soft">{escape(note)}</span></figcaption>'
        f'<div class="row">{images}</div></figure>'
    )


def tiles(contents: Iterable[str]) -> str:
    """HTML of pictures with their captions (frame, figcaption) as cards, as many in a row as fit; nothing for none."""
    cards = "".join(f'<figure class="card">{content}</figure>' for content in contents)
    return f'<div class="tiles">{cards}</div>' if cards else ""


def warnings_note(warnings: Sequence[str]) -> str:
    """A list that stands out; nothing if there are none."""
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings" role="note" aria-label="Warnings"><ul>{items}</ul></section>'


STYLE = """
:root {
  --ground: #f7f6f3; --surface: #fff; --ink: #1e2321; --soft: #66706c; --line: #e3e4df; --good: #1f6f5c;
  --warn: #b4690e; --series-1: #1f7a64; --series-2: #d9722e; --series-3: #4868c9; --series-4: #a0518f;
  --series-5: #8f7414; --series-6: #2c8aa6; --series-7: #b3424f; --series-8: #7b7f86;
  color-scheme: light dark; font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131715; --surface: #1d2320; --ink: #e8ece9; --soft: #9aa6a0; --line: #303834; --good: #63c3a7;
    --warn: #e8a64c; --series-1: #5cc4a6; --series-2: #f0985c; --series-3: #8aa4f5; --series-4: #d592c6;
    --series-5: #cdb04a; --series-6: #6cc0d8; --series-7: #ea8a94; --series-8: #a9adb5;
  }
}
* { box-sizing: border-box; margin: 0; }
body { background: var(--ground); color: var(--ink); }
main { max-width: 1240px; margin: 0 auto; padding: clamp(20px, 5vw, 56px) clamp(14px, 4vw, 40px) 64px; }
h1 { font-size: clamp(1.6rem, 5vw, 2.3rem); letter-spacing: -.02em; line-height: 1.2; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; letter-spacing: -.01em; }
section { margin-top: 40px; }
h2 + .soft { max-width: 46rem; margin-top: 2px; font-size: .9375rem; }
h2 ~ div, h2 ~ dl { margin-top: 14px; }
.soft { color: var(--soft); }
.verdict { max-width: 46rem; margin: 12px 0 6px; font-size: clamp(1.1rem, 3vw, 1.35rem); text-wrap: pretty; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 14px; }
.warnings { margin-top: 24px; padding: 14px 20px; border-radius: 5px 14px 14px 5px; border-left: 5px solid var(--warn);
  background: color-mix(in srgb, var(--warn) 11%, var(--surface)); }
.warnings ul { padding-left: 1.1em; }
.warnings:has(li:only-child) ul { padding: 0; list-style: none; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 16px; }
.grid + .grid { margin-top: 16px; }
figure.card { padding: 14px 14px 8px; }
.card figcaption { padding: 0 2px 6px; }
.card > figcaption, caption { font-weight: 600; font-size: .9375rem; text-align: left; }
svg { display: block; width: 100%; height: auto; }
.table { padding: 14px 18px 8px; overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 400; text-align: left; overflow-wrap: anywhere; }
thead th, td { text-align: right; white-space: nowrap; padding-left: 10px; }
thead th { color: var(--soft); font-size: .875rem; }
thead th:first-child { text-align: left; padding-left: 0; }
th, td { padding-top: 4px; padding-bottom: 4px; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
.matrix { width: auto; font-size: .875rem; }
.matrix tbody td { min-width: 2.4em; padding: 4px 6px; text-align: center; border-left: 1px solid var(--line); }
.matrix thead th { padding: 0 6px 6px; text-align: center; vertical-align: bottom; }
.matrix thead span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 11em; text-align: left; }
.matrix tbody th { min-width: 7.5em; max-width: 14em; padding-right: 8px; }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; padding-bottom: 6px; }
.row img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 8px;
  background: color-mix(in srgb, var(--ink) 6%, transparent); }
.better { color: var(--good); font-weight: 600; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; padding: 14px; }
.frame { display: grid; place-items: center; aspect-ratio: 1; overflow: hidden; border-radius: 10px; font-size: .875rem;
  background: color-mix(in srgb, var(--ink) 6%, transparent); }
.frame img { width: 100%; height: 100%; object-fit: contain; }
.pair figcaption { margin-top: 8px; font-size: .875rem; line-height: 1.4; overflow-wrap: anywhere; }
.pair .soft { font-size: .8125rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(200px, 100%), 1fr)); gap: 16px;
  margin-top: 32px; }
.tiles figure.card { padding: 8px; }
.tiles figcaption { display: grid; gap: 2px; padding: 8px 4px 2px; font-size: .8125rem; font-weight: 400;
  line-height: 1.4; overflow-wrap: anywhere; }
.tiles a { color: inherit; text-decoration: none; }
.tiles figcaption a:hover, .tiles figcaption a:focus { text-decoration: underline; }
dl { columns: 2 340px; column-gap: 40px; padding: 16px 20px; font-size: .9375rem; }
dt { float: left; clear: left; color: var(--soft); }
dd { padding-left: 9.5rem; overflow-wrap: anywhere; break-inside: avoid; }
"""
