"""Small files that decode to much, or for long, are refused before a decoder sees them; honest ones are not."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base.errors import ImageError
from encoder.encoder import Encoder
from encoder.image import Preprocess, decode_picture, open_image
from encoder.picture import bounds
from encoder.picture import decode as decoding
from encoder.picture.decode import decode
from encoder.picture.heif import Heif, heif_of
from service.inference.images import decode as decode_for_a_request

SMALL = Preprocess(size=32)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(side: int) -> bytes:
    return saved(Image.new("1", (side, side)), "PNG")


def icns(inside: bytes, kind: bytes = b"ic10") -> bytes:
    part = kind + struct.pack(">I", len(inside) + 8) + inside
    return b"icns" + struct.pack(">I", len(part) + 8) + part


def ico(inside: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inside), 22) + inside


def bitmap(width: int, height: int) -> bytes:
    return struct.pack("<IiiHHIIiiII", 40, width, 2 * height, 1, 1, 0, 0, 0, 0, 0, 0) + bytes(100)


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    blocks = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    return blocks.resize(size, Image.Resampling.NEAREST)


def lossless_webp(width: int, height: int, *, film: bool = False) -> bytes:
    """The beginning of one, alone or as the first frame of several."""
    sizes = struct.pack("<BI", 0x2F, (8191 if film else width - 1) | (height - 1) << 14)
    picture = b"VP8L" + struct.pack("<I", 1000) + sizes
    if film:
        canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        picture = b"VP8X" + struct.pack("<II", 10, 2) + canvas + b"ANMF" + bytes(20) + picture
    return b"RIFF" + struct.pack("<I", 2000) + b"WEBP" + picture + bytes(1000)


def with_scans(more: int, before: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan is there so many times more, each with something `before` it."""
    data = saved(picture(), "JPEG", progressive=True)
    scan = before + data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + more * scan + data[-2:]


def empty_jpeg(width: int, height: int, *, progressive: bool = False, apart: bool = False) -> bytes:
    """A JPEG of one grey, or of three colours in scans `apart`: a bit a block, so the beginning of one is enough."""
    colours = b"".join(bytes((i, 0x11, 0)) for i in range(1, 4 if apart else 2))
    frame = struct.pack(">BHHB", 8, height, width, len(colours) // 3) + colours
    scan = b"\x01\x01\x00" + (b"\x00\x00\x00" if progressive else b"\x00\x3f\x00")
    codes = bytes((1, *[0] * 15, 0))
    parts = ((0xDB, bytes((0, *[1] * 64))), (0xC2 if progressive else 0xC0, frame), (0xC4, b"\0" + codes),
             (0xC4, b"\x10" + codes), (0xDA, scan))  # fmt: skip
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in parts)
    return b"\xff\xd8" + head + bytes(width * height // 256) + b"\xff\xd9"


def gif(screen: int, *frames: int, between: bytes = b"", disposal: int = 2) -> bytes:
    """A GIF of black frames; those that claim another size have the data of the first."""
    data = saved(Image.new("P", (16, 16)), "GIF")
    start = data.index(b",", 13)
    made = data[:6] + struct.pack("<HH", screen, screen) + data[10:start]
    for side in frames:
        control = b"!\xf9\x04" + bytes((disposal << 2, 10, 0, 0, 0))
        made += between + control + b"," + struct.pack("<4H", 0, 0, side, side) + data[start + 9 : -1]
    return made + b";"


def tiled_tiff(side: int, tile: int) -> bytes:
    """A TIFF of one tile."""
    packed = zlib.compress(bytes(tile * tile))
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 200, 325: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)).ljust(200, b"\0") + packed


