"""The art of the demo's postcards: every picture is drawn here from polygons, nothing is loaded.

`paint_card` composes a sky, a place and one to three things in front of it. It knows nothing of captions, files or
which combinations exist (see `glimpse.postcards`). What matters stays in the middle square, for a model crops to it.

A picture is drawn at twice its size and halved, which smooths the edges. Things are drawn through a `Pen` in a frame
of their own: x and y from -1 to 1, y downwards, standing on y = 1.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 256, 192
_OVERSAMPLING = 2

Point = tuple[float, float]
Shape = tuple[Point, ...]
Colour = tuple[int, ...]  # red, green, blue and perhaps alpha

_INK = (38, 36, 62)
_SHADE = (70, 76, 120)
_CREAM = (255, 244, 214)
_PAPER = (252, 249, 241)
_WOOD = (140, 92, 62)
_LEAF = (72, 148, 84)
_GLASS = (206, 234, 246)
_GOLD = (255, 205, 84)

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


# --- shapes ----------------------------------------------------------------------------------------------------------


def _arc(start: float, end: float, steps: int) -> Shape:
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


_CIRCLE = _arc(0, 360, 28)[:-1]
# An outer arc, and back along a smaller circle about (0.5, 0) that meets both of its ends.
_CRESCENT = _arc(50, 310, 20) + tuple((0.5 + 0.78 * x, 0.78 * y) for x, y in _arc(280, 80, 16))
_CLOUD: Shape = (
    (-1, -0.15), (-0.8, -0.5), (-0.45, -0.5), (-0.25, -1), (0.15, -1.1),
    (0.42, -0.7), (0.75, -0.6), (1, -0.2), (0.8, 0.06), (-0.8, 0.06),
)  # fmt: skip


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
        self._x, self._y, self._size = x * _OVERSAMPLING, y * _OVERSAMPLING, size * _OVERSAMPLING
        self._cos, self._sin = self._size * math.cos(turn), self._size * math.sin(turn)
        self._side = -1 if flip else 1

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        """A flat patch of colour; with an alpha it is glazed over what lies below."""
        self._canvas.polygon(self._place(points), colour)

    def shape(self, points: Iterable[Point], colour: Colour) -> None:
        """A patch with an inked outline, which keeps it apart from any background."""
        placed = self._place(points)
        self._canvas.polygon(placed, colour)
        self._canvas.line([*placed, *placed[:2]], _INK, max(3, round(self._size * 0.04)), joint="curve")

    def stroke(self, points: Iterable[Point], colour: Colour, width: float) -> None:
        """An open line, `width` in the pen's own measure."""
        self._canvas.line(self._place(points), colour, max(2, round(self._size * width)), joint="curve")

    def _place(self, points: Iterable[Point]) -> list[Point]:
        x0, y0, cos, sin, side = self._x, self._y, self._cos, self._sin, self._side
        return [(x0 + side * (x * cos - y * sin), y0 + x * sin + y * cos) for x, y in points]


# --- subjects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paint:
    """The shades of one colour that a thing is painted in."""

    base: Colour
    dark: Colour
    light: Colour
    accent: Colour  # dots and stripes that must show on the base


def _paint(name: str, rng: random.Random) -> Paint:
    base = vary(PIGMENTS[name], rng, 8)
    dark = mix(base, _SHADE, 0.2) if name == "white" else mix(base, _INK, 0.3)  # white stays white in its shadows
    accent = dark if name in ("white", "yellow") else _CREAM
    return Paint(base, dark, mix(base, (255, 255, 255), 0.28), accent)


def _draw_house(pen: Pen, paint: Paint) -> None:
    pen.shape(box(0.36, -0.85, 0.62, -0.3), paint.dark)
    pen.shape(box(-0.76, -0.2, 0.76, 1), paint.base)
    pen.fill(box(0.4, -0.1, 0.74, 0.98), (*paint.dark, 70))
    pen.shape(((-1, -0.12), (0, -0.95), (1, -0.12)), paint.dark)
    pen.shape(box(-0.18, 0.4, 0.18, 1), _WOOD)
    for x in (-0.47, 0.47):
        pen.shape(box(x - 0.18, 0.1, x + 0.18, 0.5), _CREAM)
        pen.stroke(((x, 0.1), (x, 0.5)), _WOOD, 0.03)
        pen.stroke(((x - 0.18, 0.3), (x + 0.18, 0.3)), _WOOD, 0.03)


