"""Label sets: what is chosen from, how it is asked, and what was learned since; some are kept under a name.

A kept one is a JSON file, <data>/label-sets/<name>.json, with a checksum, since a changed letter makes labels and
templates that look like others. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from base.errors import GlimpseError, InputError, LabelSetExists, LabelSetNotFound
from base.files import disk_error, kept_bytes, write_whole
from base.locks import folder_lock
from base.names import NAME
from encoder.zero_shot.prompts import Label, as_labels, check_templates, prompts_of

if TYPE_CHECKING:
    from labelling.learned import Learned

Mode = Literal["single", "multi"]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels to choose from, and the prompts to ask with.

    Attributes:
        mode: "single": one of them; "multi": each on its own.
        learned: what was learned of them with one model, from examples or by calibration.
        abstains: whether an image may be none of them though one is the likeliest; told by other words.
        name: that it is kept under; "" for none.
    """

    labels: tuple[Label, ...]
    templates: tuple[str, ...]
    mode: Mode = "single"
    learned: Learned | None = None
    abstains: bool = False
    name: str = field(default="", compare=False)

    @classmethod
    def of(
        cls,
        labels: Sequence[str | Label],
        templates: Sequence[str] = (),
        mode: Mode = "single",
        learned: Learned | None = None,
        abstains: bool = False,
    ) -> LabelSet:
        """Labels parsed and stripped, each once; the default templates for none.

        Raises:
            InputError: no label, a template without {}, another mode, or what was learned of other labels.
        """
        if mode not in get_args(Mode):
            raise InputError(f"mode {mode!r} is none of {', '.join(get_args(Mode))}")
        checked = as_labels(labels)
        if learned is not None and not learned.fits(len(checked)):
            raise InputError("what was learned is not of these labels: learn it anew")
        return cls(checked, check_templates(templates), mode, learned, bool(abstains))

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names."""
        return tuple(label.name for label in self.labels)

    @property
    def tag(self) -> str:
        """Of all that it is, as it is kept, and its checksum there: another set has another."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:32]

    @property
    def is_calibrated(self) -> bool:
        """Whether its scores were held against labelled images; else they are to be called uncalibrated."""
        return self.learned is not None and self.learned.is_calibrated

    @property
    def never_given(self) -> tuple[str, ...]:
        """Labels that no image gets: measured, none of their scores was as often right as was wanted."""
        thresholds = self.learned.thresholds if self.learned else ()
        return tuple(name for name, least in zip(self.names, thresholds, strict=False) if least > 1)

    @property
    def rejects(self) -> bool:
        """Whether images are held against other words: where asked, and where one label has no other to lose to."""
        alone = self.mode == "single" and len(self.labels) == 1 and not (self.learned and self.learned.thresholds)
        return self.abstains or alone

    @property
    def needs_words(self) -> bool:
        """Whether a labeller needs the model's word bank."""
        return self.mode == "multi" or self.rejects

    def with_templates(self, templates: Sequence[str]) -> LabelSet:
        """The same, asked for with other templates: what was measured with those of before is left behind."""
        checked = check_templates(templates)
        if checked == self.templates:
            return self
        return replace(self, templates=checked, learned=self.learned and self.learned.uncalibrated())

    def in_mode(self, mode: Mode) -> LabelSet:
        """The same in another mode: what was measured in that of before is left behind."""
        if mode == self.mode:
            return self
        return replace(self, mode=mode, learned=self.learned and self.learned.uncalibrated())

    def check_model(self, fingerprint: str, model: str) -> None:
        """InputError if something was learned of it by another model than the one that is to use it, `model`."""
        if self.learned is None or self.learned.fingerprint == fingerprint:
            return
        name, by = self.name or "NAME", self.learned.model
        again = f"glimpse labels calibrate {name} FOLDER --model {model}"
        if len(self.learned.examples):
            again = f"glimpse labels create {name} --examples FOLDER --model {model} --force"
        raise InputError(
            f"label set {self.name!r} learned with another model{f', {by}' if by else ''}: label with that one, or "
            f"learn anew with `{again}`"
        )

    def prompts(self) -> list[list[str]]:
        """The prompts of each label."""
        return prompts_of(self.labels, self.templates)

    def check_prompts(self, most: int) -> None:
        """InputError if it makes more prompts than that."""
        if (n := sum(map(len, self.prompts()))) > most:
            raise InputError(
                f"{len(self.labels)} labels with {len(self.templates)} templates make {n} prompts; the limit is {most}"
            )

    def to_json(self) -> dict[str, Any]:
        """As `of_json` takes it, and as it is kept. What is as it was born is left out."""
        fields: dict[str, Any] = {
            "labels": [_label_to_json(label) for label in self.labels],
            "templates": list(self.templates),
        }
        if self.mode != "single":
            fields["mode"] = self.mode
        if self.abstains:
            fields["abstains"] = True
        if self.learned is not None:
            fields["learned"] = self.learned.to_json()
        return fields

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> LabelSet:
        """Of what `to_json` gave. TypeError, ValueError, KeyError or AttributeError for anything else."""
        fields = dict(content)
        labels = [_label_of_json(label) for label in fields.pop("labels")]
        if (learned := fields.pop("learned", None)) is not None:
            from labelling.learned import Learned  # numpy, which names and prompts need not

            fields["learned"] = Learned.of_json(learned)
        return cls.of(labels, **fields)


