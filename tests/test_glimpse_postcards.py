"""The demo's postcards: the same from a seed, truly captioned, and plain to see."""

import csv
import random
import signal
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from service_world import until

from glimpse.demo.postcards.pen import PIGMENTS
from glimpse.demo.postcards.scenes import (
    COLOURS,
    COUNTS,
    PLACES,
    SUBJECTS,
    TIMES,
    Scene,
    all_scenes,
    draw_postcard,
    plain_caption,
    split_scenes,
    write_postcards,
)

BOATS = Scene("boat", "red", 3, "sea", "night")


def a_few_scenes(n: int) -> list[Scene]:
    return random.Random(5).sample(all_scenes(), n)


def share_of_colour(image: Image.Image, colour: str) -> float:
    """How much of what a model sees (64 x 64, the middle square) is close to this colour."""
    seen = np.asarray(image.crop((32, 0, 224, 192)).resize((64, 64)), dtype=float)
    near = np.linalg.norm(seen - np.array(PIGMENTS[colour]), axis=-1) < 70
    return float(near.mean())


def test_scenes_are_every_combination_once():
    scenes = all_scenes()
    assert len(scenes) == len(set(scenes)) == len(SUBJECTS) * len(COLOURS) * len(COUNTS) * len(PLACES) * len(TIMES)


def test_a_split_is_disjoint_and_complete_and_leaves_every_value_seen():
    seen, unseen = split_scenes(seed=1, n_unseen=500)
    assert len(unseen) == 500
    assert sorted(seen + unseen, key=astuple) == sorted(all_scenes(), key=astuple)
    occurring = [set(values) for values in zip(*map(astuple, seen), strict=True)]
    assert occurring == [set(offered) for offered in (SUBJECTS, COLOURS, COUNTS, PLACES, TIMES)]
    assert split_scenes(1, 500) == (seen, unseen) != split_scenes(2, 500)


def test_a_split_never_takes_the_last_of_a_value():
    with pytest.raises(ValueError, match="at most"):
        split_scenes(seed=1, n_unseen=len(all_scenes()))


def test_a_card_depends_on_its_generator_alone():
    first, again, other = (draw_postcard(BOATS, random.Random(seed)) for seed in (3, 3, 4))
    assert first.caption == again.caption
    assert first.image.tobytes() == again.image.tobytes() != other.image.tobytes()
    assert (first.image.mode, first.image.size) == ("RGB", (256, 192))


@pytest.mark.parametrize("scene", a_few_scenes(40), ids=plain_caption)
def test_a_caption_says_all_that_is_true(scene: Scene):
    caption = draw_postcard(scene, random.Random(7)).caption
    words = caption.replace(",", "").split()
    number = {1: {"a", "an", "one"}, 2: {"two"}, 3: {"three"}}[scene.count]
    irregular = {"butterfly": "butterflies", "fish": "fish"}
    plural = irregular.get(scene.subject, scene.subject + "s")
    at = words.index(scene.colour)
    assert words[at - 1] in number
    assert words[at + 1] == (scene.subject if scene.count == 1 else plural)
    assert PLACES[scene.place] in caption
    assert any(phrase in caption for phrase in TIMES[scene.time])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_colour_is_plain_to_see(subject: str):
    for scene in a_few_scenes(2):
        for colour in COLOURS:
            shown = draw_postcard(replace(scene, subject=subject, colour=colour), random.Random(2)).image
            hidden = "red" if colour in ("blue", "purple", "green") else "blue"
            other = draw_postcard(replace(scene, subject=subject, colour=hidden), random.Random(2)).image
            assert share_of_colour(shown, colour) > share_of_colour(other, colour) + 0.02, (scene, colour)


def test_writing_lists_what_it_draws_and_repeats_itself(tmp_path: Path):
    scenes, counted = a_few_scenes(3), []
    table = write_postcards(tmp_path / "one", scenes, 5, seed=9, name="train", progress=counted.append)
    again = write_postcards(tmp_path / "two", scenes, 5, seed=9, name="train")
    assert table == tmp_path / "one" / "train.csv"
    assert table.read_text() == again.read_text()
    assert counted == [1, 2, 3, 4, 5]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Scene(r["subject"], r["colour"], int(r["count"]), r["place"], r["time"]) for r in rows] == [
        scenes[i % 3] for i in range(5)
    ]
    for row in rows:
        assert (tmp_path / "one" / row["image"]).read_bytes() == (tmp_path / "two" / row["image"]).read_bytes()


def test_a_demo_that_is_interrupted_says_so_in_a_line_and_what_it_made_is_kept(tmp_path: Path) -> None:
    glimpse, folder = Path(sys.executable).with_name("glimpse"), tmp_path / "demo"
    begun = subprocess.Popen(
        [glimpse, "demo", "--data", folder, "--no-serve"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until(lambda: len(list(folder.rglob("*.jpg"))) > 3, 60)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=60)
    assert (begun.returncode, said) == (
        130,
        f"glimpse: interrupted; what was made is kept in {folder}, and the same command goes on\n",
    )
