"""Label sets: what is chosen from, and the prompts to ask with; some are kept under a name in a data folder.

A kept one is a small JSON file, <data>/label-sets/<name>.json, with a checksum, since a changed letter makes labels and
templates that look like others. Knows no HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from base.errors import GlimpseError, InputError, LabelSetNotFound
from base.files import write_whole
from base.names import NAME
from encoder.prompts import check_labels, check_templates, fill_templates


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels to choose from, and the prompts to ask with."""

    labels: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def of(cls, labels: Sequence[str], templates: Sequence[str] = ()) -> LabelSet:
        """Labels stripped, each once; the default templates for none. InputError: no label, a template without {}."""
        return cls(check_labels(labels), check_templates(templates))

    def prompts(self) -> list[str]:
        """Every template with every label in it, label by label."""
        return [prompt for label in self.labels for prompt in fill_templates(label, self.templates)]

    def check_prompts(self, most: int) -> None:
        """InputError if it makes more prompts than that."""
        if (n := len(self.labels) * len(self.templates)) > most:
            raise InputError(
                f"{len(self.labels)} labels times {len(self.templates)} templates make {n} prompts; the limit is {most}"
            )


class LabelSets:
    """The label sets in a data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data.absolute() / "label-sets"

    def names(self) -> list[str]:
        """The names of all, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.json") if NAME.fullmatch(path.stem))

    def problems(self) -> list[str]:
        """Which of them are damaged, a line each."""
        found = []
        for name in self.names():
            try:
                self.get(name)
            except LabelSetNotFound:  # deleted just now
                continue
            except GlimpseError as error:
                found.append(str(error))
        return found

    def get(self, name: str) -> LabelSet:
        """The set of that name. LabelSetNotFound, or GlimpseError if its file is damaged."""
        path = self._path(name)
        try:
            kept = json.loads(path.read_bytes())
            checksum = kept.pop("checksum", None)  # None: kept before there was one
            read = LabelSet.of(**kept)
            if checksum not in (None, _checksum(read)) or kept != _fields(read):
                raise ValueError("it is not what was kept")
            return read
        except FileNotFoundError:
            raise LabelSetNotFound(name) from None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise GlimpseError(f"the file of label set {name!r} is damaged: PUT it again, or DELETE it") from error

    def resolve(self, labels: Sequence[str] | None, name: str | None, templates: Sequence[str] = ()) -> LabelSet:
        """The labels given, or those of the set `name`, whose templates are its own unless others are given.

        Raises:
            LabelSetNotFound: there is none of that name.
            InputError: no labels, or a template without {}.
        """
        if name is None:
            return LabelSet.of(labels or (), templates)
        try:
            kept = self.get(name)
        except LabelSetNotFound as error:
            error.param = "label_set"
            raise
        return LabelSet.of(kept.labels, templates or kept.templates)

    def put(self, name: str, label_set: LabelSet) -> bool:
        """Keep a set, in place of one of that name; True if there was none. It is on disk when this returns.

        Raises:
            GlimpseError: it cannot be written.
        """
        path = self._path(name)
        try:
            is_new = not path.exists()
            write_whole(path, json.dumps({**_fields(label_set), "checksum": _checksum(label_set)}))
        except OSError as error:
            raise GlimpseError(
                f"label set {name!r} cannot be kept: {error.strerror}; make room, or let the data folder be written to"
            ) from error
        return is_new

    def delete(self, name: str) -> None:
        """Delete a set. LabelSetNotFound."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise LabelSetNotFound(name) from None

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot name a label set: use a-z, 0-9, '.', '_' and '-', a letter or digit first"
            )
        return self._folder / f"{name}.json"


def _fields(label_set: LabelSet) -> dict[str, list[str]]:
    """As it is kept."""
    return {"labels": list(label_set.labels), "templates": list(label_set.templates)}


def _checksum(label_set: LabelSet) -> int:
    """CRC-32 of the labels and templates as JSON."""
    return crc32(json.dumps(_fields(label_set)).encode())
