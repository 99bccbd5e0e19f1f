"""Words of ours in sidecars: merged without a loss, told apart, taken away; read back by ExifTool and Exiv2."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import pytest
import sidecars
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_world import plain_picture
from xmp_words import read_marks, write_words

from base.errors import InputError
from labelling.xmp.change import plan_words, undone
from labelling.xmp.merge import marks, parse, people_words, stripped, written
from labelling.xmp.packet import RDF
from labelling.xmp.read import read_words
from labelling.xmp.sidecar import sidecar_of
from labelling.xmp.words import FIELDS, Origin, Word, XmpError

ORIGIN = Origin("glimpse 0.1.0", "a model", "run-1")
DOG = [Word.of("animal/dog", 0.93), Word.of("indoors", 0.5)]
AI = ("ai",)
FORMS = pytest.mark.parametrize("form", sidecars.ALL.values(), ids=sidecars.ALL)
OURS = ("TagsList", "LastKeywordXMP", "HierarchicalSubject", "Subject", "Labels", "Made", "Carried")


def nobody() -> list[tuple[str, ...]]:
    return []


def fields(data: bytes) -> list[list[str] | None]:
    packet = parse(data)
    return [packet.items(f"{field.namespace} {field.name}") for field in FIELDS]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    plain_picture("red").save(path)
    return path


# --- what others have stays ---


@FORMS
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_taking_words_away_gives_the_very_bytes_of_before(form: str, encoding: str, line: str) -> None:
    if encoding == "latin-1":
        form = re.sub(r"^<\?x.*\?>\n", "", form).replace("\ufeff", "")
        form = f'<?xml version="1.0" encoding="ISO-8859-1"?>\n{form}'
    before = form.replace("\n", line).encode(encoding) + b"\0" * (encoding == "utf-8")
    after = written(before, [*DOG, Word.of("海")], ORIGIN, AI, nobody)
    assert people_words(parse(after)) == people_words(parse(before))
    assert [mark.word.path for mark in marks(parse(after))] == [("animal", "dog"), ("indoors",), ("海",)]
    assert stripped(parse(after)) == before


@FORMS
def test_all_but_our_words_stands_where_it_stood(form: str) -> None:
    before = form.encode()
    after = written(before, DOG, ORIGIN, AI, nobody)
    rest = iter(after)
    assert all(byte in rest for byte in before)  # nothing is gone, nothing has another order


@FORMS
def test_each_field_has_what_it_had_and_ours(form: str) -> None:
    before, after = fields(form.encode()), fields(written(form.encode(), DOG, ORIGIN, AI, nobody))
    for field, was, now in zip(FIELDS, before, after, strict=True):
        ours = [field.spell(path) for path in [("ai", "animal", "dog"), ("ai", "indoors")]]
        assert now is not None
        assert now[: len(was or ())] == (was or [])
        assert {*ours} <= {*now}
        assert len(now) == len({*now})


def test_a_program_that_reads_one_field_finds_the_words_of_people_in_it() -> None:
    tags, _, hierarchical, flat = fields(written(sidecars.LIGHTROOM.encode(), DOG, ORIGIN, AI, nobody))
    assert tags == ["Family/Anna", "Sea", "ai/animal/dog", "ai/indoors"]
    assert hierarchical == ["Family|Anna", "Sea", "ai|animal|dog", "ai|indoors"]
    assert flat == ["Anna", "Sea", "dog", "indoors"]


def test_words_that_people_had_are_neither_claimed_nor_removed() -> None:
    before = sidecars.DIGIKAM.encode()  # it has ai/animal/dog already
    after = written(before, DOG, ORIGIN, AI, nobody)
    assert fields(after)[3] == ["Oslo", "dog", "indoors"]
    assert marks(parse(after))[0].fields == frozenset()
    assert stripped(parse(after)) == before


def test_other_labels_replace_ours_alone() -> None:
    before = sidecars.DARKTABLE.encode()
    first = written(before, DOG, ORIGIN, AI, nobody)
    second = written(first, [Word.of("animal/cat", 0.8)], ORIGIN, AI, nobody)
    assert second == written(before, [Word.of("animal/cat", 0.8)], ORIGIN, AI, nobody)
    assert written(second, [], ORIGIN, AI, nobody) == before


def test_the_same_labels_of_another_run_change_nothing() -> None:
    first = written(sidecars.DARKTABLE.encode(), DOG, ORIGIN, AI, nobody)
    assert written(first, DOG[::-1], Origin("glimpse 0.1.0", "a model", "run-2"), AI, nobody) == first
    assert written(first, DOG, Origin("glimpse 0.1.0", "another", "run-2"), AI, nobody) != first


def test_words_under_another_root_stay() -> None:
    first = written(sidecars.LIGHTROOM.encode(), DOG, ORIGIN, ("ai", "animals"), nobody)
    both = written(first, [Word.of("beach"), Word.of("dog")], ORIGIN, ("ai", "places"), nobody)
    assert {mark.path for mark in marks(parse(both))} == {
        ("ai", "animals", "animal", "dog"),
        ("ai", "animals", "indoors"),
        ("ai", "places", "beach"),
        ("ai", "places", "dog"),
    }
    assert fields(both)[3] == ["Anna", "Sea", "dog", "indoors", "beach"]
    left = written(both, [], ORIGIN, ("ai", "animals"), nobody)
    assert fields(left)[3] == ["Anna", "Sea", "beach", "dog"]


def test_without_a_root_words_stand_among_the_others() -> None:
    after = written(sidecars.LIGHTROOM.encode(), [Word.of("sea"), Word.of("boat")], ORIGIN, (), nobody)
    assert fields(after)[2] == ["Family|Anna", "Sea", "boat"]  # Sea is sea to photo programs
    assert stripped(parse(after)) == sidecars.LIGHTROOM.encode()


@pytest.mark.parametrize(
    "subject",
    [
        '<rdf:Description rdf:about="" dc:subject=\'a &amp; "b"\'/>',
        '<rdf:Description xmp:Rating="1" dc:subject="a &amp; &quot;b&quot;" xmp:Label="x"></rdf:Description>',
        '<rdf:Description><dc:subject>a &amp; "b"</dc:subject></rdf:Description>',
        '<rdf:Description><dc:subject><rdf:Bag><rdf:li rdf:parseType="Resource"><rdf:value>a &amp; "b"</rdf:value>'
        "<xmp:Label>q</xmp:Label></rdf:li></rdf:Bag></dc:subject></rdf:Description>",
        '<rdf:Description><dc:subject><rdf:Alt><rdf:li xml:lang="x-default">a &amp; "b"</rdf:li></rdf:Alt></dc:subject>'
        "</rdf:Description>",
    ],
    ids=["attribute of an empty tag", "attribute", "one value", "qualified", "an alternative"],
)
def test_odd_forms_of_a_field_take_words_too(subject: str) -> None:
    head = (
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns:dc='http://purl.org/dc/elements/1.1/' "
        "xmlns:xmp='http://ns.adobe.com/xap/1.0/'>"
    )
    before = f"{head}{subject}</rdf:RDF>".encode()
    after = written(before, DOG, ORIGIN, AI, nobody)
    assert fields(after)[3] == ['a & "b"', "dog", "indoors"]
    assert fields(stripped(parse(after))) == [None, None, None, ['a & "b"']]


@pytest.mark.parametrize("rdf", ["<r:RDF xmlns:r='{}'/>", "<r:RDF xmlns:r='{}'></r:RDF>", "<RDF xmlns='{}'>\n</RDF>"])
@pytest.mark.parametrize("empty", ["", "<d:subject xmlns:d='http://purl.org/dc/elements/1.1/'/>"])
def test_empty_packets_take_words(rdf: str, empty: str) -> None:
    before = rdf.format("http://www.w3.org/1999/02/22-rdf-syntax-ns#")
    if empty and "><" in before:
        before = before.replace("><", f"><r:Description>{empty}</r:Description><")
    after = written(before.encode(), DOG, ORIGIN, AI, nobody)
    assert fields(after)[3] == ["dog", "indoors"]


# --- what others do to our words ---


def test_a_field_that_a_program_wrote_to_is_its_own_from_then_on() -> None:
    after = written(sidecars.LIGHTROOM.encode(), DOG, ORIGIN, AI, nobody)
    head, made = after.split(b"<digiKam:TagsList>")
    tagged = b"<digiKam:TagsList>".join([head, made.replace(b">Sea<", b">Sea/Baltic<", 1)])
    left = stripped(parse(tagged))
    assert fields(left) == [["Family/Anna", "Sea/Baltic"], None, ["Family|Anna", "Sea"], ["Anna", "Sea"]]
    again = written(tagged, [Word.of("cat")], ORIGIN, AI, nobody)
    assert fields(again)[0] == ["Family/Anna", "Sea/Baltic", "ai/cat"]


def test_what_a_made_field_carries_is_renewed() -> None:
    after = written(sidecars.LIGHTROOM.encode(), DOG, ORIGIN, AI, nobody)
    tagged = after.replace(b"<rdf:li>Family|Anna</rdf:li>", b"<rdf:li>Family|Anna</rdf:li><rdf:li>New</rdf:li>", 1)
    again = written(tagged, DOG, Origin("glimpse 0.1.0", "a model", "run-2"), AI, nobody)
    assert fields(again)[0] == ["Family/Anna", "New", "Sea", "ai/animal/dog", "ai/indoors"]
    assert {mark.origin for mark in marks(parse(again))} == {ORIGIN}  # who said so first
    assert written(again, DOG, ORIGIN, AI, nobody) == again


def test_what_people_took_from_a_made_field_stays_away() -> None:
    after = written(sidecars.LIGHTROOM.encode(), DOG, ORIGIN, AI, nobody)
    fewer = after.replace(b"<rdf:li>Family/Anna</rdf:li>", b"", 1)  # as immich does, in TagsList alone
    again = written(fewer, [Word.of("cat")], ORIGIN, AI, nobody)
    assert fields(again)[0] == ["Sea", "ai/cat"]
    assert fields(again)[1:3] == [["Sea", "Family/Anna", "ai/cat"], ["Family|Anna", "Sea", "ai|cat"]]


def test_people_may_take_our_words_away() -> None:
    after = written(sidecars.LIGHTROOM.encode(), DOG, ORIGIN, AI, nobody)
    fewer = re.sub(rb"\s*<rdf:li>(ai[|/]indoors|indoors)</rdf:li>", b"", after)
    assert fields(stripped(parse(fewer)))[2:] == fields(sidecars.LIGHTROOM.encode())[2:]
    assert written(fewer, DOG, ORIGIN, AI, nobody) == fewer  # and the next run does not bring them back


@pytest.mark.skipif(not shutil.which("exiv2"), reason="no exiv2")
@pytest.mark.parametrize("name", ["Lightroom", "darktable", "digiKam"])
def test_marks_are_known_after_another_program_has_written_the_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xmp"
    before = sidecars.ALL[name].encode()
    file.write_bytes(written(before, DOG, ORIGIN, AI, nobody))
    subprocess.run(["exiv2", "-M", "set Xmp.xmp.Label Green", file], check=True)
    now = file.read_bytes()
    assert [mark.word for mark in marks(parse(now))] == DOG
    assert fields(stripped(parse(now))) == fields(before)


# --- what programs read ---


def exiftool(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["exiftool", "-struct", "-j", "-a", "-G1", "-XMP:all", "-warning", path], capture_output=True, check=True
    )
    (found,) = json.loads(done.stdout)
    return {name: value for name, value in found.items() if name != "SourceFile"}


def exiv2(path: Path) -> list[str]:
    return subprocess.run(["exiv2", "-PXkt", path], capture_output=True, check=True, text=True).stdout.splitlines()


@pytest.mark.skipif(not shutil.which("exiftool"), reason="no exiftool")
@FORMS
def test_exiftool_reads_ours_and_all_else_as_before(form: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xmp"
    file.write_bytes(form.encode())
    before = exiftool(file)
    file.write_bytes(written(form.encode(), DOG, ORIGIN, AI, nobody))
    after = exiftool(file)
    assert {name: value for name, value in after.items() if not name.endswith(OURS) and "Warning" not in name} == {
        name: value for name, value in before.items() if not name.endswith(OURS) and "Warning" not in name
    }
    assert "ai/animal/dog" in after["XMP-digiKam:TagsList"]
    assert "ai/animal/dog" in after["XMP-microsoft:LastKeywordXMP"]
    assert "ai|animal|dog" in after["XMP-lr:HierarchicalSubject"]
    assert "dog" in after["XMP-dc:Subject"]
    assert after["XMP-glimpse:Labels"][0].items() >= {"Word": "animal|dog", "Score": 0.93, "Model": "a model"}.items()


@pytest.mark.skipif(not shutil.which("exiv2"), reason="no exiv2")
@FORMS
def test_exiv2_reads_ours_and_all_else_as_before(form: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xmp"
    file.write_bytes(form.encode())
    ours = re.compile(r"Xmp\.(digiKam\.TagsList|MicrosoftPhoto\.LastKey|lr\.hier|dc\.subject|glimpse)")
    before = [line for line in exiv2(file) if not ours.match(line)]
    file.write_bytes(written(form.encode(), DOG, ORIGIN, AI, nobody))
    after = exiv2(file)
    assert [line for line in after if not ours.match(line)] == before
    said = "\n".join(after)
    for pattern in (r"TagsList .*ai/animal/dog", r"LastKeywordXMP .*ai/animal/dog", r"dc\.subject .*dog"):
        assert re.search(pattern, said)
    assert re.search(r"Xmp\.glimpse\.labels\[1\]/glimpse:word +animal\|dog", said)


# --- any packets ---

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=8).filter(str.strip)


@st.composite
def packets(draw: st.DrawFn) -> str:
    """A packet of any layout, with properties of programs that nobody knows and the fields in every form."""
    space = draw(st.sampled_from(["", "\n  ", "\t", "\r\n "]))
    declared = "".join(f' xmlns:{field.prefix}="{field.namespace}"' for field in FIELDS) + ' xmlns:o="http://o/"'
    descriptions: list[tuple[list[str], list[str]]] = [([], []) for _ in range(draw(st.integers(1, 3)))]
    for i in range(draw(st.integers(0, 4))):
        attributes, elements = draw(st.sampled_from(descriptions))
        value = draw(TEXTS)
        if draw(st.booleans()):
            attributes.append(f"o:a{i}={quoteattr(value)}")
        else:
            inner = f"<rdf:Seq>{space}<rdf:li o:x={quoteattr(value)}/><rdf:li>{escape(value)}</rdf:li></rdf:Seq>"
            elements.append(f"<o:e{i}>{draw(st.sampled_from([escape(value), inner]))}</o:e{i}><!-- {i} -->")
    for field in draw(st.lists(st.sampled_from(FIELDS), unique=True)):
        attributes, elements = draw(st.sampled_from(descriptions))
        name, form = f"{field.prefix}:{field.name}", draw(st.sampled_from(["list", "list", "list", "one", "attribute"]))
        values = draw(st.lists(TEXTS | st.sampled_from(["dog", "ai/animal/dog", "ai|animal|dog"]), max_size=3))
        if form == "list":
            items = "".join(f"{space}<rdf:li>{escape(value)}</rdf:li>" for value in values)
            elements.append(f"<{name}>{space}<rdf:{field.array}>{items}{space}</rdf:{field.array}></{name}>")
        elif form == "one":
            elements.append(f"<{name}>{escape(values[0]) if values else ''}</{name}>")
        elif values:
            attributes.append(f"{name}={quoteattr(values[0])}")
    body = ""
    for attributes, elements in descriptions:
        start = f"{space}<rdf:Description{space or ' '}{' '.join(attributes)}"
        body += f"{start}>{space.join(elements)}</rdf:Description>" if elements else f"{start}/>"
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"{declared}>{body}{space}</rdf:RDF></x:xmpmeta>'
    )


def foreign(data: bytes) -> list[list[str]]:
    """What each description holds but for keywords and ours, by another parser; those without anything left out."""
    names = {f"{{{field.namespace}}}{field.name}" for field in FIELDS}
    found = []
    for description in ElementTree.fromstring(data).iter(f"{{{RDF}}}Description"):
        said = [
            f"{name}={value}" for name, value in description.attrib.items() if name not in names and "about" not in name
        ]
        for element in description:
            if element.tag not in names and not element.tag.startswith("{urn:glimpse"):
                element.tail = None
                said.append(ElementTree.canonicalize(ElementTree.tostring(element)))
        found.append(sorted(said))
    return list(filter(None, found))


BOTH = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
 ><rdf:Description dc:subject="a" lr:hierarchicalSubject="b|a"/></rdf:RDF></x:xmpmeta>"""


