"""Our words: how many of something, a path, and what is wrong with a value, by the kinds of problem of pydantic."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

NUMBER, WHOLE, TEXT, TRUTH = "must be a number", "must be a whole number", "must be a text", "must be true or false"
LIST, OBJECT = "must be a list", "must be an object"
TYPES = {
    "bool_type": TRUTH, "bool_parsing": TRUTH,
    "float_type": NUMBER, "float_parsing": NUMBER, "finite_number": "must be a finite number",
    "int_type": WHOLE, "int_parsing": WHOLE, "int_from_float": WHOLE, "int_parsing_size": "has too many digits",
    "string_type": TEXT, "string_unicode": "holds half a character (a lone surrogate)", "string_sub_type": TEXT,
    "path_type": "must be a path", "bytes_type": TEXT, "is_instance_of": "has a value of another kind",
    "list_type": LIST, "tuple_type": LIST, "set_type": LIST, "iterable_type": LIST,
    "dict_type": OBJECT, "mapping_type": OBJECT, "model_type": OBJECT, "model_attributes_type": OBJECT,
    "dataclass_type": OBJECT,
}  # fmt: skip
BOUNDS = {
    "missing": "is missing",
    "extra_forbidden": "is no field here",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} at least",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} at most",
    "string_too_short": "must have {min_length} characters at least",
    "string_too_long": "must have {max_length} characters at most",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "too_short": "must have {min_length} items at least, not {actual_length}",
    "too_long": "must have {max_length} items at most, not {actual_length}",
    "union_tag_not_found": "is missing",
    "union_tag_invalid": "must be one of {expected_tags}",
}
UNSEEN = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}  # what Unicode has no place for yet may be in the fonts of tomorrow
ELSE = "cannot be taken as it is"  # no kind of problem that any field of ours has


def readable(path: str | Path) -> str:
    """A path as JSON can carry it: one that is not UTF-8 comes from the disk with lone surrogates."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_blank(text: str) -> bool:
    """Whether nothing of a text shows: it is empty, of spaces, or of signs of no width."""
    return all(category(sign) in UNSEEN for sign in text)


def counted(n: int, noun: str) -> str:
    """1 image, 2 images."""
    return f"{n} {noun if n == 1 else f'{noun}s'}"


class Wrong(NamedTuple):
    """What is wrong first, and at how many other places something is."""

    place: str | None  # of a field, as images.0; None: all that was given
    words: str
    others: int

    def __str__(self) -> str:
        more = f" (and {self.others} more)" if self.others else ""
        return f"{self.place or 'the body'}: {self.words}{more}"


def words_of(problem: Mapping[str, Any]) -> str:
    """One of pydantic's problems."""
    kind = problem["type"]
    if kind in ("value_error", "assertion_error"):  # our own words, with its own before them
        return str(problem["msg"]).partition(", ")[2]
    context = {name: f"{each:g}" if isinstance(each, float) else each for name, each in problem.get("ctx", {}).items()}
    if context.get("min_length") == 1:
        return "must not be empty"
    if "pattern" in context:
        context["pattern"] = context["pattern"].removeprefix("^").removesuffix("$")
    try:
        return TYPES[kind] if kind in TYPES else BOUNDS[kind].format(**context)
    except KeyError:
        return ELSE


def first_wrong(problems: Sequence[Mapping[str, Any]], given: Any = None) -> Wrong:
    """What to tell of all problems with what was `given`.

    A field that may be of several kinds is wrong in as many ways: told is the one that came nearest, else all of them.
    """
    found = [(_place(problem, given), problem) for problem in problems]
    first = found[0][0]
    place = max((place for place, _ in found if place[: len(first)] == first), key=len)
    ways = [problem for where, problem in found if where == place]
    nearer = [problem for problem in ways if problem["type"] not in TYPES] or ways
    words = ", or ".join(dict.fromkeys(words_of(problem) for problem in nearer))
    others = {where for where, _ in found if where != place[: len(where)]}
    return Wrong(".".join(place) or None, words, len(others))


def _place(problem: Mapping[str, Any], given: Any) -> tuple[str, ...]:
    """Where it is in what was given; pydantic names in between which of several kinds it took a value for."""
    parts = list(problem["loc"])
    if "discriminator" in problem.get("ctx", {}):
        parts.append(problem["ctx"]["discriminator"].strip("'"))
    if given is None:
        return tuple(map(str, parts))
    place, at = [], given
    for i, part in enumerate(parts):
        if _has(at, part):
            at = at[part]
        elif i < len(parts) - 1 or problem["type"] not in ("missing", "union_tag_not_found"):
            continue
        place.append(str(part))
    return tuple(place)


def _has(given: Any, part: Any) -> bool:
    """Whether there is such a field, or so many items."""
    if isinstance(given, Mapping):
        return part in given
    return isinstance(given, list | tuple) and isinstance(part, int) and part < len(given)
