"""Tables as people have them: every dialect and encoding, rows that cannot be read, and names that mean a file."""

from __future__ import annotations

import csv
import gzip
import json
import unicodedata
import zipfile
from pathlib import Path

import pytest

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.named_files import Names
from base.sources.tables import Table, some_of
from base.sources.texts import decode_text, parse_json

FLAGS = [("image", "--image-key")]
TEXT = "image,title\n1.png,a; long\n"
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Bücher/café.png") for form in ("NFC", "NFD"))


def read(path: Path, content: str | bytes, encoding: str = "utf-8") -> tuple[list[tuple[str, list[object]]], LeftOut]:
    """The rows, each as where it stands and its values, and what was left out."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    table = Table(path, FLAGS)
    return [(where, list(cells.values())) for where, cells in table.rows()], table.left_out


@pytest.mark.parametrize(
    "content",
    [
        "image,title\n1.png,a | b\n",
        "image;title\n1.png;a | b\n",
        "image\ttitle\n1.png\ta | b\n",
        'image|title\n1.png|"a | b"\n',
        'image, title\n1.png, "a | b"\n',
        ' "image" ; "title" \n"1.png";"a | b" \n',
        "sep=;\nimage;title\n1.png;a | b\n",
        "\n\nimage,title,\n1.png,a | b,,\n,,\n",
        "image,title\r1.png,a | b\r",
        '[\n {"image": "1.png", "title": "a | b"}]',
        '\n{"image": "1.png", "title": "a | b"}\n\n',
        '{"image": ["1.png"], "title": ["a | b"], "source": "a shop"}',
        '{\n "image": {"7": "1.png"},\n "title": {"7": "a | b"}\n}',
    ],
)
def test_the_dialect_is_found(content: str, tmp_path: Path) -> None:
    rows, left_out = read(tmp_path / "table.txt", content)
    assert [[str(value).strip() for value in values if value] for _, values in rows] == [["1.png", "a | b"]]
    assert left_out.found == {}


def test_columns_of_different_lengths_are_named(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.json", '{"image": ["1.png", "2.png"], "title": [null, ["a", "b"]]}')
    assert rows == [("item 1", ["1.png", None]), ("item 2", ["2.png", ["a", "b"]])]
    with pytest.raises(InputError, match=r"columns of different lengths \(image 2, title 1\)"):
        read(tmp_path / "a.json", '{"image": ["1.png", "2.png"], "title": ["a"]}')


def test_the_column_that_is_wanted_decides(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.csv", "image;title, in full, as written\n1.png;x\n")
    assert rows == [("line 2", ["1.png", "x"])]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_mark_tells_the_encoding(encoding: str, tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.csv", "image,title\n1.png,né\n", encoding)
    assert rows == [("line 2", ["1.png", "né"])]
    assert decode_text("né".encode(encoding)) == "né"
    for data in ("né".encode("cp1252"), "né".encode("utf-16-le")):
        with pytest.raises(ValueError, match=r"text|utf"):
            decode_text(data)


def test_rows_that_cannot_be_read_are_counted_with_their_lines(tmp_path: Path) -> None:
    rows, left_out = read(
        tmp_path / "a.csv",
        'image,title\n1.png,"of two\nlines"\n2.png,red, round\n3.png,"old" hat\n\n4.png,"open\n'.removesuffix("\n")
        + "\n5.png,7"
        + '"\n6.png,last\n',
    )
    assert rows == [
        ("line 2", ["1.png", "of two\nlines"]),
        ("line 5", ["3.png", "old hat"]),
        ("line 7", ["4.png", "open\n5.png,7"]),  # the quote that closes there may be meant
        ("line 9", ["6.png", "last"]),
    ]
    assert left_out.as_json() == [
        {
            "reason": "rows with more cells than the header (put a text with the separator in it in quotes)",
            "count": 1,
            "first": "line 4",
        }
    ]
    assert left_out.lines() == [f"1 of 5 {left_out.as_json()[0]['reason']}, the first: line 4"]


def test_cells_may_be_long(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.csv", f"image,title\n1.png,{'x' * 400_000}\n")
    assert [len(str(value)) for value in rows[0][1]] == [5, 400_000]


def test_a_cell_beyond_all_use_is_named_for_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("base.sources.tables.MAX_CELL", 1000)
    limit = csv.field_size_limit(1000)
    try:
        (tmp_path / "t.csv").write_text("image,title\na.png," + "x" * 2000 + "\nb.png,y\n")
        table = Table(tmp_path / "t.csv", [("image", "--image-key")])
        assert [row.cells["image"] for row in table.rows()] == ["b.png"]
        assert "a cell of more than" in table.left_out.lines()[0]
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"caption": "caf\xe9"}', "not text in UTF-8"),
        (b'{"n": ' + b"1" * 5000 + b"}", "a number with thousands of digits"),
        ("[" * 100_000, "too deep"),
        ('{"a": 1', "from column 8 on"),
    ],
    ids=["bytes of another encoding", "digits", "deep", "cut off"],
)
def test_what_is_no_json_says_why(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_keeps_its_types_and_nan_says_nothing(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.json", '[{"image": "1.png", "price": 9.5, "title": NaN, "tags": ["a"]}]')
    assert rows == [("item 1", ["1.png", 9.5, None, ["a"]])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,title\n1.png,x\n2.png,'né'\n".encode("cp1252"), "not text in UTF-8 (line 3); save it"),
        (b'[{"image": "1.png"}, 3]', "item 2 is not a JSON object"),
        (json.dumps([{f"key {i} {'x' * 300}": i for i in range(2000)}]).encode(), "and 1990 more. Choose one with"),
        (b'{"images": [],\n "annotations": []}', "it has images, annotations (a COCO file: write an object an image"),
        (b'{"image": "1.png"\n', "line 1 cannot be read as JSON"),
    ],
)
def test_what_is_no_table_is_refused_in_few_words(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a", content)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED, f"{COMPOSED[:6]}/{DECOMPOSED.rpartition('/')[2]}"])
def test_a_name_finds_its_file_however_it_is_written(on_disk: str, tmp_path: Path) -> None:
    file = tmp_path / on_disk
    file.parent.mkdir()
    file.touch()
    names = Names(tmp_path)
    for form in (COMPOSED, DECOMPOSED):
        for name in (form, f"  {form} ", form.replace("/", "\\"), f" .\\{form}", f"{tmp_path}/{form}"):
            assert names.find(name) == tmp_path / name.strip().replace("\\", "/").replace(form, on_disk)
    for uri in (file.as_uri(), file.as_uri().replace("file://", "file:"), f"file://localhost{tmp_path}/{on_disk}"):
        assert names.find(uri) == file
    for name in ("gone.png", "C:\\Bücher\\café.png", "", "a\0b", "x" * 5000, "https://a/b.png", None, 3):
        assert names.find(name) is None


def test_an_exact_name_comes_first(tmp_path: Path) -> None:
    for name in (" a.png", "a.png", "b\\c.png", "file:x.png"):
        (tmp_path / name).touch()
    names = Names(tmp_path)
    assert [names.find(name) for name in (" a.png", "b\\c.png", "file:x.png")] == [
        tmp_path / " a.png",
        tmp_path / "b\\c.png",
        tmp_path / "file:x.png",
    ]


def test_a_name_in_other_capitals_or_escaped_finds_the_only_file_that_it_can_mean(tmp_path: Path) -> None:
    for name in ("Img/My Photo.JPG", "Img/twice.png", "Img/TWICE.png", "Img/50%20.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = Names(tmp_path)
    for name in ("img/my photo.jpg", "IMG\\MY PHOTO.JPG", "Img/My%20Photo.JPG", "img\\my%20photo.jpg"):
        assert names.find(name) == tmp_path / "Img/My Photo.JPG"
    assert names.find("img/50%20.png") == tmp_path / "Img/50%20.png"  # as it is called
    assert names.find("Img/twice.png") == tmp_path / "Img/twice.png"
    assert names.find("img/Twice.png") is None


def test_a_name_without_its_suffix_finds_the_only_image_that_it_can_mean(tmp_path: Path) -> None:
    for name in (
        "img/15970.jpg",
        "img/a.b.PNG",
        "img/twice.jpg",
        "img/twice.png",
        "img/text.txt",
        "img/9/1.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = Names(tmp_path / "img")
    assert names.find("15970") == names.find(15970) == tmp_path / "img/15970.jpg"
    assert names.find("A.B") == tmp_path / "img/a.b.PNG"
    assert Names(tmp_path).find("img\\9/1") == tmp_path / "img/9/1.jpg"
    assert [names.find(name) for name in ("twice", "text", "15970.png", "img", True, 1597.0)] == [None] * 6


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("xl/workbook.xml", "an Excel workbook; save it as CSV (UTF-8)"),
        ("content.xml", "a spreadsheet of LibreOffice; save it as CSV (UTF-8)"),
        ("Index/Document.iwa", "a Numbers file; export it as CSV"),
        ("a.csv", "a ZIP archive; unpack it first"),
    ],
)
def test_a_packed_file_is_called_what_it_is(inside: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"  # under whatever name
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(inside, "x")
    with pytest.raises(InputError) as caught:
        Table(path, ())
    assert str(caught.value) == f"{path}: {said}"
    entry = bytearray(path.read_bytes())
    entry[entry.index(b"PK\1\2") + 6] = 99  # packed by a version that is still to come
    path.write_bytes(entry)
    with pytest.raises(InputError, match="a ZIP archive; unpack it first"):
        Table(path, ())


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
        (b"PAR1\x15\0\x15\0", "a Parquet file; write it as CSV or JSON Lines"),
        (b"ARROW1\0\0", "an Arrow file"),
        (gzip.compress(b"image,title"), "compressed; unpack it first"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\x80\x04\x95\0", "a pickle of Python"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; git lfs pull brings the file"),
        (b"\xff\xd8\xff\xe0", "a picture; give the folder that it is in"),
        (b"PK\x03\x04 cut off", "a ZIP archive"),
        ("image,title\n".encode("utf-16-le"), "text in UTF-16 without the mark that tells it; save it as UTF-8"),
        ("image,title\n".encode("utf-16-be"), "text in UTF-16 without the mark that tells it; save it as UTF-8"),
    ],
)
def test_a_file_of_bytes_is_called_what_it_is(head: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(head + bytes(200))
    with pytest.raises(InputError, match=rf"a\.csv: {said}"):
        Table(path, [("image", "--image-key")])


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Table(tmp_path, ())
    assert str(caught.value) == f"{tmp_path}: a folder; give a table: CSV, TSV or JSON Lines"


def test_some_names_stand_for_many() -> None:
    assert some_of([]) == "none"
    assert some_of(["a", "b\nc"]) == "a, b c"
    assert some_of(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert len(some_of(["x" * 1000])) == 60
