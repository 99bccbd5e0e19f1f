"""Words in use: of photos with sidecars, XMP and IPTC, of class folders, of a collection's metadata."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sidecars
from test_labelling_embed import add_iptc
from tiny_world import plain_picture
from xmp_words import embed_words, write_words

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from index.collection import create_collection
from index.entry import Entry
from labelling import vocabulary
from labelling.vocabulary import Used, words_of_folders, words_of_key, words_of_photos
from labelling.xmp.read import read_words
from labelling.xmp.words import Origin, Word
from service.jobs.roots import Roots

ORIGIN = Origin("glimpse 0.1.0")


def said(used: list[Used]) -> list[tuple[str, int]]:
    return [(each.word.label, each.images) for each in used]


def photo(path: Path, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain_picture("red").save(path, **more)
    return path


def test_words_of_photos_from_all_places(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg").with_name("a.jpg.xmp").write_text(sidecars.DARKTABLE, encoding="utf-8")
    photo(tmp_path / "b.jpg").with_name("b.xmp").write_text(sidecars.LIGHTROOM, encoding="utf-8")
    photo(tmp_path / "c.jpg", xmp=sidecars.DIGIKAM.encode())
    photo(tmp_path / "sub" / "d.tiff", tiffinfo={700: sidecars.SPLIT.encode()})
    photo(tmp_path / "e.webp", xmp=sidecars.SPLIT.encode())
    photo(tmp_path / "f.avif", xmp=sidecars.SPLIT.encode())
    add_iptc(photo(tmp_path / "g.jpg"), ["sea", "OSLO"])
    add_iptc(photo(tmp_path / "h.jpg"), ["Føhr"], charset=b"", encoding="cp1252")
    for image in tmp_path.rglob("*.*g"):
        write_words(image, [Word.of("animal/dog", 0.9)], ORIGIN)
        embed_words(image, [Word.of("animal/cat", 0.9)], ORIGIN)
    assert said(words_of_photos(tmp_path)) == [
        ("Sea", 5),  # flat ones in different spellings
        ("ai/animal/dog", 1),  # digiKam's, a person's
        ("Family/Anna", 1),
        ("Føhr", 1),
        ("OSLO", 1),
        ("Places/Oslo", 1),
        ("unterwegs/föhr", 1),
    ]


def test_a_flat_word_says_nothing_more_than_the_hierarchical_one(tmp_path: Path) -> None:
    image = photo(tmp_path / "a.jpg", xmp=sidecars.LIGHTROOM.encode())
    image.with_name("a.jpg.xmp").write_text(sidecars.SPLIT, encoding="utf-8")
    add_iptc(image, ["anna", "Boat", "Places|Harbour"])
    assert [word.label for word in read_words(image)] == ["Family/Anna", "Places/Harbour", "sea", "Boat"]


@pytest.mark.skipif(not shutil.which("exiftool"), reason="no exiftool")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp", "a.heic", "a.avif"])
def test_what_exiftool_wrote_is_read(name: str, tmp_path: Path) -> None:
    if name == "a.heic":
        import encoder.picture.decode  # noqa: F401  it registers HEIF
    image = photo(tmp_path / name)
    written = ["-XMP-dc:Subject=Anna", "-XMP-dc:Subject=Sea, north", "-XMP-lr:HierarchicalSubject=Family|Anna"]
    if name in ("a.jpg", "a.tiff"):
        written += ["-IPTC:Keywords=Æble", "-CodedCharacterSet=UTF8"]
    subprocess.run(["exiftool", "-q", *written, image], check=True)
    labels = [word.label for word in read_words(image)]
    assert labels == ["Family/Anna", "Sea, north", *(["Æble"] if len(written) > 3 else [])]


def test_what_cannot_be_read_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", xmp=sidecars.LIGHTROOM.encode()).with_name("a.jpg.xmp").write_text("no xml")
    photo(tmp_path / "b.jpg", xmp=sidecars.LIGHTROOM.encode())
    photo(tmp_path / "c.jpg", xmp=b"no xml")
    left_out = LeftOut()
    assert said(words_of_photos(tmp_path, left_out=left_out)) == [("Family/Anna", 1), ("Sea", 1)]
    (line,) = left_out.lines()
    assert line.startswith(f"1 files and folders that cannot be read, the first: {tmp_path / 'a.jpg.xmp'} (is no XML")


def test_what_must_not_be_read_is_not(tmp_path: Path) -> None:
    (tmp_path / "secret.xmp").write_text(sidecars.LIGHTROOM, encoding="utf-8")
    photo(tmp_path / "photos" / "a.jpg").with_name("a.xmp").symlink_to("../secret.xmp")
    assert len(words_of_photos(tmp_path / "photos")) == 2
    left_out, roots = LeftOut(), Roots([str(tmp_path / "photos")])
    assert words_of_photos(tmp_path / "photos", rules=Rules(opened=roots.entered), left_out=left_out) == []
    assert "a.xmp (cannot be read" in left_out.lines()[0]


def test_class_folders(tmp_path: Path) -> None:
    for name in ("cats/a.png", "cats/b.png", "dogs, big/a.png", "dogs, big/more/b.png", "dogs, big/c.png", "c.png"):
        photo(tmp_path / name)
    assert said(words_of_folders(tmp_path)) == [("dogs, big", 3), ("cats", 2)]


def test_a_metadata_key(tmp_path: Path) -> None:
    values = ["cat", ["cat", "Cat", "animal/dog"], 7, None, "", ["dog", 3], {"a": "b"}]
    with create_collection(tmp_path, "photos", model="model", fingerprint="f", dim=2) as collection:
        collection.upsert(
            [
                Entry(np.array([1, 0], np.float32), "image", path=f"/{i}.jpg", metadata={"tags": value})
                for i, value in enumerate(values)
            ]
        )
        assert said(words_of_key(collection, "tags")) == [("cat", 2), ("animal/dog", 1), ("dog", 1)]
        with pytest.raises(InputError, match="'photos' has a text under 'tag'; name another key"):
            words_of_key(collection, "tag")


def test_too_many_words_are_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST_WORDS", 1)
    photo(tmp_path / "a.jpg", xmp=sidecars.LIGHTROOM.encode())
    with pytest.raises(InputError, match="more than 1 different words"):
        words_of_photos(tmp_path)
