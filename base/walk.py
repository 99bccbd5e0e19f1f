"""Walks folders for image files: streams in byte order, survives what it cannot enter, keeps no list of them."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from base.errors import InputError

# What a person would call an image file, whether or not encoder.image can decode it: one that it cannot is reported.
IMAGE_SUFFIXES = frozenset(
    """
    .apng .avif .avifs .bmp .bw .cur .dcx .dds .dib .emf .eps .fits .flc .fli .gif .heic .heics .heif .heifs .hif
    .icns .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .qoi
    .ras .rgb .rgba .sgi .tga .tif .tiff .webp .wmf .xbm .xpm
    """.split()
)

# Folders, in lower case, of what was thrown away or is kept for going back to.
BINS = frozenset(
    "#recycle $recycle.bin @recycle .recycle .recycle.bin .recycler recycled recycler .trash .trashes trash "
    "trashed .deleted papierkorb corbeille papelera cestino lost+found #snapshot .snapshot .snapshots "
    "@recently-snapshot .stversions .dropbox.cache".split()
)
_BIN = re.compile(r"\.trash-\d+|found\.\d{3}")  # of a user on a Linux disk; of a repaired Windows disk
_COPY = "copy|copia|cópia|copie|kopie|kopia|kopi|copiar|копия|副本|コピー|复制|複製|복사본|사본"
_COPIES = (  # how systems name a copy, matched against a name without its suffix, case folded
    re.compile(rf"(?:^|.*[\s_.(\-–—の의])(?:{_COPY})[\s_\-]*\(?\d{{0,3}}\)*"),  # x copy, x - copy (2), x_copy2
    re.compile(rf"(?:{_COPY})\s*(?:\(\d+\)\s*)?(?:of|von|van|de|di|da|do|av|af|från|～|〜|~)\s.*"),  # copy (2) of x
    re.compile(r"(?:копия|kopia)\s*(?:\(\d+\))?\s.*"),  # копия x
    re.compile(r".*\S\s?\(\d{1,3}\)"),  # x (1); not a year
    re.compile(
        r".*\((?:.*\s)?(?:copy|copie|kopie|copia)(?:\s.*)?\)"
    ),  # x (another copy), x (a's conflicted copy of 2020)
    re.compile(r".*\.sync-conflict-.*|.*_conflict-\d.*"),
)


def walk_images(
    folder: Path, *, on_error: Callable[[Path, str], None] | None = None
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield (path, stat) of each image file below a folder; hidden files and folders are left out.

    The paths come in the order of their bytes, as a database sorts them, so that two such streams can be compared
    without holding either. Links to files are followed, links to folders are not, so a loop of links ends. A folder or
    file that cannot be entered is given to `on_error(path, reason)`, and the walk goes on.

    Raises:
        InputError: `folder` is not a folder.
    """
    check_folder(folder)
    yield from _walk(folder, on_error or (lambda path, reason: None))


def check_folder(folder: Path) -> None:
    """InputError unless it is a folder."""
    if folder.is_file():
        raise InputError(f"{folder}: a file; give the folder that it is in")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")


def image_names(folder: Path) -> Iterator[str]:
    """Yield the name of each image file below a folder, in no order and with no look at the file: to count them."""
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            for name in map(os.fsdecode, _names(here)):
                if name.endswith("/"):
                    folders.append(here / name)
                else:
                    yield name
        except OSError:  # `walk_images` names it
            continue


def class_folder(image: Path, folder: Path) -> str | None:
    """The class of an image in a folder of class folders: the folder right below `folder`; None if it is in none."""
    parts = image.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None


def is_image_name(name: str) -> bool:
    """Whether a file of that name is an image to `walk_images`."""
    return not name.startswith(".") and name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def is_spare_name(path: str | Path) -> bool:
    """Whether a file lies in a recycle bin or a snapshot, or is named as a copy: of two alike it is never the original.

    It knows the names that Windows, macOS, Linux desktops, NAS systems and sync programs give, in a dozen languages.
    """
    *folders, name = unicodedata.normalize("NFC", str(path)).casefold().split("/")
    if any(folder in BINS or _BIN.fullmatch(folder) for folder in folders) or name.startswith(".trashed-"):
        return True
    if re.search(r"\.(?:\d{1,3}|bak|old|orig)$|~$", name):  # x.jpg.1, x.jpg~
        return True
    stem = re.sub(r"\.[a-z0-9_]{1,10}$", "", name).strip()
    return any(copy.fullmatch(stem) for copy in _COPIES)


def _walk(folder: Path, on_error: Callable[[Path, str], None]) -> Iterator[tuple[Path, os.stat_result]]:
    within = [(folder, _sorted(folder, on_error))]  # not by recursion: folders may stand a thousand deep
    while within:
        here, names = within[-1]
        name = next(names, None)
        if name is None:
            within.pop()
            continue
        path = here / os.fsdecode(name)
        if name.endswith(b"/"):
            within.append((path, _sorted(path, on_error)))
            continue
        try:
            status = path.stat()
        except OSError as error:
            on_error(path, error.strerror or str(error))
            continue
        if stat.S_ISREG(status.st_mode):
            yield path, status


def _sorted(folder: Path, on_error: Callable[[Path, str], None]) -> Iterator[bytes]:
    try:
        return iter(sorted(_names(folder)))
    except OSError as error:
        on_error(folder, error.strerror or str(error))
        return iter(())


def _names(folder: Path) -> Iterator[bytes]:
    """The images and folders in a folder, unsorted; folders end in "/", so that they sort as the paths below them."""
    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield os.fsencode(entry.name) + b"/"
            elif is_image_name(entry.name):
                yield os.fsencode(entry.name)
