"""The report of a calibration as HTML: what scores say and what is true, which labels are taken for which.

One file that needs no network and no script. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import numpy.typing as npt

from base.charts import histogram, reliability
from base.page import figures, matrix, page, pictures, section, table, warnings_note
from encoder.image import thumbnail_uri
from labelling.calibrate import NEVER, Calibration
from labelling.measure import BINS, Bins, Outcome, confusion

THUMBNAIL = 220  # pixels of the longer side
MOST_ROWS = 500  # labels in the table
MOST_CELLS = 20  # labels a side in the square
PAIRS, PICTURES = 12, 4

RELIABILITY = (
    "Images in 15 bins of equal width by their score. On the dashed line a score is right as often as it says; below "
    "it the labeller is too sure, above it not sure enough. The larger a point, the more images."
)
SEVERAL = " Each label of each image counts, and most are far from being given."
CONFUSED = "Rows are what images are, columns what they were labelled{also}, thresholds left aside. {most}"
MISTAKES = "Images of one label that were given another, the most frequent first."
LABELS = (
    "Precision is the share of the labels given that are right, recall the share of the images of a label that are "
    "given it. All on images that nothing was fitted on."
)


def report_of(name: str, done: Calibration) -> str:
    """The report of a label set's calibration, as the text of an HTML file."""
    learned = done.label_set.learned
    is_multi = done.label_set.mode == "multi"
    by = learned.model if learned else ""
    counts = confusion(done.scored)
    parts = [
        f'<header><p class="soft">glimpse label set, calibrated</p><h1>{escape(name)}</h1>',
        f'<p class="verdict">{escape(_verdict(done))}</p>',
        f'<p class="soft">{escape(_scope(done, by))}</p></header>',
        warnings_note(done.warnings),
        section("Before and after", _numbers(done), layout="grid"),
        section("Do scores mean what they say?", figures(_charts(done)), RELIABILITY + SEVERAL * is_multi, "grid"),
        section("Taken for another", _square(done, counts), _square_note(done, counts)),
        section("Most frequent mistakes", "".join(_mistakes(done, counts)), MISTAKES, "grid"),
        section("Labels", _labels(done), LABELS),
    ]
    return page(f"{name}: calibration report", parts)


def _verdict(done: Calibration) -> str:
    before, after, learned = done.before, done.after, done.label_set.learned
    said = (
        f"On {len(done.truth.images):,} images that nothing was fitted on, scores were {before.bins.error:.3f} away "
        f"from the truth before, and are {after.bins.error:.3f} away now."
    )
    wanted = learned and learned.measured and learned.measured.precision
    if not wanted:
        return said
    right = "none is given" if after.precision is None else f"{after.precision:.2f} of those given are right"
    covered = f"{after.coverage:.0%} of the images are given a label"
    return f"{said} A precision of {wanted:g} was asked for: {right}, and {covered}."


def _scope(done: Calibration, model: str) -> str:
    learned = done.label_set.learned
    assert learned is not None
    fitted = f"fitted on {learned.measured.n_fit:,} others" if learned.measured else ""
    at = "" if learned.stands_out is None else f", standing out from {learned.stands_out:.2f}"
    several = "several labels an image" if done.label_set.mode == "multi" else "one label an image"
    parts = [
        f"{len(done.label_set.labels)} labels, {several}",
        fitted,
        f"temperature {learned.temperature:.3g}{at}",
        model,
    ]
    return " · ".join(filter(None, parts))


def _numbers(done: Calibration) -> str:
    def row(name: str, before: float | None, after: float | None) -> tuple[str, str, str]:
        return name, _text(before), _text(after)

    before, after = done.before, done.after
    scores = [
        row("expected calibration error", before.bins.error, after.bins.error),
        row("Brier score", before.brier, after.brier),
    ]
    answers = [
        row("likeliest label is right", before.accuracy, after.accuracy),
        row("images given a label", before.coverage, after.coverage),
        row("precision of labels given", before.precision, after.precision),
        row("recall of labels", before.recall, after.recall),
    ]
    head = ("", "before", "after")
    return table("Scores, less is better", head, scores) + table("Answers, more is better", head, answers)


