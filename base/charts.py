"""Small charts as SVG text: lines over steps or epochs, histograms, reliability pictures. They know no run.

Drawn at 400 by 240 and scaled by the page. Colours are the page's CSS variables (--soft, --line, and --series-1 to
--series-8), so a chart is light or dark as the page is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 400, 240
LEFT, RIGHT, BOTTOM = 52, 12, 38
LEGEND_ROW, LETTER = 18, 6.6  # height of a row, width of a letter, about
COLOURS = 8
MOST_POINTS = 300  # of a line, more than an eye can tell
MOST_DOTS = 40  # a line of so few points shows each, with its value on hover


@dataclass(frozen=True)
class Series:
    """A line: (x, y) with x ascending; a y that is None or not finite leaves a gap.

    A `faint` one lies behind the others and shows how far values are spread, which means of them would not.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    faint: bool = False


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    from_zero: bool = False,
    mark: tuple[float, str] | None = None,
) -> str:
    """Lines over one x axis, or an empty string where no series has a point.

    Args:
        title: what it shows, for those who cannot see it.
        series: up to eight colours; a faint one has that of the series after it.
        x_label: below the axis.
        from_zero: have the y axis start at zero.
        mark: an x to draw a dashed line at, and what it is.
    """
    drawn = [(one, runs) for one in series if (runs := _thin(one.points, average=not one.faint))]
    xs = [x for one, _ in drawn for x, _ in one.points]
    ys = [y for _, runs in drawn for run in runs for _, y in run]
    if not xs:
        return ""
    legend, top = _legend([one.name for one, _ in drawn if not one.faint])
    x = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    margin = 0.06 * (max(ys) - min(ys))
    low = min(0.0, *ys) if from_zero else min(ys) - margin
    y = _Axis(low, max(ys) + margin, HEIGHT - BOTTOM, top)
    body = []
    if mark is not None and x.low <= mark[0] <= x.high:
        at, left = x(mark[0]), x(mark[0]) > WIDTH / 2
        body.append(
            f'<path d="M{at:.1f} {top}V{HEIGHT - BOTTOM}" stroke="var(--soft)" stroke-dasharray="3 3"/>'
            f'<text x="{at + (-5 if left else 5):.1f}" y="{HEIGHT - BOTTOM - 6}" '
            f'text-anchor="{"end" if left else "start"}">{escape(mark[1])}</text>'
        )
    colour = 0
    for one, runs in drawn:
        paint = f"var(--series-{min(colour + 1, COLOURS)})"
        colour += not one.faint
        look = 'stroke-width="1" opacity=".35"' if one.faint else 'stroke-width="2"'
        path = "".join("M" + "L".join(f"{x(px):.1f} {y(py):.1f}" for px, py in run) for run in runs)
        body.append(f'<path d="{path}" fill="none" stroke="{paint}" stroke-linejoin="round" {look}/>')
        dots = [point for run in runs for point in run]
        if not one.faint and len(dots) <= MOST_DOTS:
            body += [
                f'<circle cx="{x(px):.1f}" cy="{y(py):.1f}" r="2.8" fill="{paint}">'
                f"<title>{escape(one.name)}, {px:g}: {py:.4g}</title></circle>"
                for px, py in dots
            ]
    whole = all(float(px).is_integer() for one in series for px, _ in one.points)
    return _frame(title, x, y, x_label, legend + "".join(body), whole_x=whole)


def histogram(title: str, groups: Sequence[tuple[str, Sequence[int]]], *, low: float, high: float, x_label: str) -> str:
    """Groups of counts in equal bins from `low` to `high`, each as shares of its own sum; empty without a count.

    Args:
        title: what it shows, for those who cannot see it.
        groups: (name, counts), as many bins in each.
        low: where the first bin starts.
        high: where the last bin ends.
        x_label: below the axis.
    """
    shares = [(name, [count / sum(counts) for count in counts]) for name, counts in groups if sum(counts)]
    if not shares:
        return ""
    legend, top = _legend([name for name, _ in shares])
    x = _Axis(low, high, LEFT, WIDTH - RIGHT)
    y = _Axis(0, 105 * max(max(share) for _, share in shares), HEIGHT - BOTTOM, top)
    body = []
    for colour, (_, share) in enumerate(shares, 1):
        width = (high - low) / len(share)
        steps = "".join(f"V{y(100 * part):.1f}H{x(low + width * (i + 1)):.1f}" for i, part in enumerate(share))
        body.append(
            f'<path d="M{x(low):.1f} {y(0):.1f}{steps}V{y(0):.1f}Z" fill="var(--series-{colour})" fill-opacity=".3" '
            f'stroke="var(--series-{colour})" stroke-width="1.5" stroke-linejoin="round"/>'
        )
    return _frame(title, x, y, x_label, legend + "".join(body), y_unit="%")


