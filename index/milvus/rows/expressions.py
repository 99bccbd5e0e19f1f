"""A filter's tree (index.search.filters) as an expression of Milvus's; what it cannot say is refused by name.

Two things it cannot: whether one of more than four values of a key lies between two bounds, and whether a key that has
several values has another one than several. They are refused only where an entry has so many: such a `Doubt` is an
expression of those entries, and what to say if there is one. Every part is true or false, never unknown, so that `not`
means the same in every engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from base.errors import InputError, NotInStore
from index.milvus.rows.filed import COUNTED, LONGEST, WIDTH, exact, name_of, normal, token
from index.milvus.rows.schema import NULL, inside_of
from index.search.filters import Comparison, Condition, Filter, HasId, IsEmpty, Match, Range, Value, path_forms

EVERY, NONE = "id > 0", "id < 0"
COMPARE: dict[Comparison, str] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
INTEGERS = {"file.size": "size", "file.width": "width", "file.height": "height", "file.modified": "mtime_ns"}
# Milvus is asked for ten seconds at most
MOST_CHARACTERS = 4_000_000  # of an expression; it reads some million a second
MOST_FOLDERS = 5_000  # each is two comparisons, of which it reads some thousands a second
LEAST, MOST = -(2**63) + 1, 2**63 - 1  # a parser reads the minus of a number apart from it


@dataclass(frozen=True, slots=True)
class Doubt:
    """Entries of which an expression cannot tell, as an expression, and what to say where there are any."""

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Expression:
    """What Milvus is asked."""

    where: str
    doubts: tuple[Doubt, ...] = ()


def expression_of(wanted: Filter) -> Expression:
    """A filter as Milvus takes it. NotInStore for what none could say; InputError for what is too long for it."""
    if (folders := _folders(wanted)) > MOST_FOLDERS:
        raise InputError(
            f"filter: {folders:,} folders are more than the {MOST_FOLDERS:,} that Milvus compares in time, and one "
            "whose accents may be written in two ways is two: give fewer, or move the collection to the local store"
        )
    doubts: list[Doubt] = []
    where = _filter(wanted, doubts)
    if len(where) > MOST_CHARACTERS:
        raise InputError(
            f"filter: as Milvus takes it, it has {len(where) / 1e6:.1f} million characters, more than "
            f"{MOST_CHARACTERS / 1e6:g}: give fewer values, or move the collection to the local store"
        )
    return Expression(where, tuple(doubts))


def quoted(text: str) -> str:
    """A text in an expression; half a character is in no entry, so any other stands for it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + escaped.replace("\t", "\\t").encode(errors="replace").decode() + '"'


def among(field: str, values: Sequence[str]) -> str:
    """Whether a field is one of these texts."""
    return f"{field} in [{', '.join(map(quoted, values))}]"


def ids_among(ids: Sequence[int]) -> str:
    """Whether an entry is one of these."""
    return f"id in [{', '.join(map(str, ids))}]"


def _folders(part: Condition | Filter) -> int:
    if isinstance(part, Filter):
        return sum(map(_folders, (*part.must, *part.should, *part.must_not)))
    return len(path_forms(part.values)) if isinstance(part, Match) and part.key == "file.folder" else 0


def _filter(wanted: Filter, doubts: list[Doubt]) -> str:
    parts = [_part(part, doubts) for part in wanted.must]
    if wanted.should:
        parts.append(_joined("or", [_part(part, doubts) for part in wanted.should]))
    parts += [f"(not {_part(part, doubts)})" for part in wanted.must_not]
    return _joined("and", parts) if parts else f"({EVERY})"