def _draw_tree(pen: Pen, paint: Paint) -> None:
    pen.shape(((-0.2, 1), (-0.1, 0.6), (-0.1, 0.1), (0.1, 0.1), (0.1, 0.6), (0.2, 1)), _WOOD)
    pen.shape(
        smooth(
            (0, -1), (0.32, -0.92), (0.4, -0.68), (0.66, -0.62), (0.74, -0.34), (0.62, -0.16), (0.86, 0.1),
            (0.72, 0.36), (0.38, 0.34), (0.2, 0.48), (-0.2, 0.48), (-0.38, 0.34), (-0.72, 0.36), (-0.86, 0.1),
            (-0.62, -0.16), (-0.74, -0.34), (-0.66, -0.62), (-0.4, -0.68), (-0.32, -0.92),
        ),
        paint.base,
    )  # fmt: skip
    pen.fill(smooth((-0.66, 0.22), (-0.2, 0.28), (0.4, 0.1), (0.74, 0.08), (0.66, 0.28), (0, 0.42)), paint.dark)
    for x, y in ((-0.2, -0.66), (-0.42, -0.28), (0.16, -0.3), (-0.4, 0.06), (0.3, -0.02)):
        pen.stroke(((x - 0.12, y + 0.05), (x, y - 0.05), (x + 0.12, y + 0.05)), paint.light, 0.06)


def _draw_boat(pen: Pen, paint: Paint) -> None:
    pen.stroke(((0, -0.98), (0, 0.5)), _WOOD, 0.08)
    pen.shape(smooth((0.1, -0.92), (0.5, -0.45), (0.86, 0.24), (0.45, 0.32), (0.1, 0.3)), paint.base)
    pen.shape(smooth((-0.1, -0.7), (-0.36, -0.3), (-0.7, 0.24), (-0.4, 0.31), (-0.1, 0.3)), _PAPER)
    pen.shape(((-1, 0.45), (1, 0.45), (0.84, 0.72), (0.6, 1), (-0.58, 1), (-0.84, 0.76)), paint.base)
    pen.fill(((-0.79, 0.76), (0.77, 0.76), (0.58, 0.98), (-0.56, 0.98)), paint.dark)
    for x in (-0.4, 0, 0.4):
        pen.fill(oval(x, 0.62, 0.07, 0.07), paint.accent)


def _draw_fish(pen: Pen, paint: Paint) -> None:
    pen.shape(smooth((0.4, 0), (0.98, -0.52), (0.84, 0), (0.98, 0.52)), paint.dark)
    pen.shape(smooth((-0.3, -0.4), (0, -0.82), (0.4, -0.62), (0.35, -0.3)), paint.dark)
    pen.shape(smooth((-0.1, 0.35), (0.12, 0.74), (0.34, 0.62), (0.26, 0.3)), paint.dark)
    pen.shape(oval(-0.18, 0, 0.76, 0.5), paint.base)
    pen.fill(smooth((-0.8, 0.16), (-0.2, 0.28), (0.44, 0.12), (0.1, 0.4), (-0.4, 0.42)), paint.light)
    for x, half in ((-0.08, 0.42), (0.2, 0.36)):
        pen.stroke(((x, -half), (x + 0.09, 0), (x, half)), paint.accent, 0.08)
    pen.fill(oval(-0.56, -0.12, 0.14, 0.14), _PAPER)
    pen.fill(oval(-0.58, -0.12, 0.08, 0.08), _INK)


