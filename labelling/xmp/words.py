"""Words as photo programs keep them: a path from the widest to the narrowest, and how each field spells it.

Four fields of XMP hold keywords. Programs read the first that they find and pass by the others: immich and digiKam
TagsList before hierarchicalSubject before subject. So who makes one of the former hides what stands in the latter,
unless it holds that too. Knows no XML and no file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError

LONGEST = 1000  # characters of a word; IPTC has 64 bytes, XMP no limit
_UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold

Parts = tuple[str, ...]  # of a word, from the widest to the narrowest


class XmpError(InputError):
    """Words that cannot be read from or written to one file; it is as it was."""

    code = "invalid_xmp"

    def __init__(self, path: str | Path | None, reason: str) -> None:
        self.path = None if path is None else str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}" if self.path else reason)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who says that a word fits: kept beside each word.

    Attributes:
        tool: the program and its version.
        model: the model, as a person would name it.
        run: the run that wrote it.
    """

    tool: str
    model: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A keyword.

    Attributes:
        path: from the widest to the narrowest, ("animal", "dog"); a part may hold "/" and never "|".
        score: how sure the model was, for a word of ours.
    """

    path: Parts
    score: float | None = None

    @classmethod
    def of(cls, label: str, score: float | None = None) -> Word:
        """The word of a label, "animal/dog". InputError: it is empty, too long, or nothing that XML can hold."""
        if _UNWRITABLE.search(label):
            raise InputError(f"label {label!r}: has a character that XMP cannot hold; choose another name")
        if not (path := path_of(label.split("/"))):
            raise InputError(f"label {label!r}: no word to write; choose another name")
        if len(label) > LONGEST:
            raise InputError(f"label {label[:40]!r}...: longer than {LONGEST} characters; choose another name")
        return cls(path, score)

    @property
    def label(self) -> str:
        """The word as a label's name, "animal/dog"; a "/" inside a part becomes a space."""
        return "/".join(part.replace("/", " ") for part in self.path)


@dataclass(frozen=True, slots=True)
class Field:
    """One of the properties that hold keywords.

    Attributes:
        name: as the mark calls it, and after the prefix.
        separator: between the parts of a path; "": the last part alone is written.
        array: how RDF calls its kind of list.
    """

    prefix: str
    namespace: str
    name: str
    array: str
    separator: str

    def spell(self, path: Parts) -> str:
        """How it spells a path."""
        if not self.separator:
            return path[-1]
        return self.separator.join(part.replace("/", "|") if self.separator == "/" else part for part in path)

    def read(self, item: str) -> Parts:
        """The path that one of its items spells; () for an empty one. A "|" in a flat field is a hierarchy too."""
        if self.separator == "/":
            return path_of(item.split("/"))
        return path_of(item.split("|"))


TAGS_LIST = Field("digiKam", "http://www.digikam.org/ns/1.0/", "TagsList", "Seq", "/")
LAST_KEYWORD = Field("MicrosoftPhoto", "http://ns.microsoft.com/photo/1.0/", "LastKeywordXMP", "Bag", "/")
HIERARCHICAL = Field("lr", "http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject", "Bag", "|")
SUBJECT = Field("dc", "http://purl.org/dc/elements/1.1/", "subject", "Bag", "")
FIELDS = (TAGS_LIST, LAST_KEYWORD, HIERARCHICAL, SUBJECT)  # as programs prefer them


def path_of(parts: Iterable[str]) -> Parts:
    """Parts as a path: in NFC, stripped, without empty ones and what XML cannot hold; "|" inside of one becomes "/"."""
    cleaned = (clean(part).replace("|", "/").strip() for part in parts)
    return tuple(part for part in cleaned if part)


def root_of(root: str) -> Parts:
    """The path that words of ours lie under, "ai" or "ai/animals"; () for "". InputError as `Word.of`."""
    return Word.of(root).path if root.strip("/ ") else ()


def clean(text: str) -> str:
    """Text in NFC, without what XML cannot hold."""
    return unicodedata.normalize("NFC", _UNWRITABLE.sub("", text))


def key(text: str) -> str:
    """What two spellings of one keyword have in common: programs take Dog and dog for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def merged(hierarchical: Iterable[Parts], flat: Iterable[Parts]) -> list[Parts]:
    """Each path once, in order; a flat word that is a part of a hierarchical path says nothing more."""
    paths: dict[tuple[str, ...], Parts] = {}
    for path in hierarchical:
        paths.setdefault(tuple(map(key, path)), path)
    parts = {part for path in paths for part in path}
    for path in flat:
        if len(path) > 1 or key(path[0]) not in parts:
            paths.setdefault(tuple(map(key, path)), path)
    return list(paths.values())


def keys(paths: Iterable[Parts]) -> set[Parts]:
    """Paths by what their spellings have in common."""
    return {tuple(map(key, path)) for path in paths}


def unique(items: Iterable[str]) -> list[str]:
    """Each item once, by what its spellings have in common."""
    found: dict[str, str] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())
