"""The things that a postcard shows, each in its own frame and in the shades of one colour."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from glimpse.demo.postcards.pen import (
    CREAM,
    GLASS,
    GOLD,
    INK,
    LEAF,
    PAPER,
    PIGMENTS,
    SHADE,
    WOOD,
    Colour,
    Pen,
    box,
    mirror,
    mix,
    oval,
    smooth,
    squeeze,
    vary,
)


@dataclass(frozen=True)
class Paint:
    """The shades of one colour that a thing is painted in."""

    base: Colour
    dark: Colour
    light: Colour
    accent: Colour  # dots and stripes that must show on the base


def shades(name: str, rng: random.Random) -> Paint:
    """What to paint a thing of this colour in, never twice quite the same."""
    base = vary(PIGMENTS[name], rng, 8)
    dark = mix(base, SHADE, 0.2) if name == "white" else mix(base, INK, 0.3)  # white stays white in its shadows
    accent = dark if name in ("white", "yellow") else CREAM
    return Paint(base, dark, mix(base, (255, 255, 255), 0.28), accent)


def _draw_house(pen: Pen, paint: Paint) -> None:
    pen.shape(box(0.36, -0.85, 0.62, -0.3), paint.dark)
    pen.shape(box(-0.76, -0.2, 0.76, 1), paint.base)
    pen.fill(box(0.4, -0.1, 0.74, 0.98), (*paint.dark, 70))
    pen.shape(((-1, -0.12), (0, -0.95), (1, -0.12)), paint.dark)
    pen.shape(box(-0.18, 0.4, 0.18, 1), WOOD)
    for x in (-0.47, 0.47):
        pen.shape(box(x - 0.18, 0.1, x + 0.18, 0.5), CREAM)
        pen.stroke(((x, 0.1), (x, 0.5)), WOOD, 0.03)
        pen.stroke(((x - 0.18, 0.3), (x + 0.18, 0.3)), WOOD, 0.03)


def _draw_tree(pen: Pen, paint: Paint) -> None:
    pen.shape(((-0.2, 1), (-0.1, 0.6), (-0.1, 0.1), (0.1, 0.1), (0.1, 0.6), (0.2, 1)), WOOD)
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
    pen.stroke(((0, -0.98), (0, 0.5)), WOOD, 0.08)
    pen.shape(smooth((0.1, -0.92), (0.5, -0.45), (0.86, 0.24), (0.45, 0.32), (0.1, 0.3)), paint.base)
    pen.shape(smooth((-0.1, -0.7), (-0.36, -0.3), (-0.7, 0.24), (-0.4, 0.31), (-0.1, 0.3)), PAPER)
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
    pen.fill(oval(-0.56, -0.12, 0.14, 0.14), PAPER)
    pen.fill(oval(-0.58, -0.12, 0.08, 0.08), INK)


def _draw_bird(pen: Pen, paint: Paint) -> None:
    pen.shape(((0.4, -0.02), (1, -0.14), (0.9, 0.08), (1, 0.3), (0.4, 0.3)), paint.dark)
    pen.shape(((-0.74, -0.3), (-1, -0.1), (-0.68, -0.04)), GOLD)
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
    pen.fill(oval(-0.52, -0.18, 0.09, 0.09), PAPER)
    pen.fill(oval(-0.53, -0.18, 0.06, 0.06), INK)


def _draw_car(pen: Pen, paint: Paint) -> None:
    pen.shape(smooth((-0.62, 0.2), (-0.5, -0.2), (-0.3, -0.42), (0.2, -0.42), (0.44, -0.2), (0.66, 0.2)), paint.base)
    pen.fill(((-0.46, 0.12), (-0.34, -0.22), (-0.24, -0.28), (-0.06, -0.28), (-0.06, 0.12)), GLASS)
    pen.fill(((0.05, 0.12), (0.05, -0.28), (0.16, -0.28), (0.3, -0.18), (0.46, 0.12)), GLASS)
    pen.shape(
        smooth(
            (-0.97, 0.3), (-0.8, 0.13), (0, 0.1), (0.8, 0.15),
            (0.99, 0.36), (0.96, 0.72), (0, 0.78), (-0.96, 0.72),
        ),
        paint.base,
    )  # fmt: skip
    pen.fill(box(-0.94, 0.54, 0.94, 0.7), paint.dark)
    pen.shape(oval(0.86, 0.38, 0.09, 0.09), GOLD)
    pen.stroke(((-0.08, 0.32), (0.1, 0.32)), INK, 0.05)
    for x in (-0.52, 0.52):
        pen.fill(oval(x, 0.73, 0.28, 0.28), INK)
        pen.fill(oval(x, 0.73, 0.13, 0.13), (214, 216, 224))


def _draw_flower(pen: Pen, paint: Paint) -> None:
    pen.stroke(((0, 0), (0.04, 0.5), (0, 1)), INK, 0.16)
    pen.stroke(((0, 0), (0.04, 0.5), (0, 0.99)), LEAF, 0.1)
    pen.shape(oval(0.3, 0.68, 0.3, 0.12, -0.5), LEAF)
    pen.shape(oval(-0.28, 0.8, 0.3, 0.12, 0.5), LEAF)
    for i in range(7):
        turn = i * math.tau / 7 - math.pi / 2
        x, y = 0.42 * math.cos(turn), 0.42 * math.sin(turn) - 0.26
        pen.shape(oval(x, y, 0.33, 0.24, turn), paint.base if i % 2 else mix(paint.base, paint.light, 0.5))
    pen.shape(oval(0, -0.26, 0.22, 0.22), WOOD if paint.accent != CREAM else GOLD)


def _draw_balloon(pen: Pen, paint: Paint) -> None:
    envelope = smooth(
        (0, -1), (0.46, -0.88), (0.74, -0.48), (0.62, -0.02), (0.2, 0.46),
        (-0.2, 0.46), (-0.62, -0.02), (-0.74, -0.48), (-0.46, -0.88),
    )  # fmt: skip
    for x in (-0.14, 0.14):
        pen.stroke(((x * 1.3, 0.44), (x, 0.74)), INK, 0.04)
    pen.shape(envelope, paint.base)
    pen.fill(squeeze(envelope, 0.68), paint.accent)
    pen.fill(squeeze(envelope, 0.48), paint.base)
    pen.fill(squeeze(envelope, 0.16), paint.light)
    pen.shape(box(-0.2, 0.7, 0.2, 1), WOOD)


def _draw_cat(pen: Pen, paint: Paint) -> None:
    tail = ((0.3, 0.9), (0.66, 0.86), (0.84, 0.6), (0.8, 0.3), (0.66, 0.16))
    pen.stroke(tail, INK, 0.24)
    pen.stroke(tail, paint.base, 0.16)
    body = smooth((0, -0.1), (0.36, 0.2), (0.52, 0.74), (0.36, 1), (-0.36, 1), (-0.52, 0.74), (-0.36, 0.2))
    pen.shape(body, paint.base)
    pen.fill(oval(0, 0.62, 0.22, 0.32), paint.light)
    ear = ((0.1, -0.66), (0.5, -1), (0.56, -0.36))
    for one in (ear, mirror(ear)):
        pen.shape(one, paint.dark)
    pen.shape(oval(0, -0.35, 0.6, 0.45), paint.base)
    for x in (-0.25, 0.25):
        pen.fill(oval(x, -0.42, 0.14, 0.15), CREAM)
        pen.fill(oval(x, -0.41, 0.08, 0.12), INK)
        pen.stroke(((x * 1.4, -0.2), (x * 2.9, -0.25)), INK, 0.025)
        pen.stroke(((x * 1.4, -0.14), (x * 2.8, -0.1)), INK, 0.025)
    pen.fill(((-0.08, -0.26), (0.08, -0.26), (0, -0.17)), INK)


def _draw_butterfly(pen: Pen, paint: Paint) -> None:
    upper = smooth((0.04, -0.08), (0.3, -0.7), (0.8, -0.86), (0.98, -0.5), (0.76, -0.02), (0.3, 0.08))
    lower = smooth((0.04, 0.04), (0.4, 0.04), (0.74, 0.28), (0.7, 0.68), (0.4, 0.84), (0.14, 0.46))
    for side in (tuple, mirror):
        pen.stroke(side(((0, -0.4), (0.12, -0.72), (0.28, -0.9))), INK, 0.04)
        pen.shape(side(lower), paint.dark)
        pen.shape(side(upper), paint.base)
        pen.fill(side(oval(0.62, -0.46, 0.17, 0.15)), paint.accent)
        pen.fill(side(oval(0.46, 0.46, 0.11, 0.12)), paint.light)
    pen.fill(oval(0, 0.05, 0.09, 0.5), INK)
    pen.fill(oval(0, -0.44, 0.12, 0.12), INK)


def _draw_mushroom(pen: Pen, paint: Paint) -> None:
    pen.shape(smooth((-0.24, 0), (0.24, 0), (0.28, 0.6), (0.36, 0.96), (0, 1), (-0.36, 0.96), (-0.28, 0.6)), CREAM)
    pen.fill(box(-0.24, 0.2, 0.24, 0.36), mix(CREAM, WOOD, 0.35))
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
    pen.stroke(handle, INK, 0.14)
    pen.stroke(handle, WOOD, 0.07)
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
AIRBORNE = frozenset({"fish", "bird", "balloon", "butterfly"})