def _draw_bird(pen: Pen, paint: Paint) -> None:
    pen.shape(((0.4, -0.02), (1, -0.14), (0.9, 0.08), (1, 0.3), (0.4, 0.3)), paint.dark)
    pen.shape(((-0.74, -0.3), (-1, -0.1), (-0.68, -0.04)), _GOLD)
    pen.shape(
        smooth(
            (-0.76, -0.2), (-0.5, -0.46), (-0.2, -0.3), (0.3, -0.12),
            (0.6, 0.12), (0.3, 0.48), (-0.3, 0.5), (-0.68, 0.2),
        ),
        paint.base,
    )  # fmt: skip
    pen.fill(smooth((-0.55, 0.2), (-0.1, 0.3), (0.35, 0.2), (0.1, 0.43), (-0.3, 0.42)), paint.light)
    pen.shape(
        ((-0.24, 0.1), (-0.1, -0.5), (0.3, -1), (0.38, -0.72), (0.62, -0.72), (0.52, -0.3), (0.3, 0.1)), paint.dark
    )
    pen.fill(((-0.14, 0.02), (-0.02, -0.44), (0.24, -0.8), (0.26, -0.4), (0.14, 0.02)), paint.base)
    pen.fill(oval(-0.52, -0.18, 0.09, 0.09), _PAPER)
    pen.fill(oval(-0.53, -0.18, 0.06, 0.06), _INK)


def _draw_car(pen: Pen, paint: Paint) -> None:
    pen.shape(smooth((-0.62, 0.2), (-0.5, -0.2), (-0.3, -0.42), (0.2, -0.42), (0.44, -0.2), (0.66, 0.2)), paint.base)
    pen.fill(((-0.46, 0.12), (-0.34, -0.22), (-0.24, -0.28), (-0.06, -0.28), (-0.06, 0.12)), _GLASS)
    pen.fill(((0.05, 0.12), (0.05, -0.28), (0.16, -0.28), (0.3, -0.18), (0.46, 0.12)), _GLASS)
    pen.shape(
        smooth(
            (-0.97, 0.3), (-0.8, 0.13), (0, 0.1), (0.8, 0.15),
            (0.99, 0.36), (0.96, 0.72), (0, 0.78), (-0.96, 0.72),
        ),
        paint.base,
    )  # fmt: skip
    pen.fill(box(-0.94, 0.54, 0.94, 0.7), paint.dark)
    pen.shape(oval(0.86, 0.38, 0.09, 0.09), _GOLD)
    pen.stroke(((-0.08, 0.32), (0.1, 0.32)), _INK, 0.05)
    for x in (-0.52, 0.52):
        pen.fill(oval(x, 0.73, 0.28, 0.28), _INK)
        pen.fill(oval(x, 0.73, 0.13, 0.13), (214, 216, 224))


def _draw_flower(pen: Pen, paint: Paint) -> None:
    pen.stroke(((0, 0), (0.04, 0.5), (0, 1)), _INK, 0.16)
    pen.stroke(((0, 0), (0.04, 0.5), (0, 0.99)), _LEAF, 0.1)
    pen.shape(oval(0.3, 0.68, 0.3, 0.12, -0.5), _LEAF)
    pen.shape(oval(-0.28, 0.8, 0.3, 0.12, 0.5), _LEAF)
    for i in range(7):
        turn = i * math.tau / 7 - math.pi / 2
        x, y = 0.42 * math.cos(turn), 0.42 * math.sin(turn) - 0.26
        pen.shape(oval(x, y, 0.33, 0.24, turn), paint.base if i % 2 else mix(paint.base, paint.light, 0.5))
    pen.shape(oval(0, -0.26, 0.22, 0.22), _WOOD if paint.accent != _CREAM else _GOLD)


def _draw_balloon(pen: Pen, paint: Paint) -> None:
    envelope = smooth(
        (0, -1), (0.46, -0.88), (0.74, -0.48), (0.62, -0.02), (0.2, 0.46),
        (-0.2, 0.46), (-0.62, -0.02), (-0.74, -0.48), (-0.46, -0.88),
    )  # fmt: skip
    for x in (-0.14, 0.14):
        pen.stroke(((x * 1.3, 0.44), (x, 0.74)), _INK, 0.04)
    pen.shape(envelope, paint.base)
    pen.fill(squeeze(envelope, 0.68), paint.accent)
    pen.fill(squeeze(envelope, 0.48), paint.base)
    pen.fill(squeeze(envelope, 0.16), paint.light)
    pen.shape(box(-0.2, 0.7, 0.2, 1), _WOOD)


