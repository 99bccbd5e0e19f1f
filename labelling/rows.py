"""Labelled images: one by one as they come, and what a run has made of them so far.

Imports no torch, and numpy only where it decides: rows of a service's labels need none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from base.errors import ImageError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from base.sources.walk import walk_images

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.image import Picture
    from labelling.labeller import Decisions, Labeller


Pair = tuple[str, float]


class Answer(NamedTuple):
    """A label, and how likely it is."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image and its labels; or why it is not read.

    Attributes:
        answers: its labels, the likeliest first; none: abstained.
        guess: the likeliest label, whether it is given or not.
        error: why it could not be read.
        cut_off: in words, if its file ends before it does.
        width, height: in pixels, where that is known.
    """

    path: Path
    answers: tuple[Answer, ...] = ()
    guess: Answer | None = None
    error: str = ""
    cut_off: str = ""
    width: int | None = None
    height: int | None = None

    @property
    def abstained(self) -> bool:
        """Whether it was looked at and none of the labels fits."""
        return not self.answers and not self.error

    @property
    def listed(self) -> Listed:
        """The same for a file."""
        return Listed(str(self.path), self.answers, self.guess, self.error, self.cut_off, self.width, self.height)


class Listed(NamedTuple):
    """What a file says of an image: a `Labelled` in plain values, since there may be millions."""

    path: str
    answers: Sequence[tuple[str, float]] = ()
    guess: tuple[str, float] | None = None
    error: str = ""
    cut_off: str = ""
    width: int | None = None
    height: int | None = None


@dataclass
class LabelReport:
    """What a labelling run has done so far.

    Attributes:
        labelled: images that have a label.
        per_label: how many have each.
        abstained: images that none of the labels fits.
        skipped: images that could not be read.
        skips: path and reason of those, the first `most_skips` if that is given.
        cut_off: images that were looked at though their files end before they do.
        cuts: path and reason of those, likewise.
        unread: the same of folders and files that the walk could not enter. Each walk finds them anew.
        left_out: what the walk passed by.
        cut_texts: prompts that are longer than the model reads.
        unread_labels: a line, if labels have words that the model has never read.
    """

    labelled: int = 0
    per_label: dict[str, int] = field(default_factory=dict)
    abstained: int = 0
    skipped: int = 0
    skips: list[tuple[str, str]] = field(default_factory=list)
    cut_off: int = 0
    cuts: list[tuple[str, str]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    cut_texts: int = 0
    unread_labels: list[str] = field(default_factory=list)
    most_skips: int | None = None

    @property
    def done(self) -> int:
        """Images that need not be looked at again."""
        return self.labelled + self.abstained + self.skipped

    def add(self, image: Labelled) -> None:
        """Count one image."""
        if image.error:
            self.skipped += 1
            self._name(self.skips, image.path, image.error)
            return
        if image.cut_off:
            self.cut_off += 1
            self._name(self.cuts, image.path, image.cut_off)
        if image.abstained:
            self.abstained += 1
        else:
            self.labelled += 1
        for label, _ in image.answers:
            self.per_label[label] = self.per_label.get(label, 0) + 1

    def _name(self, named: list[tuple[str, str]], path: Path, reason: str) -> None:
        if self.most_skips is None or len(named) < self.most_skips:
            named.append((str(path), reason))


def images_below(folder: Path, report: LabelReport, rules: Rules = Rules()) -> Iterator[Path]:
    """The images below a folder, in the order of the walk.

    What cannot be entered goes to the report's `unread`.

    Raises:
        InputError: `folder` is not a folder.
    """

    def failed(path: Path, reason: str) -> None:
        report.unread.append((str(path), reason))

    for path, _ in walk_images(folder, rules=rules, on_error=failed, left_out=report.left_out):
        yield path


def label_images(
    encoder: Encoder, labeller: Labeller, paths: Iterable[Path], read: Callable[[Path], bytes] | None = None
) -> Iterator[list[Labelled]]:
    """Label image files as they come, in their order; one list a batch. `read` gives their bytes, or an ImageError."""
    import numpy as np

    cut: dict[Path, str] = {}

    def note(path: Path, picture: Picture) -> None:
        if picture.cut_off:
            cut[path] = picture.cut_off

    for batch in encoder.encode_stream(paths, read=read, note=note):
        good = [(path, vector) for path, vector in batch if not isinstance(vector, ImageError)]
        said: dict[Path, Labelled] = {}
        if good:
            paths_of = [path for path, _ in good]
            for part, decisions in labeller.decide_in_parts(np.stack([vector for _, vector in good])):
                for row in label_rows(labeller.labels, paths_of[part], decisions):
                    said[row.path] = replace(row, cut_off=cut.pop(row.path, ""))
        yield [
            Labelled(path, error=vector.reason) if isinstance(vector, ImageError) else said[path]
            for path, vector in batch
        ]


def label_rows(labels: Sequence[str], paths: Sequence[Path], decisions: Decisions) -> list[Labelled]:
    """What was decided of n images, a row each."""
    made = []
    for path, (given, guess) in zip(paths, answers_of(labels, decisions), strict=True):
        answers = tuple(starmap(Answer, given))
        made.append(Labelled(path, answers, answers[0] if guess is None else Answer(*guess)))
    return made


def answers_of(labels: Sequence[str], decisions: Decisions) -> Iterator[tuple[list[Pair], Pair | None]]:
    """Of each image its labels with their scores, the likeliest first; and the likeliest label where it has none."""
    import numpy as np

    scores = decisions.scores
    rows, places = np.divmod(np.flatnonzero(decisions.chosen), scores.shape[1])
    found = scores[rows, places]
    if len(rows) and (rows[1:] == rows[:-1]).any():
        order = np.lexsort((places, -found, rows))
        places, found = places[order], found[order]
    names = np.array([*labels, ""], object)[:-1]
    given = list(zip(names[places].tolist(), found.tolist(), strict=True))
    counts = np.bincount(rows, minlength=len(scores))
    without = np.flatnonzero(counts == 0)
    likeliest = scores[without].argmax(axis=1)
    guesses = zip(names[likeliest].tolist(), scores[without, likeliest].tolist(), strict=True)
    end = 0
    for count in counts.tolist():
        start, end = end, end + count
        yield given[start:end], None if count else next(guesses)
