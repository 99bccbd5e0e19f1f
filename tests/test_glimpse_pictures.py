"""Pictures as cameras, scanners and programs write them, through `glimpse index` and `search --image`."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from glimpse_here import glimpse_here
from PIL import ExifTags, Image, PngImagePlugin
from tiny_world import plain_picture

from base.errors import ImageError
from encoder.picture.decode import decode
from encoder.picture.profile import rgb_profile
from index.collection import open_collection

SCENE = np.zeros((60, 80, 3), np.uint8)
SCENE[:30, :40], SCENE[:30, 40:], SCENE[30:, :40], SCENE[30:, 40:] = (220, 40, 40), (40, 200, 60), (50, 70, 210), 230
DAY = "2019-05-06T07:08:09"


def xmp(**said: str) -> bytes:
    """A packet with these attributes, as `exif_DateTimeOriginal`."""
    spaces = {
        "tiff": "http://ns.adobe.com/tiff/1.0/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
    }
    words = [f'xmlns:{name}="{uri}"' for name, uri in spaces.items()]
    words += [f'{name.replace("_", ":")}="{value}"' for name, value in said.items()]
    about = f'<rdf:Description rdf:about="" {" ".join(words)}/>'
    rdf = f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{about}</rdf:RDF>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{rdf}</x:xmpmeta>'.encode()


def tiff(values: npt.NDArray[Any], **tags: int) -> bytes:
    """A TIFF of an array in its order of bytes: (h, w), or (bands, h, w) as planes, each in a strip of its own.

    Of YCbCr, photometric 6, one plane may hold all, as pixels or blocks; `width` and `height` say how large it is.
    """
    planes = values[None] if values.ndim == 2 else values
    order = ">" if values.dtype.byteorder == ">" else "<"
    strips = [zlib.compress(plane.tobytes()) if tags.get("compression") == 8 else plane.tobytes() for plane in planes]
    names = {"compression": 259, "photometric": 262, "planar": 284, "sample_format": 339, "subfile": 254}
    names |= {"width": 256, "height": 257, "subsampling": 530}
    bands, height, width = planes.shape
    channels = 3 if tags.get("photometric") == 6 else bands
    bits = [values.dtype.itemsize * 8] * channels
    said: dict[int, list[int]] = {256: [width], 257: [height], 258: bits, 259: [1], 262: [1], 277: [channels]}
    said |= {278: [tags.get("height", height)], 279: [*map(len, strips)], 273: [0] * bands}
    said |= {names[name]: [value] * (2 if name == "subsampling" else 1) for name, value in tags.items()}
    start = 8
    body = start + 2 + 12 * len(said) + 4
    outside = sum(4 * len(each) for each in said.values() if len(each) > 1)
    said[273] = [body + outside + sum(map(len, strips[:i])) for i in range(bands)]
    rows, more = b"", b""
    for tag, numbers in sorted(said.items()):
        at = numbers[0] if len(numbers) == 1 else body + len(more)
        more += b"".join(struct.pack(f"{order}I", number) for number in numbers) if len(numbers) > 1 else b""
        rows += struct.pack(f"{order}HHII", tag, 4, len(numbers), at)
    head = struct.pack(f"{order}2sHIH", b"MM" if order == ">" else b"II", 42, start, len(said))
    return head + rows + bytes(4) + more + b"".join(strips)


class Indexed:
    """The photos of a folder, indexed: what `index` and `search --image` say in JSON, and what is kept of each."""

    def __init__(self, model: Path, photos: Path) -> None:
        self._photos = photos
        self._where = ("--data", photos.parent / "data", "--json")
        self._settings = {"GLIMPSE_MODEL": str(model), "GLIMPSE_DEVICE": "cpu", "GLIMPSE_PRECISION": "fp32"}
        self.report = self._said("index", photos)
        with open_collection(photos.parent / "data", "images") as collection:
            self.records = {Path(str(record.path)).name: record for record in collection.records()}

    def alike(self, name: str) -> dict[str, float]:
        """The cosine of each to one of them, by name."""
        found = self._said("search", "--image", self._photos / name)
        return {Path(hit["path"]).name: hit["score"] for hit in found["hits"]}

    def _said(self, *words: object) -> Any:
        done = glimpse_here(*words, *self._where, **self._settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def test_the_day_of_a_photo_wherever_its_file_says_it(tiny_run: Path, photos: Path) -> None:
    red = plain_picture("red")
    red.save(photos / "shutter.jpg", xmp=xmp(exif_DateTimeOriginal="2019-05-06T07:08:09.25", xmp_CreateDate="2021"))
    red.save(photos / "created.webp", xmp=xmp(photoshop_DateCreated="2019-05-06T07:08:09+02:00"))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(xmp_CreateDate="1935-07-01").decode())
    red.save(photos / "scan.png", pnginfo=text)
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = "2022:02:02 02:02:02"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.DateTimeDigitized], inner[ExifTags.Base.OffsetTimeDigitized] = "2019:05:06 07:08:09", "+02:00"
    red.save(photos / "digitized.jpg", exif=exif)
    red.save(photos / "both.jpg", exif=exif, xmp=xmp(exif_DateTimeOriginal="2018-01-01T00:00"))
    red.save(photos / "month.jpg", xmp=xmp(exif_DateTimeOriginal="2019-05"))
    packet = xmp(xmp_CreateDate=DAY, exif_GPSTimeStamp="2001-01-01T00:00:00Z").decode()
    red.save(photos / "xap.jpg", xmp=packet.replace("xmp:", "xap:").replace("xmlns:xmp", "xmlns:xap").encode())
    red.save(photos / "wide.webp", xmp=packet.encode("utf-16-le"))
    other = packet.replace(":xmp=", ":x.1=").replace(" xmp:", " x.1:").encode()
    red.save(photos / "other.tif", tiffinfo={700: other})
    red.save(photos / "place.avif", xmp=xmp(exif_GPSTimeStamp=f"{DAY}Z"))
    red.save(
        photos / "not.jpg", xmp=packet.replace("xmp:Create", "mine:Create").replace("exif:GPS", "mine:GPS").encode()
    )
    iptc = b"\x1c\x02\x37\0\x0820190506\x1c\x02\x3c\0\x0b070809+0200"
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)
    plain = photos / "plain.jpg"
    red.save(plain)
    data = plain.read_bytes()
    (photos / "press.jpg").write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:])
    dated = {
        "shutter.jpg": DAY,
        "created.webp": f"{DAY}+02:00",
        "scan.png": "1935-07-01T00:00:00",
        "digitized.jpg": f"{DAY}+02:00",
        "both.jpg": "2018-01-01T00:00:00",
        "month.jpg": None,
        "xap.jpg": DAY,
        "wide.webp": DAY,
        "other.tif": DAY,
        "place.avif": f"{DAY}+00:00",
        "not.jpg": None,
        "press.jpg": f"{DAY}+02:00",
        "plain.jpg": None,
    }
    indexed = Indexed(tiny_run, photos)
    assert {name: indexed.records[name].taken for name in dated} == dated


def test_a_raw_file_has_the_day_and_the_orientation_that_the_camera_noted(tiny_run: Path, photos: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation], exif[254] = "Own", 6, 1
    exif[ExifTags.Base.DateTime] = "2022:02:02 02:02:02"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2019:05:06 07:08:09"
    preview = photos.parent / "preview.jpg"
    Image.fromarray(SCENE).save(preview, quality=95)
    (photos / "a.nef").write_bytes(exif.tobytes().removeprefix(b"Exif\0\0") + preview.read_bytes())
    first, second = Image.Exif(), Image.Exif()
    first[ExifTags.Base.Orientation], second[ExifTags.Base.DateTimeOriginal] = 6, "2019:05:06 07:08:09"
    boxes = [b"CMT1", first.tobytes().removeprefix(b"Exif\0\0"), b"CMT2", second.tobytes().removeprefix(b"Exif\0\0")]
    (photos / "b.cr3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(16) + b"".join(boxes) + preview.read_bytes())
    Image.fromarray(SCENE).transpose(Image.Transpose.ROTATE_270).save(photos / "upright.png")
    indexed = Indexed(tiny_run, photos)
    for name in ("a.nef", "b.cr3"):
        record = indexed.records[name]
        assert (record.taken, record.width, record.height) == (DAY, 60, 80)
    assert all(score > 0.999 for score in indexed.alike("upright.png").values())


def test_adobe_rgb_is_known_by_what_the_camera_says_in_either_way(tiny_run: Path, photos: Path) -> None:
    adobe = rgb_profile(
        (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.329), b"para" + bytes(8) + struct.pack(">i", 563 * 256)
    )
    scene, exif = Image.fromarray(SCENE), Image.Exif()
    exif[ExifTags.Base.Make], exif[254] = "Own", 1
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 2
    scene.save(photos / "profile.jpg", quality=95, icc_profile=adobe)
    scene.save(photos / "said.jpg", quality=95, exif=exif)
    scene.save(photos / "plain.jpg", quality=95)
    (photos / "raw.nef").write_bytes(exif.tobytes().removeprefix(b"Exif\0\0") + (photos / "plain.jpg").read_bytes())
    alike = Indexed(tiny_run, photos).alike("profile.jpg")
    assert min(alike["said.jpg"], alike["raw.nef"]) > 0.9999 > alike["plain.jpg"]


def test_a_tiff_of_planes_or_of_odd_numbers_is_the_picture_that_it_is(tiny_run: Path, photos: Path) -> None:
    grey = np.asarray(Image.fromarray(SCENE).convert("L"))
    planes = SCENE.transpose(2, 0, 1).astype(np.uint16) * 257
    Image.fromarray(SCENE).save(photos / "scene.png")
    (photos / "planes.tif").write_bytes(tiff(planes, photometric=2, planar=2))
    stretched = (grey.astype(float) - grey.min()) * 255 / (grey.max() - grey.min())
    Image.fromarray(stretched.astype(np.uint8)).save(photos / "grey.png")
    (photos / "wide.tif").write_bytes(tiff(grey.astype(np.uint32) << 24))
    (photos / "signed.tif").write_bytes(tiff((grey.astype(np.int16) - 128).astype(np.int8), sample_format=2))
    (photos / "plane.tif").write_bytes(tiff(stretched.astype(">u2") * 257, planar=2))
    (photos / "inverted.tif").write_bytes(tiff(255 - stretched.astype(np.uint8), planar=2, photometric=0))
    (photos / "packed.tif").write_bytes(tiff(stretched.astype(">f4"), sample_format=3, compression=8))
    (photos / "below.tif").write_bytes(tiff((stretched * 100 - 9000).astype(">i2"), sample_format=2, compression=8))
    Image.fromarray(SCENE[::-1]).save(photos / "other.png")
    indexed = Indexed(tiny_run, photos)
    alike = indexed.alike("scene.png")
    assert alike["planes.tif"] > 0.9999 > alike["other.png"]
    alike = indexed.alike("grey.png")
    greys = ("wide.tif", "signed.tif", "plane.tif", "inverted.tif", "packed.tif", "below.tif")
    assert min(alike[name] for name in greys) > 0.9999 > alike["scene.png"]


def test_pictures_that_lie_on_their_side_or_come_after_their_thumbnail(tiny_run: Path, photos: Path) -> None:
    lying = Image.fromarray(SCENE).transpose(Image.Transpose.ROTATE_90)
    lying.save(photos / "a.jpg", xmp=xmp(tiff_Orientation="6"))
    lying.save(photos / "b.tif", tiffinfo={700: xmp(tiff_Orientation="6")})
    small, large = Image.fromarray(SCENE).resize((16, 12)), Image.fromarray(SCENE)
    large.encoderinfo = {"tiffinfo": {254: 0}}  # type: ignore[attr-defined]  of this page alone
    small.save(photos / "c.tif", save_all=True, append_images=[large], tiffinfo={254: 1})
    faint, less_so = (Image.fromarray(200 + SCENE // part) for part in (64, 48))  # nearly all alike, as snow is
    less_so = less_so.resize((16, 12))
    less_so.encoderinfo = {"tiffinfo": {254: 1}}  # type: ignore[attr-defined]
    faint.save(photos / "d.tif", save_all=True, append_images=[less_so], tiffinfo={254: 0})
    Image.fromarray(SCENE).save(photos / "upright.png")
    indexed = Indexed(tiny_run, photos)
    for name in ("a.jpg", "b.tif", "c.tif", "d.tif"):
        assert (indexed.records[name].width, indexed.records[name].height) == (80, 60), name
    alike = indexed.alike("upright.png")
    assert all(alike[name] > 0.999 for name in ("a.jpg", "b.tif", "c.tif"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xd8\xff\xc1\0\x11\x0c\0\x08\0\x08\x03" + bytes(50), "a JPEG of 12 bits"),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\0\x08\0\x08\x01" + bytes(50), "a JPEG-LS"),
        (b"II\xbc\x01" + bytes(50), "a JPEG XR"),
    ],
)
def test_a_jpeg_of_a_kind_that_nobody_reads_is_named(data: bytes, said: str, tiny_run: Path, photos: Path) -> None:
    (photos / "odd.jpg").write_bytes(data)
    plain_picture("red").save(photos / "red.png")
    [skipped] = Indexed(tiny_run, photos).report["skipped"]
    assert skipped["reason"].startswith(f"not in a format that glimpse reads: {said}")


def test_a_tiff_packed_in_a_way_that_nobody_unpacks_is_named(tiny_run: Path, photos: Path) -> None:
    (photos / "webp.tif").write_bytes(tiff(np.zeros((3, 8, 8), np.uint8), photometric=2, planar=2, compression=50001))
    plain_picture("red").save(photos / "red.png")
    [skipped] = Indexed(tiny_run, photos).report["skipped"]
    assert (
        "of a kind that is not read: a TIFF with 3 channels of 8 bits, compression 50001; save it" in skipped["reason"]
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("black", [0, 1])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(
    ("kind", "sample_format", "most"),
    [
        ("u1", 1, 2**8 - 1), ("u2", 1, 2**16 - 1), ("u4", 1, 2**32 - 1), ("i1", 2, 127), ("i2", 2, 2**15 - 1),
        ("i4", 2, 2**31 - 1), ("f4", 3, 1), ("f8", 3, 1),
    ],
)  # fmt: skip
def test_grey_tiffs_of_any_numbers(
    order: str, black: int, compression: int, kind: str, sample_format: int, most: int
) -> None:
    ramp = np.linspace(0, 1, 48 * 64).reshape(48, 64)
    said = {"compression": compression, "photometric": 1 - black, "sample_format": sample_format}
    grey = np.asarray(decode(tiff((ramp * most).astype(f"{order}{kind}"), **said)).image.convert("L"), np.float64)
    assert np.abs(grey - 255 * (1 - ramp if black else ramp)).mean() < 2


def test_a_tiff_of_light_and_colour_is_read_however_they_lie() -> None:
    ycbcr = np.asarray(Image.fromarray(SCENE).convert("YCbCr"))
    height, width = ycbcr.shape[:2]
    light = ycbcr[..., 0].reshape(height // 2, 2, width // 2, 2).transpose(0, 2, 1, 3).reshape(height // 2, -1, 4)
    blocks = np.concatenate([light, ycbcr[::2, ::2, 1:]], axis=2).reshape(height // 2, -1)
    size = {"photometric": 6, "width": width, "height": height}
    for data, most in [
        (tiff(ycbcr.transpose(2, 0, 1), planar=2, subsampling=1, **size), 2),
        (tiff(ycbcr.reshape(height, -1), subsampling=1, **size), 2),
        (tiff(blocks, subsampling=2, **size), 12),
        (tiff(blocks, **size), 12),
    ]:
        read = np.asarray(decode(data).image.convert("RGB"), float)
        assert np.abs(read - SCENE).mean() < most


def test_a_tiff_that_ends_in_its_directory_is_called_that() -> None:
    whole = tiff(np.zeros((48, 64), np.uint8))
    for end in (8, 9, 40, 60):
        with pytest.raises(ImageError, match="a TIFF that ends before its directory does; copy or download it anew"):
            decode(whole[:end])
