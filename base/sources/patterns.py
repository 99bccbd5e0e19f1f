"""Patterns of names and of paths, as `--exclude` gives them and as an ignore file has them, one a line."""

from __future__ import annotations

import os
import re
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

_WILD = re.compile(r"[*?\[\\]")
_LINES = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(
    r"(?:\A|(?<=/))(?:(?P<folders>(?:\*{2,}/)+)|(?P<all>\*{2,}\Z))|(?P<many>\*+)"
    r"|\[(?P<other>[!^]?)(?P<kinds>(?:\]|\[:[a-z]+:\]|\\.|[^]\\])(?:\[:[a-z]+:\]|\\.|[^]\\])*)\]"
    r"|\\(?P<quoted>.)|(?P<sign>.)",
    re.S,
)
_KINDS = {  # of signs, in a class, by their names in POSIX
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "cntrl": r"\0-\x1f\x7f", "digit": "0-9", "graph": "!-~",
    "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\s", "upper": "A-Z", "xdigit": "0-9a-fA-F",
}  # fmt: skip
_IN_CLASS = re.compile(rf"\[:({'|'.join(_KINDS)}):\]|(\\.|[^\\])(?:-(\\.|[^\\]))?", re.S)


@dataclass(frozen=True, slots=True)
class Patterns:
    """Patterns made ready. The last that names a path decides: one with "!" before it takes it back."""

    groups: tuple[_Group, ...]  # the last first

    @classmethod
    def of(cls, given: Iterable[str]) -> Patterns:
        """As options have them: `*` also stands for "/", and a path may be the whole one."""
        return cls._made(given, whole=True)

    @classmethod
    def in_file(cls, data: bytes) -> Patterns | None:
        """As an ignore file has them, by the rules of .gitignore; None if it is no text."""
        marked = data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE)
        text = data.decode("utf-16", errors="replace") if marked else os.fsdecode(data)
        if "\0" in text:
            return None
        lines = map(_pattern_in, _LINES.split(text.removeprefix("\ufeff")))
        return cls._made((line for line in lines if line and not line.startswith("#")), whole=False)

    @classmethod
    def _made(cls, given: Iterable[str], *, whole: bool) -> Patterns:
        groups: list[_Group] = []
        for takes_back, some in groupby(given, key=lambda pattern: pattern.startswith("!")):
            told = [nfc(pattern.removeprefix("!")) for pattern in some]
            for of_folders in (False, True):
                alike = [pattern.rstrip("/") for pattern in told if pattern.endswith("/") is of_folders]
                if any(alike):
                    groups.append(_Group.of(filter(None, alike), takes_back, of_folders, whole))
        return cls(tuple(reversed(groups)))

    def names(self, path: Path, root: Path, *, is_folder: bool) -> bool | None:
        """Whether they leave out a path below `root` (True) or take it back (False); None: none of them names it."""
        name, below = nfc(path.name), nfc(path.relative_to(root))
        for group in self.groups:
            if (is_folder or not group.of_folders) and group.has(name, below, nfc(path) if group.whole else below):
                return not group.takes_back
        return None


class _Group(NamedTuple):
    """Patterns among which the order makes no difference: the plain ones to look up, the others one expression each."""

    takes_back: bool
    of_folders: bool  # and not of files
    whole: bool
    plain_names: frozenset[str]
    plain_paths: frozenset[str]
    like_names: re.Pattern[str]
    like_paths: re.Pattern[str]

    @classmethod
    def of(cls, told: Iterable[str], takes_back: bool, of_folders: bool, whole: bool) -> _Group:
        told = [pattern[pattern.startswith("./") :] for pattern in told]  # "./a" is "/a"
        names = [pattern for pattern in told if "/" not in pattern]
        paths = [pattern for pattern in told if "/" in pattern]
        paths += [pattern.removeprefix("/") for pattern in paths]
        likes = _like(names, whole), _like(paths, whole)
        return cls(takes_back, of_folders, whole, _plain(names), _plain(paths), *likes)

    def has(self, name: str, *paths: str) -> bool:
        if name in self.plain_names or self.like_names.fullmatch(name):
            return True
        return any(path in self.plain_paths or self.like_paths.fullmatch(path) is not None for path in paths)


def nfc(path: str | Path) -> str:
    """A path with its accents composed."""
    return unicodedata.normalize("NFC", os.fspath(path))


given_patterns = lru_cache(maxsize=16)(Patterns.of)
patterns_in_file = lru_cache(maxsize=16)(Patterns.in_file)


def _pattern_in(line: str) -> str:
    """A line without the blanks around it, but for one at the end behind a backslash."""
    bare = line.strip()
    return f"{bare} " if bare.endswith("\\") and line != line.rstrip() else bare


def _plain(patterns: Iterable[str]) -> frozenset[str]:
    return frozenset(each for each in patterns if not _WILD.search(each))


def _like(patterns: Iterable[str], whole: bool) -> re.Pattern[str]:
    """One expression for those with * ? [ or a backslash in them; for none of them one that nothing is like."""
    return re.compile("|".join(_expression(each, whole) for each in patterns if _WILD.search(each)) or r"(?!)", re.S)


def _expression(pattern: str, whole: bool) -> str:
    """A pattern's own.

    What stands between two * is kept where it fits first, for what is behind fits nowhere if not then: no name takes
    long.
    """
    one, many = (".", ".*") if whole else ("[^/]", "[^/]*")
    parts, end = [[""]], ""  # between any folders, and in each between any signs
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "folders":
                parts.append([""])
            case "all":
                end = ".*"
            case "many":
                parts[-1].append("")
            case "kinds":
                parts[-1][-1] += _class(token["other"], token["kinds"])
            case _:
                parts[-1][-1] += one if token[0] == "?" else re.escape(token["quoted"] or token["sign"])
    *before, (last, *rest) = parts
    between = [first + _firsts(many, others) for first, *others in before]
    begin = "".join([*between[:1], *(f"(?>(?:.*?/)??{part})" for part in between[1:]), "(?:.*/)?" if before else ""])
    if not end and rest:
        end = many + rest.pop()
    return begin + last + _firsts(many, rest) + end


def _firsts(many: str, pieces: Iterable[str]) -> str:
    return "".join(f"(?>{many}?{piece})" for piece in pieces)


def _class(other: str, body: str) -> str:
    """The expression of what stands between [ and ], or of any other sign; none of them stands for "/"."""
    found = ""
    for kind, low, high in _IN_CLASS.findall(body):
        low, high = low[-1:], high[-1:]
        found += _KINDS[kind] if kind else re.escape(low)  # in "b-a" as well
        found += f"{re.escape(low)}-{re.escape(high)}" if low < high else ""
    return f"(?!/)[{'^' if other else ''}{found}]"
