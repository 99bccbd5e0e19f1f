"""The same picture encoded anew, resized or cropped a little is a twin; another picture is none, however alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from encoder.picture.twins import Twins
from glimpse.demo.postcards.scenes import all_scenes, draw_postcard

SCENES = all_scenes()


def card(scene: int, seed: int = 0) -> Image.Image:
    return draw_postcard(SCENES[scene], random.Random(seed)).image.resize((400, 300))


def hundredths(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """Without so many hundredths of each side."""
    w, h = image.size
    return image.crop((w * left // 100, h * top // 100, w - w * right // 100, h - h * bottom // 100))


def saved(image: Image.Image, path: Path, **options: object) -> str:
    image.save(path, **options)
    return str(path)


CHANGES: dict[str, Callable[[Image.Image, Path], str]] = {
    "encoded anew": lambda image, folder: saved(image, folder / "a.jpg", quality=40),
    "as WebP": lambda image, folder: saved(image, folder / "a.webp", quality=60),
    "a quarter": lambda image, folder: saved(image.resize((100, 75)), folder / "a.jpg", quality=85),
    "cropped all round": lambda image, folder: saved(hundredths(image, 2, 2, 2, 2), folder / "a.jpg", quality=90),
    "cropped at a corner": lambda image, folder: saved(hundredths(image, 2, 0, 0, 2), folder / "a.png"),
    "all at once": lambda image, folder: saved(hundredths(image, 0, 2, 2, 0).resize((200, 150)), folder / "a.jpg"),
}


def test_nearly_all_pictures_that_were_changed_a_little_are_twins(tmp_path: Path) -> None:
    twins, missed = Twins(), []
    cards = range(0, len(SCENES), len(SCENES) // 8)
    for number in cards:
        image, folder = card(number), tmp_path / str(number)
        for change, make in CHANGES.items():
            (folder / change).mkdir(parents=True)
            if not twins(saved(image, folder / "original.png"), make(image, folder / change)):
                missed.append((number, change))
    assert not twins.unread
    assert len(missed) <= 0.05 * len(cards) * len(CHANGES), missed


def test_another_picture_is_none(tmp_path: Path) -> None:
    image = card(0)
    pen = ImageDraw.Draw(marked := image.copy())
    pen.rectangle((180, 130, 215, 165), fill="red")  # a hundredth of the picture
    r, g, b = image.split()
    others = {
        "another": card(1),
        "drawn again": card(0, seed=1),
        "with a mark": marked,
        "in other colours": Image.merge("RGB", (b, r, g)),
        "mirrored": ImageOps.mirror(image),
        "inverted": ImageOps.invert(image),
        "stretched": image.resize((400, 200)),
        "much of it gone": hundredths(image, 15, 0, 0, 0),
    }
    twins, original = Twins(), saved(image, tmp_path / "original.png")
    assert [name for name, other in others.items() if twins(original, saved(other, tmp_path / f"{name}.png"))] == []


def invoice(number: int) -> Image.Image:
    page = Image.new("RGB", (850, 1100), "white")
    pen = ImageDraw.Draw(page)
    pen.text((60, 60), "Own Works", fill="black", font_size=40)
    pen.text((60, 150), f"Invoice {number}", fill="black", font_size=24)
    for i in range(12):
        pen.text((60, 250 + 40 * i), f"item {i}, of some kind, {3 * i} pieces", fill="black", font_size=20)
    return page


def test_a_word_of_a_page_is_seen(tmp_path: Path) -> None:
    twins, original = Twins(), saved(invoice(1041), tmp_path / "1041.png")
    assert not twins(original, saved(invoice(1047), tmp_path / "1047.png"))
    assert twins(original, saved(invoice(1041), tmp_path / "again.jpg", quality=60))
    assert twins(original, saved(invoice(1041).resize((425, 550)), tmp_path / "half.jpg"))


def test_of_a_file_with_more_in_it_or_less_nothing_is_said(tmp_path: Path) -> None:
    twins, image = Twins(), card(0)
    original = saved(image, tmp_path / "original.png")
    pages = saved(image, tmp_path / "pages.tif", save_all=True, append_images=[card(1)])
    film = saved(image, tmp_path / "film.webp", save_all=True, append_images=[card(1)], quality=90)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(Path(saved(image, tmp_path / "whole.jpg", quality=95)).read_bytes()[:-300])
    assert twins(original, str(tmp_path / "whole.jpg"))
    assert [path for path in (pages, film, str(cut)) if twins(original, path)] == []


def test_of_pictures_that_show_nothing_and_files_that_are_no_pictures_nothing_is_said(tmp_path: Path) -> None:
    twins = Twins()
    plain = [saved(Image.new("RGB", (64, 64), shade), tmp_path / f"{shade}.png") for shade in ("black", "white")]
    assert not twins(plain[0], plain[0])
    assert not twins(*plain)
    assert not twins.unread
    (tmp_path / "words.jpg").write_text("words")
    assert not twins(str(tmp_path / "words.jpg"), plain[0])
    assert not twins(str(tmp_path / "gone.jpg"), plain[0])
    assert twins.unread == {str(tmp_path / "words.jpg"), str(tmp_path / "gone.jpg")}


def test_a_file_that_goes_between_two_looks_is_counted(tmp_path: Path) -> None:
    image, twins = card(0), Twins()
    whole, again = saved(image, tmp_path / "whole.png"), saved(image, tmp_path / "again.png")
    assert twins(whole, saved(image.resize((100, 75)), tmp_path / "small.png"))
    (tmp_path / "whole.png").unlink()  # its sketch is known, its detail at another size is not
    assert not twins(whole, again)
    assert twins.unread == {whole}
