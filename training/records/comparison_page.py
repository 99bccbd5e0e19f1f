"""Runs beside each other as one page: a table, their curves over each other, and their answers to the same queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from base.charts import COLOURS, Series, line_chart
from base.files import out_file
from base.page import figures, page, pictures, section, table, warnings_note
from encoder.image import thumbnail_uri
from training.evaluation.answers import Answer
from training.reading.comparison import HEAD, differing, headline, objections, rows, setting, verdict
from training.reading.measures import number, over_epochs, over_steps, smoothed
from training.reading.run import Run

THUMBNAIL = 160  # pixels of the longer side: sharp at the width of a column


def write_page(path: Path, runs: Sequence[Run], answers: Sequence[Answer] = ()) -> None:
    """Write the page, whole or not at all; of more than eight runs the first eight have curves."""
    _, measure = headline(runs)
    names = ", ".join(run.name for run in runs)
    parts = [
        f'<header><p class="soft">glimpse training runs</p><h1>{escape(names)}</h1>',
        f'<p class="verdict">{escape(verdict(runs))}</p></header>',
        warnings_note(objections(runs)),
        section("What came of them", table(measure, HEAD, rows(runs))),
        section("Settings that differ", _settings(runs)),
        section("Curves", figures(_curves(runs[:COLOURS])), layout="grid"),
        section("The same queries", "".join(map(_answer, answers)), SAME_QUERIES),
        section("Warnings", table("", ("run", "warning"), _warnings(runs))),
    ]
    with out_file(path) as part:
        part.write_bytes(page(f"{names}: training runs", parts).encode("utf-8", "replace"))  # a path may hold any bytes


SAME_QUERIES = "The nearest images by each model, best first: the same images, the same words."


def _settings(runs: Sequence[Run]) -> str:
    rows = ([name, *map(setting, values)] for name, values in differing(runs).items())
    return table("", ("setting", *(run.name for run in runs)), rows)


def _curves(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """(caption, chart), a line a run."""
    path, measure = headline(runs)
    by_time = [
        Series(run.name, [(at, number(epoch, "score")) for at, epoch in zip(run.minutes, run.epochs, strict=True)])
        for run in runs
    ]
    scores = [over_epochs(run.name, run.epochs, "score") for run in runs]
    yield "Score by epoch", line_chart("score by epoch", scores, x_label="epoch", from_zero=True)
    yield "Score by time", line_chart("score by minute", by_time, x_label="minutes", from_zero=True)
    if path != ("score",):
        lines = [over_epochs(run.name, run.epochs, *path) for run in runs]
        yield measure, line_chart(f"{measure} by epoch", lines, x_label="epoch", from_zero=True)
    for key, name in (("loss", "Loss"), ("lr", "Learning rate"), ("logit_scale", "Logit scale (1 / temperature)")):
        lines = [over_steps(run.name, run.steps, key) for run in runs]
        if key == "loss":
            lines = [Series(line.name, smoothed(line.points)) for line in lines]
        yield name, line_chart(f"{name} by step", lines, x_label="step")


def _answer(answer: Answer) -> str:
    """A query with a row of pictures a run."""
    shown = []
    for name, hits in answer.hits.items():
        thumbnails = [(thumbnail_uri(str(path), THUMBNAIL), f"{path.name}, {score:.3f}") for path, score in hits]
        shown.append(pictures(answer.query, name, [(uri, what) for uri, what in thumbnails if uri]))
    return f'<div class="grid">{"".join(shown)}</div>'


def _warnings(runs: Sequence[Run]) -> Iterator[list[str]]:
    for run in runs:
        for warning in run.warnings:
            yield [run.name, warning]
