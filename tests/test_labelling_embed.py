"""Words of ours inside of image files: pixels and all other parts stay; read back by ExifTool and Exiv2."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sidecars
from PIL import Image, ImageCms
from tiny_world import plain_picture
from xmp_words import embed_words

from labelling.xmp.change import plan_embedded, undone
from labelling.xmp.containers import JPEG_MOST, metadata_of, packet_in, with_packet
from labelling.xmp.merge import marks, parse, people_words
from labelling.xmp.read import read_words
from labelling.xmp.words import Origin, Word, XmpError

ORIGIN = Origin("glimpse 0.1.0", "a model", "run-1")
DOG = [Word.of("animal/dog", 0.93), Word.of('=cmd, "x"\n🦊', 0.5)]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PADDED = sidecars.DIGIKAM.replace("<?xpacket end", " " * 4000 + "\n<?xpacket end").encode()


def textured(mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (60, 80, 4), dtype=np.uint8), "RGBA").convert(mode)


def exif_of(image: Image.Image) -> Image.Exif:
    exif = image.getexif()
    exif[0x010F] = "a maker"
    exif[0x0112] = 6
    return exif


def jpeg(path: Path, **more: Any) -> None:
    image = textured()
    image.save(path, exif=exif_of(image), icc_profile=SRGB, comment=b"said", quality=90, **more)


def plain_jpeg(path: Path) -> None:
    textured().save(path)


def jpeg_with_xmp(path: Path) -> None:
    jpeg(path, xmp=sidecars.LIGHTROOM.encode())


def jpeg_with_room(path: Path) -> None:
    jpeg(path, xmp=PADDED)


def png(path: Path) -> None:
    image = textured("RGBA")
    image.save(path, exif=exif_of(image), dpi=(72, 72))


def png_with_xmp(path: Path) -> None:
    png(path)
    path.write_bytes(with_packet(path.read_bytes(), sidecars.DIGIKAM.encode()))


def compressed_png(path: Path) -> None:
    png(path)
    data = path.read_bytes()
    content = b"iTXtXML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(sidecars.DIGIKAM.encode())
    chunk = (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
    path.write_bytes(data[:-12] + chunk + data[-12:])


def lossy_webp(path: Path) -> None:
    textured().save(path)


def lossless_webp(path: Path) -> None:
    textured("RGBA").save(path, lossless=True)


def extended_webp(path: Path) -> None:
    image = textured("RGBA")
    image.save(path, exif=exif_of(image), icc_profile=SRGB, xmp=sidecars.LIGHTROOM.encode())


def animated_webp(path: Path) -> None:
    textured().save(path, save_all=True, append_images=[plain_picture("red", size=(80, 60))])


FILES: dict[str, Callable[[Path], None]] = {
    "plain.jpg": plain_jpeg,
    "a.jpg": jpeg,
    "xmp.jpg": jpeg_with_xmp,
    "room.jpg": jpeg_with_room,
    "a.png": png,
    "xmp.png": png_with_xmp,
    "compressed.png": compressed_png,
    "lossy.webp": lossy_webp,
    "lossless.webp": lossless_webp,
    "extended.webp": extended_webp,
    "animated.webp": animated_webp,
}


@pytest.fixture(params=FILES)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    FILES[request.param](path)
    return path


def parts(data: bytes) -> list[tuple[bytes, bytes]]:
    """All parts but those with XMP, by a reader of its own."""
    found = []
    if data[:2] == b"\xff\xd8":
        place = 2
        while data[place + 1] != 0xDA:
            size = int.from_bytes(data[place + 2 : place + 4])
            found.append((data[place + 1 : place + 2], data[place + 4 : place + 2 + size]))
            place += 2 + size
        found.append((b"rest", data[place:]))
        return [part for part in found if not part[1].startswith(b"http://ns.adobe.com/xap/1.0/")]
    is_png = data.startswith(b"\x89PNG")
    place = 8 if is_png else 12
    while place < len(data):
        head = data[place : place + 8]
        size = int.from_bytes(head[:4]) if is_png else int.from_bytes(head[4:], "little")
        found.append((head[4:] if is_png else head[:4], data[place + 8 : place + 8 + size]))
        place += 12 + size if is_png else 8 + size + size % 2
    return [
        part for part in found if not part[1].startswith(b"XML:com.adobe.xmp") and part[0] not in (b"XMP ", b"VP8X")
    ]


def pixels(data: bytes) -> list[bytes]:
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(image.convert("RGBA").tobytes())
        return frames


def test_pixels_and_all_other_parts_stay(image: Path) -> None:
    before = image.read_bytes()
    image.chmod(0o640)
    packet = packet_in(before)
    change = embed_words(image, DOG, ORIGIN)
    after = image.read_bytes()
    assert parts(after) == parts(before)
    assert pixels(after) == pixels(before)
    assert image.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in image.parent.iterdir()] == [image.name]
    found = packet_in(after)
    assert found is not None
    assert {mark.word.path for mark in marks(parse(found))} == {("animal", "dog"), ('=cmd, "x"\n🦊',)}
    assert people_words(parse(found)) == (people_words(parse(packet)) if packet else [])
    assert not plan_embedded(image, DOG, Origin("glimpse 0.1.0", "a model", "run-2")).is_needed

    undone(change).apply()
    assert parts(image.read_bytes()) == parts(before)
    assert packet_in(image.read_bytes()) == packet
    if image.name not in ("compressed.png", "extended.webp", "animated.webp"):
        assert image.read_bytes() == before


def test_our_words_go_and_others_stay(image: Path) -> None:
    before, words = image.read_bytes(), read_words(image)
    embed_words(image, DOG, ORIGIN)
    assert read_words(image) == words
    embed_words(image, [], ORIGIN)
    left = packet_in(image.read_bytes())
    assert pixels(image.read_bytes()) == pixels(before)
    assert (left is None) == (packet_in(before) is None)
    assert b"".join((left or b"").split()) == b"".join((packet_in(before) or b"").split())


@pytest.mark.skipif(not shutil.which("exiftool"), reason="no exiftool")
def test_exiftool_finds_nothing_wrong_and_all_as_before(image: Path) -> None:
    def read() -> dict[str, Any]:
        command = ["exiftool", "-j", "-struct", "-a", "-G1", "-validate", "-warning", "-all", image]
        (found,) = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
        return {name: value for name, value in found.items() if not name.startswith(("System", "ExifTool:Validate"))}

    before = read()
    embed_words(image, DOG, ORIGIN)
    after = read()
    assert "ai|animal|dog" in after["XMP-lr:HierarchicalSubject"]
    assert "ai/animal/dog" in after["XMP-digiKam:TagsList"]
    assert "dog" in after["XMP-dc:Subject"]
    ours = re.compile(
        r"TagsList|KeywordXMP|HierarchicalSubject|dc:Subject|glimpse:|Toolkit|WebP_Flags|FileType|Warning"
    )
    assert {name: value for name, value in after.items() if not ours.search(name)} == {
        name: value for name, value in before.items() if not ours.search(name)
    }
    warned = {str(value) for name, value in after.items() if "Warning" in name and value != before.get(name)}
    assert warned <= {"[minor] Fixed incorrect URI for xmlns:MicrosoftPhoto"}  # it is as Windows writes it


@pytest.mark.skipif(not shutil.which("exiv2"), reason="no exiv2")
def test_exiv2_reads_it(image: Path) -> None:
    embed_words(image, DOG, ORIGIN)
    done = subprocess.run(["exiv2", "-PXkt", image], capture_output=True, text=True, check=False)
    assert "ai/animal/dog" in done.stdout
    assert "ai|animal|dog" in done.stdout


def test_what_fits_into_the_room_that_there_is_moves_nothing(tmp_path: Path) -> None:
    image = tmp_path / "room.jpg"
    jpeg_with_room(image)
    size = image.stat().st_size
    embed_words(image, DOG, ORIGIN)
    assert image.stat().st_size == size
    embed_words(image, [], ORIGIN)
    assert image.stat().st_size == size


def test_iptc_words_of_people_are_carried(tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    jpeg(image)
    add_iptc(image, ["Oslo", "Æ, ø"])
    embed_words(image, DOG, ORIGIN)
    packet = packet_in(image.read_bytes())
    assert packet is not None
    assert parse(packet).items("http://www.digikam.org/ns/1.0/ TagsList") == [
        "Oslo",
        "Æ, ø",
        "ai/animal/dog",
        'ai/=cmd, "x"\n🦊',
    ]
    assert [word.label for word in read_words(image)] == ["Oslo", "Æ, ø"]


def add_iptc(path: Path, words: list[str], *, charset: bytes = b"\x1b%G", encoding: str = "utf-8") -> None:
    """Keywords in IPTC, in Photoshop's resources, with another resource of an odd size before."""
    sets = [(1, 90, charset)] * bool(charset) + [(2, 25, word.encode(encoding)) for word in words]
    records = b"".join(b"\x1c" + bytes([a, b]) + len(value).to_bytes(2) + value for a, b, value in sets)
    resources = b"8BIM\x03\xed\0\0\0\0\0\x05abcde\0" + b"8BIM\x04\x04\0\0" + len(records).to_bytes(4) + records
    content = b"Photoshop 3.0\0" + resources
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xed" + (len(content) + 2).to_bytes(2) + content + data[2:])


