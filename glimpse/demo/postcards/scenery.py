"""Where the things on a postcard stand: the light of the hour, the sky, and the place."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from glimpse.demo.postcards.pen import (
    HEIGHT,
    INK,
    OVERSAMPLING,
    WIDTH,
    Colour,
    Pen,
    Point,
    Shape,
    arc,
    box,
    mix,
    oval,
    smooth,
    vary,
)

# An outer arc, and back along a smaller circle about (0.5, 0) that meets both of its ends.
_CRESCENT = arc(50, 310, 20) + tuple((0.5 + 0.78 * x, 0.78 * y) for x, y in arc(280, 80, 16))
_CLOUD: Shape = (
    (-1, -0.15), (-0.8, -0.5), (-0.45, -0.5), (-0.25, -1), (0.15, -1.1),
    (0.42, -0.7), (0.75, -0.6), (1, -0.2), (0.8, 0.06), (-0.8, 0.06),
)  # fmt: skip


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


def sky(light: Light, rng: random.Random) -> Image.Image:
    """The empty canvas with the colours of the sky blended down it; the last one is reached near the horizon."""
    stops = Image.new("RGB", (1, 4))
    for y, colour in enumerate((*light.sky, light.sky[-1])):
        stops.putpixel((0, y), vary(colour, rng, 7))
    size = (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
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


SKY_ART: dict[str, Callable[[Stage], None]] = {
    "day": _draw_day_sky,
    "night": _draw_night_sky,
    "sunset": _draw_sunset_sky,
}


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
    pen.fill(((0, 0), (0.9, foot), (lean, foot)), stage.lit(mix(colour, INK, 0.16)))
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
    dark_window, lit_window = mix(wall, INK, 0.35), (255, 222, 130)
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
