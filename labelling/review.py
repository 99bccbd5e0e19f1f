"""Review: what people say of the images of a run, and the rest labelled anew by it at once.

Whatever a person has looked at is an example for the rest, in closed form and by the vectors that are kept. One
transaction: a kill leaves all of a review, or nothing. Knows no route and no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Literal

from base.errors import ChangedMeanwhile, InputError, ModelMismatch
from base.progress import Progress
from labelling.label_sets import LabelSet
from labelling.rows import Answer
from labelling.runs import reviews, taking_back
from labelling.runs.deciding import Flips, LabelsAsked, decide_again, with_reviewed
from labelling.runs.run import Run
from labelling.runs.sources import Source

Verdict = Literal["accept", "correct", "none", "skip"]
SAID: dict[Verdict, str] = {"accept": "accepted", "correct": "corrected", "none": "none", "skip": "skipped"}
TAUGHT_BY: tuple[Verdict, ...] = ("accept", "correct", "none")  # verdicts that say what an image is


@dataclass(frozen=True)
class Item:
    """What a person says of one image.

    Attributes:
        image: its id in the run.
        verdict: its labels are right; others are; none is; or it is put aside.
        labels: the right ones, of a correction; of what is accepted those that were seen, which count even if it has
            others by now.
        seen: what had been said of it when it was looked at, None for nothing; default: whatever it is.
    """

    image: int
    verdict: Verdict
    labels: Sequence[str] = ()
    seen: str | EllipsisType | None = ...


@dataclass(frozen=True)
class Rule:
    """Accept all that nobody has looked at and whose labels score as high; of one label alone if it is given."""

    accept_above: float
    label: str | None = None


@dataclass
class Reviewed:
    """What a review did.

    Attributes:
        counts: images by what was said of them.
        relabelled: images that were labelled anew by it; what they are called may be the same.
        flips: those of them that are called otherwise now.
    """

    counts: dict[str, int] = field(default_factory=dict)
    relabelled: int = 0
    flips: Flips = field(default_factory=Flips)


@dataclass
class TakenBack(Reviewed):
    """What taking a review back did: `counts` by what had been said, and the images it had been said of."""

    images: list[int] = field(default_factory=list)


def review(
    run: Run,
    source: Source,
    items: Sequence[Item],
    rules: Sequence[Rule] = (),
    tell: Progress = lambda done, total: None,
) -> Reviewed:
    """Keep what was said, and label all that nobody has looked at anew.

    Args:
        run: open for writing.
        source: as it was labelled from; it is not read.
        items: of an image named twice the last counts.
        rules: applied after that, to what was decided before it.
        tell: how many images are labelled anew, of how many.

    Raises:
        InputError: no image of that id, one that has no labels to accept, or labels that the run does not have.
        ChangedMeanwhile: something else had been said of an image than was seen; nothing is kept.
        ModelMismatch: another model made its vectors.
    """
    asked = labels_of(run)
    store = run.store
    report = Reviewed()
    with store.writing():
        number = taking_back.begin(store)
        for item in items:
            said, answers = _judged(run, asked.label_set, item)
            reviews.say(store, number, item.image, said, answers)
            report.counts[said] = report.counts.get(said, 0) + 1
        for rule in rules:
            if rule.label is not None:
                _check_labels(asked.label_set, [rule.label])
            report.counts["by rule"] = report.counts.get("by rule", 0) + reviews.accept_above(
                store, number, rule.accept_above, rule.label
            )
        if any(item.verdict in TAUGHT_BY for item in items):
            _label_the_rest(run, source, asked, report, tell)
    return report


def take_back(
    run: Run, source: Source, tell: Progress = lambda done, total: None, review: int | None = None
) -> TakenBack:
    """Undo the last review that was not taken back yet, and label all that nobody has looked at as it was before that.

    Args:
        run: open for writing.
        source: as it was labelled from; it is not read.
        tell: how many images are labelled anew, of how many.
        review: its number; default: whichever is the last.

    Raises:
        InputError: there is none.
        ChangedMeanwhile: the last is another than `review`.
        ModelMismatch: another model made its vectors.
    """
    asked = labels_of(run)
    report = TakenBack()
    with run.store.writing():
        if review is not None and review != taking_back.known(run.store)[1]:
            raise ChangedMeanwhile(
                f"review {review} of run {run.id} is not the last any more: others have reviewed it, or taken it back; "
                "look at the run again",
                "review",
            )
        changed = taking_back.restore(run.store)
        if not changed:
            raise InputError(
                f"run {run.id} has no review to take back: nothing was said since it was labelled, or all of it is "
                "taken back"
            )
        for image, said, _ in changed:
            report.images.append(image)
            report.counts[said or ""] = report.counts.get(said or "", 0) + 1
        taught = {SAID[verdict] for verdict in TAUGHT_BY}
        if any(not taught.isdisjoint(reviewed) for _, *reviewed in changed):
            _label_the_rest(run, source, asked, report, tell)
    return report


def _label_the_rest(run: Run, source: Source, asked: LabelsAsked, report: Reviewed, tell: Progress) -> None:
    """Label all that nobody has looked at by the examples that there are now."""

    def told(done: int, total: int) -> None:
        report.relabelled = done
        tell(done, total)

    check_model(run, source)
    report.flips = decide_again(run.store, source, asked, told)


def taught(run: Run, source: Source) -> LabelSet:
    """The run's labels with what was reviewed as examples: to be kept as a label set, and calibrated anew."""
    asked = labels_of(run)
    check_model(run, source)
    label_set = with_reviewed(run.store, source, asked.label_set)
    if label_set is asked.label_set or label_set.learned is None:
        return label_set
    return replace(label_set, learned=label_set.learned.uncalibrated())


