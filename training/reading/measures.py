"""Numbers out of a run's records, as a report or a comparison shows them, and as lines for charts. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from base.charts import Series

Record = dict[str, Any]

GROUPS = {
    "text_to_image": "from text to image",
    "image_to_text": "from image to text",
    "view_to_view": "from one view to the other",
}
NUMBERS = {
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "median_rank": "median rank",
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
}
HEADLINES = (  # what a run is told by: the first of these that it has
    (("metrics", "text_to_image", "recall@10"), "Recall@10 from text to image"),
    (("metrics", "view_to_view", "recall@1"), "Recall@1 from one view of an image to the other"),
    (("metrics", "top1"), "Top-1 accuracy"),
    (("score",), "The score"),
)


WORST_CLASSES = 8


class Row(NamedTuple):
    """A measure before training, where it was measured then, and after."""

    name: str
    before: float | None
    after: float


class Table(NamedTuple):
    """Measures that belong together."""

    title: str
    rows: list[Row]


def before_and_after(start: Record, best: Record) -> list[Table]:
    """Every measure that the record of an epoch has, beside that of the start, by tables; of classes the worst."""
    before, after = group(start.get("metrics")), group(best.get("metrics"))
    tables = {
        f"Recall {name}": (group(before.get(key)), group(after.get(key)), NUMBERS) for key, name in GROUPS.items()
    }
    classes = group(after.get("per_class"))
    tables["Accuracy"] = (before, after, telling(after))
    worst = sorted(classes, key=lambda label: (number(classes, label) or 0.0, label))[:WORST_CLASSES]
    names = {label: label for label in worst}
    tables[f"Top-1 accuracy, the worst of {len(classes)} classes"] = (group(before.get("per_class")), classes, names)
    tables["What the best epoch is chosen by"] = (start, best, {"score": "score", "probe": "probe"})
    rows = {title: _rows(*table) for title, table in tables.items()}
    return [Table(title, found) for title, found in rows.items() if found]


def telling(metrics: Record) -> dict[str, str]:
    """NUMBERS that say something: among five labels or fewer the right one always is, so top-5 accuracy does not."""
    labels = number(metrics, "n_labels") or len(group(metrics.get("per_class")))  # of an older run those with an image
    of_few = number(metrics, "top5") == 1 and labels <= 5
    return {key: name for key, name in NUMBERS.items() if not (of_few and key == "top5")}


def _rows(before: Record, after: Record, names: dict[str, str]) -> list[Row]:
    found = ((name, number(before, key), number(after, key)) for key, name in names.items())
    return [Row(name, first, last) for name, first, last in found if last is not None]


def number(record: Any, *path: str) -> float | None:
    """The finite number at a path of keys; None where there is none."""
    for key in path:
        record = group(record).get(key)
    return float(record) if isinstance(record, (int, float)) and math.isfinite(record) else None


def group(value: Any) -> Record:
    """The object that a record has there; an empty one where it has none."""
    return value if isinstance(value, dict) else {}


def over_epochs(name: str, epochs: Sequence[Record], *path: str) -> Series:
    """The number at a path of each epoch's record."""
    return Series(name, [(record["epoch"], number(record, *path)) for record in epochs])


def over_steps(name: str, steps: Sequence[Record], key: str) -> Series:
    """A number of each step's record."""
    return Series(name, [(record["step"], number(record, key)) for record in steps])


def with_smooth(steps: Sequence[Record], key: str) -> list[Series]:
    """Every step's value, faint, and over it a curve that a person can follow."""
    raw = over_steps("each step", steps, key)
    return [Series(raw.name, raw.points, faint=True), Series("smoothed", smoothed(raw.points))]


def smoothed(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """An exponential mean of the points so far, the first of them counted in full."""
    keep = 1 - 1 / max(1, math.sqrt(len(points)) / 2)  # 5 steps of 100, 50 of 10,000
    total = weight = 0.0
    smooth: list[tuple[float, float | None]] = []
    for x, y in points:
        if y is not None:
            total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
            smooth.append((x, total / weight))
    return smooth
