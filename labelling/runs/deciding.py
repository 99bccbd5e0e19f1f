"""Which labels the images of a run get, by the vectors that are kept: no image is read again for other labels.

What a person has said of an image stays, and is an example for all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from base.progress import Progress
from labelling.label_sets import LabelSet
from labelling.labeller import Labeller, build_labeller
from labelling.learned import Learned
from labelling.rows import Pair, answers_of
from labelling.runs import reviews
from labelling.runs.report import Watcher
from labelling.runs.sources import Source
from labelling.runs.store import RunStore

if TYPE_CHECKING:
    from encoder.zero_shot.classifier import ScoredBy

FLIPS = 100  # that are named
SAMPLE = 2048  # images by which scores of several labels are standardised


@dataclass(frozen=True)
class LabelsAsked:
    """What the images of a run are asked.

    Attributes:
        label_set: the labels.
        scores: as `build_labeller` takes it.
    """

    label_set: LabelSet
    scores: ScoredBy | None = None

    @classmethod
    def of(cls, store: RunStore) -> LabelsAsked | None:
        """As a run was asked last; None: it was not."""
        kept = store.get("labels")
        return kept and cls(LabelSet.of_json(kept["label_set"]), kept["scores"])


def decide(store: RunStore, source: Source, asked: LabelsAsked, watch: Watcher) -> Labeller | None:
    """Decide what is not decided; all of it, if labels or model are others now, or if labels are given by comparison.

    What is gone stays undecided.

    Returns:
        The labeller; None: there was nothing to decide.

    Raises:
        InputError: the labels are none for this model; all is as before.
    """
    labels = {"label_set": asked.label_set.to_json(), "scores": asked.scores}
    with store.writing():  # labels that are refused leave what others were given, and what was said of them, as it is
        if store.get("labels") != labels:
            reviews.keep_of(store, asked.label_set.names)
            store.undecide()
            store.set(labels=labels)
        if not store.count(undecided=True):
            return None
        if _compares(asked.label_set):  # with those of before
            store.undecide()
        labeller = labeller_for(store, source, asked, lambda done, total: watch("preparing texts", done, total))
        of_labels = labeller.classifier
        store.set(cut_texts=len(of_labels.cut.read), unread_labels=of_labels.unread)
    _decide(store, source, labeller, lambda done, total: watch("labelling", done, total))
    return labeller


class Flip(NamedTuple):
    """An image that has other labels now than before."""

    image: int
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass
class Flips:
    """Images that were called otherwise when they were decided again: how many, and the first of them."""

    count: int = 0
    first: list[Flip] = field(default_factory=list)
    _begins: dict[str, str] = field(default_factory=dict)  # what is kept of a label alone begins so

    def note(self, before: Mapping[int, str], ids: Sequence[int], answers: Iterable[Sequence[Pair]]) -> None:
        """Compare the labels of some images with what was kept; one that had not been decided has not flipped."""
        for image, given in zip(ids, answers, strict=True):
            kept = before.get(image)
            if kept is None or (len(given) == 1 and self._is_still(given[0][0], kept)):
                continue
            labels, until_now = [label for label, _ in given], [label for label, _ in json.loads(kept)]
            if set(labels) == set(until_now):
                continue
            self.count += 1
            if len(self.first) < FLIPS:
                self.first.append(Flip(image, tuple(until_now), tuple(labels)))

    def _is_still(self, label: str, kept: str) -> bool:
        """Whether what is kept is surely this label alone: most are, and to read the JSON of each would take long."""
        if label not in self._begins:
            self._begins[label] = f"[[{json.dumps(label, ensure_ascii=False)},"
        begin = self._begins[label]
        return kept.startswith(begin) and "[" not in kept[len(begin) :]


def decide_again(store: RunStore, source: Source, asked: LabelsAsked, tell: Progress) -> Flips:
    """Decide all that nobody has reviewed, say by more examples; what is called otherwise by it. In a `writing`."""
    flips = Flips()
    _decide(store, source, labeller_for(store, source, asked), tell, flips)
    return flips


def _decide(store: RunStore, source: Source, labeller: Labeller, tell: Progress, flips: Flips | None = None) -> None:
    """Decide what waits for it; with `flips` also what was decided before, by nobody."""
    again = flips is not None
    total, done, after = store.count(undecided=not again), 0, 0
    with store.deciding(total):
        while (block := store.to_decide(after, again=again))[0]:
            ids, vectors = source.vectors(*block)
            before = store.answers_of(ids) if again and ids else {}
            with store.writing():
                for part, decisions in labeller.decide_in_parts(vectors):
                    answers = list(answers_of(labeller.labels, decisions))
                    if flips is not None:
                        flips.note(before, ids[part], (given for given, _ in answers))
                    store.decide(ids[part], answers, labeller.margins(decisions).tolist())
            done, after = done + len(block[0]), block[0][-1]
            tell(done, total)


def labeller_for(store: RunStore, source: Source, asked: LabelsAsked, progress: Progress | None = None) -> Labeller:
    """The labeller of a label set, with what was reviewed, and of a sample of the images where that counts."""
    label_set = with_reviewed(store, source, asked.label_set)
    images = None
    if _compares(label_set) and (sample := store.sample(SAMPLE))[0]:
        there, vectors = source.vectors(*sample)
        images = vectors if there else None  # all are gone
    scores = asked.scores if label_set is asked.label_set else None  # examples are scored by softmax alone
    return build_labeller(source.text_encoder(), label_set, scores, images=images, progress=progress)


def with_reviewed(store: RunStore, source: Source, label_set: LabelSet) -> LabelSet:
    """The label set with each image as an example of which a person has said what it is.

    Its temperature and thresholds stay, as the best that is known; they were measured without these examples.
    """
    reviewed, kept, labels = reviews.examples(store)
    if not reviewed:
        return label_set
    ids, examples = source.vectors(reviewed, kept)
    if not ids:  # all are gone
        return label_set
    said = dict(zip(reviewed, labels, strict=True))
    place = {name: i for i, name in enumerate(label_set.names)}
    targets = np.zeros((len(ids), len(place)), np.float32)
    for row, one in zip(targets, ids, strict=True):
        row[[place[name] for name in said[one]]] = 1
    learned = label_set.learned or Learned(source.fingerprint, model=source.model)
    if len(learned.examples):
        examples = np.concatenate([learned.examples, examples])
        targets = np.concatenate([learned.targets, targets])
    return replace(label_set, learned=replace(learned, examples=examples, targets=targets))


def _compares(label_set: LabelSet) -> bool:
    """Whether labels are given by what they have with the images of the run."""
    learned = label_set.learned
    standardises = label_set.mode == "multi" and (learned is None or not learned.standard.size)
    return standardises or label_set.rejects