def reliability(title: str, groups: Sequence[tuple[str, Sequence[tuple[float, float, int]]]], *, x_label: str) -> str:
    """What was said against what was true, both from 0 to 1, beside the diagonal; empty without a point.

    Args:
        title: what it shows, for those who cannot see it.
        groups: (name, points), each point (said, true, of how many); the more, the larger it is drawn.
        x_label: below the axis.
    """
    drawn = [(name, [point for point in points if point[2]]) for name, points in groups]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return ""
    legend, top = _legend([name for name, _ in drawn])
    x, y = _Axis(0, 1, LEFT, WIDTH - RIGHT), _Axis(0, 1, HEIGHT - BOTTOM, top + 4)
    body = [f'<path d="M{x(0):.1f} {y(0):.1f}L{x(1):.1f} {y(1):.1f}" stroke="var(--soft)" stroke-dasharray="3 3"/>']
    for colour, (name, points) in enumerate(drawn, 1):
        paint, total = f"var(--series-{min(colour, COLOURS)})", sum(count for _, _, count in points)
        path = "M" + "L".join(f"{x(said):.1f} {y(true):.1f}" for said, true, _ in points)
        body.append(f'<path d="{path}" fill="none" stroke="{paint}" stroke-width="1.5" stroke-linejoin="round"/>')
        body += [
            f'<circle cx="{x(said):.1f}" cy="{y(true):.1f}" r="{2.2 + 7 * math.sqrt(count / total):.1f}" '
            f'fill="{paint}" fill-opacity=".75"><title>{escape(name)}: said {said:.2f}, true {true:.2f}, of {count}'
            "</title></circle>"
            for said, true, count in points
        ]
    return _frame(title, x, y, x_label, legend + "".join(body))


class _Axis:
    """Values from `low` to `high` onto pixels from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        largest = max(abs(low), abs(high))
        if high - low <= 1e-9 * largest or largest < 1e-30:  # a single value stands in the middle
            room = largest / 10 if largest > 1e-30 else 1.0
            low, high = low - room, high + room
        self.low, self.high = low, high
        self._start, self._scale = start, (end - start) / (high - low)

    def __call__(self, value: float) -> float:
        return self._start + (value - self.low) * self._scale

    def ticks(self, most: int, whole: bool = False) -> list[tuple[float, str]]:
        """At most `most` + 1 round values with their labels: multiples of 1, 2, 2.5 or 5 times a power of ten."""
        rough = max((self.high - self.low) / most, 1.0 if whole else 0.0) * (1 - 1e-9)
        power = 10.0 ** math.floor(math.log10(rough))
        steps = (power * factor for factor in (1, 2, 2.5, 5, 10))
        step = next(step for step in steps if step >= rough and (not whole or step.is_integer()))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, self._label(i * step, step)) for i in range(first, last + 1)]

    def _label(self, value: float, step: float) -> str:
        largest = max(abs(self.low), abs(self.high))
        if not value:
            text = "0"
        elif largest < 1e-3:
            text = f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
        elif largest >= 1e4:
            text = f"{value / 1e6:g}M" if largest >= 1e6 else f"{value / 1000:g}k"
        else:
            decimals = next((d for d in range(9) if math.isclose(round(step, d), step)), 9)
            text = f"{value:.{decimals}f}"
        return text.replace("-", "−")


def _thin(points: Iterable[tuple[float, float | None]], *, average: bool) -> list[list[tuple[float, float]]]:
    """The runs of finite points between gaps; of very many, the means of neighbours, or else the first of them."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is not None and math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    per_point = math.ceil(sum(map(len, runs)) / MOST_POINTS) or 1
    parts = [[run[start : start + per_point] for start in range(0, len(run), per_point)] for run in runs if run]
    return [[_mean(part) if average else part[0] for part in run] for run in parts]


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _legend(names: Sequence[str]) -> tuple[str, int]:
    """Names with their colours in rows across the top, and where the plot starts; none for a single one."""
    if len(names) < 2:
        return "", 10
    x, y, parts = float(LEFT), 12, []
    for colour, name in enumerate(names, 1):
        width = 18 + LETTER * len(name) + 14
        if x > LEFT and x + width > WIDTH:
            x, y = float(LEFT), y + LEGEND_ROW
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 8}" width="12" height="8" rx="2" fill="var(--series-{min(colour, COLOURS)})"/>'
            f'<text x="{x + 18:.1f}" y="{y}">{escape(name)}</text>'
        )
        x += width
    return "".join(parts), y + 14


def _frame(title: str, x: _Axis, y: _Axis, x_label: str, body: str, *, y_unit: str = "", whole_x: bool = False) -> str:
    """Grid, ticks and labels around what is drawn."""
    bottom = HEIGHT - BOTTOM
    grid = "".join(f"M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" for value, _ in y.ticks(6))
    labels = [
        f'<text x="{LEFT - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{text}{y_unit}</text>'
        for value, text in y.ticks(6)
    ] + [
        f'<text x="{x(value):.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>'
        for value, text in x.ticks(6, whole=whole_x)
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="12" fill="var(--soft)">'
        f"<title>{escape(title)}</title>"
        f'<path d="{grid}" stroke="var(--line)"/>{"".join(labels)}'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f"{body}</svg>\n"
    )
