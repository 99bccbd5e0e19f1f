"""Words that are in use already, counted: those that photos carry, class folders, a metadata key of a collection.

A label set may be made of them, so that images get only words that a person has chosen before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from base.sources.walk import check_class_names, class_folder, walk_images
from labelling.xmp.read import read_words
from labelling.xmp.words import Parts, Word, XmpError, key, path_of

if TYPE_CHECKING:
    from index.collection import Collection

MOST_WORDS = 100_000
_OF_PROGRAMS = frozenset({"darktable", "_digikam_internal_tags_"})  # what they keep for themselves under such a root


@dataclass(frozen=True, slots=True)
class Used:
    """A word in use, and how many images have it."""

    word: Word
    images: int


def words_of_photos(folder: Path, *, rules: Rules = Rules(), left_out: LeftOut | None = None) -> list[Used]:
    """The words that people gave the photos below a folder, the most frequent first: sidecars, XMP and IPTC.

    Args:
        folder: walked as for labelling.
        rules: what is left out.
        left_out: counts what cannot be read.

    Raises:
        InputError: it is no folder, or there are more than `MOST_WORDS` words.
    """
    unread = LeftOut() if left_out is None else left_out

    def words() -> Iterator[Parts]:
        for image, _ in walk_images(folder, rules=rules, on_error=unread.unread, left_out=unread):
            try:
                found = read_words(image, rules.opened)
            except XmpError as error:
                unread.unread(Path(error.path or image), error.reason)
                continue
            except OSError as error:
                unread.unread(image, error.strerror or str(error))
                continue
            yield from (word.path for word in found if key(word.path[0]) not in _OF_PROGRAMS)

    return _counted(words(), f"the photos in {folder}")


def words_of_folders(folder: Path, *, rules: Rules = Rules()) -> list[Used]:
    """The names of class folders, those right below a folder, by how many images each has. InputError as above."""
    names = [class_folder(image, folder) for image, _ in walk_images(folder, rules=rules)]
    check_class_names(filter(None, names), folder)
    return _counted((path for name in names if name and (path := path_of([name]))), f"the folders in {folder}")


def words_of_key(collection: Collection, name: str) -> list[Used]:
    """The words under a metadata key of a collection's images: a text, or a list of texts; "animal/dog" is a path.

    Raises:
        InputError: no image has one there, or there are more than `MOST_WORDS` words.
    """

    def words() -> Iterator[Parts]:
        for record in collection.records("image"):
            value = record.metadata.get(name)
            texts = value if isinstance(value, list) else [value]
            paths = (path_of(text.split("/")) for text in texts if isinstance(text, str))
            yield from {tuple(map(key, path)): path for path in paths if path}.values()

    found = _counted(words(), f"{name!r} in collection {collection.name!r}")
    if not found:
        raise InputError(f"no image in collection {collection.name!r} has a text under {name!r}; name another key")
    return found


def _counted(paths: Iterable[Parts], source: str) -> list[Used]:
    """Each word with how often it is there, the most frequent first; of spellings that differ by case the first."""
    images: Counter[tuple[str, ...]] = Counter()
    spelled: dict[tuple[str, ...], Parts] = {}
    for path in paths:
        known = tuple(map(key, path))
        images[known] += 1
        if known not in spelled:
            spelled[known] = path
            if len(spelled) > MOST_WORDS:
                raise InputError(f"{source}: more than {MOST_WORDS:,} different words; those are no labels")
    ordered = sorted(images.items(), key=lambda item: (-item[1], item[0]))
    return [Used(Word(spelled[known]), count) for known, count in ordered]