def labels_of(run: Run) -> LabelsAsked:
    """What the images of a run were asked. InputError: nothing, yet."""
    if (asked := LabelsAsked.of(run.store)) is None:
        raise InputError(f"run {run.id} was ended before it had labels: run the same command again")
    return asked


def check_model(run: Run, source: Source) -> None:
    """ModelMismatch if a run's vectors are another model's."""
    if run.store.get("fingerprint") != source.fingerprint:
        by = run.store.get("model") or "another model"
        raise ModelMismatch(
            f"run {run.id} was labelled with {by}, here is {source.model}: review it with that one, or label "
            f"the images anew with this one"
        )


def _judged(run: Run, label_set: LabelSet, item: Item) -> tuple[str, list[Answer] | None]:
    """What is said of an image, and the answers that it is to have; None: those that it has. As `review` raises."""
    row = run.store.row(item.image)
    if row is None or row.image.error:
        why = f"cannot be read ({row.image.error})" if row else "is none of the run's"
        raise InputError(f"image {item.image} {why}: there is nothing to review")
    labels = [answer.label for answer in row.image.answers]
    if not isinstance(item.seen, EllipsisType) and (row.reviewed or None) != item.seen:
        raise ChangedMeanwhile(f"image {item.image} {_became(row.reviewed, labels)} meanwhile: nothing of this review "
                               "is kept; look at it again", "items")  # fmt: skip
    if item.verdict in ("none", "skip") and item.labels:
        raise InputError(f"image {item.image}: labels go with a correction, or with what is accepted")
    if item.verdict == "correct" and not item.labels:
        raise InputError(f"image {item.image}: a correction needs labels")
    if item.verdict == "skip":
        return SAID["skip"], None
    if item.verdict == "accept" and (not item.labels or set(item.labels) == set(labels)):
        if row.margin is None and not row.reviewed:
            raise InputError(f"image {item.image} has no labels yet: label it first")
        return SAID["accept"], None
    _check_labels(label_set, item.labels)
    if label_set.mode == "single" and len(set(item.labels)) > 1:
        raise InputError(
            f"{row.image.path}: {' and '.join(item.labels)}, in a run that gives an image one label; say which it is"
        )
    said = SAID["correct" if item.labels else "none"]
    return said, [Answer(label, 1.0) for label in dict.fromkeys(item.labels)]


def _became(reviewed: str, labels: Sequence[str]) -> str:
    """What was said of an image, in words."""
    if reviewed == SAID["correct"]:
        return f"was corrected to {' and '.join(map(repr, labels))}"
    words = {"": "was put back", SAID["none"]: "was said to be none", "by rule": "was accepted by a rule"}
    return words.get(reviewed, f"was {reviewed}")


def _check_labels(label_set: LabelSet, labels: Sequence[str]) -> None:
    for label in labels:
        if label not in label_set.names:
            raise InputError(
                f"{label!r} is no label of this run: label once more with it among the labels, then review; what was "
                "reviewed stays"
            )
