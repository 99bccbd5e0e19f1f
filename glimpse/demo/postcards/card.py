"""A whole postcard: a sky, a place and one to three things in front of it.

What matters stays in the middle square, for a model crops to it.
"""

import random

from PIL import Image, ImageDraw

from glimpse.demo.postcards.pen import HEIGHT, OVERSAMPLING, PAPER, WIDTH, Pen, box, oval
from glimpse.demo.postcards.scenery import LIGHTS, PLACE_ART, SKY_ART, Stage, sky
from glimpse.demo.postcards.subjects import AIRBORNE, SUBJECT_ART, Paint, shades

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
    image = sky(LIGHTS[time], rng)
    stage = Stage(ImageDraw.Draw(image, "RGBA"), rng, time, horizon)
    SKY_ART[time](stage)
    PLACE_ART[place](stage)
    for x, up, half in rng.choice(_GROUPS[count]):
        if subject == "boat" and place == "sea":
            up += 20  # afloat rather than ashore
        _draw_thing(stage, subject, shades(colour, rng), x, up, half)
    _draw_border(stage.pen)
    return image.reduce(OVERSAMPLING)


def _draw_thing(stage: Stage, subject: str, paint: Paint, x: float, up: float, half: float) -> None:
    rng = stage.rng
    size, turn = half * rng.uniform(0.88, 1), 0.0
    x += rng.uniform(-1, 1) * (4 if half < 50 else 12)
    foot = HEIGHT - 12 - up + rng.uniform(-3, 3)
    if subject in AIRBORNE:
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
        pen.fill(side, PAPER)