def _draw_cat(pen: Pen, paint: Paint) -> None:
    tail = ((0.3, 0.9), (0.66, 0.86), (0.84, 0.6), (0.8, 0.3), (0.66, 0.16))
    pen.stroke(tail, _INK, 0.24)
    pen.stroke(tail, paint.base, 0.16)
    body = smooth((0, -0.1), (0.36, 0.2), (0.52, 0.74), (0.36, 1), (-0.36, 1), (-0.52, 0.74), (-0.36, 0.2))
    pen.shape(body, paint.base)
    pen.fill(oval(0, 0.62, 0.22, 0.32), paint.light)
    ear = ((0.1, -0.66), (0.5, -1), (0.56, -0.36))
    for one in (ear, mirror(ear)):
        pen.shape(one, paint.dark)
    pen.shape(oval(0, -0.35, 0.6, 0.45), paint.base)
    for x in (-0.25, 0.25):
        pen.fill(oval(x, -0.42, 0.14, 0.15), _CREAM)
        pen.fill(oval(x, -0.41, 0.08, 0.12), _INK)
        pen.stroke(((x * 1.4, -0.2), (x * 2.9, -0.25)), _INK, 0.025)
        pen.stroke(((x * 1.4, -0.14), (x * 2.8, -0.1)), _INK, 0.025)
    pen.fill(((-0.08, -0.26), (0.08, -0.26), (0, -0.17)), _INK)


def _draw_butterfly(pen: Pen, paint: Paint) -> None:
    upper = smooth((0.04, -0.08), (0.3, -0.7), (0.8, -0.86), (0.98, -0.5), (0.76, -0.02), (0.3, 0.08))
    lower = smooth((0.04, 0.04), (0.4, 0.04), (0.74, 0.28), (0.7, 0.68), (0.4, 0.84), (0.14, 0.46))
    for side in (tuple, mirror):
        pen.stroke(side(((0, -0.4), (0.12, -0.72), (0.28, -0.9))), _INK, 0.04)
        pen.shape(side(lower), paint.dark)
        pen.shape(side(upper), paint.base)
        pen.fill(side(oval(0.62, -0.46, 0.17, 0.15)), paint.accent)
        pen.fill(side(oval(0.46, 0.46, 0.11, 0.12)), paint.light)
    pen.fill(oval(0, 0.05, 0.09, 0.5), _INK)
    pen.fill(oval(0, -0.44, 0.12, 0.12), _INK)


def _draw_mushroom(pen: Pen, paint: Paint) -> None:
    pen.shape(smooth((-0.24, 0), (0.24, 0), (0.28, 0.6), (0.36, 0.96), (0, 1), (-0.36, 0.96), (-0.28, 0.6)), _CREAM)
    pen.fill(box(-0.24, 0.2, 0.24, 0.36), mix(_CREAM, _WOOD, 0.35))
    pen.shape(
        smooth(
            (-0.96, 0.08), (-0.8, -0.46), (-0.34, -0.88), (0.34, -0.88),
            (0.8, -0.46), (0.96, 0.08), (0.5, 0.24), (-0.5, 0.24),
        ),
        paint.base,
    )  # fmt: skip
    pen.fill(smooth((-0.85, 0.08), (0, 0.12), (0.85, 0.08), (0.5, 0.2), (-0.5, 0.2)), paint.dark)
    for x, y, r in ((-0.5, -0.28, 0.15), (0.02, -0.58, 0.17), (0.5, -0.24, 0.16), (0, -0.1, 0.11)):
        pen.fill(oval(x, y, r, r * 0.85), paint.accent)


def _draw_umbrella(pen: Pen, paint: Paint) -> None:
    handle = ((0, -0.98), (0, 0.78), (0.06, 0.92), (0.18, 0.96), (0.3, 0.88), (0.32, 0.74))
    pen.stroke(handle, _INK, 0.14)
    pen.stroke(handle, _WOOD, 0.07)
    dome = tuple((math.cos(i * math.pi / 16), 0.06 - 0.95 * math.sin(i * math.pi / 16)) for i in range(17))
    scallops = tuple((x / 12 - 1, 0.06 - 0.13 * abs(math.sin(x * math.pi / 8))) for x in range(25))
    canopy = dome + scallops
    pen.shape(canopy, paint.base)
    pen.fill(squeeze(canopy, 0.64), paint.light)
    pen.fill(squeeze(canopy, 0.33), paint.base)


