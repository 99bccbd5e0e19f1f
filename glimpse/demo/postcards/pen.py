"""Colours, shapes, and the `Pen` that draws them.

A picture is drawn at twice its size and halved, which smooths the edges. Things are drawn through a `Pen` in a frame
of their own: x and y from -1 to 1, y downwards, standing on y = 1.
"""

import math
import random
from collections.abc import Iterable
from functools import lru_cache

from PIL import ImageDraw

WIDTH, HEIGHT = 256, 192
OVERSAMPLING = 2

Point = tuple[float, float]
Shape = tuple[Point, ...]
Colour = tuple[int, ...]  # red, green, blue and perhaps alpha

INK = (38, 36, 62)
SHADE = (70, 76, 120)
CREAM = (255, 244, 214)
PAPER = (252, 249, 241)
WOOD = (140, 92, 62)
LEAF = (72, 148, 84)
GLASS = (206, 234, 246)
GOLD = (255, 205, 84)

PIGMENTS: dict[str, Colour] = {
    "red": (218, 40, 44),
    "orange": (250, 134, 22),
    "yellow": (255, 216, 40),
    "green": (30, 150, 72),
    "blue": (38, 98, 222),
    "purple": (138, 66, 194),
    "pink": (255, 146, 190),
    "white": (250, 249, 246),
}


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a `share` of `b` stirred in."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a[:3], b[:3], strict=True))


def vary(colour: Colour, rng: random.Random, amount: float = 10) -> Colour:
    """A neighbouring shade: a little lighter or darker, a little warmer or cooler."""
    shift = rng.uniform(-amount, amount)
    return tuple(max(0, min(255, round(c + shift + rng.uniform(-amount, amount) / 2))) for c in colour[:3])


def arc(start: float, end: float, steps: int) -> Shape:
    """Part of the unit circle about (0, 0), in degrees."""
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


_CIRCLE = arc(0, 360, 28)[:-1]


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Shape:
    """An ellipse about (x, y), turned clockwise by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    return tuple((x + u * rx * cos - v * ry * sin, y + u * rx * sin + v * ry * cos) for u, v in _CIRCLE)


def box(left: float, top: float, right: float, bottom: float) -> Shape:
    """An upright rectangle."""
    return (left, top), (right, top), (right, bottom), (left, bottom)


@lru_cache(maxsize=128)
def smooth(*corners: Point) -> Shape:
    """A closed Catmull-Rom curve through the corners."""
    curve: list[Point] = []
    n = len(corners)
    for i in range(n):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = (corners[(i + k) % n] for k in (-1, 0, 1, 2))
        for t in (0.0, 0.2, 0.4, 0.6, 0.8):
            a, b = t * (2 * t - t * t - 1) / 2, (t * t * (3 * t - 5) + 2) / 2
            c, d = t * (t * (4 - 3 * t) + 1) / 2, t * t * (t - 1) / 2
            curve.append((a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy))
    return tuple(curve)


def mirror(points: Iterable[Point]) -> Shape:
    """The same shape on the other side of x = 0."""
    return tuple((-x, y) for x, y in points)


def squeeze(points: Iterable[Point], share: float) -> Shape:
    """The same shape made narrower about x = 0."""
    return tuple((x * share, y) for x, y in points)


class Pen:
    """Draws in a frame of its own, centred on (x, y) of the card, where 1 is `size` pixels of the card."""

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        x: float = 0,
        y: float = 0,
        size: float = 1,
        turn: float = 0,
        flip: bool = False,
    ) -> None:
        self._canvas = canvas
        self._x, self._y, self._size = x * OVERSAMPLING, y * OVERSAMPLING, size * OVERSAMPLING
        self._cos, self._sin = self._size * math.cos(turn), self._size * math.sin(turn)
        self._side = -1 if flip else 1

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        """A flat patch of colour; with an alpha it is glazed over what lies below."""
        self._canvas.polygon(self._place(points), colour)

    def shape(self, points: Iterable[Point], colour: Colour) -> None:
        """A patch with an inked outline, which keeps it apart from any background."""
        placed = self._place(points)
        self._canvas.polygon(placed, colour)
        self._canvas.line([*placed, *placed[:2]], INK, max(3, round(self._size * 0.04)), joint="curve")

    def stroke(self, points: Iterable[Point], colour: Colour, width: float) -> None:
        """An open line, `width` in the pen's own measure."""
        self._canvas.line(self._place(points), colour, max(2, round(self._size * width)), joint="curve")

    def _place(self, points: Iterable[Point]) -> list[Point]:
        x0, y0, cos, sin, side = self._x, self._y, self._cos, self._sin, self._side
        return [(x0 + side * (x * cos - y * sin), y0 + x * sin + y * cos) for x, y in points]
