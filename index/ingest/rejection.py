"""How good a text's best hit must be for the text to fit anything in a collection: measured with the model at hand.

Held against words of the model's own vocabulary, as labels are where an image may be none of them. Kept in the catalog,
for searches to judge by (index.search.calibration).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from encoder.encoder import Encoder, Vectors
from encoder.zero_shot.word_bank import some_words
from index.collection import Collection, View
from index.search.calibration import SAMPLE, Rejection, fit

KNOWN = 256  # texts that belong to the collection
ENOUGH = 32  # of them, to tell what the model makes of words
DRIFT = 0.2  # a share of the images: with so much growth the best hit of anything has risen a little


def is_due(collection: Collection, fingerprint: str) -> bool:
    """Whether it never was measured with the model of that fingerprint, or the collection has changed since."""
    rows = collection.count("image")
    before = collection.rejection()
    same_model = before is not None and before.fingerprint == fingerprint
    return not (before and same_model and abs(rows - before.rows) <= DRIFT * before.rows)


def measure_rejection(collection: Collection, encoder: Encoder) -> None:
    """Measure it, if it never was or the collection has grown since. `collection`: open for writing, of this encoder.

    A model trained from scratch on a narrow world takes any text for one that it knows, so where the collection has no
    texts of its own to show that, only a published model gets a threshold. Without one every query is taken to fit.
    """
    if not is_due(collection, encoder.fingerprint):
        return
    rows = collection.count("image")
    view = collection.read_view()
    known = list(islice(_texts(collection, view), KNOWN))
    threshold, doubt = None, 1.0
    if len(known) >= ENOUGH or not Path(encoder.ref).is_dir():

        def best(texts: Vectors) -> Vectors:
            return np.array([scores[0] for scores, _ in view.nearest(texts, 1, "image")], np.float32)

        words = some_words(encoder.vocabulary())
        at_large, belonging = np.split(encoder.encode_texts([*words, *known]), [len(words)])
        _, sample = view.sample("image", SAMPLE)
        calibration = fit(sample, at_large, belonging, best)
        if calibration is not None:
            threshold, doubt = calibration.threshold, calibration.doubt
    collection.set_rejection(Rejection(encoder.fingerprint, rows, threshold, doubt))


def _texts(collection: Collection, view: View) -> Iterator[str]:
    """What was said about the collection's images: metadata of several words, and entries that are texts."""
    some, _ = view.sample("image", 2 * KNOWN)
    for record in view.records_of(some.tolist()).values():
        for value in record.metadata.values():
            if isinstance(value, str) and " " in value.strip() and len(value) <= 300:
                yield value
    for record in collection.records("text", limit=KNOWN):
        if record.text:
            yield record.text