class LabelSets:
    """The label sets in a data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data.absolute() / "label-sets"

    def names(self) -> list[str]:
        """The names of all, sorted. OSError if the folder cannot be read."""
        with suppress(FileNotFoundError):
            paths = [path for path in self._folder.iterdir() if path.suffix == ".json"]
            return sorted(path.stem for path in paths if NAME.fullmatch(path.stem))
        return []

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
            kept = json.loads(kept_bytes(path))
            checksum = kept.pop("checksum", None)  # None: kept before there was one
            read = LabelSet.of_json(kept)
            if checksum not in (None, read.tag) or kept != read.to_json():
                raise ValueError("it is not what was kept")
            return replace(read, name=name)
        except FileNotFoundError:
            raise LabelSetNotFound(name) from None
        except PermissionError as error:
            raise GlimpseError(f"{path}: label set {name!r} may not be read by this user") from error
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise GlimpseError(f"the file of label set {name!r} is damaged: make it again, or delete it") from error

    def resolve(
        self, labels: Sequence[str | Label] | None, name: str | None, templates: Sequence[str] = ()
    ) -> LabelSet:
        """The labels given, or the set `name`, whose templates are its own unless others are given.

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
        return kept.with_templates(templates) if templates else kept

    def put(self, name: str, label_set: LabelSet, *, only_new: bool = False) -> bool:
        """Keep a set, in place of one of that name; True if there was none. See `change`."""
        return self.change(name, lambda _: label_set, only_new=only_new)[1]

    def change(
        self, name: str, made: Callable[[LabelSet | None], LabelSet], *, only_new: bool = False
    ) -> tuple[LabelSet, bool]:
        """Keep what is made of the set of that name, None where there is none or it is damaged; nobody else changes it
        meanwhile, in whatever process. Returns what is kept, and whether it is new; it is on disk then.

        Raises:
            LabelSetExists: there is one, and `only_new`.
            GlimpseError: it cannot be written.
            whatever `made` raises.
        """
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with folder_lock(path.parent):
                is_new = not path.exists()
                if only_new and not is_new:
                    raise LabelSetExists(f"there is a label set {name!r} already")
                label_set = made(self._unless_damaged(name))
                write_whole(path, json.dumps({**label_set.to_json(), "checksum": label_set.tag}))
        except OSError as error:
            said = (
                f"label set {name!r} cannot be kept: {error.strerror}; make room, or let the data folder be written to"
            )
            raise (disk_error(error, path) or GlimpseError(said)) from error
        return replace(label_set, name=name), is_new

    def delete(self, name: str, check: Callable[[LabelSet | None], object] = lambda before: None) -> None:
        """Delete a set, and the report of its calibration; `check` may raise for what it is. LabelSetNotFound."""
        path = self._path(name)
        try:
            with folder_lock(path.parent):
                check(self._unless_damaged(name))
                path.unlink()
                self.report(name).unlink(missing_ok=True)
        except FileNotFoundError:
            raise LabelSetNotFound(name) from None

    def report(self, name: str) -> Path:
        """Where the report of its calibration lies, if nobody chose another place."""
        return self._path(name).with_suffix(".html")

    def _unless_damaged(self, name: str) -> LabelSet | None:
        with suppress(GlimpseError):
            return self.get(name)
        return None

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot name a label set: use a-z, 0-9, '.', '_' and '-', a letter or digit first"
            )
        return self._folder / f"{name}.json"


def _label_to_json(label: Label) -> str | dict[str, Any]:
    """A text if that says it all."""
    if Label.parse(label.text) == label:
        return label.text
    return {"name": label.name, "synonyms": list(label.synonyms), "prompts": list(label.prompts)}


def _label_of_json(content: str | Mapping[str, Any]) -> str | Label:
    if isinstance(content, str):
        return content
    name, synonyms, prompts = content["name"], content["synonyms"], content["prompts"]
    if not all(isinstance(text, str) for text in (name, *synonyms, *prompts)):
        raise TypeError("a label is not made of texts")
    return Label(name, tuple(synonyms), tuple(prompts))
