"""What to say of a file that is no table, or of a table without the columns that are wanted. Reads little of it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from base.errors import InputError
from base.sources.walk import IMAGE_SUFFIXES

_COLUMNS = {  # as others call them, without signs and numbers
    "--image-key": "image img imagepath imgpath imagefile imagename imageid file filename filepath path jpg id url",
    "--caption-key": "title caption captions text description comment sentence prompt txt alttext raw",
    "--id-key": "externalid id sku key code uid uuid",
    "--label-key": "label class category tag",
    "--negative-key": "negative negatives hardnegative hardnegatives",
}
_KINDS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook; save it as CSV (UTF-8)"),
    (b"PAR1", "a Parquet file; write it as CSV or JSON Lines, as with pandas"),
    (b"ARROW1", "an Arrow file; write it as CSV or JSON Lines, as with pandas"),
    (b"\xff\xff\xff\xff", "an Arrow file; write it as CSV or JSON Lines, as with pandas"),
    (b"\x93NUMPY", "an array of numpy; write it as CSV or JSON Lines"),
    (b"\x80", "a pickle of Python; write it as CSV or JSON Lines"),
    (b"SQLite format 3", "an SQLite database; write its table as CSV, as sqlite3 -csv does"),
    (b"version https://git-lfs", "a pointer of Git LFS; git lfs pull brings the file"),
    (b"%PDF", "a PDF; a table is text"),
    (b"{\\rtf", "a text document; save it as plain text"),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"7z\xbc\xaf", b"Rar!"), "compressed; unpack it first"),
    ((b"\xff\xd8\xff", b"\x89PNG", b"GIF8"), "a picture; give the folder that it is in, or a table that names some"),
)
_TWO_BYTES = re.compile(rb"(?:[^\0]\0){4}|(?:\0[^\0]){4}", re.DOTALL)  # a character, as all of ASCII in UTF-16
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype html|html|head|table)\b", re.I)
_IN_ZIP = (
    ("xl/", "an Excel workbook; save it as CSV (UTF-8)"),
    ("word/", "a Word document; save it as plain text"),
    ("Index/", "a Numbers file; export it as CSV"),
    ("content.xml", "a spreadsheet of LibreOffice; save it as CSV (UTF-8)"),
)


def what_it_is(path: Path) -> str | None:
    """What a file is that is no table, in a few words with the remedy; None where that is not known."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as inside:
                names = inside.namelist()
        except Exception:  # a damaged one makes zipfile raise this and that
            names = []
        found = (said for start, said in _IN_ZIP if any(name.startswith(start) for name in names))
        return next(found, "a ZIP archive; unpack it first")
    if _WEB_PAGE.match(head):
        return "a web page; save its table as CSV (UTF-8)"
    if said := next((said for starts, said in _KINDS if head.startswith(starts)), None):
        return said
    return "text in UTF-16 without the mark that tells it; save it as UTF-8" if _TWO_BYTES.match(head) else None


def no_table(path: Path, opened: Path) -> InputError:
    """For a file that is not text; `opened` is a name of the open file."""
    if said := what_it_is(opened):
        return InputError(f"{path}: {said}")
    return InputError(
        f"{path}: not text in UTF-8{_first_broken_line(opened)}; save it as UTF-8 (Excel: CSV UTF-8), or give a table "
        "instead: CSV, TSV or JSON Lines with a row an image, as in image,title"
    )


def no_columns(
    path: Path, missing: Sequence[tuple[str, str]], columns: Sequence[str], there: str, *, json: bool
) -> InputError:
    """For a table, of JSON or a CSV, without some columns, each given with its flag; `there` names those it has."""
    form = 'an object an image instead, as {"image": "1.jpg", "title": ["a cat"]}'
    said = f"{path}: no column {' nor '.join(dict.fromkeys(_quoted(key) for key, _ in missing))}; it has {there}"
    if {"images", "annotations"} & {*columns} and not {"image", "filename", "file_name"} & {*columns}:
        return InputError(f"{said} (a COCO file: write {form})")
    if len(columns) == 1 and re.match(r"-?\s*[-\w]+:\s", columns[0]):
        return InputError(f"{said}: is it YAML? A table is CSV, TSV or JSON Lines")
    if any(_is_image(name) for name in columns):
        what = f"write {form}" if json else "put a line above it that names the columns, as image,title"
        return InputError(f"{said}, the name of an image: {what}")
    likely = {flag: _likely(flag, columns) for flag in dict.fromkeys(flag for _, flag in missing)}
    choices = (" " if all(likely.values()) else " and ").join(f"{flag} {name}".strip() for flag, name in likely.items())
    return InputError(f"{said}. Choose {'one' if len(likely) == 1 else 'them'} with {choices}")


def repeated(path: Path, columns: Sequence[str], name: str) -> InputError:
    """For a table that has a column twice."""
    return InputError(f'{path}: {columns.count(name)} columns are named "{name}"; rename all but one')


def _likely(flag: str, columns: Sequence[str]) -> str:
    """The columns that a flag is likely to mean, quoted for a shell; "" if none is."""
    order = _COLUMNS.get(flag, "").split()
    bare = {name: re.sub(r"[\W\d_]", "", name).lower() for name in columns if name.isprintable()}
    ranks = {name: order.index(said) for name, said in bare.items() if said in order}
    best = [name for name, rank in ranks.items() if rank == min(ranks.values())]
    return quote(",".join(best[:1] if flag == "--image-key" else best)) if best else ""


def _is_image(name: str) -> bool:
    """Whether a column is called as a picture, as where a table has no header; "1.jpg#0" too."""
    suffix = re.search(r"\.\w+(?=(?:#\d+)?$)", name)
    return suffix is not None and suffix[0].lower() in IMAGE_SUFFIXES


def _quoted(key: str) -> str:
    return f'"{key}"'


def _first_broken_line(path: Path) -> str:
    """Which line is not UTF-8, for who looks for it in an editor; "" if that cannot be said."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if "\0" in line.decode():
                    return ""
            except UnicodeDecodeError:
                return f" (line {number})"
    return ""