def webp_film(*frames: tuple[int, bool], canvas: int, padding: int = 0) -> bytes:
    """A WebP of frames of such a side, lossless or not, behind so many empty chunks."""
    size = (canvas - 1).to_bytes(3, "little")
    made = (
        b"VP8X" + struct.pack("<II", 10, 2) + size + size + (b"JUNK" + bytes(4)) * padding + b"ANIM" + b"\6" + bytes(9)
    )
    for side, lossless in frames:
        part = saved(Image.new("RGB", (side, side)), "WEBP", lossless=lossless, method=0)[12:]
        edge = (side - 1).to_bytes(3, "little")
        made += b"ANMF" + struct.pack("<I", 16 + len(part)) + bytes(6) + edge + edge + b"\x64\0\0\2" + part
    return b"RIFF" + struct.pack("<I", len(made) + 4) + b"WEBP" + made


def cropped_heic(side: int, shown: int) -> bytes:
    """A HEIC that codes a picture of one side and shows the middle of it."""
    data = bytearray(saved(Image.new("L", (side, side)), "HEIF"))
    crop = struct.pack(">I4s8I", 40, b"clap", shown, 1, shown, 1, 0, 1, 0, 1)
    properties, uses, places = (data.index(kind) - 4 for kind in (b"ipco", b"ipma", b"iloc"))
    used = data[uses + 18]
    start = int.from_bytes(data[places + 20 : places + 24]) + len(crop) + 1
    data[places + 20 : places + 24] = start.to_bytes(4)
    data[uses + 18 : uses + 19 + used] = bytes((used + 1,)) + data[uses + 19 : uses + 19 + used] + bytes((0x81 + used,))
    data[uses:uses] = crop
    for at, more in ((uses + len(crop), 1), (properties, len(crop)), (data.index(b"iprp") - 4, len(crop) + 1),
                     (data.index(b"meta") - 4, len(crop) + 1)):  # fmt: skip
        data[at : at + 4] = (int.from_bytes(data[at : at + 4]) + more).to_bytes(4)
    return bytes(data)


def test_what_a_heif_codes_counts_and_not_what_it_shows() -> None:
    data = cropped_heic(1200, 64)
    assert open_image(data).size == (64, 64)
    assert heif_of(data).pixels == 1200 * 1200
    for read in (open_image, lambda data, max_pixels: decode_for_a_request(data, SMALL, max_pixels)):
        with pytest.raises(ImageError, match="codes a picture of 1 million pixels; the limit is 1"):
            read(data, max_pixels=1_000_000)


def test_who_has_memory_for_one_large_picture_is_asked_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1_000_000)
    asked: list[int] = []

    def asks(data: bytes) -> bool:
        decode(data, at_least=(32, 32), when_large=lambda: asked.append(1))
        return bool(asked.pop()) if asked else False

    large = picture((1200, 1200))
    assert asks(saved(large, "PNG"))
    assert asks(cropped_heic(1200, 64))  # by what it codes
    assert asks(saved(large, "JPEG", progressive=True))
    assert not asks(saved(large, "JPEG"))  # which is decoded at a fraction
    assert not asks(saved(picture(), "PNG"))


def resized(data: bytes, side: int) -> bytes:
    """A HEIF or AVIF whose container says another size of each picture in it."""
    parts = data.split(b"ispe")
    return parts[0] + b"".join(b"ispe" + part[:4] + struct.pack(">II", side, side) + part[12:] for part in parts[1:])


def box(kind: bytes, *inside: bytes) -> bytes:
    body = b"".join(inside)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def item(*extents: tuple[int, int], method: int = 0) -> bytes:
    """Where an item lies, as a `meta` says it."""
    places = b"".join(struct.pack(">II", at, size) for at, size in extents)
    head = struct.pack(">IHHHHHH", 1 << 24, 0x4400, 1, 1, method, 0, len(extents))
    return box(b"iloc", head + places)


def test_what_an_avif_codes_counts_whatever_its_container_says() -> None:
    data = resized(saved(picture((1200, 1200)), "AVIF", speed=10), 64)
    assert open_image(data).size == (64, 64)
    assert heif_of(data).pixels == 1200 * 1200
    for read in (open_image, lambda data, max_pixels: decode_for_a_request(data, SMALL, max_pixels)):
        with pytest.raises(ImageError, match="codes a picture of 1 million pixels; the limit is 1"):
            read(data, max_pixels=1_000_000)
    film = saved(picture((600, 600)), "AVIF", speed=10, save_all=True, append_images=[picture((600, 600))])
    assert heif_of(resized(film, 0)).pixels == 600 * 600
    assert heif_of(film).is_film


