import numpy as np
import pytest

from base.errors import CollectionError
from encoder.encoder import Encoder
from index.collection import Entry, create_collection, open_collection
from index.ingest.rejection import measure_rejection
from index.search.calibration import Rejection
from index.search.query import Query

DIM = 32
NOTHING = [f"nothing that is known{'.' * i}" for i in range(100)]  # each points somewhere else
WORDS = "red green blue black white shoe shirt watch bag hat".split()
AXES = dict(zip(WORDS, np.eye(DIM)[: len(WORDS)], strict=True))


class WordEncoder(Encoder):
    """Texts are the sum of their words' axes; a word that it does not know points anywhere."""

    def __init__(self, ref):
        self.ref = str(ref)
        self.fingerprint = "f"

    def encode_pixels(self, pixels):
        raise AssertionError("it reads no images")

    def encode_texts(self, texts):
        x = np.stack([self._of(text) for text in texts]).astype(np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def _of(self, text):
        known = [AXES[word] for word in text.split() if word in AXES]
        if known:
            return np.sum(known, axis=0)
        return np.random.default_rng(sum(map(ord, text))).standard_normal(DIM)


def images(encoder, n, captions=True):
    """Pictures of a coloured thing, not quite where their words are."""
    rng = np.random.default_rng(n)
    for i in range(n):
        words = f"{WORDS[i % 5]} {WORDS[5 + i % 7 % 5]}"
        x = encoder.encode_texts([words])[0] + 0.15 * rng.standard_normal(DIM)
        yield Entry(x.astype(np.float32), "image", f"/{i}.jpg", metadata={"title": words} if captions else {})


def ask(collection, encoder, text):
    query = Query(encoder.encode_texts([text])[0], limit=100, cutoff="auto", text=True)
    return collection.query(query)


def test_a_text_that_fits_nothing_returns_nothing_once_the_bar_is_measured(tmp_path):
    encoder = WordEncoder("NAME/published")
    with create_collection(tmp_path, "shop", model="m", fingerprint="f", dim=DIM) as shop:
        shop.upsert(list(images(encoder, 400)))
        assert ask(shop, encoder, NOTHING[0])  # nobody has said yet what fitting nothing looks like
        measure_rejection(shop, encoder)
        assert shop.rejection().rows == 400
    with open_collection(tmp_path, "shop") as shop:  # it is in the catalog
        assert sum(bool(ask(shop, encoder, text)) for text in NOTHING) <= 15  # a tenth is what is meant
        for colour in WORDS[:5]:
            hits = ask(shop, encoder, f"{colour} shoe")
            assert hits
            assert all(hit.relevance >= 0.5 and hit.z > 1 for hit in hits)
            assert {hit.record.metadata["title"] for hit in hits} == {f"{colour} shoe"}
        picture = Query(encoder.encode_texts([NOTHING[0]])[0], cutoff="auto")
        assert shop.query(picture)  # nothing is known of pictures that fit nothing
        with pytest.raises(CollectionError, match="reading only"):
            shop.set_rejection(Rejection("f", 1, None, 1.0))


def test_it_is_measured_again_only_after_growth(tmp_path):
    encoder = WordEncoder("NAME/published")
    with create_collection(tmp_path, "shop", model="m", fingerprint="f", dim=DIM) as shop:
        shop.upsert(list(images(encoder, 300)))
        measure_rejection(shop, encoder)
        first = shop.rejection()
        shop.upsert(list(images(encoder, 330)))
        measure_rejection(shop, encoder)
        assert shop.rejection() == first
        shop.upsert(list(images(encoder, 400)))
        measure_rejection(shop, encoder)
        assert shop.rejection().rows == 400


def test_a_model_of_ones_own_gets_a_bar_only_where_texts_show_what_it_knows(tmp_path):
    encoder = WordEncoder(tmp_path)  # a run folder
    for name, captions in (("told", True), ("untold", False)):
        with create_collection(tmp_path, name, model="m", fingerprint="f", dim=DIM) as shop:
            shop.upsert(list(images(encoder, 200, captions)))
            measure_rejection(shop, encoder)
            assert (shop.rejection().threshold is not None) == captions
            assert ask(shop, encoder, "blue hat")


def test_few_images_have_none(tmp_path):
    encoder = WordEncoder("NAME/published")
    with create_collection(tmp_path, "shop", model="m", fingerprint="f", dim=DIM) as shop:
        measure_rejection(shop, encoder)  # none at all
        shop.upsert(list(images(encoder, 20)))
        measure_rejection(shop, encoder)
        assert shop.rejection().threshold is None
        (hit, *_) = ask(shop, encoder, "red shoe")
        assert hit.relevance is None
