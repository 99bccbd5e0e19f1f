"""Labels and templates to prompts. A template is a sentence with `{}` where the label goes (CLIP, section 3.1.4)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from base.errors import InputError

DEFAULT_TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "{}")
NO_LABELS = "no labels given; name one or more, as cat, dog and bird"
TEMPLATE_SETS = {
    "photo": DEFAULT_TEMPLATES,
    "plain": ("{}",),
    "many": (
        "a photo of a {}.",
        "a close-up of a {}.",
        "a photo of the small {}.",
        "a photo of the large {}.",
        "a blurred photo of a {}.",
        "a dark photo of the {}.",
        "a cropped photo of the {}.",
        "a drawing of a {}.",
        "many {}.",
    ),
}


@dataclass(frozen=True, slots=True)
class Label:
    """What an image may be.

    Attributes:
        name: as it is written down; `/` stands between its levels, as in `animal/dog`, of which the last is asked for.
        synonyms: other words for the same; the label is the mean of all.
        prompts: sentences to ask with instead of words in templates.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Label:
        """Of a word as people write it: `sofa|couch` is the label sofa with a synonym. An empty name for blank text."""
        name, *synonyms = (word.strip() for word in text.split("|"))
        return cls(name, tuple(dict.fromkeys(word for word in synonyms if word and word != name)))

    @property
    def levels(self) -> tuple[str, ...]:
        """From the widest to the narrowest; never empty."""
        return tuple(level.strip() for level in self.name.split("/") if level.strip()) or (self.name,)

    @property
    def asked(self) -> str:
        """All words that it is asked for by, without those of templates."""
        return " ".join(self.prompts or (self.levels[-1], *self.synonyms))

    @property
    def text(self) -> str:
        """As `parse` takes it; without its prompts."""
        return "|".join((self.name, *self.synonyms))

    def __str__(self) -> str:
        return self.name


def fill_templates(label: str, templates: Sequence[str]) -> list[str]:
    """Every template with the label in it; underscores in the label are read as spaces."""
    name = label.replace("_", " ").strip()
    return [template.replace("{}", name) for template in templates]


def prompts_of(labels: Sequence[Label], templates: Sequence[str]) -> list[list[str]]:
    """The prompts of each label: its own, or every template with its last level and each synonym in it.

    Two whose last levels are the same word (animal/bat, sport/bat) are asked for with the level above: "bat (sport)".
    """
    words = Counter(label.levels[-1].casefold() for label in labels)

    def word(label: Label) -> str:
        *above, last = label.levels
        return f"{last} ({above[-1]})" if above and words[last.casefold()] > 1 else last

    return [
        list(label.prompts)
        or [prompt for name in (word(label), *label.synonyms) for prompt in fill_templates(name, templates)]
        for label in labels
    ]


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates as given, those of a set that is named alone ("plain"), or the defaults for none.

    Raises:
        InputError: a template without `{}`.
    """
    if len(templates) == 1 and templates[0] in TEMPLATE_SETS:
        return TEMPLATE_SETS[templates[0]]
    for template in templates:
        if "{}" not in template:
            raise InputError(
                f'template "{template}" has no {{}} for the label, as in "a photo of a {{}}.", and is none of the '
                f"template sets {', '.join(TEMPLATE_SETS)}"
            )
    return tuple(templates) or DEFAULT_TEMPLATES


def as_labels(labels: Sequence[str | Label]) -> tuple[Label, ...]:
    """Labels, each name once, in order; a text is parsed.

    Raises:
        InputError: fewer than one label.
    """
    unique: dict[str, Label] = {}
    for label in labels:
        parsed = Label.parse(label) if isinstance(label, str) else label
        if parsed.name:
            unique.setdefault(parsed.name, parsed)
    if not unique:
        raise InputError(NO_LABELS)
    return tuple(unique.values())


def split_labels(text: str) -> list[str]:
    """The labels of a text with commas between, as in a row of CSV: one with a comma in it stands in quotes."""
    return [label for row in csv.reader(text.splitlines(), skipinitialspace=True) for label in row]
