"""Labels as COCO JSON, which FiftyOne, CVAT and other tools import: a label is an annotation over the whole image.

COCO has no labels of images; a box of the image's own size is what its readers take for one. `score` is the label's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from encoder.zero_shot.prompts import Label
from labelling.outputs.output import Listing
from labelling.rows import Listed


def write_coco(part: Path, listing: Listing) -> None:
    """The whole file of a run, an entry a line; `file_name` is below the folder where there is one. OSError."""
    categories = [
        {"id": i, "name": _text(name), "supercategory": _text("/".join(Label(name).levels[:-1]))}
        for i, name in enumerate(listing.labels, 1)
    ]
    about = json.dumps({"description": "labels by glimpse"})
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"info": {about}, "licenses": []')
        _put(file, "categories", iter(categories))
        _put(file, "images", _images(listing))
        _put(file, "annotations", _annotations(listing))
        file.write("}\n")


def _put(file: TextIO, name: str, entries: Iterator[dict[str, Any]]) -> None:
    file.write(f',\n"{name}": [')
    for between, entry in zip(chain(("\n",), _forever(",\n")), entries, strict=False):
        file.write(between + json.dumps(entry, ensure_ascii=False))
    file.write("]")


def _forever(text: str) -> Iterator[str]:
    while True:
        yield text


def _read(listing: Listing) -> Iterator[tuple[int, Listed]]:
    return enumerate((image for image in listing.images() if not image.error), 1)


def _images(listing: Listing) -> Iterator[dict[str, Any]]:
    for key, image in _read(listing):
        name = image.path.removeprefix(f"{listing.folder}{os.sep}") if listing.folder else image.path
        yield {"id": key, "file_name": _text(name), "width": image.width or 0, "height": image.height or 0}


def _annotations(listing: Listing) -> Iterator[dict[str, Any]]:
    category = {name: i for i, name in enumerate(listing.labels, 1)}
    key = 0
    for image_key, image in _read(listing):
        width, height = image.width or 0, image.height or 0
        for label, score in image.answers:
            key += 1
            yield {
                "id": key,
                "image_id": image_key,
                "category_id": category[label],
                "bbox": [0, 0, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": round(score, 6),
            }


def _text(name: str) -> str:
    """As UTF-8 can say it."""
    return os.fsencode(name).decode(errors="replace")
