"""`glimpse duplicates` on a folder of different pictures: what it would have deleted by mistake, and what it finds.

    python -m bench.index.twins FOLDER [MODEL]

Every picture of the folder is indexed, beside copies of a hundred of them that were encoded anew, resized and cropped
by 2 %. False: a pair that comes of two different pictures. The model is one with random weights unless one is given:
to that nearly all pictures are alike, so what is counted is the pixels' work alone.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image

from base.sources.walk import walk_images
from bench.common import machine, random_model
from encoder.model.load import load_encoder
from encoder.picture.twins import Twins
from index.duplicates import near_duplicates
from index.ingest.sync import index_folders, open_or_create

COPIED = 100
CHANGES = ("jpeg-40", "webp-60", "half", "quarter", "cropped", "cropped-left", "all")


def change(image: Image.Image, how: str, path: Path) -> None:
    """Write a picture changed in one of the ways of `CHANGES`."""
    w, h = image.size
    dx, dy = round(w * 0.02), round(h * 0.02)
    match how:
        case "jpeg-40":
            image.save(path.with_suffix(".jpg"), quality=40)
        case "webp-60":
            image.save(path.with_suffix(".webp"), quality=60)
        case "half" | "quarter":
            part = 2 if how == "half" else 4
            image.resize((w // part, h // part)).save(path.with_suffix(".jpg"), quality=85)
        case "cropped":
            image.crop((dx, dy, w - dx, h - dy)).save(path.with_suffix(".jpg"), quality=90)
        case "cropped-left":
            image.crop((dx, 0, w, h)).save(path.with_suffix(".png"))
        case _:
            image.crop((dx, dy, w, h)).resize((w // 2, h // 2)).save(path.with_suffix(".jpg"), quality=60)


def main(folder: Path, model: str | Path) -> None:
    """Print a row for the folder."""
    encoder = load_encoder(model)
    originals = [path for path, _ in walk_images(folder)]
    chosen = random.Random(0).sample(originals, min(COPIED, len(originals)))
    with tempfile.TemporaryDirectory() as place:
        copies = Path(place) / "copies"
        copies.mkdir()
        for number, path in enumerate(chosen):
            with Image.open(path) as opened:
                image = opened.convert("RGBA") if opened.has_transparency_data else opened.convert("RGB")
            if image.mode == "RGBA":
                ground = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(ground, image).convert("RGB")
            for how in CHANGES:
                change(image, how, copies / f"{number}--{how}")
        with open_or_create(Path(place) / "data", "all", encoder) as collection:
            index_folders(collection, encoder, [folder, copies])
            groups = near_duplicates(collection, twins=Twins())
    found: Counter[str] = Counter()
    false = []

    def source(path: str | None) -> Path:
        file = Path(str(path))
        return chosen[int(file.name.split("--")[0])] if file.parent == copies else file

    for group in groups:
        for other in group.others:
            if source(group.best.path) != source(other.record.path):
                false.append((group.best.path, other.record.path, other.identical))
            elif source(other.record.path) != Path(str(other.record.path)):
                found[Path(str(other.record.path)).stem.split("--")[1]] += 1
    recall = ", ".join(f"{how} {found[how] / len(chosen):.2f}" for how in CHANGES)
    grouped = sum(len(group.others) for group in groups)
    print(f"{folder.name}: {len(originals)} pictures; false {len(false)} of {grouped}; {recall}")
    for pair in false[:10]:
        print("  false:", *pair)


if __name__ == "__main__":
    print(machine())
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else random_model())
