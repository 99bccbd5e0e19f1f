"""Label sets that are kept under a name: one small JSON file each, <data>/label-sets/<name>.json. Knows no HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import GlimpseError, InputError
from base.files import write_whole
from encoder.prompts import check_labels, check_templates
from index.local.layout import NAME


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels to choose from, and the prompts to ask with."""

    labels: tuple[str, ...]
    templates: tuple[str, ...]


class LabelSets:
    """The label sets in a data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data.absolute() / "label-sets"

    def names(self) -> list[str]:
        """The names of all, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.json") if NAME.fullmatch(path.stem))

    def get(self, name: str) -> LabelSet | None:
        """The set of that name; None if there is none. GlimpseError if its file is damaged."""
        path = self._path(name)
        try:
            kept = json.loads(path.read_bytes())
            return LabelSet(check_labels(kept["labels"]), check_templates(kept["templates"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise GlimpseError(f"the file of label set {name!r} is damaged: PUT it again, or DELETE it") from error

    def put(self, name: str, labels: Sequence[str], templates: Sequence[str], *, max_prompts: int) -> bool:
        """Keep a set, in place of one of that name; True if there was none. It is on disk when this returns.

        Raises:
            InputError: no labels, a template without {}, or more prompts than a classification may have.
            GlimpseError: it cannot be written.
        """
        kept = {"labels": check_labels(labels), "templates": check_templates(templates)}
        if (n := len(kept["labels"]) * len(kept["templates"])) > max_prompts:
            raise InputError(f"labels times templates make {n} prompts; the limit is {max_prompts}")
        path = self._path(name)
        try:
            is_new = not path.exists()
            write_whole(path, json.dumps(kept))
        except OSError as error:
            raise GlimpseError(
                f"label set {name!r} cannot be kept: {error.strerror}; make room, or let the data folder be written to"
            ) from error
        return is_new

    def delete(self, name: str) -> bool:
        """Delete a set; False if there is none of that name."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot name a label set: use a-z, 0-9, '.', '_' and '-', a letter or digit first"
            )
        return self._folder / f"{name}.json"