SUBJECT_ART: dict[str, Callable[[Pen, Paint], None]] = {
    "house": _draw_house,
    "tree": _draw_tree,
    "boat": _draw_boat,
    "fish": _draw_fish,
    "bird": _draw_bird,
    "car": _draw_car,
    "flower": _draw_flower,
    "balloon": _draw_balloon,
    "cat": _draw_cat,
    "butterfly": _draw_butterfly,
    "mushroom": _draw_mushroom,
    "umbrella": _draw_umbrella,
}
_AIRBORNE = frozenset({"fish", "bird", "balloon", "butterfly"})


# --- light and sky ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Light:
    """What the time of day does to a picture."""

    sky: tuple[Colour, Colour, Colour]  # from the top to the horizon
    tint: tuple[float, float, float]  # how much of a colour of the land is left
    cloud: Colour


LIGHTS: dict[str, Light] = {
    "day": Light(((112, 184, 232), (164, 214, 242), (226, 242, 246)), (1, 1, 1), (255, 255, 255, 215)),
    "night": Light(((16, 20, 54), (30, 38, 88), (62, 70, 128)), (0.44, 0.5, 0.72), (150, 160, 215, 50)),
    "sunset": Light(((118, 92, 160), (238, 134, 132), (255, 196, 128)), (0.94, 0.74, 0.68), (255, 214, 196, 150)),
}


@dataclass(frozen=True)
class Stage:
    """A card in the making: what a place needs to be drawn."""

    canvas: ImageDraw.ImageDraw
    rng: random.Random
    time: str
    horizon: float

    @property
    def pen(self) -> Pen:
        """A pen in the pixels of the card."""
        return Pen(self.canvas)

    def lit(self, colour: Colour) -> Colour:
        """A colour of the land as it looks at this time, never twice quite the same."""
        tint = LIGHTS[self.time].tint
        return tuple(round(c * t) for c, t in zip(vary(colour, self.rng, 6), tint, strict=True))

    def hill(self, top: float, swell: float, colour: Colour) -> None:
        """Land from about `top` down to the bottom of the card, with a wavy edge."""
        phase, length = self.rng.uniform(0, math.tau), self.rng.uniform(60, 110)
        edge = [(x, top + swell * math.sin(phase + x / length * math.pi)) for x in range(0, WIDTH + 1, 8)]
        self.pen.fill([*edge, (WIDTH, HEIGHT), (0, HEIGHT)], self.lit(colour))

    def scatter(self, n: int, top: float, bottom: float) -> list[Point]:
        """`n` places between two heights, from the far to the near."""
        places = [(self.rng.uniform(4, WIDTH - 4), self.rng.uniform(top, bottom)) for _ in range(n)]
        return sorted(places, key=lambda place: place[1])


def _sky(light: Light, rng: random.Random) -> Image.Image:
    """The empty canvas with the colours of the sky blended down it; the last one is reached near the horizon."""
    stops = Image.new("RGB", (1, 4))
    for y, colour in enumerate((*light.sky, light.sky[-1])):
        stops.putpixel((0, y), vary(colour, rng, 7))
    size = (WIDTH * _OVERSAMPLING, HEIGHT * _OVERSAMPLING)
    return stops.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, 4))


def _draw_day_sky(stage: Stage) -> None:
    x, y = stage.rng.choice((64, 192)) + stage.rng.uniform(-8, 8), stage.rng.uniform(28, 36)
    for radius, alpha in ((30, 50), (22, 80)):
        stage.pen.fill(oval(x, y, radius, radius), (255, 244, 190, alpha))
    stage.pen.fill(oval(x, y, 14, 14), (255, 226, 110))
    _draw_clouds(stage, 3)