# --- pictures with further pictures ---


@pytest.mark.parametrize("xmp", [None, sidecars.LIGHTROOM.encode()])
def test_further_pictures_are_found_where_their_index_says(tmp_path: Path, xmp: bytes | None) -> None:
    image = tmp_path / "a.jpg"
    textured().save(image, "MPO", save_all=True, append_images=[plain_picture("red")])
    if xmp:  # behind the index, as some write it
        data = image.read_bytes()
        place = data.index(b"MPF\0") - 4
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
        segment = b"\xff\xe1" + (31 + len(xmp)).to_bytes(2) + b"http://ns.adobe.com/xap/1.0/\0" + xmp
        from labelling.xmp.multi_picture import moved

        start = data.index(b"MPF\0") + 4
        data = moved(data, start, place - start, len(segment), moves=True)
        image.write_bytes(data[:place] + segment + data[place:])
    before = pixels(image.read_bytes())
    assert len(before) == 2
    embed_words(image, DOG, ORIGIN)
    assert pixels(image.read_bytes()) == before
    if shutil.which("exiftool"):
        second = subprocess.run(["exiftool", "-b", "-MPImage2", image], capture_output=True, check=True).stdout
        assert second[:2] == b"\xff\xd8"
        assert second[-2:] == b"\xff\xd9"
        sizes = subprocess.run(["exiftool", "-s3", "-MPImageLength", "-a", image], capture_output=True, check=True)
        first = int(sizes.stdout.split()[0])
        data = image.read_bytes()
        assert data[:first].rstrip(b"\0").endswith(b"\xff\xd9")
        assert data[first:].startswith(b"\xff\xd8")


