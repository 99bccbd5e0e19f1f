"""Pictures in other colour spaces beside the same pictures in sRGB: how near their vectors are, and what that costs.

    python -m bench.encoder.colour FOLDER [MODEL]

Pictures of the folder are written in sRGB and, in the same format and quality, in other spaces; the cosine of the two
vectors is printed beside that of a reader that ignores what a file says of its colours, and beside what the format
alone changes: the sRGB file against the picture itself. Then the folder's pictures, as JPEGs with an sRGB profile and
without one, are indexed with colours and without, in turns: processor time. The model is one with random weights unless
one is given; a small one that was trained leans on colour most.
"""

from __future__ import annotations

import io
import random
import shutil
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

import encoder.picture.decode as decode
from base.sources.walk import walk_images
from bench.common import machine, random_model
from encoder.encoder import Encoder
from encoder.model.load import load_encoder
from index.ingest.sync import index_folders, open_or_create

Floats = npt.NDArray[np.float64]

PICTURES = 20  # of which the cosines are taken
SIDE = 800  # pixels of the longer side, at most
ROUNDS = 5
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Linear sRGB to other primaries under D65, and these adapted to a profile's D50, as their specifications give them.
ADOBE = np.array([[0.71513, 0.28487, 0.0], [0.0, 1.0, 0.0], [0.0, 0.04116, 0.95884]])
P3 = np.array([[0.82246, 0.17754, 0.0], [0.03319, 0.96681, 0.0], [0.01708, 0.07240, 0.91052]])
BT2020 = np.array([[0.62740, 0.32928, 0.04331], [0.06910, 0.91954, 0.01136], [0.01639, 0.08801, 0.89560]])
ADOBE_XYZ = (0.60974, 0.31111, 0.01947, 0.20528, 0.62567, 0.06087, 0.14919, 0.06322, 0.74457)
P3_XYZ = (0.51512, 0.24120, -0.00105, 0.29198, 0.69225, 0.04189, 0.15710, 0.06657, 0.78407)
GAMMA = 563 / 256  # Adobe RGB's


def icc(colours: tuple[float, ...], gamma: float | None = None) -> bytes:
    """The sRGB profile of littleCMS with the primaries, and the curve, of another space put into it."""
    profile = bytearray(SRGB)
    tags = {
        SRGB[at : at + 4]: int.from_bytes(SRGB[at + 4 : at + 8])
        for at in range(132, 132 + 12 * int.from_bytes(SRGB[128:132]), 12)
    }
    for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        struct.pack_into(">3i", profile, tags[name] + 8, *(round(v * 65536) for v in colours[3 * i : 3 * i + 3]))
        if gamma:  # of the curve's five numbers: (a x + b) ** g, and nothing below
            curve = tags[name[:1] + b"TRC"]
            struct.pack_into(">5i", profile, curve + 12, round(gamma * 65536), 65536, 0, 0, 0)
    return bytes(profile)