def _draw_night_sky(stage: Stage) -> None:
    for x, y in stage.scatter(46, 8, stage.horizon):
        radius = stage.rng.choice((0.7, 0.9, 1.4))
        stage.pen.fill(box(x - radius, y - radius, x + radius, y + radius), (255, 250, 220, 210))
    _draw_clouds(stage, 2)
    x, y = stage.rng.choice((64, 192)) + stage.rng.uniform(-8, 8), stage.rng.uniform(30, 36)
    stage.pen.fill(oval(x, y, 26, 26), (220, 226, 255, 36))
    Pen(stage.canvas, x, y, 16, turn=-0.5).fill(_CRESCENT, (252, 244, 208))


def _draw_sunset_sky(stage: Stage) -> None:
    x, y = stage.rng.choice((62, 194)) + stage.rng.uniform(-14, 14), stage.horizon - stage.rng.uniform(4, 14)
    for radius, alpha in ((64, 34), (46, 44), (32, 60)):
        stage.pen.fill(oval(x, y, radius, radius), (255, 226, 150, alpha))
    stage.pen.fill(oval(x, y, 21, 21), (255, 238, 176))
    _draw_clouds(stage, 4)


def _draw_clouds(stage: Stage, n: int) -> None:
    for x, y in stage.scatter(n, 14, stage.horizon * 0.7):
        width, height = stage.rng.uniform(13, 24), stage.rng.uniform(7, 12)
        if stage.time == "sunset":
            height *= 0.5  # long streaks catch the last light
        puffs = smooth(*_CLOUD)
        stage.pen.fill(((x + u * width, y + v * height) for u, v in puffs), LIGHTS[stage.time].cloud)


_SKY_ART: dict[str, Callable[[Stage], None]] = {
    "day": _draw_day_sky,
    "night": _draw_night_sky,
    "sunset": _draw_sunset_sky,
}


# --- places ----------------------------------------------------------------------------------------------------------


def _draw_sea(stage: Stage) -> None:
    pen, rng, top = stage.pen, stage.rng, stage.horizon
    shore = rng.uniform(150, 158)
    pen.fill(box(0, top, WIDTH, HEIGHT), stage.lit((46, 150, 190)))
    pen.fill(box(0, (top + shore) / 2, WIDTH, HEIGHT), stage.lit((66, 174, 202)))
    for x, y in stage.scatter(26, top + 4, shore - 4):
        half = 3 + (y - top) / 8
        crest = ((x - half, y), (x - half / 3, y - 1.4), (x + half / 3, y), (x + half, y - 1.4))
        pen.stroke(crest, stage.lit((206, 240, 244)), 0.9)
    stage.hill(shore - 3, 3.5, (250, 252, 250))
    stage.hill(shore + 3, 3.5, (244, 214, 160))
    for x, y in stage.scatter(12, shore + 10, HEIGHT - 6):
        pen.fill(oval(x, y, 1.6, 1), stage.lit((214, 176, 122)))


def _draw_desert(stage: Stage) -> None:
    pen, rng, top = stage.pen, stage.rng, stage.horizon
    for x in (rng.uniform(20, 90), rng.uniform(150, 236)):
        height, half = rng.uniform(24, 36), rng.uniform(22, 34)
        mesa = (
            (x - half, top + 8),
            (x - half * 0.7, top - height),
            (x + half * 0.7, top - height),
            (x + half, top + 8),
        )
        pen.fill(mesa, stage.lit((206, 124, 88)))
        pen.fill(
            box(x - half * 0.74, top - height * 0.7, x + half * 0.74, top - height * 0.5), stage.lit((186, 104, 76))
        )
    stage.hill(top, 5, (236, 186, 116))
    stage.hill(top + 24, 7, (228, 170, 98))
    stage.hill(top + 52, 6, (216, 154, 84))
    for x, y in ((rng.uniform(34, 58), top + 34), (rng.uniform(198, 224), top + 34)):
        _draw_cactus(stage, x, y + rng.uniform(-8, 8), rng.uniform(12, 17))


