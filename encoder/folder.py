"""Walks folders for image files: streams in a fixed order, survives what it cannot enter, keeps no list of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from encoder.errors import InputError

# What a person would call an image file, whether or not encoder.image can decode it: one that it cannot is reported.
IMAGE_SUFFIXES = frozenset(
    """
    .apng .avif .avifs .bmp .bw .cur .dcx .dds .dib .emf .eps .fits .flc .fli .gif .heic .heics .heif .heifs .hif
    .icns .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .qoi
    .ras .rgb .rgba .sgi .tga .tif .tiff .webp .wmf .xbm .xpm
    """.split()
)


def walk_images(
    folder: Path, *, on_error: Callable[[Path, str], None] | None = None
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield (path, stat) of each image file below a folder, names in order; hidden files and folders are left out.

    Links to files are followed, links to folders are not, so a loop of links ends. A folder or file that cannot be
    entered is given to `on_error(path, reason)`, and the walk goes on.

    Raises:
        InputError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    yield from _walk(folder, on_error or (lambda path, reason: None))


def _walk(folder: Path, on_error: Callable[[Path, str], None]) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        on_error(folder, error.strerror or str(error))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(path, on_error)
            elif path.suffix.lower() in IMAGE_SUFFIXES and stat.S_ISREG((status := entry.stat()).st_mode):
                yield path, status
        except OSError as error:
            on_error(path, error.strerror or str(error))