def linear(image: Image.Image) -> Floats:
    """Light, 0 to 1."""
    values = np.asarray(image, np.float64) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: Floats) -> Floats:
    """Light by sRGB's curve."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def space(image: Image.Image, matrix: Floats, curve: Callable[[Floats], Floats] = encoded) -> Image.Image:
    """A picture as another space writes it."""
    return Image.fromarray((curve(np.clip(linear(image) @ matrix.T, 0, 1)) * 255).round().astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """A PNG with a chunk behind its header."""
    return png[:33] + struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) + png[33:]


def variants(image: Image.Image) -> Iterator[tuple[str, bytes, bytes]]:
    """(name, the picture in another space, the same in sRGB) of a picture."""
    adobe, p3 = space(image, ADOBE, lambda light: light ** (1 / GAMMA)), space(image, P3)
    adobe_icc, p3_icc = icc(ADOBE_XYZ, GAMMA), icc(P3_XYZ)
    formats = {"JPEG": {"quality": 90}, "WEBP": {"quality": 90}, "HEIF": {"quality": 90}, "AVIF": {"quality": 90},
               "TIFF": {}, "PNG": {}}  # fmt: skip
    for kind, options in formats.items():
        twin = saved(image, kind, **options)
        yield f"Adobe RGB, {kind}", saved(adobe, kind, icc_profile=adobe_icc, **options), twin
        yield f"Display P3, {kind}", saved(p3, kind, icc_profile=p3_icc, **options), twin
    png = saved(image, "PNG")
    jpeg = saved(image, "JPEG", quality=90)
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    yield "Adobe RGB by R03, JPEG", saved(adobe, "JPEG", exif=exif, quality=90), jpeg
    yield "BT.2020 by cICP, PNG", with_chunk(saved(space(image, BT2020), "PNG"), b"cICP", b"\x09\x0d\0\x01"), png
    darker = space(image, np.eye(3), lambda light: light ** (1 / 1.8))
    yield "gAMA 1/1.8, PNG", with_chunk(saved(darker, "PNG"), b"gAMA", struct.pack(">I", 55556)), png
    yield "CMYK, JPEG", saved(image.convert("CMYK"), "JPEG", quality=90), jpeg
    grey = image.convert("L")
    deep = Image.fromarray((linear(grey) * 65535).round().astype(np.uint16))
    light = with_chunk(saved(deep, "PNG"), b"gAMA", struct.pack(">I", 100000))
    yield "linear grey of 16 bits by gAMA 1, PNG", light, saved(grey, "PNG")
    scan = Image.fromarray(np.asarray(grey).astype(np.uint16) * 16)
    yield "12 of 16 bits, TIFF", saved(scan, "TIFF"), saved(grey, "TIFF")
    inverted = bytearray(saved(Image.fromarray(255 - np.asarray(grey)), "TIFF"))
    at = inverted.index(struct.pack("<HHI", 262, 3, 1))  # PhotometricInterpretation: white is zero
    inverted[at + 8] = 0
    yield "white is zero, TIFF", bytes(inverted), saved(grey, "TIFF")


@contextmanager
def colours_ignored() -> Iterator[None]:
    """Pictures are what their numbers are in sRGB, whatever the file says."""
    with (
        mock.patch.object(decode, "profile_of", return_value=None),
        mock.patch.object(decode, "to_srgb", lambda image, *_: image if image.mode == "RGB" else image.convert("RGB")),
    ):
        yield


def cosines(encoder: Encoder, pictures: list[Image.Image]) -> None:
    """Print a row a variant."""
    written: dict[str, tuple[list[bytes], list[bytes]]] = {}
    for image in pictures:
        for name, other, twin in variants(image):
            others, twins = written.setdefault(name, ([], []))
            others.append(other)
            twins.append(twin)
    print("| | least cosine | median | least, ignored | least of the format alone |\n|---|---|---|---|---|")
    plain, grey = (encoder.encode_images([image.convert(mode) for image in pictures]) for mode in ("RGB", "L"))
    for name, (others, twins) in written.items():
        expected = encoder.encode_images(twins)
        found = (encoder.encode_images(others) * expected).sum(axis=1)
        with colours_ignored():
            ignored = (encoder.encode_images(others) * encoder.encode_images(twins)).sum(axis=1)
        alone = np.maximum((expected * plain).sum(axis=1), (expected * grey).sum(axis=1))
        print(
            f"| {name} | {found.min():.4f} | {np.median(found):.4f} | {ignored.min():.3f} | {alone.min():.4f} |",
            flush=True,
        )


def cost(encoder: Encoder, folder: Path) -> tuple[float, float]:
    """Processor seconds of indexing a folder with colours and without: the best of `ROUNDS`, in turns."""
    best = [float("inf"), float("inf")]
    for number in range(2 * ROUNDS + 1):
        with tempfile.TemporaryDirectory() as data, open_or_create(Path(data), "all", encoder) as collection:
            started = time.process_time()
            if number % 2:
                index_folders(collection, encoder, [folder])
            else:
                with colours_ignored():
                    index_folders(collection, encoder, [folder])
            if number:  # the first one warms up
                best[1 - number % 2] = min(best[1 - number % 2], time.process_time() - started)
    return best[0], best[1]


def main(folder: Path, model: str | Path) -> None:
    """Print the table of cosines, and a line a kind of JPEG."""
    encoder = load_encoder(model, device="cpu")
    files = [path for path, _ in walk_images(folder)]
    pictures = []
    for path in random.Random(0).sample(files, min(PICTURES, len(files))):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((SIDE, SIDE))
        pictures.append(image)
    cosines(encoder, pictures)
    with tempfile.TemporaryDirectory() as place:
        for name, profile in (("without a profile", None), ("with an sRGB profile", SRGB)):
            copies = Path(place) / name
            copies.mkdir()
            for number, path in enumerate(files):
                with Image.open(path) as opened:
                    opened.convert("RGB").save(copies / f"{number}.jpg", quality=90, icc_profile=profile)
            with_colours, without = cost(encoder, copies)
            more = with_colours / without - 1
            print(f"{len(files)} JPEGs {name}: {with_colours:.2f} s, ignored {without:.2f} s ({more:+.1%})")
            shutil.rmtree(copies)


if __name__ == "__main__":
    print(machine())
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else random_model())