@settings(max_examples=200)
@example(packet=BOTH, words=DOG)
@given(packet=packets(), words=st.lists(st.sampled_from([*DOG, Word.of("dog"), Word.of("Sea/ö")]), max_size=3))
def test_whatever_the_packet_all_else_stays(packet: str, words: list[Word]) -> None:
    before = packet.encode()
    after = written(before, words, ORIGIN, AI, nobody)
    assert foreign(after) == foreign(before)
    for was, now in zip(fields(before), fields(after), strict=True):
        assert Counter(was or ()) <= Counter(now or ())
    assert people_words(parse(after)) == people_words(parse(before))
    assert {mark.word.path for mark in marks(parse(after))} == {word.path for word in words}
    left = stripped(parse(after))
    assert foreign(left) == foreign(before)
    assert [items or None for items in fields(left)] == [items or None for items in fields(before)]
    if not re.search(r"(TagsList|LastKeywordXMP|hierarchicalSubject|subject)(=|>[^<\s]|></)", packet):
        assert left == before  # every keyword is in a list


# --- any words ---

WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
    | st.sampled_from(
        ["a, b", '"q"', "=cmd|' /C calc'!A0", "two\nlines", "🦊🏽", "כלב", "é", "é", "a|b", "]]>", "&amp;"]
    ),
    max_size=6,
)