def test_a_frame_of_av1_is_found_wherever_it_lies() -> None:
    made = saved(Image.new("RGB", (333, 77)), "AVIF", speed=10)
    header = made[made.rindex(b"\x0a\x0a") :][:12]
    padding = b"\x7a\x05hello"  # another part of AV1, with its size
    stream = b"\x12\0" + padding + header
    file, at, n = box(b"ftyp", b"mif1", b"avif", b"avis"), 20 + 8, len(stream)
    assert heif_of(file + box(b"mdat", stream) + box(b"meta", bytes(4), item((at, n)))).pixels == 333 * 77
    split = item((at, 9), (at + 9, n - 9))
    assert heif_of(file + box(b"mdat", stream) + box(b"meta", bytes(4), split)).pixels == 333 * 77
    inside = box(b"meta", bytes(4), item((0, n), method=1), box(b"idat", stream))
    assert heif_of(file + inside).pixels == 333 * 77
    offsets = box(b"stco", struct.pack(">IIII", 0, 2, at + 2, at))
    track = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", offsets)))))
    assert heif_of(file + box(b"mdat", stream) + track).pixels == 333 * 77
    photo = box(b"ftyp", b"heic", b"mif1heic")
    assert heif_of(photo + box(b"mdat", stream) + box(b"meta", bytes(4), item((at, n))) + track) == Heif(0)


def nested(count: int, inside: bytes) -> bytes:
    """A `meta` in a `meta`, and so on."""
    sizes = range(12 * count + len(inside), len(inside), -12)
    return b"".join(struct.pack(">I4s4x", size, b"meta") for size in sizes) + inside


@pytest.mark.parametrize(
    "parts",
    [
        box(b"moov") * 200_000,
        box(b"moov", box(b"stco", struct.pack(">II", 0, 200_000), b"\xff" * 800_000)),
        box(b"meta", bytes(4), box(b"mdat", b"\x12\0" * 200_000), item((36, 400_000))),
        box(b"meta", bytes(4), item(*[(0, 0)] * 9)),
        box(b"meta", bytes(4), box(b"iloc", struct.pack(">IHI", 2 << 24, 0x4400, 200_000), bytes(1_600_000))),
        box(b"meta", bytes(4), b"ispe" * 200_000),
        nested(1000, b"ispe" * 5000),
        nested(30_000, bytes(2**20)),
    ],
    ids=["boxes", "chunks", "av1", "extents", "items", "sizes", "sizes in boxes in boxes", "boxes in boxes"],
)
def test_a_heif_of_too_many_parts_or_of_such_that_overlap_is_told_at_once(parts: bytes) -> None:
    data = box(b"ftyp", b"avis", b"avif") + parts
    begin = time.process_time()
    assert heif_of(data) == Heif(is_in_crumbs=True)
    assert time.process_time() - begin < 3
    with pytest.raises(ImageError, match="more than 100,000 parts, or parts that overlap"):
        open_image(data)