def _draw_cactus(stage: Stage, x: float, foot: float, size: float) -> None:
    pen, green = Pen(stage.canvas, x, foot, size), stage.lit((74, 130, 92))
    for arm in (((0, 0), (0, -2.2)), ((0, -0.8), (-0.7, -0.8), (-0.7, -1.6)), ((0, -1.1), (0.7, -1.1), (0.7, -1.8))):
        pen.stroke(arm, green, 0.38)


def _draw_meadow(stage: Stage) -> None:
    pen, rng, top = stage.pen, stage.rng, stage.horizon
    stage.hill(top - 6, 9, (158, 200, 128))
    stage.hill(top + 14, 8, (142, 196, 98))
    stage.hill(top + 46, 6, (122, 182, 82))
    blade = stage.lit((88, 150, 66))
    for x, y in stage.scatter(40, top + 26, HEIGHT - 6):
        pen.stroke(((x - 2, y - 4), (x, y), (x + 2.4, y - 4.6)), blade, 0.9)
    for x, y in stage.scatter(22, top + 22, HEIGHT - 6):
        pen.fill(oval(x, y, 2, 2), stage.lit(rng.choice(((255, 255, 250), (255, 226, 120), (250, 190, 206)))))


def _draw_snow(stage: Stage) -> None:
    pen, rng, top = stage.pen, stage.rng, stage.horizon
    stage.hill(top - 4, 8, (206, 222, 240))
    for x, y in stage.scatter(9, top - 2, top + 12):
        _draw_pine(stage, x, y, rng.uniform(12, 19))
    stage.hill(top + 18, 7, (228, 238, 248))
    stage.hill(top + 50, 6, (244, 248, 252))
    for x, y in stage.scatter(44, 8, HEIGHT - 8):
        radius = rng.uniform(0.9, 1.9)
        pen.fill(oval(x, y, radius, radius), (255, 255, 255, 220))


def _draw_pine(stage: Stage, x: float, foot: float, size: float) -> None:
    pen, green, snow = Pen(stage.canvas, x, foot, size), stage.lit((66, 112, 108)), stage.lit((240, 246, 252))
    for half, y in ((0.62, 0.0), (0.46, -0.55), (0.29, -1.1)):
        pen.fill(((-half, y), (0, y - 0.95), (half, y)), green)
        pen.fill(((-half * 0.4, y - 0.55), (0, y - 0.95), (half * 0.4, y - 0.55)), snow)


def _draw_mountains(stage: Stage) -> None:
    rng, top = stage.rng, stage.horizon
    for x in (rng.uniform(-10, 50), rng.uniform(70, 120), rng.uniform(140, 190), rng.uniform(215, 265)):
        _draw_peak(stage, x, rng.uniform(44, 66), (150, 164, 196))
    for x in (rng.uniform(10, 50), rng.uniform(205, 245)):
        _draw_peak(stage, x, rng.uniform(30, 42), (122, 138, 174))
    stage.hill(top + 12, 6, (120, 150, 130))
    stage.hill(top + 40, 6, (150, 150, 128))
    for x, y in stage.scatter(16, top + 46, HEIGHT - 6):
        half = rng.uniform(2, 5)
        stage.pen.fill(oval(x, y, half, half * 0.6), stage.lit((120, 122, 116)))


def _draw_peak(stage: Stage, x: float, height: float, colour: Colour) -> None:
    pen, foot = Pen(stage.canvas, x, stage.horizon - height, height), 1 + 20 / height
    lean = stage.rng.uniform(0.1, 0.3)
    pen.fill(((-0.9, foot), (0, 0), (0.9, foot)), stage.lit(colour))
    pen.fill(((0, 0), (0.9, foot), (lean, foot)), stage.lit(mix(colour, _INK, 0.16)))
    reach = 0.9 * 0.36 / foot
    cap = ((0, 0), (reach, 0.36), (reach * 0.4, 0.27), (0, 0.4), (-reach * 0.5, 0.27), (-reach, 0.36))
    pen.fill(cap, stage.lit((246, 249, 253)))