@given(form=st.sampled_from(list(sidecars.ALL.values())), texts=WORDS, more=WORDS)
def test_any_words_go_in_and_come_out(form: str, texts: list[str], more: list[str]) -> None:
    before = form.encode()
    words = list({word.path: word for word in map(word_of, texts) if word}.values())
    after = written(before, words, ORIGIN, AI, nobody)
    known = {mark.path for mark in marks(parse(after))}
    assert known <= {("ai", *word.path) for word in words}
    assert {str(path).casefold() for path in known} == {str(("ai", *word.path)).casefold() for word in words}
    assert people_words(parse(after)) == people_words(parse(before))
    then = written(after, [word for word in map(word_of, more) if word], ORIGIN, ("ml",), nobody)
    assert written(then, [], ORIGIN, ("ml",), nobody) == after
    assert stripped(parse(then)) == before


def word_of(text: str) -> Word | None:
    try:
        return Word.of(text)
    except InputError:
        return None


@pytest.mark.parametrize("label", ["", "/", " // ", "a\x00b", "\ud800", "\ufffe", "x" * 1001])
def test_labels_that_cannot_be_written_are_refused(label: str) -> None:
    with pytest.raises(InputError):
        Word.of(label)


def test_signs_that_a_field_uses_between_words_are_exchanged() -> None:
    after = written(sidecars.LIGHTROOM.encode(), [Word.of("music/cats|dogs")], ORIGIN, (), lambda: [])
    assert [items[-1] for items in fields(after) if items] == [
        "music/cats|dogs",
        "music/cats|dogs",
        "music|cats/dogs",
        "cats/dogs",
    ]
    assert marks(parse(after))[0].word.path == ("music", "cats/dogs")