# --- what is refused ---


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    jpeg(image, xmp=sidecars.LIGHTROOM.replace("At the sea", "x" * 63_000).encode())
    before = image.read_bytes()
    with pytest.raises(XmpError, match=rf"a\.jpg: a JPEG holds {JPEG_MOST} bytes of XMP.*write a sidecar"):
        embed_words(image, [Word.of(f"word {i}") for i in range(100)], ORIGIN)
    assert image.read_bytes() == before


def test_padding_makes_room_where_a_segment_is_full(tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    jpeg(image, xmp=sidecars.DIGIKAM.replace("<?xpacket end", " " * 60_000 + "\n<?xpacket end").encode())
    embed_words(image, [Word.of(f"word {i}") for i in range(30)], ORIGIN)
    assert len(packet_in(image.read_bytes()) or b"") <= JPEG_MOST


def with_extension(data: bytes, xmp: str) -> bytes:
    """A JPEG with XMP in an extension segment."""
    content = xmp.encode()
    guid = hashlib.md5(content).hexdigest().upper().encode()
    head = b"http://ns.adobe.com/xmp/extension/\0" + guid + len(content).to_bytes(4) + bytes(4)
    segment = b"\xff\xe1" + (2 + len(head) + len(content)).to_bytes(2) + head + content
    return data[:2] + segment + data[2:]


def test_extended_xmp_stays_and_is_refused_where_keywords_are_in_it(tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    jpeg_with_xmp(image)
    settings = sidecars.SPLIT.replace("dc:subject", "dc:source").replace("LastKeywordXMP", "Other")
    image.write_bytes(with_extension(image.read_bytes(), settings))
    before = parts(image.read_bytes())
    embed_words(image, DOG, ORIGIN)
    assert parts(image.read_bytes()) == before
    image.write_bytes(with_extension(image.read_bytes(), sidecars.DARKTABLE))
    before_bytes = image.read_bytes()
    assert "unterwegs/föhr" in [word.label for word in read_words(image)]
    with pytest.raises(XmpError, match="several segments; write a sidecar"):
        embed_words(image, [Word.of("cat")], ORIGIN)
    assert image.read_bytes() == before_bytes


@pytest.mark.parametrize(
    "name", ["a.tiff", "a.heic", "a.avif", "a.gif", "a.bmp", "a.dng", "a.nef", "text.jpg", "empty.png"]
)
def test_other_formats_are_refused_by_name(name: str, tmp_path: Path) -> None:
    image = tmp_path / name
    if image.suffix in (".dng", ".nef"):
        jpeg(image.with_suffix(".jpg"))
        image.with_suffix(".jpg").rename(image)
    elif name == "text.jpg":
        image.write_text("no picture")
    elif name == "empty.png":
        image.touch()
    else:
        import encoder.picture.decode  # noqa: F401  it registers HEIF

        textured().save(image)
    before = image.read_bytes()
    with pytest.raises(XmpError, match=rf"{name}: .*write a sidecar"):
        embed_words(image, DOG, ORIGIN)
    assert image.read_bytes() == before


@pytest.mark.parametrize("make", [png, jpeg, lossy_webp, extended_webp])
def test_what_is_cut_off_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    image = tmp_path / "a"
    make(tmp_path / f"a.{'webp' if 'webp' in make.__name__ else make.__name__}")
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in (20, 40, 100, len(whole) - 3):
        path.write_bytes(whole[:length])
        if make is jpeg and length > 100:
            continue  # the picture's own bytes are nobody's business here
        with pytest.raises(XmpError, match=r"a broken|ends before|write a sidecar"):
            embed_words(path, DOG, ORIGIN)
        assert path.read_bytes() == whole[:length]
    assert not image.exists()


def test_damaged_metadata_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    jpeg_with_xmp(path)
    add_iptc(path, ["Oslo"])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole[: int(rng.integers(2, len(whole)))])
        for place in rng.integers(0, min(len(broken), 6000), 5):
            broken[place] = int(rng.integers(256))
        path.write_bytes(broken)
        read_words(path)
        metadata_of(path)
