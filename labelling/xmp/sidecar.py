"""Which sidecar belongs to an image: `a.jpg.xmp`, or `a.xmp`, which several images of one name may share."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, get_args

from base.errors import InputError
from base.sources.walk import IMAGE_SUFFIXES, RAW_SUFFIXES
from labelling.xmp.merge import extension_of, parse
from labelling.xmp.packet import MOST_BYTES
from labelling.xmp.words import XmpError

SidecarName = Literal["auto", "full", "stem"]
SIDECAR_NAMES: tuple[SidecarName, ...] = get_args(SidecarName)
Opened = Callable[[Path], AbstractContextManager[Path]]  # as base.sources.rules.Rules.opened
_SUFFIXES = (".xmp", ".XMP")


def sidecar_of(image: Path, name: SidecarName = "auto") -> Path:
    """The sidecar of an image, whether it is there or not.

    Args:
        image: its path.
        name: full: `a.jpg.xmp`, as darktable, digiKam and immich name it. stem: `a.xmp`, as Lightroom and Capture One
            do. auto: full if that is there, else stem if that is there and belongs to this image, else full.

    Raises:
        InputError: another name.
        XmpError: `a.xmp` may belong to another image, or cannot be read.
    """
    full, stem = _there(image.with_name(f"{image.name}.xmp")), _there(image.with_suffix(".xmp"))
    if name not in SIDECAR_NAMES:
        raise InputError(f"sidecar {name!r}: must be one of {', '.join(SIDECAR_NAMES)}")
    if name == "full" or (name == "auto" and (_is_there(full) or not _is_there(stem))):
        return full
    owner = _owner(image, stem)
    if owner == image.name:
        return stem
    if owner is None:
        raise XmpError(stem, f'may belong to another image of that name; sidecar "full" would write {full.name}')
    if name == "auto":
        return full
    raise XmpError(stem, f'belongs to {owner}; sidecar "full" would write {full.name}')


def sidecars_there(image: Path) -> list[Path]:
    """The sidecars that may tell of an image."""
    both = (_there(image.with_name(f"{image.name}.xmp")), _there(image.with_suffix(".xmp")))
    return [path for path in both if os.path.isfile(path)]  # noqa: PTH113  a name too long is no error


def read_sidecar(path: Path, opened: Opened = nullcontext) -> bytes | None:
    """The bytes of a sidecar; None if it is not there. XmpError: it is no file, or cannot be read."""
    try:
        with opened(path) as held:
            descriptor = os.open(held, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would have us wait
    except FileNotFoundError:
        if path.is_symlink():
            raise XmpError(path, "is a link that leads nowhere") from None
        return None
    except OSError as error:
        raise XmpError(path, f"cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        os.close(descriptor)
        what = f"is larger than {MOST_BYTES >> 20} MiB" if stat.S_ISREG(status.st_mode) else "is no file"
        raise XmpError(path, what)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MOST_BYTES)


def _there(path: Path) -> Path:
    """The path as it is written on disk, which may be in capitals."""
    capitals = path.with_suffix(_SUFFIXES[1])
    return capitals if not _is_there(path) and _is_there(capitals) else path


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _owner(image: Path, stem: Path) -> str | None:
    """The name of the file that `a.xmp` belongs to; None if it may be of several.

    The sidecar says it itself, or there is but one picture of that name, or but one of them is a camera's raw file.
    """
    if (data := read_sidecar(stem)) is not None:
        try:
            said = extension_of(parse(data))
        except XmpError as error:
            raise XmpError(stem, error.reason) from error
        if said:
            return image.name if said.lower() == image.suffix[1:].lower() else f"{image.stem}.{said}"
    rivals = [path for path in _pictures_named(image) if path.name != image.name]
    if not rivals:
        return image.name
    raws = [path.name for path in (image, *rivals) if path.suffix.lower() in RAW_SUFFIXES]
    return raws[0] if len(raws) == 1 else None


def _pictures_named(image: Path) -> list[Path]:
    """The pictures beside an image that differ from it by their suffix alone."""
    candidates = (image.with_suffix(case) for suffix in sorted(IMAGE_SUFFIXES) for case in (suffix, suffix.upper()))
    found: dict[tuple[int, int], Path] = {}
    for path in candidates:
        try:
            status = path.stat()
        except OSError:
            continue
        found.setdefault((status.st_dev, status.st_ino), path)  # a disk may take both cases for one
    return list(found.values())