# --- files ---


def test_a_new_sidecar_goes_when_our_words_go(image: Path) -> None:
    change = write_words(image, DOG, ORIGIN)
    assert change.before is None
    assert change.path == image.with_name("a.jpg.xmp")
    assert read_words(image) == []
    assert [(path.name, mark.word.label) for path, mark in read_marks(image)] == [
        ("a.jpg.xmp", "animal/dog"),
        ("a.jpg.xmp", "indoors"),
    ]
    write_words(image, [], ORIGIN)
    assert sorted(image.parent.iterdir()) == [image]
    assert write_words(image, [], ORIGIN).after is None
    assert sorted(image.parent.iterdir()) == [image]


@pytest.mark.parametrize(
    ("there", "name", "chosen"),
    [
        ([], "auto", "a.jpg.xmp"),
        ([], "stem", "a.xmp"),
        (["a.xmp"], "auto", "a.xmp"),
        (["a.XMP"], "auto", "a.XMP"),
        (["a.xmp", "a.jpg.xmp"], "auto", "a.jpg.xmp"),
        (["a.xmp"], "full", "a.jpg.xmp"),
        (["a.xmp", "a.jpg.xmp"], "stem", "a.xmp"),
        (["a.xmp", "a.nef"], "auto", "a.jpg.xmp"),  # a raw file's
        (["a.xmp", "a.MOV"], "auto", "a.xmp"),
        (["a.xmp", "a.heic"], "auto", None),
        (["a.heic"], "stem", None),
        (["a.nef"], "stem", None),
    ],
)
def test_which_sidecar(image: Path, there: list[str], name: Any, chosen: str | None) -> None:
    for file in there:
        image.with_name(file).write_text(sidecars.DIGIKAM, encoding="utf-8")
    if chosen is None:
        with pytest.raises(XmpError, match=r"a\.jpg\.xmp"):
            sidecar_of(image, name)
    else:
        assert sidecar_of(image, name).name == chosen


