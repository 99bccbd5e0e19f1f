"""Labels as people write them: a line, a text file, JSON, a table. What is blank or stands there twice is counted.

    sofa|couch,animal/dog,"salt, or pepper"                              on a command line
    sofa|couch                                                           a text file, one a line
    ["sofa|couch", {"name": "part-4711", "prompts": ["a brass valve"]}]  JSON
    label,synonyms,prompt                                                a table; a label may have several rows

Labels are taken as they are given. Two that differ in Unicode's form alone (NFC, NFD) are one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.no_table import what_it_is
from base.sources.tables import Table, some_of
from base.sources.texts import decode_text, json_items, json_lines
from base.words import is_blank
from encoder.zero_shot.prompts import NO_LABELS, Label, split_labels

TWICE = "labels that stand there already"
_HEADS = frozenset("label labels name names class classes class_name category categories tag tags".split())
_NOT_READ = {".yaml": "YAML", ".yml": "YAML", ".pbtxt": "a label map of TensorFlow"}
_NUMBERED = re.compile(r"\d+\s*[:=]\s*\S|\d+[.)]\s")  # 0: cat, 1. cat; but 3 cats may be a label
BLANK = "labels without a name"
FORM = '["sofa|couch", {"name": "part-4711", "synonyms": [], "prompts": ["a brass valve"]}]'


class GivenLabels(NamedTuple):
    """Labels, each once, in order, with all synonyms and prompts that were given with it; and what was left out."""

    labels: tuple[Label, ...]
    left_out: LeftOut


def labels_in(text: str) -> GivenLabels:
    """The labels of one line, with commas between. InputError for none."""
    items = enumerate(split_labels(text), start=1)
    return _each_once((f"label {number}", Label.parse(item)) for number, item in items)


def each_given(labels: Sequence[str | Label]) -> GivenLabels:
    """The same of labels that a program gives, a text or a whole label each. InputError for none."""
    parsed = (Label.parse(label) if isinstance(label, str) else label for label in labels)
    return _each_once((f"label {number}", label) for number, label in enumerate(parsed, start=1))


def read_labels(path: Path) -> GivenLabels:
    """The labels of a file: JSON, all in one or a line each, a table (.csv, .tsv) with a column `label`, or a text file
    with one a line.

    Empty lines of a text file, and those that begin with #, do not count.

    Raises:
        InputError: the file cannot be read, has another form, or names no label.
    """
    try:
        text = decode_text(path.read_bytes())
        what = what_it_is(path)
    except (OSError, ValueError) as error:
        what = None if isinstance(error, OSError) else what_it_is(path)
        if what:
            raise InputError(f"{path}: {what}") from error
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path}: cannot be read as a text file of labels, one a line ({why})") from error
    if what:
        raise InputError(f"{path}: {what}")
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson") or text.lstrip()[:1] in ("[", "{"):
        return _each_once(_of_json(path, text))
    lines = [(f"line {n}", line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(where, line) for where, line in lines if not line.lstrip().startswith("#")]
    if path.suffix.lower() in (".csv", ".tsv") and _is_table([line for _, line in lines]):
        left_out = LeftOut()
        return _each_once(_of_table(path, left_out), left_out)
    _check_lines(path, lines)
    return _each_once((where, Label.parse(line)) for where, line in lines)


def composed(name: str) -> str:
    """A name to compare by: NFC."""
    return unicodedata.normalize("NFC", name)


def _each_once(labels: Iterable[tuple[str, Label]], left_out: LeftOut | None = None) -> GivenLabels:
    left_out = left_out or LeftOut()
    unique: dict[str, Label] = {}
    for where, label in labels:
        key = composed(label.name)
        if is_blank(label.name):
            left_out.add(BLANK, where)
        elif key not in unique:
            unique[key] = label
        elif (both := _merged(unique[key], label)) != unique[key]:
            unique[key] = both
        else:
            left_out.add(TWICE, f"{some_of([label.name])} ({where})")
    if not unique:
        raise InputError(NO_LABELS)
    return GivenLabels(tuple(unique.values()), left_out)


def _of_json(path: Path, text: str) -> Iterator[tuple[str, Label]]:
    is_array = text.lstrip().startswith("[")
    # others than \n that end a line may stand in a text of JSON
    items = json_items(path, text) if is_array else json_lines(path, text.split("\n"), "label", FORM)
    for where, item in items:
        if isinstance(item, str):
            yield where, Label.parse(item)
        elif isinstance(item, dict):
            yield where, _of_object(path, where, item)
        else:
            raise InputError(f"{path}: {where} is no label; give texts or objects, as in {FORM}")


def _of_object(path: Path, where: str, item: Mapping[str, Any]) -> Label:
    if unknown := item.keys() - {"name", "synonyms", "prompts"}:
        raise InputError(
            f"{path}: {where} has {some_of(sorted(unknown))}; a label has name, synonyms and prompts, as in {FORM}"
        )
    name, lists = item.get("name"), [item.get("synonyms") or [], item.get("prompts") or []]
    if not isinstance(name, str) or not all(isinstance(texts, list) for texts in lists):
        raise InputError(f"{path}: {where} has no name, or synonyms or prompts that are no list, as in {FORM}")
    if not all(isinstance(text, str) for texts in lists for text in texts):
        raise InputError(f"{path}: {where}: synonyms and prompts are texts, as in {FORM}")
    synonyms, prompts = (tuple(dict.fromkeys(text.strip() for text in texts if text.strip())) for texts in lists)
    return Label(name.strip(), synonyms, prompts)


def _check_lines(path: Path, lines: list[tuple[str, str]]) -> None:
    """Refuse a text whose lines are no labels, which would be asked for all the same. InputError."""
    if kind := _NOT_READ.get(path.suffix.lower()):
        raise InputError(f"{path}: {kind}, which is not read; give a text file with one label a line, or JSON")
    if len(lines) > 1 and all(_NUMBERED.match(line.strip()) for _, line in lines):
        raise InputError(f"{path}: each line begins with a number; leave the numbers out, one label a line")
    for where, line in lines:
        if "\t" in line.strip():
            raise InputError(f"{path}: {where} has a tab in it; a table is named .tsv, and has a column label")
    if len(lines) == 1 and any(mark in lines[0][1] for mark in ",;"):
        raise InputError(
            f"{path}: one line with commas in it; give one label a line, or else all of them by --labels, where one "
            "with a comma in it stands in quotes"
        )


def _is_table(lines: list[str]) -> bool:
    """Whether a .csv is more than one label a line."""
    if len(lines) > 1 and any(mark in line for line in lines for mark in ",;\t"):
        return True
    return bool(lines) and lines[0].strip(' "').lower() in _HEADS


def _of_table(path: Path, left_out: LeftOut) -> Iterator[tuple[str, Label]]:
    table = Table(path, ())
    for where, row in table.rows():
        cells = {name.lower(): cell for name, cell in reversed(row.items())}
        if "label" not in cells:
            raise InputError(
                f'{path}: no column "label"; it has {some_of(row)}. Name one so, or give a text file with one label '
                "a line"
            )
        yield where, _of_cells(cells)
    left_out.add_all(table.left_out)


def _of_cells(cells: Mapping[str, Any]) -> Label:
    def cell(*names: str) -> str:
        return next((str(cells[name]).strip() for name in names if cells.get(name) is not None), "")

    parsed = Label.parse(cell("label"))
    more = Label.parse("|".join((parsed.name, *parsed.synonyms, cell("synonyms", "synonym"))))
    prompt = cell("prompt", "prompts")
    return replace(more, prompts=(prompt,) if prompt else ())


def _merged(label: Label, other: Label) -> Label:
    synonyms, prompts = (*label.synonyms, *other.synonyms), (*label.prompts, *other.prompts)
    return Label(label.name, tuple(dict.fromkeys(synonyms)), tuple(dict.fromkeys(prompts)))
