"""Hard negatives for pairs, from a collection of their images.

A pair's captions ask the collection for images. The nearest images that are wrong lend their captions to the pair as
hard negatives; `training.data.mine` chooses among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from training.data.mine import Choice, hard_negatives
from training.data.pairs import Pair, text_key

if TYPE_CHECKING:
    from encoder.encoder import Encoder, Vectors
    from index.collection import Collection

BATCH = 512  # pairs searched at a time, at most
HITS = 1_000_000  # hits in memory, at most, as far as one pair has no more


def negatives_of(
    source: Collection, encoder: Encoder, pairs: Sequence[tuple[Pair, int]], choice: Choice
) -> Iterator[list[list[str]]]:
    """The hard negatives of (pair, id of its image), a list a pair, a batch at a time.

    An image is right for a pair if it is the pair's own or shares a caption or a label with it; every other one is
    wrong.
    """
    known = _Known(pairs)
    # Images that no pair names have no caption to lend.
    among = np.array(sorted(known.lends)) if len(known.lends) < source.count("image") else None
    start = 0
    while start < len(pairs):
        images = [image for _, image in pairs[start : start + BATCH]]
        k = min(choice.window[1] + known.most_right(images), len(known.lends))  # so the window is full of wrong ones
        batch = pairs[start : start + max(1, min(BATCH, HITS // k))]
        start += len(batch)
        images = images[: len(batch)]
        queries = _queries(encoder, [pair.captions for pair, _ in batch])
        own_scores = (queries * source.vectors(images)).sum(axis=1)
        candidates = np.full((len(images), k), -1)
        scores = np.zeros((len(images), k), np.float32)
        same = np.zeros((len(images), k), bool)
        for row, (found, ids) in enumerate(source.read_view().nearest(queries, k, "image", among)):
            scores[row, : len(found)] = found
            own = known.marks[images[row]]
            for column, key in enumerate(ids.tolist()):
                if key in known.lends:
                    candidates[row, column] = known.lends[key]
                    same[row, column] = not known.marks[key].isdisjoint(own)
        chosen = hard_negatives(candidates, scores, own_scores, same, choice)
        yield [[known.texts[text] for text in row] for row in chosen]


class _Known:
    """What pairs say of their images, by id.

    Attributes:
        texts: their captions, each once, as it was first written; a text is called by its number here.
        lends: the first text of each image.
        marks: the texts and labels of each image; two that share one are right for each other.
    """

    def __init__(self, pairs: Sequence[tuple[Pair, int]]) -> None:
        self.texts: list[str] = []
        self.lends: dict[int, int] = {}
        self.marks: dict[int, set[int | str]] = {}
        number: dict[str, int] = {}
        for pair, image in pairs:
            for caption in pair.captions:
                text = number.setdefault(text_key(caption), len(self.texts))
                if text == len(self.texts):
                    self.texts.append(caption)
                self.lends.setdefault(image, text)
                self.marks.setdefault(image, set()).add(text)
            if pair.label is not None:
                self.marks[image].add(pair.label)
        self._sharing = Counter(mark for of_image in self.marks.values() for mark in of_image)

    def most_right(self, images: Sequence[int]) -> int:
        """How many images are right for one of these at most, itself included; or fewer."""
        return max(sum(self._sharing[mark] for mark in self.marks[image]) for image in images)


def _queries(encoder: Encoder, captions: Sequence[Sequence[str]]) -> Vectors:
    """One unit vector (n, dim) an image: the mean of those of its captions."""
    vectors = encoder.encode_texts([caption for texts in captions for caption in texts])
    starts = np.cumsum([0, *map(len, captions)])[:-1]
    sums = np.add.reduceat(vectors, starts)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)  # type: ignore[no-any-return]