def test_a_sidecar_says_whose_it_is(image: Path) -> None:
    image.with_name("a.xmp").write_text(sidecars.LIGHTROOM, encoding="utf-8")  # of a NEF
    assert sidecar_of(image).name == "a.jpg.xmp"
    assert sidecar_of(image.with_name("a.nef")).name == "a.xmp"
    with pytest.raises(XmpError, match=r"belongs to a\.NEF"):
        sidecar_of(image, "stem")
    change = write_words(image.with_name("a.nef"), DOG, ORIGIN)
    assert change.path.name == "a.xmp"


def test_a_sidecar_that_we_name_so_says_whose_it_is(image: Path) -> None:
    write_words(image, DOG, ORIGIN, sidecar="stem")
    assert b"<photoshop:SidecarForExtension>jpg<" in image.with_name("a.xmp").read_bytes()
    plain_picture("blue").save(image.with_name("a.png"))
    assert sidecar_of(image).name == "a.xmp"
    assert sidecar_of(image.with_name("a.png")).name == "a.png.xmp"
    write_words(image, [], ORIGIN)
    assert not image.with_name("a.xmp").exists()


def test_nothing_is_written_by_planning(image: Path) -> None:
    change = plan_words(image, DOG, ORIGIN)
    assert change.is_needed
    assert sorted(image.parent.iterdir()) == [image]