def _joined(word: str, parts: Sequence[str]) -> str:
    """In pairs, so that a thousand parts stand no deeper in each other than ten."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_joined(word, parts[:half])} {word} {_joined(word, parts[half:])})"


def _part(part: Condition | Filter, doubts: list[Doubt]) -> str:
    return _filter(part, doubts) if isinstance(part, Filter) else f"({_condition(part, doubts)})"


def _condition(condition: Condition, doubts: list[Doubt]) -> str:
    if isinstance(condition, HasId):
        known = [key for key in condition.ids if key > 0]
        return ids_among(known) if known else NONE
    if condition.key.startswith("file."):
        return _on_file(condition)
    if isinstance(condition, IsEmpty):
        return f"not {_has('~', condition.key)}"
    if isinstance(condition, Range):
        return _range(condition, doubts)
    return _except(condition, doubts) if condition.negated else _any(condition.key, condition.values)


def _has(kind: str, key: str, value: Value | None = None) -> str:
    return f'array_contains(facets, "{token(kind, key, value)}")'


def _any(key: str, values: Sequence[Value]) -> str:
    tokens = dict.fromkeys(token("=", key, value) for value in values)
    return f"array_contains_any(facets, [{', '.join(map(quoted, tokens))}])"


def _except(condition: Match, doubts: list[Doubt]) -> str:
    key = condition.key
    values = list(dict.fromkeys(normal(value) for value in condition.values))
    given = _any(key, [value for _, value in values])
    more = _has("#", key, len(values) + 1) if len(values) < COUNTED else NONE
    if len(values) > 1:
        doubts.append(
            Doubt(
                f"{_has('#', key, 2)} and ({given}) and not ({more})",
                f"filter: match.except with several values of {key!r}, of which an entry has several, cannot be told "
                "on Milvus: give one value, or must_not with match.any, or move the collection to the local store",
            )
        )
    return f"({more}) or ({_has('#', key, 1)} and not ({given}))"


def _range(condition: Range, doubts: list[Doubt]) -> str:
    key, bounds = condition.key, condition.bounds
    texts = isinstance(bounds[0][1], str)
    field, mark = ("texts", "t") if texts else ("numbers", "n")
    if any(isinstance(bound, str) and len(bound) >= LONGEST for _, bound in bounds):
        raise NotInStore(f"filter: a range of {key!r} with a text of {LONGEST} characters or more is not had on Milvus")
    if any(v in (math.inf, -math.inf) and (float(v) < 0) == (name in ("lt", "lte")) for name, v in bounds):
        return NONE
    near = [(name, v) for name, v in bounds if v not in (math.inf, -math.inf)]  # every number keeps to the other two
    if not near:
        return _has(mark, key)
    written = [(COMPARE[name], quoted(v) if isinstance(v, str) else repr(exact(v))) for name, v in near]
    lower, upper = (any(mark in sign for sign, _ in written) for mark in "><")
    places = range(WIDTH) if lower and upper else [WIDTH - 1] if lower else [0]
    if lower and upper:
        doubts.append(
            Doubt(
                _has(mark.upper(), key),
                f"filter: a range of {key!r} with two ends, of which an entry has more than {WIDTH} values, cannot be "
                "told on Milvus: give one end, or move the collection to the local store",
            )
        )
    at = [" and ".join(f'{field}["{name_of(key)}"][{i}] {sign} {bound}' for sign, bound in written) for i in places]
    return f"{_has(mark, key)} and {_joined('or', [f'({one})' for one in at])}"


# --- fields of the file ---


def _on_file(condition: Match | Range | IsEmpty) -> str:
    if condition.key in INTEGERS:
        return _on_integer(INTEGERS[condition.key], condition)
    field = "taken" if condition.key == "file.taken" else "path"
    if isinstance(condition, IsEmpty):
        return f'{field} == ""'
    given = f'{field} != ""'
    if isinstance(condition, Range):
        if not all(_is_utf8(str(v)) for _, v in condition.bounds):
            raise NotInStore(
                f"filter: a range of {condition.key} with an end that is not UTF-8 is not had on Milvus: give another "
                "end, or move the collection to the local store"
            )
        return " and ".join([given, *(f"{field} {COMPARE[name]} {quoted(str(v))}" for name, v in condition.bounds)])
    texts = path_forms(condition.values) if field == "path" else [str(value) for value in condition.values]
    texts = [text for text in texts if _is_utf8(text)]  # no entry has another
    found = among(field, texts) if texts else NONE
    if texts and condition.key == "file.folder":
        inside = [inside_of(folder) for folder in texts]
        found = _joined("or", [f"(path >= {quoted(low)} and path < {quoted(high)})" for low, high in inside])
    return f"{given} and {'not ' if condition.negated else ''}({found})"


def _is_utf8(text: str) -> bool:
    """Whether it is: the name of a file may be other bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _on_integer(field: str, condition: Match | Range | IsEmpty) -> str:
    if isinstance(condition, IsEmpty):
        return f"{field} == {NULL}"
    given = f"{field} != {NULL}"
    if isinstance(condition, Match):
        whole = [int(value) for value in condition.values if _is_whole(value)]
        found = f"{field} in [{', '.join(map(str, whole))}]" if whole else NONE
        return f"{given} and {'not ' if condition.negated else ''}({found})"
    return " and ".join([given, *(_integer_bound(field, name, _number(v)) for name, v in condition.bounds)])


def _integer_bound(field: str, name: Comparison, value: float) -> str:
    """A bound as an integer, which Milvus wants for such a field."""
    if math.isinf(value):
        return EVERY if (value < 0) == (name in ("gt", "gte")) else NONE
    whole = math.floor(value) if name in ("gt", "lte") else math.ceil(value)
    return f"{field} {COMPARE[name]} {max(LEAST, min(whole, MOST))}"


def _number(value: Value) -> int | float:
    """A number of a filter."""
    assert isinstance(value, int | float)
    return value


def _is_whole(value: Value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value == int(value) and LEAST <= value <= MOST