def png_film(side: int) -> bytes:
    """The beginning of one."""
    head = png(16)
    return head[:16] + struct.pack(">II", side, side) + head[24:33] + struct.pack(">I", 8) + b"acTL" + bytes(12) + head


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: icns(png(8000)), "the icon holds a picture of 8000 x 8000; the limit is 16 million"),
        (lambda: icns(icns(png(8000)), b"icp4"), "the icon holds"),
        (lambda: ico(png(8000)), "the icon holds a picture of 8000 x 8000"),
        (lambda: ico(bitmap(20_000, 20_000)), "the icon holds a picture of 20000 x 20000"),
        (lambda: ico(bitmap(-20_000, -20_000)), "the icon holds"),
        (lambda: lossless_webp(16_383, 8_000), "the WebP.* has 131 million pixels; the limit is 50 million"),
        (lambda: lossless_webp(16_383, 8_000, film=True), "the WebP.* has 131 million pixels; the limit is 50 million"),
        (lambda: with_scans(800), "the JPEG has 101 scans or more; the limit is 100"),
        (lambda: with_scans(800, b"\xff\x01"), "the JPEG has 101 scans or more"),  # a marker without a length
        (lambda: b"FUJIFILMCCD-RAW" + with_scans(800), "the JPEG has 101 scans or more"),
        (
            lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 10_001 + with_scans(0)[2:],
            "more than 10000 segments before its picture",
        ),
        (lambda: empty_jpeg(20_000, 20_000, progressive=True), "400 million pixels; the limit is"),
        (lambda: empty_jpeg(20_000, 20_000, apart=True), "400 million pixels; the limit is 120 million"),
        (lambda: gif(32_000, 32_000), "the GIF holds a frame of 32000 x 32000"),
        (lambda: gif(16, 32_000), "the GIF holds a frame of 32000 x 32000"),
        (lambda: gif(16, 16, 32_000, 16), "the GIF holds a frame of 32000 x 32000"),
        (lambda: gif(16, 16, 5000, 16, between=b"junk"), "the GIF holds a frame of 5000 x 5000"),
        (lambda: gif(16, 16, 5000, 16, between=b"!\xf9\0\1,\0"), "the GIF holds a frame of 5000 x 5000"),
        (lambda: gif(16, 16, 5000, 16, between=b"!\xfe\2ab\0"), "the GIF holds a frame of 5000 x 5000"),
        (lambda: gif(16, 16, 5000, between=b"!\xfe" + (b"\xff" + b";" * 255) * 3 + b"\2;;\0"), "holds a frame of 5000"),
        (lambda: gif(16, 5000, between=b"!\xff\x0bNETSCAPE2.0\0\1,\0"), "the GIF holds a frame of 5000 x 5000"),
        (lambda: tiled_tiff(16, 5000), "the TIFF holds tiles of 5000 x 5000, more than its picture"),
        (lambda: webp_film((16, False), (16, False), canvas=9000), "the WebP.* has 81 million pixels"),
        (lambda: webp_film((9000, True), canvas=9000, padding=101), "the WebP.* has 81 million pixels"),
        (
            lambda: struct.pack(">HBB4H", 0x1DA, 1, 1, 3, 65_535, 65_535, 65_535),
            "the file is cut off",
        ),  # an SGI picture
        (lambda: png_film(8000), "the film has 64 million pixels; the limit is 50 million"),
        (
            lambda: resized(saved(Image.new("L", (64, 48)), "AVIF", save_all=True, append_images=[picture()]), 8000),
            "the film has 64 million pixels; the limit is 50 million",
        ),
        (lambda: saved(Image.new("1", (100_001, 1)), "PNG"), "a side of 100,001 pixels; the limit is 100,000"),
        (lambda: saved(Image.new("1", (1, 119_000_000)), "PNG"), "a side of 119,000,000 pixels"),
        (lambda: saved(Image.new("1", (20_000, 20_000)), "PNG"), "400 million pixels; the limit is"),
    ],
)
def test_a_small_file_of_much_is_refused_at_once(
    made: Callable[[], bytes], said: str, encoder: Encoder, tmp_path: Path
) -> None:
    data = made()
    tracemalloc.start()
    with pytest.raises(ImageError, match=said):
        decode_picture(data, SMALL)
    with pytest.raises(ImageError, match=said):
        open_image(data)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    (tmp_path / "bomb").write_bytes(data)
    (tmp_path / "good.png").write_bytes(saved(picture(), "PNG"))
    [[(_, bomb), (_, good)]] = encoder.encode_stream([tmp_path / "bomb", tmp_path / "good.png"])
    assert isinstance(bomb, ImageError)
    assert not isinstance(good, ImageError)


def test_an_icon_is_refused_before_a_service_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.inference.images.Image.open", None)  # to open an ICO is to decode what is inside
    with pytest.raises(ImageError, match="the icon holds a picture of 8000 x 8000"):
        decode_for_a_request(ico(png(8000)), SMALL, 10**9)