def test_undoing_gives_the_bytes_of_before_and_spares_what_others_wrote_since(image: Path) -> None:
    sidecar = image.with_name("a.jpg.xmp")
    sidecar.write_text(sidecars.DARKTABLE, encoding="utf-8")
    first = write_words(image, DOG, ORIGIN)
    second = write_words(image, [Word.of("cat")], ORIGIN)
    undone(second).apply()
    assert sidecar.read_bytes() == first.after
    undone(first).apply()
    assert sidecar.read_text(encoding="utf-8") == sidecars.DARKTABLE

    change = write_words(image, DOG, ORIGIN)
    rated = sidecar.read_text(encoding="utf-8").replace('xmp:Rating="2"', 'xmp:Rating="5"')
    sidecar.write_text(rated, encoding="utf-8")
    undone(change).apply()
    assert sidecar.read_text(encoding="utf-8") == sidecars.DARKTABLE.replace('xmp:Rating="2"', 'xmp:Rating="5"')
    sidecar.unlink()
    assert not undone(change).is_needed


def test_a_sidecar_that_changed_since_it_was_looked_at_is_left_alone(image: Path) -> None:
    change = plan_words(image, DOG, ORIGIN)
    sidecar = image.with_name("a.jpg.xmp")
    sidecar.write_text(sidecars.DARKTABLE, encoding="utf-8")
    with pytest.raises(XmpError, match="changed meanwhile"):
        change.apply()
    assert sidecar.read_text(encoding="utf-8") == sidecars.DARKTABLE


