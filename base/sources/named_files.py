"""The files that names mean which people wrote into a table, on this system or another. Looks; reads no file."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote_to_bytes

from base.sources.walk import is_image_name


class Names:
    """The files that the names in a table mean: as they stand there, or else as they must have been meant.

    Tried are the name; the name without blanks around it; a `file:` URI as its path; `/` for each backslash; what `%20`
    and its like stand for; each of these with its accents composed and decomposed; and at last in other capitals, or
    with the suffix that it lacks, where but one file is called so. A number is its digits.
    """

    def __init__(self, root: Path, was: Path | None = None) -> None:
        """Relative names start at `root`, and so does what lay below `was`."""
        self._root = root
        self._was = was
        self._listing = lru_cache(64)(_by_form)

    def find(self, cell: object) -> Path | None:
        """The file that a cell of a table names, or None if there is none."""
        name = name_in(cell)
        if name is None:
            return None
        if _is_file(path := self._at(name)):
            return path
        readings = dict.fromkeys(_readings(name))
        for reading in readings:
            for form in dict.fromkeys((reading, *(unicodedata.normalize(kind, reading) for kind in ("NFC", "NFD")))):
                if _is_file(path := self._at(form)):
                    return path
        looked = (self._look(reading) for reading in readings)
        return next((found for found in looked if found is not None and _is_file(found)), None)

    def likely(self, name: str) -> Path:
        """Where a file of that name would be, if there were one."""
        return self._root / list(_readings(name))[-1]

    def _at(self, name: str) -> Path:
        path = self._root / name
        return self._root / path.relative_to(self._was) if self._was and path.is_relative_to(self._was) else path

    def _look(self, reading: str) -> Path | None:
        """Folder by folder, by what lies there: a path may have accents of both forms, or capitals of its own."""
        path, parts = self._root, Path(reading).parts
        for number, part in enumerate(parts, start=1):
            if os.path.exists(path / part):  # noqa: PTH110  a name too long is no error
                path /= part
                continue
            composed, folded, bare = self._listing(path)
            form = unicodedata.normalize("NFC", part)
            found = (
                composed.get(form)
                or folded.get(form.casefold())
                or (bare.get(form.casefold()) if number == len(parts) else None)
            )
            if found is None:
                return None
            path /= found
        return path


def name_in(cell: object) -> str | None:
    """The name in a cell of a table: a text, or a whole number, as JSON may have it; None if it is another thing."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    return cell if isinstance(cell, str) else None


def as_on_disk(name: str) -> str:
    """A file or folder as a person types it, called as the disk does: ~, `file:` URIs, accents in the other form.

    What is not there stays as it is, below what is.
    """
    if os.path.lexists(name):
        return name
    if name[:5].lower() == "file:":
        name = _path_of(name)
    path = Path(os.path.expanduser(name)) if name.startswith("~") else Path(name)  # noqa: PTH111  of whoever is named
    found = Path()
    for number, part in enumerate(path.parts):
        if os.path.lexists(found / part):
            found /= part
        elif (there := _by_form(found)[0].get(unicodedata.normalize("NFC", part))) is not None:
            found /= there
        else:
            return str(Path(found, *path.parts[number:]))
    return str(found)


def _path_of(uri: str) -> str:
    """The path of a `file:` URI."""
    path = os.fsdecode(unquote_to_bytes(uri[5:].removeprefix("//")))
    host, _, rest = path.partition("/")
    return f"/{rest}" if host == "localhost" else path


def _readings(name: str) -> Iterator[str]:
    """What a name may mean, as it stands first."""
    yield name
    name = name.strip()
    yield name
    if name[:5].lower() == "file:":
        yield os.fsdecode(unquote_to_bytes(name[5:].removeprefix("//")))
        name = _path_of(name)
        yield name
    slashed = name.replace("\\", "/")
    if "%" in name:
        yield os.fsdecode(unquote_to_bytes(slashed))
    yield slashed


def _by_form(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The names in a folder, composed, in small letters, and of images without their suffix: those but one is called.

    None if it cannot be entered.
    """
    try:
        composed = {unicodedata.normalize("NFC", name): name for name in os.listdir(folder)}  # noqa: PTH208  names alone
    except (OSError, ValueError):
        return {}, {}, {}
    images = {form: name for form, name in composed.items() if is_image_name(form)}
    return composed, _only(composed, str.casefold), _only(images, lambda form: form[: form.rfind(".")].casefold())


def _only(names: dict[str, str], key: Callable[[str], str]) -> dict[str, str]:
    """The names by a key that no two of them have."""
    times = Counter(map(key, names))
    return {key(form): name for form, name in names.items() if times[key(form)] == 1}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False