@pytest.mark.parametrize(
    "made",
    [
        lambda: saved(picture((256, 256)), "ICNS"),
        lambda: saved(picture((256, 256)), "ICO"),
        lambda: saved(picture((64, 64)), "ICO", bitmap_format="bmp"),
        lambda: saved(picture(), "WEBP", lossless=True),
        lambda: saved(picture(), "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (64, 48))]),
        lambda: with_scans(0),
        lambda: with_scans(20),
        lambda: empty_jpeg(64, 48, progressive=True),
        lambda: gif(16, 16, 64, 16),  # frames beyond the screen are known to be
        lambda: gif(16, 16, 64, 16, between=b"!\xf9\0\0junk!\xfe\2ab\0"),
        lambda: tiled_tiff(48, 512),
        lambda: webp_film((64, False), (64, True), canvas=64, padding=20),
        lambda: saved(picture(), "JPEG") + b"\xff\xda" * 5000,  # a film after the picture, as phones append one
        lambda: saved(picture(), "JPEG", comment=b"\xff\xda" * 5000, progressive=True),
        lambda: saved(picture(), "JPEG", restart_marker_blocks=1, progressive=True),
        lambda: saved(picture(), "JPEG2000"),
        lambda: saved(picture(), "PNG", save_all=True, append_images=[picture()]),
        lambda: saved(picture(), "AVIF"),
        lambda: saved(picture(), "AVIF", save_all=True, append_images=[picture()]),
        lambda: resized(saved(picture(), "AVIF"), 32),
    ],
)
def test_its_honest_relatives_are_read(made: Callable[[], bytes]) -> None:
    data = made()
    assert decode_picture(data, SMALL).pixels.shape == (32, 32, 3)
    assert open_image(data).mode == "RGB"


def test_no_more_of_a_gif_is_looked_at_than_says_that_it_lies_in_crumbs() -> None:
    data = gif(16, 16, between=b"!\xfe" + b"\1a" * 3 * bounds.MAX_CRUMBS + b"\0")
    assert bounds.MAX_CRUMBS < bounds._gif(data).crumbs < bounds.MAX_CRUMBS + 9
    assert bounds.is_slow(data)


def test_a_large_jpeg_2000_is_decoded_at_a_fraction_or_not_at_all() -> None:
    image = picture((8, 6)).resize((4800, 3600), Image.Resampling.NEAREST)  # 17 million pixels
    data = saved(image, "JPEG2000")
    with pytest.raises(ImageError, match="17 million pixels; the limit is 16 million"):
        open_image(data)
    read = decode_picture(data, SMALL)
    assert (read.width, read.height) == (4800, 3600)
    whole = decode_picture(saved(image, "PNG"), SMALL)
    assert np.abs(read.pixels.astype(int) - whole.pixels).mean() < 6
    odd = decode_picture(saved(picture((1591, 1033)), "JPEG2000"), SMALL)  # halved to sides that are rounded up
    assert np.abs(odd.pixels.astype(int) - decode_picture(saved(picture((1591, 1033)), "PNG"), SMALL).pixels).mean() < 6
    flat = saved(image, "JPEG2000", num_resolutions=1)  # it cannot be halved
    with pytest.raises(ImageError, match="the limit is 16 million"):
        decode_picture(flat, SMALL)


@pytest.mark.parametrize(
    "part",
    [
        b"exif:DateTimeOriginal ",
        b"exif:DateTimeOriginal" + b" " * 500,
        b'xmlns:%d="http://ns.adobe.com/exif/1.0/" ',
        b'xmlns:p="http://ns.adobe.com/exif/1.0/" ',
    ],
)
def test_no_words_on_a_picture_s_date_take_long(part: bytes) -> None:
    words = b"".join(part.replace(b"%d", b"%d" % number) for number in range(2**20 // len(part)))
    data = saved(picture(), "WEBP", xmp=words)
    begin = time.process_time()
    assert decode(data).taken is None
    assert time.process_time() - begin < 3
