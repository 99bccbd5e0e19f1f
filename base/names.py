"""What may name a collection or a label set: safe as a file's name, and in a URL; an entry, by its owner's id; and what
a collection is called where people read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from base.errors import ChangedMeanwhile, InputError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_EXTERNAL_ID = 256  # characters
MAX_TITLE = 120
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, half ones (lone surrogates), separators of lines


def check_collection_name(name: str) -> None:
    """InputError for what cannot name a collection."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a collection: use a-z, 0-9, '.', '_' and '-', 64 at most, a letter or digit first"
        )


def check_external_id(text: str) -> str:
    """An id that the owner of an entry has given it, as it is: case counts, and nothing is normalised.

    Raises:
        InputError: it is empty or longer than 256 characters; it has a control character, half a character, a line
            break, or a space at an end; or one of the parts between its slashes is "." or "..", which a URL cannot say.
    """
    _check_line("external_id", text, MAX_EXTERNAL_ID)
    if not {".", ".."}.isdisjoint(text.split("/")):
        raise InputError(f"external_id {text!r} has a part '.' or '..', which no URL can say: give it another name")
    return text


def check_title(text: str) -> str:
    """What a collection is called where people read, as it is; it leads nowhere, so two may have the same.

    Raises:
        InputError: it is empty or longer than 120 characters, has a control character, half a character or a line
            break, or a space at an end.
    """
    _check_line("title", text, MAX_TITLE)
    return text


def _check_line(what: str, text: str, most: int) -> None:
    """InputError unless it is a line of 1 to `most` characters that all are seen, none of them a space at an end."""
    if not 1 <= len(text) <= most:
        raise InputError(f"{what} must have 1 to {most} characters, not {len(text)}")
    if any(unicodedata.category(character) in UNSEEN for character in text):
        raise InputError(f"{what} {text!r} has a control character, a line break or half a character")
    if text != text.strip():
        raise InputError(f"{what} {text!r} begins or ends with a space: leave it out")


def check_still_called(name: str, title: str | None, expected: str | None) -> None:
    """ChangedMeanwhile if a collection has another title than somebody saw; None: it is called by its name."""
    if title != expected:
        called = "by its name" if title is None else repr(title)
        raise ChangedMeanwhile(f"collection {name!r} is called {called} by now", "expected_title")


def near_name(name: str, names: Iterable[str]) -> str | None:
    """The one of these names that was probably meant; None where none is near."""
    import difflib  # only where something went wrong

    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)
