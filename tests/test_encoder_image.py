"""Reading images: upright, RGB, resized as open_clip does, and one kind of error for whatever is broken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from base.errors import ImageError
from encoder.image import Preprocess, open_image, read_picture, to_pixels
from encoder.picture.decode import MAX_FILE_BYTES, upright

ORIENTATION = 0x0112


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """A picture in which every corner differs."""
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    image = Image.fromarray(np.stack([np.tile(ramp, (height, 1))] * 3, axis=-1))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 10, width // 2, height // 2), fill=(230, 40, 40))
    draw.rectangle((width // 2, height // 2, width - 20, height - 10), fill=(40, 60, 230))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# What undoes each EXIF orientation (EXIF 2.3, tag 0x0112), so that the stored picture is turned the other way.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_is_turned_upright(orientation: int) -> None:
    upright = scene()
    stored = upright if STORED[orientation] is None else upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(stored, "JPEG", exif=exif, quality=95)

    picture = read_picture(data, Preprocess(size=64))

    assert (picture.width, picture.height) == upright.size
    expected = to_pixels(upright, Preprocess(size=64)).astype(int)
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # pytest's filters replace those of encoder.image
def test_a_broken_exif_block_does_not_cost_the_picture() -> None:
    data = encoded(scene(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xffgarbage")
    assert read_picture(data, Preprocess(size=32)).pixels.shape == (32, 32, 3)


def test_transparent_pixels_are_white() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert open_image(encoded(image, "PNG")).getpixel((5, 5)) == (255, 255, 255)


def test_a_palette_with_transparency_is_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
    assert open_image(encoded(image, "PNG", transparency=0)).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    values = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    image = open_image(encoded(Image.fromarray(values), "PNG"))
    assert np.abs(np.asarray(image)[..., 0].astype(int) - np.arange(256).reshape(16, 16)).max() <= 1


@pytest.mark.parametrize(("kind", "options"), [("HEIF", {"quality": 95}), ("AVIF", {"quality": 95}), ("WEBP", {})])
def test_modern_formats_are_read(kind: str, options: dict[str, object]) -> None:
    picture = read_picture(encoded(scene(), kind, **options), Preprocess(size=32))
    expected = to_pixels(scene(), Preprocess(size=32)).astype(int)
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "1", "P", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert open_image(encoded(scene().convert(mode), kind)).mode == "RGB"


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(48, 400),
    height=st.integers(48, 400),
    mode=st.sampled_from(["shortest", "squash", "longest"]),
    size=st.sampled_from([32, 64, (32, 48)]),
)
def test_pixels_are_those_of_open_clip(width: int, height: int, mode: str, size: int | tuple[int, int]) -> None:
    if max(width, height) > 4 * min(width, height):
        return  # trimmed first, on purpose
    image = scene(width, height)
    preprocess = Preprocess(size=size, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode=mode)
    theirs = open_clip.image_transform(size, False, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode=mode)(image)
    ours = to_pixels(image, preprocess).astype(int)
    assert np.abs(ours - (theirs.permute(1, 2, 0).numpy() * 255).round().astype(int)).max() <= 3


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(2400, 1800), "JPEG", quality=92)
    assert open_image(data, at_least=(64, 64)).width < 400
    reduced = read_picture(data, Preprocess(size=64))
    monkeypatch.setattr("encoder.picture.decode.DRAFT_MARGIN", 1000)
    full = read_picture(data, Preprocess(size=64))
    assert (reduced.width, reduced.height) == (full.width, full.height) == (2400, 1800)
    assert np.abs(reduced.pixels.astype(int) - full.pixels.astype(int)).mean() < 2


ENDLESS_GIF = b"GIF89a" + b"\xff" * 4 + bytes(3) + b"," + bytes(4) + b"\x01\0\x01\0" + bytes(9)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no image at all", "not an image"),
        (b"", "the image is empty"),
        (ENDLESS_GIF, "the image has more than 2,147 million pixels"),
        (encoded(scene(), "JPEG")[:2000], "cannot be decoded"),
        (encoded(scene(), "PNG")[:300], "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not in a format that glimpse reads: PostScript"),
    ],
)
def test_what_cannot_be_decoded_is_one_kind_of_error(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_picture(data, Preprocess())


def test_the_pixel_limit_is_checked_before_decoding() -> None:
    with pytest.raises(ImageError, match="limit is 1 million"):
        open_image(encoded(Image.new("RGB", (1200, 1000)), "PNG"), max_pixels=1_000_000)
    huge = encoded(Image.new("1", (20000, 20000)), "PNG")  # a few kB that decode to 400 million pixels
    with pytest.raises(ImageError):
        open_image(huge)


def test_a_jpeg_over_the_limit_is_read_at_a_fraction() -> None:
    data = encoded(scene(1600, 1200), "JPEG")
    assert read_picture(data, Preprocess(size=64), max_pixels=1_000_000).pixels.shape == (64, 64, 3)


def test_files_that_cannot_be_read_carry_path_and_reason(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file") as caught:
        read_picture(tmp_path / "gone.jpg", Preprocess())
    assert caught.value.path == str(tmp_path / "gone.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match="empty"):
        read_picture(tmp_path / "empty.jpg", Preprocess())
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match="limit is 512 MiB"):
        read_picture(tmp_path / "large.png", Preprocess())


def test_an_image_that_icloud_keeps_elsewhere_is_said_to_be_there(tmp_path: Path) -> None:
    (tmp_path / ".a.jpg.icloud").write_bytes(b"bplist00")
    with pytest.raises(ImageError, match="is in iCloud alone; download it to this machine first"):
        open_image(tmp_path / "a.jpg")


def test_a_very_long_strip_costs_no_memory() -> None:
    pixels = read_picture(encoded(Image.new("RGB", (2, 30000), (9, 9, 9)), "PNG"), Preprocess(size=224)).pixels
    assert pixels.shape == (224, 224, 3)
    assert int(pixels.max()) <= 10


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I", "F"])
def test_a_large_image_is_converted_in_bands_that_nobody_sees(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (37, 23, 4), np.uint8)
    image = Image.fromarray(rng.random((37, 23), np.float32)) if mode == "F" else Image.fromarray(values).convert(mode)
    whole = np.asarray(upright(image))
    monkeypatch.setattr("encoder.picture.colour._BAND_PIXELS", 100)
    np.testing.assert_array_equal(np.asarray(upright(image)), whole)
    assert len(np.unique(whole)) > 50