def _draw_city(stage: Stage) -> None:
    pen, rng, top = stage.pen, stage.rng, stage.horizon
    foot = top + 26
    x = -6.0
    while x < WIDTH:
        width = rng.uniform(24, 36)
        _draw_tower(stage, x, rng.uniform(34, 84), width, foot)
        x += width + rng.uniform(-1, 3)
    pen.fill(box(0, foot, WIDTH, HEIGHT), stage.lit((196, 196, 204)))
    pen.fill(box(0, foot + 8, WIDTH, HEIGHT), stage.lit((124, 128, 144)))
    for x in range(-10, WIDTH, 44):
        pen.fill(box(x, foot + 32, x + 24, foot + 35), stage.lit((240, 236, 214)))


def _draw_tower(stage: Stage, x: float, height: float, width: float, foot: float) -> None:
    wall = stage.lit(stage.rng.choice(((168, 172, 196), (190, 178, 186), (146, 156, 184), (200, 192, 184))))
    dark_window, lit_window = mix(wall, _INK, 0.35), (255, 222, 130)
    stage.pen.fill(box(x, foot - height, x + width, foot), wall)
    for row in range(int(height // 12)):
        for column in range(3):
            left, y = x + width * (0.14 + 0.28 * column), foot - height + 5 + row * 12
            lit = stage.time != "day" and stage.rng.random() < 0.6
            stage.pen.fill(box(left, y, left + width * 0.16, y + 6), lit_window if lit else dark_window)


PLACE_ART: dict[str, Callable[[Stage], None]] = {
    "sea": _draw_sea,
    "desert": _draw_desert,
    "meadow": _draw_meadow,
    "snow": _draw_snow,
    "mountains": _draw_mountains,
    "city": _draw_city,
}


# --- the whole card --------------------------------------------------------------------------------------------------

# Where one to three things stand, as (x, how far up, half their size), the far ones first. Nothing leaves the middle
# square (x from 32 to 224), and a thing shrinks rather than hide another.
_GROUPS: dict[int, tuple[tuple[tuple[float, float, float], ...], ...]] = {
    1: (((128, 8, 58),),),
    2: (((82, 12, 41), (174, 12, 41)), ((82, 20, 41), (174, 6, 41)), ((82, 6, 41), (174, 20, 41))),
    3: (((128, 62, 33), (76, 6, 35), (180, 6, 35)), ((76, 58, 34), (180, 58, 34), (128, 4, 34))),
}


def paint_card(subject: str, colour: str, count: int, place: str, time: str, rng: random.Random) -> Image.Image:
    """`count` things of one kind and colour, in a place, at a time of day: RGB, WIDTH x HEIGHT."""
    horizon = rng.uniform(96, 108)
    image = _sky(LIGHTS[time], rng)
    stage = Stage(ImageDraw.Draw(image, "RGBA"), rng, time, horizon)
    _SKY_ART[time](stage)
    PLACE_ART[place](stage)
    for x, up, half in rng.choice(_GROUPS[count]):
        if subject == "boat" and place == "sea":
            up += 20  # afloat rather than ashore
        _draw_thing(stage, subject, _paint(colour, rng), x, up, half)
    _draw_border(stage.pen)
    return image.reduce(_OVERSAMPLING)


def _draw_thing(stage: Stage, subject: str, paint: Paint, x: float, up: float, half: float) -> None:
    rng = stage.rng
    size, turn = half * rng.uniform(0.88, 1), 0.0
    x += rng.uniform(-1, 1) * (4 if half < 50 else 12)
    foot = HEIGHT - 12 - up + rng.uniform(-3, 3)
    if subject in _AIRBORNE:
        turn = rng.uniform(-0.16, 0.16)
        foot -= half / 3
    else:
        Pen(stage.canvas, x, foot, size).fill(oval(0.06, 0, 0.86, 0.12), (30, 26, 60, 70))
    SUBJECT_ART[subject](Pen(stage.canvas, x, foot - size, size, turn, flip=rng.random() < 0.5), paint)


def _draw_border(pen: Pen) -> None:
    edge = 4
    for side in (
        box(0, 0, WIDTH, edge),
        box(0, HEIGHT - edge, WIDTH, HEIGHT),
        box(0, 0, edge, HEIGHT),
        box(WIDTH - edge, 0, WIDTH, HEIGHT),
    ):
        pen.fill(side, _PAPER)