LIST = (
    b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns:dc='http://purl.org/dc/elements/1.1/'>"
    b"<rdf:Description><dc:subject><rdf:Bag>"
)
LIST_END = b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF>"
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no XML: it is empty, as a full disk leaves one; delete it"),
        (b" \n\0\0", "is no XML: it is empty"),
        (b"\xff\xd8\xff\xe0 a picture", "is no XML"),
        (sidecars.DARKTABLE.encode()[:-20], "is no XML"),
        (b"<svg/>", "no rdf:RDF"),
        (b"<a>" * 101, "more than 100 elements"),
        (LIST + b"<rdf:li/>" * 200_000 + LIST_END, "more than 200000 keywords"),
        (BOMB.encode(), "declares a document type"),
        (b'<?xml version="1.0" encoding="klingon"?><x/>', "is not in klingon"),
        (b'<?xml version="1.0" encoding="utf-16"?><x/>', "is not in utf-16"),
    ],
)
def test_what_is_no_xmp_is_named_and_left_alone(image: Path, content: bytes, said: str) -> None:
    sidecar = image.with_name("a.jpg.xmp")
    sidecar.write_bytes(content)
    with pytest.raises(XmpError, match=rf"a\.jpg\.xmp: .*{said}"):
        write_words(image, DOG, ORIGIN)
    assert sidecar.read_bytes() == content
    assert sorted(path.name for path in image.parent.iterdir()) == ["a.jpg", "a.jpg.xmp"]


def test_a_folder_a_pipe_and_a_lost_link_are_no_sidecars(image: Path) -> None:
    sidecar = image.with_name("a.jpg.xmp")
    for make in (sidecar.mkdir, lambda: os.mkfifo(sidecar), lambda: sidecar.symlink_to("nowhere")):
        make()
        with pytest.raises(XmpError, match=r"is no file|leads nowhere"):
            write_words(image, DOG, ORIGIN)
        sidecar.rmdir() if sidecar.is_dir() else sidecar.unlink()


def test_a_link_stays_one(image: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    kept = tmp_path / "kept" / "a.xmp"
    kept.write_text(sidecars.DARKTABLE, encoding="utf-8")
    kept.chmod(0o640)
    image.with_name("a.jpg.xmp").symlink_to("kept/a.xmp")
    write_words(image, DOG, ORIGIN)
    assert image.with_name("a.jpg.xmp").is_symlink()
    assert len(marks(parse(kept.read_bytes()))) == 2
    assert kept.stat().st_mode & 0o777 == 0o640


def test_a_read_only_sidecar_is_left_alone(image: Path) -> None:
    sidecar = image.with_name("a.jpg.xmp")
    sidecar.write_text(sidecars.DARKTABLE, encoding="utf-8")
    sidecar.chmod(0o444)
    with pytest.raises(XmpError, match=r"a\.jpg\.xmp: is read-only"):
        write_words(image, DOG, ORIGIN)
    assert sidecar.read_text(encoding="utf-8") == sidecars.DARKTABLE


def test_a_read_only_folder_and_a_full_disk(on_own_disk: Callable[[str], None]) -> None:
    on_own_disk("""
import pytest
from tiny_world import plain_picture
from labelling.xmp.words import Origin, Word, XmpError
from xmp_words import write_words
image = disk / "a.jpg"
plain_picture("red").save(image)
mount("-o", "remount,ro")
with pytest.raises(XmpError, match="a.jpg.xmp: cannot be written: Read-only"):
    write_words(image, [Word.of("dog")], Origin("t"))
mount("-o", "remount,rw")
write_words(image, [Word.of("dog")], Origin("t"))
before = (disk / "a.jpg.xmp").read_bytes()
with open(disk / "filler", "wb") as file, pytest.raises(OSError, match="No space"):
    file.write(bytes(8 << 20))
with pytest.raises(OSError, match="No space"):
    write_words(image, [Word.of(f"cat {i}") for i in range(1000)], Origin("t"))
assert (disk / "a.jpg.xmp").read_bytes() == before
assert sorted(path.name for path in disk.iterdir()) == ["a.jpg", "a.jpg.xmp", "filler"]
""")
