"""What a postcard shows, what is said of it and where it is written: images, and the CSV that training reads.

Every choice comes from a seeded `random.Random`, so a seed gives the same cards however many processes
draw them.
"""

import csv
import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from base.machine.cpus import threads
from glimpse.demo.postcards.card import paint_card
from glimpse.demo.postcards.pen import PIGMENTS
from glimpse.demo.postcards.subjects import SUBJECT_ART

SUBJECTS: tuple[str, ...] = tuple(SUBJECT_ART)
COLOURS: tuple[str, ...] = tuple(PIGMENTS)
COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three"}
PLACES: dict[str, str] = {
    "sea": "by the sea",
    "desert": "in the desert",
    "meadow": "in a meadow",
    "snow": "in the snow",
    "mountains": "in the mountains",
    "city": "in the city",
}
TIMES: dict[str, tuple[str, ...]] = {  # the first is the plain way to say it
    "day": ("by day", "in the daytime", "on a sunny day"),
    "night": ("at night", "on a starry night"),
    "sunset": ("at sunset", "in the light of the sunset"),
}

_PLURALS = {"fish": "fish", "butterfly": "butterflies"}
_WORDINGS = (
    "{things} {place} {time}",
    "{things} {place} {time}",  # twice: the plain order is the most usual
    "{things} {place}, {time}",
    "{time}, {things} {place}",
    "{place}, {things} {time}",
    "a postcard of {things} {place} {time}",
)
_CARDS_PER_TASK = 32


@dataclass(frozen=True)
class Scene:
    """What a card shows."""

    subject: str
    colour: str
    count: int
    place: str
    time: str


@dataclass(frozen=True)
class Postcard:
    """A scene, drawn and described."""

    scene: Scene
    caption: str
    image: Image.Image


def all_scenes() -> list[Scene]:
    """Every combination, in a fixed order."""
    return [Scene(*values) for values in product(SUBJECTS, COLOURS, COUNTS, PLACES, TIMES)]


def split_scenes(seed: int, n_unseen: int) -> tuple[list[Scene], list[Scene]]:
    """(seen, unseen), both shuffled: no scene is in both, yet seen has every subject, colour, count, place and time."""
    scenes = all_scenes()
    random.Random(seed).shuffle(scenes)
    left = Counter(value for scene in scenes for value in _values(scene))
    seen: list[Scene] = []
    unseen: list[Scene] = []
    for scene in scenes:
        if len(unseen) < n_unseen and all(left[value] > 1 for value in _values(scene)):
            unseen.append(scene)
            left.subtract(_values(scene))
        else:
            seen.append(scene)
    if len(unseen) < n_unseen:
        raise ValueError(f"{n_unseen} scenes cannot be held out: at most {len(unseen)} of {len(scenes)} can")
    return seen, unseen


def _values(scene: Scene) -> list[tuple[str, object]]:
    return list(dataclasses.asdict(scene).items())


def draw_postcard(scene: Scene, rng: random.Random, tagged: float = 0.0) -> Postcard:
    """One of the many cards that show this scene; a share of `tagged` has tags for a caption, as "boat, at night"."""
    caption = _tags(scene, rng) if rng.random() < tagged else _caption(scene, rng)
    image = paint_card(scene.subject, scene.colour, scene.count, scene.place, scene.time, rng)
    return Postcard(scene, caption, image)


def plain_caption(scene: Scene) -> str:
    """The scene in its plainest words."""
    return f"{_things(scene, COUNTS[scene.count])} {PLACES[scene.place]} {TIMES[scene.time][0]}"


def _caption(scene: Scene, rng: random.Random) -> str:
    article = "an" if scene.colour[0] in "aeiou" else "a"
    number = COUNTS[scene.count] if scene.count > 1 else rng.choice((article, "one"))
    time = rng.choice(TIMES[scene.time])
    return rng.choice(_WORDINGS).format(things=_things(scene, number), place=PLACES[scene.place], time=time)


def _tags(scene: Scene, rng: random.Random) -> str:
    """The subject, mostly alone: a model that only met full sentences tells scenes apart without knowing a word."""
    if rng.random() < 0.8:
        return scene.subject
    others = (f"{scene.colour} {scene.subject}", PLACES[scene.place], rng.choice(TIMES[scene.time]))
    return ", ".join(other for i, other in enumerate(others) if i == 0 or rng.random() < 0.5)


def _things(scene: Scene, number: str) -> str:
    plural = _PLURALS.get(scene.subject, f"{scene.subject}s")
    return f"{number} {scene.colour} {scene.subject if scene.count == 1 else plural}"


def write_postcards(
    folder: Path,
    scenes: Sequence[Scene],
    n: int,
    seed: int,
    name: str,
    tagged: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw `n` cards, going round `scenes`, as JPEGs in folder/name; returns folder/name.csv, which lists them.

    The table appears when all are drawn. `tagged` is as for `draw_postcard`.
    `progress` is called with the number drawn so far. Drawn in processes of their own, so a script that calls this
    needs the usual `if __name__ == "__main__"`.
    """
    (folder / name).mkdir(parents=True, exist_ok=True)
    table, unfinished = folder / f"{name}.csv", folder / f".{name}.csv"
    processes = min(threads(), 1 + n // _CARDS_PER_TASK)
    write = partial(_write_card, folder, seed, name, tagged)
    cycled = (scenes[i % len(scenes)] for i in range(n))
    with (
        unfinished.open("w", newline="", encoding="utf-8") as file,
        # Spawned, not forked: the caller may well have threads (torch, a server), which a fork does not survive.
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
    ):
        rows = csv.writer(file)
        rows.writerow(("image", "caption", "subject", "colour", "count", "place", "time"))
        drawn = pool.map(write, range(n), cycled, chunksize=_CARDS_PER_TASK)
        for done, row in enumerate(drawn, start=1):
            rows.writerow(row)
            if progress:
                progress(done)
    unfinished.replace(table)
    return table


def _write_card(folder: Path, seed: int, name: str, tagged: float, i: int, scene: Scene) -> tuple[object, ...]:
    """Draw the i-th card and return its row. A generator per card makes the order of drawing immaterial."""
    card = draw_postcard(scene, random.Random(f"{seed} {name} {i}"), tagged)
    image = f"{name}/{plain_caption(scene).replace(' ', '-')}-{i:05}.jpg"
    card.image.save(folder / image, quality=90)
    return image, card.caption, scene.subject, scene.colour, scene.count, scene.place, scene.time
