"""Images classified over REST."""

import pytest
from service_world import b64

from encoder.zero_shot.classifier import build_classifier

LABELS = ["cat", "dog", "hot_air balloon"]


def expected_scores(encoder, file, labels, templates=()):
    classifier = build_classifier(encoder, labels, templates)
    return dict(zip(labels, classifier.scores(encoder.encode_images([file]))[0].tolist(), strict=True))


def test_classify_json(client, watched, files):
    body = {"images": [b64(f.read_bytes()) for f in files[:2]], "labels": LABELS}
    results = client.post("/v1/classify", json=body).json()["results"]
    for result, file in zip(results, files, strict=False):
        scores = {s["label"]: s["score"] for s in result["scores"]}
        assert scores == pytest.approx(expected_scores(watched, file, LABELS), abs=1e-4)
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert (result["label"], result["score"]) == next(iter(scores.items()))


def test_classify_form_says_the_same_as_json(client, files):
    sent = files[0].read_bytes()
    one = {"image": b64(sent), "labels": LABELS, "templates": ["a drawing of a {}."]}
    expected = client.post("/v1/classify", json=one).json()["results"]
    for labels in (",".join(LABELS), LABELS):
        for part in ("file", "image"):
            answer = client.post(
                "/v1/classify",
                files=[(part, ("a.png", sent, "image/png"))],
                data={"labels": labels, "templates": ["a drawing of a {}."]},
            )
            assert answer.json()["results"] == expected


def test_classifiers_are_made_once(client, watched, files):
    body = {"image": b64(files[0].read_bytes()), "labels": ["made", "once"]}
    client.post("/v1/classify", json=body)
    runs = len(watched.texts)
    client.post("/v1/classify", json=body)
    assert len(watched.texts) == runs


def test_a_bad_image_among_good_ones_has_its_own_error(client, files):
    images = [b64(files[0].read_bytes()), b64(b"no image"), b64(files[1].read_bytes()), "@@"]
    results = client.post("/v1/classify", json={"images": images, "labels": LABELS}).json()["results"]
    assert [bool(r["error"]) for r in results] == [False, True, False, True]
    assert results[1]["label"] is None
    alone = client.post("/v1/classify", json={"image": images[2], "labels": LABELS}).json()["results"][0]
    assert results[2]["label"] == alone["label"]
    assert results[2]["score"] == pytest.approx(alone["score"], abs=1e-4)
