"""DualEncoder: unit float32 rows in the order given, whatever comes in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_world import COLOURS, plain_picture

from base.errors import ImageError
from encoder.model.dual_encoder import TEXT_CACHE, DualEncoder
from encoder.model.load import load_encoder


def assert_unit_rows(vectors: np.ndarray, n: int, dim: int) -> None:
    assert vectors.shape == (n, dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_images_from_anywhere_become_the_same_unit_rows(encoder: DualEncoder, tmp_path: Path) -> None:
    image = plain_picture("red")
    image.save(tmp_path / "red.png")
    data = io.BytesIO()
    image.save(data, "PNG")
    vectors = encoder.encode_images([tmp_path / "red.png", str(tmp_path / "red.png"), data.getvalue(), image])
    assert_unit_rows(vectors, 4, encoder.dim)
    assert np.allclose(vectors, vectors[0], atol=1e-6)


def test_texts_keep_their_order_and_come_once_from_the_model(encoder: DualEncoder) -> None:
    texts = [f"a text of {'many ' * (i % 7)}words {i % 40}" for i in range(200)]
    vectors = encoder.encode_texts(texts)
    assert_unit_rows(vectors, 200, encoder.dim)
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts[:5]])
    assert np.array_equal(vectors[:5], alone)
    assert np.array_equal(vectors[0], vectors[texts.index(texts[0])])


def test_cached_texts_are_not_encoded_again_and_the_cache_is_bounded(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(tiny_run, device="cpu")
    calls: list[int] = []
    run = encoder._encode_texts
    monkeypatch.setattr(encoder, "_encode_texts", lambda texts: calls.append(len(texts)) or run(texts))
    encoder.encode_texts(["a", "b", "a"])
    encoder.encode_texts(["b", "c"])
    assert calls == [2, 1]
    encoder.encode_texts([f"text {i}" for i in range(TEXT_CACHE + 10)])
    assert len(encoder._texts) == TEXT_CACHE


def test_seen_texts_are_told_with_their_tokens_and_only_if_all_are(tiny_run: Path) -> None:
    encoder = load_encoder(tiny_run, device="cpu")
    vectors = encoder.encode_texts(["a red dog", "b"])
    seen = encoder.seen_texts(["b", "a red dog", "b"])
    assert seen is not None
    assert np.array_equal([text.vector for text in seen], vectors[[1, 0, 1]])
    assert [text.tokens for text in seen] == [3, 5, 3]  # with the marks of start and end
    assert encoder.seen_texts(["a red dog", "new"]) is None
    assert encoder.seen_texts([]) == []


def test_nothing_in_nothing_out(encoder: DualEncoder) -> None:
    assert encoder.encode_images([]).shape == (0, encoder.dim)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)


def test_a_stream_goes_on_after_a_bad_file(encoder: DualEncoder, tmp_path: Path) -> None:
    paths = []
    for i, colour in enumerate(COLOURS):
        plain_picture(colour).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    paths[3].write_bytes(b"broken")

    batches = list(encoder.encode_stream(paths, batch_size=3))

    assert [len(batch) for batch in batches] == [3, 3, 2]
    results = [result for batch in batches for result in batch]
    assert [path for path, _ in results] == paths
    assert isinstance(results[3][1], ImageError)
    good = [paths[i] for i in range(len(paths)) if i != 3]
    streamed = np.stack([vector for path, vector in results if path in good])
    assert np.allclose(streamed, encoder.encode_images(good), atol=1e-5)
    with pytest.raises(ImageError, match=r"3\.png"):
        encoder.encode_images(paths)


def test_bf16_agrees_with_fp32(tiny_run: Path, encoder: DualEncoder) -> None:
    half = load_encoder(tiny_run, device="cpu", precision="bf16")
    images = [plain_picture(colour) for colour in COLOURS]
    assert (half.encode_images(images) * encoder.encode_images(images)).sum(axis=1).min() > 0.999
    texts = list(COLOURS)
    assert (half.encode_texts(texts) * encoder.encode_texts(texts)).sum(axis=1).min() > 0.999
    assert half.logit_scale == encoder.logit_scale
    assert half.fingerprint == encoder.fingerprint


def test_a_pillow_image_is_read_as_its_file_is(encoder: DualEncoder) -> None:
    picture = plain_picture("red", size=(60, 30))
    picture.paste((0, 0, 255), (0, 0, 20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    picture.save(data, "PNG", exif=exif)
    by_image, by_bytes = encoder.encode_images([Image.open(io.BytesIO(data.getvalue())), data.getvalue()])
    assert by_image @ by_bytes > 0.9999
    with pytest.raises(ImageError):
        encoder.encode_images([Image.open(io.BytesIO(data.getvalue()[:80]))])
