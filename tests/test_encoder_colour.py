"""Pictures as people see them: the same scene in other colour spaces, depths and containers comes out the same."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageDraw
from test_encoder_image import encoded, scene

from base.errors import ImageError
from encoder.picture import profile
from encoder.picture.decode import decode
from encoder.picture.sandbox import decode_bounded

Floats = npt.NDArray[np.float64]

# Linear sRGB to the linear primaries of others, both under D65 (as published with their specifications).
TO_ADOBE = np.array([[0.71513, 0.28487, 0.0], [0.0, 1.0, 0.0], [0.0, 0.04116, 0.95884]])
TO_P3 = np.array([[0.82246, 0.17754, 0.0], [0.03319, 0.96681, 0.0], [0.01708, 0.07240, 0.91052]])
TO_BT2020 = np.array([[0.62740, 0.32928, 0.04331], [0.06910, 0.91954, 0.01136], [0.01639, 0.08801, 0.89560]])
ADOBE_PROFILE = profile.rgb_profile((0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.329), profile._gamma(563 / 256))
P3_PROFILE = profile.rgb_profile((0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329), profile._SRGB_CURVE)
LINEAR_GREY = profile._icc(b"GRAY", {b"kTRC": profile._gamma(1.0)})


def vivid() -> Image.Image:
    """A scene with colours that other spaces write with other numbers."""
    image = scene()
    draw = ImageDraw.Draw(image)
    for i, colour in enumerate(("red", "lime", "blue", "orange", "magenta", "cyan")):
        draw.rectangle((i * 50, 180, i * 50 + 45, 225), fill=colour)
    return image


def linear(image: Image.Image) -> Floats:
    values = np.asarray(image, np.float64) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_encode(light: Floats) -> Floats:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def written(matrix: Floats, encode: Callable[[Floats], Floats]) -> Image.Image:
    """The vivid scene as another space writes it."""
    return Image.fromarray((encode(np.clip(linear(vivid()) @ matrix.T, 0, 1)) * 255).round().astype(np.uint8))


def adobe() -> Image.Image:
    return written(TO_ADOBE, lambda light: light ** (256 / 563))


def difference(data: bytes, twin: Image.Image | None = None) -> float:
    """The mean error of a decoded file against the scene, of 255."""
    decoded = np.asarray(decode(data).image, np.float64)
    return float(np.abs(decoded - np.asarray((twin or vivid()).convert("RGB"), np.float64)).mean())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes, *, late: bool = False) -> bytes:
    """A PNG with a chunk behind its header, or before its end."""
    at = len(png) - 12 if late else 33
    return png[:at] + chunk(kind, data) + png[at:]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("AVIF", {"quality": 95}),
        ("HEIF", {"quality": 95}),
    ],
)
def test_a_profile_is_converted_in_every_container(kind: str, options: dict[str, object]) -> None:
    for image, icc in ((adobe(), ADOBE_PROFILE), (written(TO_P3, srgb_encode), P3_PROFILE)):
        ignored = difference(encoded(image, kind, **options))
        assert difference(encoded(image, kind, icc_profile=icc, **options)) < min(2.5, ignored / 2)


def test_a_profile_is_found_where_pillow_leaves_it() -> None:
    jp2 = encoded(adobe(), "JPEG2000")
    box = b"\x02\0\0" + ADOBE_PROFILE
    at = jp2.index(b"colr") - 4
    old = int.from_bytes(jp2[at : at + 4])
    jp2 = jp2[:at] + struct.pack(">I", 8 + len(box)) + b"colr" + box + jp2[at + old :]
    header = jp2.index(b"jp2h") - 4
    longer = int.from_bytes(jp2[header : header + 4]) + 8 + len(box) - old
    assert difference(jp2[:header] + struct.pack(">I", longer) + jp2[header + 4 :]) < 2

    pixels = np.asarray(adobe())[::-1, :, ::-1].tobytes()
    bmp = b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(ADOBE_PROFILE), 0, 0, 138)
    bmp += struct.pack("<IiiHHIIiiII", 124, 320, 240, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + bytes(16) + b"DEBM"
    bmp += bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(ADOBE_PROFILE), 0)
    assert difference(bmp + pixels + ADOBE_PROFILE) < 2

    gif = encoded(adobe().quantize(256), "GIF")  # Adobe's numbers in its palette
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    parts = [ADOBE_PROFILE[i : i + 255] for i in range(0, len(ADOBE_PROFILE), 255)]
    blocks = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    with_profile = gif[:at] + b"!\xff\x0bICCRGBG1012" + blocks + gif[at:]
    assert difference(with_profile) < difference(gif) / 2
    assert difference(gif[:at] + b"!\xff\x0bICCRGBG1012" + blocks[:256] + b"\0" + gif[at:]) == difference(
        gif
    )  # a broken one

    large = ADOBE_PROFILE + bytes(2 * 2**20)
    assert difference(with_chunk(encoded(adobe(), "PNG"), b"iCCP", b"a\0\0" + zlib.compress(large))) < 2


def test_code_points_of_primaries_and_transfer() -> None:
    p3, bt2020 = written(TO_P3, srgb_encode), written(TO_BT2020, srgb_encode)
    for kind in ("AVIF", "HEIF"):
        data = encoded(p3, kind, quality=95)
        at = data.index(b"colrnclx") + 8
        assert difference(data[:at] + b"\0\x0c" + data[at + 2 :]) < 2.5
    assert difference(with_chunk(encoded(p3, "PNG"), b"cICP", b"\x0c\x0d\0\x01")) < 2
    assert difference(with_chunk(encoded(bt2020, "PNG"), b"cICP", b"\x09\x0d\0\x01")) < 2


def test_hdr_comes_out_with_its_white_at_white() -> None:
    light = linear(vivid()) * 203 / 10_000
    root = light**0.1593017578125
    pq = ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
    png = encoded(Image.fromarray((pq * 255).round().astype(np.uint8)), "PNG")
    assert difference(with_chunk(png, b"cICP", b"\x01\x10\0\x01")) < 3
    grey = linear(vivid()) * 0.2649
    hlg = np.where(
        grey <= 1 / 12, np.sqrt(3 * grey), 0.17883277 * np.log(12 * grey.clip(1 / 12) - 0.28466892) + 0.55991073
    )
    png = encoded(Image.fromarray((hlg * 255).round().astype(np.uint8)), "PNG")
    assert difference(with_chunk(png, b"cICP", b"\x01\x12\0\x01")) < 12  # its display curve is not sRGB's


def test_gamma_and_chromaticities_of_a_png() -> None:
    dark = written(np.eye(3), lambda light: light)
    assert difference(with_chunk(encoded(dark, "PNG"), b"gAMA", struct.pack(">I", 100_000))) < 3
    grey = Image.fromarray((linear(scene().convert("L")) * 255).round().astype(np.uint8))
    png = with_chunk(encoded(grey, "PNG"), b"gAMA", struct.pack(">I", 100_000))
    assert difference(png, scene().convert("L")) < 3
    chrm = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    assert difference(with_chunk(encoded(written(TO_P3, srgb_encode), "PNG"), b"cHRM", chrm)) < 2


def test_linear_grey_of_sixteen_bits_keeps_its_shadows() -> None:
    values = (linear(scene().convert("L")) * 65535).round().astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        assert difference(encoded(Image.fromarray(values), kind, icc_profile=LINEAR_GREY), scene().convert("L")) < 1


def test_a_camera_may_say_adobe_rgb_without_a_profile() -> None:
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    assert difference(encoded(adobe(), "JPEG", exif=exif, quality=95, subsampling=0)) < 2.5
    exif[0x8769] = {0xA001: 1, 0xA005: {1: "R98"}}
    assert difference(encoded(vivid(), "JPEG", exif=exif, quality=95, subsampling=0)) < 2.5


def test_cmyk_and_lab() -> None:
    assert difference(encoded(vivid().convert("CMYK"), "JPEG", quality=95)) < 3
    assert difference(encoded(vivid().convert("CMYK"), "TIFF")) < 2
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(vivid(), to_lab)
    assert lab is not None
    assert difference(encoded(lab, "TIFF")) < 3


def test_srgb_under_any_name_and_what_is_broken_change_nothing() -> None:
    plain = np.asarray(decode(encoded(vivid(), "PNG")).image)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (srgb, b"no profile", ADOBE_PROFILE[:200], LINEAR_GREY[:140], bytes(200)):
        np.testing.assert_array_equal(np.asarray(decode(encoded(vivid(), "PNG", icc_profile=icc)).image), plain)


def test_twelve_bits_fill_the_range() -> None:
    values = (np.asarray(scene().convert("L"), np.uint16) << 4) + 15
    assert difference(encoded(Image.fromarray(values), "PNG"), scene().convert("L")) < 1
    assert difference(encoded(Image.fromarray(values), "TIFF"), scene().convert("L")) < 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_white_may_be_zero_in_a_tiff(dtype: type) -> None:
    grey = np.asarray(scene().convert("L"))
    values = (255 - grey).astype(dtype) * dtype(1 if dtype is np.uint8 else 257)
    data = encoded(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    if dtype is np.uint8:  # Pillow turns them round by itself when it writes
        data = encoded(Image.fromarray(grey), "TIFF", tiffinfo={262: 0})
    assert difference(data, scene().convert("L")) < 2


def test_what_is_transparent_is_laid_on_what_shows_it() -> None:
    mark = Image.new("RGBA", (120, 80), (0, 0, 0, 0))
    ImageDraw.Draw(mark).ellipse((20, 20, 90, 60), fill=(255, 255, 255, 255))
    dark = Image.new("RGBA", (120, 80), (0, 0, 0, 0))
    ImageDraw.Draw(dark).ellipse((20, 20, 90, 60), fill=(30, 30, 30, 255))
    for image, ground in ((mark, (64, 64, 64)), (dark, (255, 255, 255))):
        for kind in ("PNG", "WEBP"):
            shown = decode(encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))).image
            assert shown.getpixel((2, 2)) == ground
            assert shown.getpixel((50, 40)) == image.getpixel((50, 40))[:3]  # type: ignore[index]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_a_film_that_fades_in_is_known_by_a_frame_that_shows_something(kind: str) -> None:
    black = Image.new("RGB", (320, 240))
    frames = [black, Image.new("RGB", (320, 240), (3, 3, 3)), Image.blend(black, scene(), 0.4), scene()]
    options = {"lossless": True} if kind == "WEBP" else {}
    film = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert difference(film, scene()) < 8  # a GIF has 256 colours
    still = encoded(scene(), kind, save_all=True, append_images=[vivid()], **options)
    assert difference(still, scene()) < 8


def test_a_jpeg_that_was_cut_off_shows_what_there_is() -> None:
    data = encoded(scene(640, 480), "JPEG", quality=90)
    for cut in (data[:-2], data[:-10], data[: len(data) * 97 // 100], data[:-500] + bytes(500)):
        decoded = decode(cut)
        assert decoded.image.size == (640, 480)
        assert (decoded.missing or 0) < 0.1
    assert 0.1 < (decode(data[: len(data) * 7 // 10]).missing or 0) < 0.5
    assert decode(data).missing is None
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(data[: len(data) // 4])


CUT = {  # as they are stored: from above, from below, every eighth row first, packed
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "png": ("PNG", {}),
    "ppm": ("PPM", {}),
    "tga": ("TGA", {"compression": "tga_rle"}),
    "tiff": ("TIFF", {}),
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_that_was_cut_off_shows_what_there_is(name: str) -> None:
    kind, options = CUT[name]
    whole = Image.fromarray(np.random.default_rng(1).integers(1, 256, (120, 160, 3), np.uint8))
    data = encoded(whole, kind, **options)
    assert decode_bounded(data).missing is None
    for share in (0.98, 0.7):
        decoded = decode_bounded(data[: int(share * len(data))])
        assert 0 < (decoded.missing or 0) < 1.1 - share + 0.05
        there = (np.asarray(decoded.image, int) == np.asarray(decode(data).image, int)).all(axis=(1, 2))
        assert there.mean() > share - 0.1
    with pytest.raises(ImageError, match="cut off, and what there is of it is not enough"):
        decode_bounded(data[: len(data) // 3], at_least=(32, 32))
    assert decode_bounded(data).missing is None  # the next one is held to its end again


def sgi(pixels: np.ndarray, *, packed: bool, depth: int) -> bytes:
    """Pixels (h, w, 3) as an SGI file, which has one colour after the other, from below."""
    height, width, _ = pixels.shape
    head = struct.pack(">h2B4H2i", 474, packed, depth, 3, width, height, 3, 0, 255).ljust(512, b"\0")
    rows = pixels[::-1].transpose(2, 0, 1).reshape(-1, width).astype(f">u{depth}") * (257 if depth == 2 else 1)
    if not packed:
        return head + rows.tobytes()
    literal = (128 + 127).to_bytes(depth)
    stored = [
        b"".join(literal[:-1] + bytes([128 + len(part)]) + part.tobytes() for part in (row[:127], row[127:]))
        + bytes(depth)
        for row in rows
    ]
    starts = 512 + 8 * len(stored) + np.cumsum([0, *map(len, stored[:-1])])
    tables = np.array([starts, [len(row) for row in stored]], ">u4").tobytes()
    return head + tables + b"".join(stored)


@pytest.mark.parametrize(("packed", "depth"), [(False, 1), (False, 2), (True, 1), (True, 2)])
def test_rows_with_all_their_colours_are_what_there_is_of_an_sgi_picture(packed: bool, depth: int) -> None:
    pixels = np.random.default_rng(1).integers(1, 256, (120, 160, 3), np.uint8)
    data = sgi(pixels, packed=packed, depth=depth)
    assert (decode(data).missing, (np.asarray(decode(data).image) == pixels).all()) == (None, True)
    for share in (0.98, 0.9):  # of the file: its last third is blue
        decoded = decode_bounded(data[: int(share * len(data))])
        rows = 1 - 3 * (1 - share)
        assert abs((decoded.missing or 0) - (1 - rows)) < 0.05
        assert (np.asarray(decoded.image) == pixels).all(axis=(1, 2))[-int(rows * 120) + 4 :].all()
    for size in (len(data) * 8 // 10, 513, 200):
        with pytest.raises(ImageError, match="cannot be decoded: the file is cut off, and what there is of it"):
            decode_bounded(data[:size])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("HEIF", {}),
        ("AVIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(50)}),
    ],
)
def test_a_webp_or_heif_that_was_cut_off_shows_what_there_is(kind: str, options: dict[str, object]) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8))
    data = encoded(picture, kind, **options)
    whole = np.asarray(decode(data).image, int)
    assert decode(data).missing is None
    for cut in (1, 2, 10, 99, len(data) // 10, len(data) // 3):
        decoded = decode_bounded(data[:-cut])
        assert decoded.missing == pytest.approx(cut / len(data), abs=1e-6)
        same = np.abs(np.asarray(decoded.image, int) - whole).mean(axis=(1, 2)) < 8
        assert same[: int((1 - cut / len(data)) * 240) - 64].all()  # a row of blocks is lost as one
    with pytest.raises(ImageError, match="cut off, and what there is of it is not enough"):
        decode_bounded(data[: len(data) // 3])


@pytest.mark.parametrize("kind", ["AVIF", "DDS", "JPEG2000", "QOI"])
def test_of_a_file_that_was_cut_off_and_shows_nothing_that_is_said(kind: str) -> None:
    data = encoded(scene(), kind)
    for size in (len(data) - 9, len(data) // 2):
        with pytest.raises(
            ImageError, match="cannot be decoded: the file is cut off, and what there is of it is not enough"
        ):
            decode_bounded(data[:size])
    tiff = encoded(scene(), "TIFF", compression="tiff_lzw")  # its directory lies at its end
    with pytest.raises(ImageError, match="the file is cut off"):
        decode_bounded(tiff[: len(tiff) // 2])


def test_what_stands_beside_a_png_does_not_cost_it() -> None:
    png = encoded(scene(), "PNG")
    text = zlib.compress(bytes(80 * 2**20))
    for kind, data in ((b"zTXt", b"a\0\0" + text), (b"iTXt", b"a\0\x01\0\0\0" + text), (b"iCCP", b"a\0\0" + text)):
        for late in (False, True):
            assert difference(with_chunk(png, kind, data, late=late), scene()) == 0
    for kind in (b"gAMA", b"cHRM", b"sRGB", b"tRNS"):
        assert difference(with_chunk(png, kind, b"\0"), scene()) == 0
    damaged = with_chunk(png, b"tEXt", b"Comment\0hello")
    assert difference(damaged.replace(b"hello", b"hullo"), scene()) == 0


def test_a_large_scan_in_one_colour_costs_a_third() -> None:
    sheet = Image.new("1", (4000, 3000), 1)
    ImageDraw.Draw(sheet).rectangle((0, 0, 1999, 3000), fill=0)
    data = encoded(sheet, "TIFF", compression="group4")
    decoded = decode(data, at_least=(64, 64), max_pixels=4_500_000)
    assert (decoded.width, decoded.height) == (4000, 3000)
    assert [decoded.image.getpixel((x, 90)) for x in (10, decoded.image.width - 10)] == [(0, 0, 0), (255, 255, 255)]
    for options in ({"max_pixels": 3_900_000, "at_least": (64, 64)}, {"max_pixels": 4_500_000}):
        with pytest.raises(ImageError, match="12 million pixels; the limit is"):
            decode(data, **options)  # type: ignore[arg-type]


def test_a_raw_file_gives_the_preview_in_it() -> None:
    small, large = encoded(scene(80, 60), "JPEG"), encoded(scene(), "JPEG", quality=95)
    sensor = b"\xff\xd8\xff\xc3\0\x0b\x08\x20\0\x20\0\x01\x01\x11\0" + bytes(500)  # lossless: nobody's picture
    entries = [(254, 4, 1, 1), (271, 2, 4, int.from_bytes(b"Own\0", "little")), (274, 3, 1, 6)]

    def tiff(magic: bytes, *more: tuple[int, int, int, int]) -> bytes:
        rows = b"".join(struct.pack("<HHII", *row) for row in sorted((*entries, *more)))
        return magic + struct.pack("<IH", 8, len(entries) + len(more)) + rows + bytes(4)

    upright = scene().transpose(Image.Transpose.ROTATE_270)
    for head in (tiff(b"II*\0", (50706, 1, 4, 0x00000401)), tiff(b"II*\0"), tiff(b"IIRO"), tiff(b"IIU\0")):
        data = head + small + sensor + large
        decoded = decode(data)
        assert (decoded.width, decoded.height) == (240, 320)  # orientation 6 stands in the raw file alone
        assert difference(data, upright) < 3
    for head in (b"FUJIFILMCCD-RAW 0201" + bytes(100), b"\0\0\0\x18ftypcrx " + bytes(16)):
        assert difference(head + small + large, scene()) < 3
    with pytest.raises(ImageError, match="raw file with no JPEG preview"):
        decode(tiff(b"II*\0", (50706, 1, 4, 0x00000401)) + sensor)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "a film"),
        (b"\x1f\x8b" + bytes(30), "compressed"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "git lfs pull brings the picture"),
        (b"/annex/objects/SHA256E-s12--ab.jpg\n", "git annex get brings the picture"),
        (b"\0\x05\x16\x07\0\2\0\0Mac OS X        ", "what macOS keeps beside a file"),
        (b"[InternetShortcut]\r\nURL=https://a.b\r\n", "a shortcut"),
        (b"Salted__" + bytes(30), "encrypted; decrypt it first"),
        (b"/9j/4AAQSkZJRgABAQ", "a picture as base64 text"),
        (b"data:image/png;base64,iVBORw0KGgo", "a picture as base64 text"),
        (b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "a PNG whose ends of lines were changed"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff", "the answer of a server with its head"),
        (b'{"error": "not found"}', "XML or JSON, as servers send"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML or JSON, as servers send"),
        (bytes(5000), "nothing but zeros"),
        (b"\r\n\xff\xd8\xff\xe0", "a picture behind 2 other bytes; cut them off"),
        (b"\n\x89PNG\r\n\x1a\n", "a picture behind 1 other byte; cut them off"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        decode(data)


def test_a_tiff_that_is_not_read_says_what_it_is() -> None:
    values = np.zeros((8, 8, 3), np.uint8)
    data = encoded(Image.fromarray(values), "TIFF")
    at = data.index(struct.pack("<HHI", 277, 3, 1))
    with pytest.raises(ImageError, match="a TIFF with 5 channels of 8 bits"):
        decode(data[: at + 8] + b"\x05\0" + data[at + 10 :])
    halves = encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF").replace(
        struct.pack("<HHIH", 258, 3, 1, 32), struct.pack("<HHIH", 258, 3, 1, 16)
    )
    with pytest.raises(ImageError, match="a TIFF with 1 floating point channel of 16 bits, compression 1; save it as"):
        decode(halves)
    longs = encoded(Image.fromarray(np.zeros((8, 8), np.int32)), "TIFF").replace(
        struct.pack("<HHIH", 258, 3, 1, 32), struct.pack("<HHIH", 258, 3, 1, 64)
    )
    with pytest.raises(ImageError, match="a TIFF with 1 signed channel of 64 bits, compression 1; save it as"):
        decode(longs)