def _charts(done: Calibration) -> Iterator[tuple[str, str]]:
    """(caption, chart)."""
    both = (("before", done.before), ("after", done.after))
    points = [(when, _points(outcome.bins)) for when, outcome in both]
    yield "Said and true", reliability("share that is right by score", points, x_label="score")
    counts = [(when, outcome.bins.counts.tolist()) for when, outcome in both]
    yield "Scores", histogram("how frequent scores are", counts, low=0, high=1, x_label="score")


def _points(bins: Bins) -> list[tuple[float, float, int]]:
    return [(float(bins.said[i]), float(bins.true[i]), int(bins.counts[i])) for i in range(BINS)]


def _square(done: Calibration, counts: npt.NDArray[np.int64]) -> str:
    names, shown = list(done.label_set.names), _most_confused(counts)
    columns = [*(names[i] for i in shown), "none"]
    cells = counts[np.ix_(shown, [*shown, len(names)])].tolist()
    return matrix([names[i] for i in shown], columns, cells)


def _square_note(done: Calibration, counts: npt.NDArray[np.int64]) -> str:
    n, shown = len(done.label_set.labels), len(_most_confused(counts))
    most = f"Shown are the {shown} of {n} labels with most mistakes." if shown < n else ""
    return CONFUSED.format(also=" besides" if done.label_set.mode == "multi" else "", most=most).strip()


def _most_confused(counts: npt.NDArray[np.int64]) -> list[int]:
    """The labels that take most part in mistakes, in the order of the set."""
    square = counts[:, :-1].copy()
    np.fill_diagonal(square, 0)
    parts = square.sum(axis=0) + square.sum(axis=1)
    return sorted(np.argsort(-parts, kind="stable")[:MOST_CELLS].tolist())


def _mistakes(done: Calibration, counts: npt.NDArray[np.int64]) -> Iterator[str]:
    """A card a pair of labels: images of one that were given the other."""
    square = counts[:, :-1].copy()
    np.fill_diagonal(square, 0)
    has, chosen, scores = done.scored.has, done.scored.chosen, done.scored.scores
    names = done.label_set.names
    for cell in np.argsort(-square, axis=None, kind="stable")[:PAIRS].tolist():
        is_label, given = divmod(cell, len(names))
        if not square[is_label, given]:
            return
        rows = np.flatnonzero(has[:, is_label] & ~has[:, given] & chosen[:, given])
        rows = rows[np.argsort(-scores[rows, given], kind="stable")]
        found: list[tuple[str, str]] = []
        for row in rows.tolist():
            path = done.truth.images[row]
            if len(found) < PICTURES and (uri := thumbnail_uri(path, THUMBNAIL)) is not None:
                found.append((uri, f"{path}: {names[given]} {scores[row, given]:.2f}"))
        note = f"{square[is_label, given]} of {has[:, is_label].sum()}"
        yield pictures(f"{names[is_label]}, labelled {names[given]}", note, found)


def _labels(done: Calibration) -> str:
    after, names = done.after, done.label_set.names
    has, chosen = after.has, after.chosen
    order = np.argsort(-has.sum(axis=0), kind="stable").tolist()
    rows = [(names[i], *_row(after, i), *_threshold(done, i)) for i in order[:MOST_ROWS]]
    head = ["label", "images", "given", "precision", "recall"]
    head += ["threshold", "found by"] if done.thresholds else []
    most = f"the {MOST_ROWS} most frequent of {len(names)}" if len(names) > MOST_ROWS else f"all {len(names)}"
    given = f"{has.any(axis=1).sum():,} images, {chosen.sum():,} labels given; {most} labels"
    return table(given, head, rows)


def _row(after: Outcome, label: int) -> tuple[str, ...]:
    has, given = after.has[:, label], after.chosen[:, label]
    right = int((has & given).sum())
    precision = right / given.sum() if given.any() else None
    recall = right / has.sum() if has.any() else None
    return str(has.sum()), str(given.sum()), _text(precision, 2), _text(recall, 2)


def _threshold(done: Calibration, label: int) -> tuple[str, ...]:
    if done.thresholds is None:
        return ()
    least = float(done.thresholds.least[label])
    how = {"own": "its images", "shared": "all images", "out of reach": "out of reach"}
    return ("never given" if least >= NEVER else f"{least:.2f}"), how[done.thresholds.found[label]]


def _text(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
