"""Which labels the images of a run get, by the vectors that are kept: no image is read again for other labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from base.progress import Progress
from labelling.label_sets import LabelSet
from labelling.labeller import Labeller, build_labeller
from labelling.rows import label_rows
from labelling.runs.report import Watcher
from labelling.runs.sources import Source
from labelling.runs.store import RunStore

if TYPE_CHECKING:
    from encoder.zero_shot import ScoredBy

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


def decide(store: RunStore, source: Source, asked: LabelsAsked, watch: Watcher) -> Labeller | None:
    """Decide what is not decided; all of it, if labels or model are others now, or if labels are given by comparison.

    Returns:
        The labeller; None: there was nothing to decide.
    """
    labels = {"label_set": asked.label_set.to_json(), "scores": asked.scores}
    if store.get("labels") != labels:
        with store.writing():
            store.undecide()
            store.set(labels=labels)
    if not (total := store.count(undecided=True)):
        return None
    if _compares(asked.label_set):  # with those of before
        with store.writing():
            store.undecide()
        total = store.count(undecided=True)
    labeller = labeller_for(store, source, asked, lambda done, total: watch("preparing texts", done, total))
    with store.writing():
        store.set(cut_texts=len(labeller.classifier.cut.read))
    done = 0
    while (block := store.undecided())[0]:
        ids, paths, kept = block
        vectors = source.vectors(ids, kept)
        with store.writing():
            for part, decisions in labeller.decide_in_parts(vectors):
                store.decide(ids[part], label_rows(labeller.labels, paths[part], decisions))
        done += len(ids)
        watch("labelling", done, total)
    return labeller


def labeller_for(store: RunStore, source: Source, asked: LabelsAsked, progress: Progress) -> Labeller:
    """The labeller of a label set, and of a sample of the run's images where that counts."""
    images = source.vectors(*store.sample(SAMPLE)) if _compares(asked.label_set) else None
    return build_labeller(source.text_encoder(), asked.label_set, asked.scores, images=images, progress=progress)


def _compares(label_set: LabelSet) -> bool:
    """Whether labels are given by what they have with the images of the run."""
    learned = label_set.learned
    standardises = label_set.mode == "multi" and (learned is None or not learned.standard.size)
    return standardises or label_set.rejects
