"""Label sets kept under a name, classification with them, and zero-shot in the shape of Hugging Face's task."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor, wait

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from service_world import client_of, error_of, picture, serving, settings_for, tiny_encoder, until, world

from base.errors import LabelSetNotFound
from encoder.zero_shot import word_bank
from encoder.zero_shot.prompts import DEFAULT_TEMPLATES
from index.collection import create_collection
from labelling.label_file import labels_in
from labelling.label_sets import LabelSet, LabelSets
from labelling.learned import Learned
from service.app import create_app

LABELS = ["cat", "dog", "hot_air balloon"]
TEMPLATES = ["a drawing of a {}."]
PICTURE = base64.b64encode(picture(0)).decode()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with world(tmp_path_factory.mktemp("labels"), n=1, max_prompts=50) as (client, _, files):
        yield client, files[0].parent.parent


@pytest.fixture
def client(here):
    return here[0]


def test_a_label_set_is_made_only_where_there_is_none_for_who_says_so(client):
    place, only_new = "/v1/label-sets/once", {"If-None-Match": "*"}
    assert client.put(place, json={"labels": ["a"]}, headers=only_new).status_code == 201
    error = error_of(client.put(place, json={"labels": ["b"]}, headers=only_new), 412)
    assert (error["code"], error["message"]) == ("label_set_exists", "there is a label set 'once' already")
    assert client.get(place).json()["labels"] == ["a"]
    assert client.put(place, json={"labels": ["b"]}).json()["labels"] == ["b"]
    error_of(client.put(place, json={"labels": ["b"]}, headers={"If-None-Match": '"x"'}), 422)
    client.delete(place)


def test_a_label_set_is_changed_only_as_it_was_seen_by_who_says_so(client):
    place = "/v1/label-sets/seen"
    made = client.put(place, json={"labels": ["a"]})
    seen = client.get(place).headers["etag"]
    assert made.headers["etag"] == seen
    first = client.put(place, json={"labels": ["a", "b"]}, headers={"If-Match": seen})
    assert first.status_code == 200
    for late in (seen, f'W/{seen}, "other"', '""'):  # another tab saw what was there before
        for answer in (
            client.put(place, json={"labels": ["a", "c"]}, headers={"If-Match": late}),
            client.delete(place, headers={"If-Match": late}),
        ):
            error = error_of(answer, 412)
            assert (error["code"], error["param"]) == ("changed_meanwhile", "If-Match")
            assert "label set 'seen' was changed meanwhile" in error["message"]
    assert client.get(place).json()["labels"] == ["a", "b"]
    again = client.get(place).headers["etag"]
    assert again == first.headers["etag"] != seen
    weak = {"If-Match": f'"other", W/{again}'}  # as of a proxy that packs
    assert client.put(place, json={"labels": ["a"], "mode": "multi"}, headers=weak).status_code == 200
    assert client.put(place, json={"labels": ["a"]}, headers={"If-Match": "*"}).headers["etag"] == seen
    for wrong in ("a", seen.strip('"'), "", f"{seen} {seen}"):
        error_of(client.put(place, json={"labels": ["a"]}, headers={"If-Match": wrong}), 422)
    assert client.delete(place, headers={"If-Match": seen}).status_code == 204
    for any_of in ("*", seen):
        error = error_of(client.put(place, json={"labels": ["a"]}, headers={"If-Match": any_of}), 412)
        assert "is no more" in error["message"]
    error_of(client.get(place), 404)


def test_of_many_who_change_a_label_set_as_they_saw_it_one_does(client):
    place = "/v1/label-sets/of-many"
    seen = client.put(place, json={"labels": ["a"]}).headers["etag"]

    def ask(i):
        return client.put(place, json={"labels": [f"label {i}"]}, headers={"If-Match": seen}).status_code

    with ThreadPoolExecutor(8) as askers:
        answers = list(askers.map(ask, range(16)))
    assert sorted(answers) == [200] + [412] * 15
    assert client.get(place).json()["labels"] == [f"label {answers.index(200)}"]
    client.delete(place)


def test_of_many_who_want_a_new_label_set_at_once_one_gets_it(client):
    def ask(i):
        name, labels = f"at-once-{i // 8}", [f"label {i}"]
        answer = client.put(f"/v1/label-sets/{name}", json={"labels": labels}, headers={"If-None-Match": "*"})
        return name, labels, answer.status_code

    with ThreadPoolExecutor(8) as askers:
        answers = list(askers.map(ask, range(64)))
    assert sorted(status for *_, status in answers) == [201] * 8 + [412] * 56
    for name, labels, status in answers:
        if status == 201:
            assert client.get(f"/v1/label-sets/{name}").json()["labels"] == labels
            client.delete(f"/v1/label-sets/{name}")


def test_who_changes_a_label_set_is_alone_with_it(tmp_path):
    kept, others = LabelSets(tmp_path), LabelSets(tmp_path)
    kept.put("pets", LabelSet.of(["cat"]))
    with ThreadPoolExecutor(2) as threads:
        waiting = []

        def changed(before):
            waiting.append(threads.submit(others.put, "pets", LabelSet.of(["bird"])))
            waiting.append(threads.submit(others.delete, "other"))
            assert wait(waiting, 0.2).done == set()
            return LabelSet.of([*before.labels, "dog"])

        assert kept.change("pets", changed)[0].names == ("cat", "dog")
        assert waiting[0].result(20) is False
        with pytest.raises(LabelSetNotFound):
            waiting[1].result(20)
    assert kept.get("pets").names == ("bird",)


def test_a_stored_image_is_classified_as_the_file_is(client, here):
    asked = {"id": 1, "collection": "pictures", "labels": LABELS}
    [kept] = client.post("/v1/classify", json=asked).json()["results"]
    image = base64.b64encode(next((here[1] / "files").iterdir()).read_bytes()).decode()
    [sent] = client.post("/v1/classify", json={"image": image, "labels": LABELS}).json()["results"]
    assert kept["label"] == sent["label"]
    for one, other in zip(kept["scores"], sent["scores"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=0.01)  # kept in float16


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": 1}, 422),
        ({"collection": "pictures"}, 422),
        ({"id": 1, "collection": "pictures", "image": PICTURE}, 422),
        ({"id": 99, "collection": "pictures"}, 404),
        ({"id": 2, "collection": "pictures"}, 404),  # a text
        ({"id": 1, "collection": "nowhere"}, 404),
        ({"id": 1, "collection": "foreign"}, 409),
    ],
)
def test_a_stored_image_that_cannot_be_classified(client, here, body, status):
    if body.get("collection") == "foreign":
        create_collection(here[1], "foreign", model="other", fingerprint="other", dim=32).close()
    error_of(client.post("/v1/classify", json=body | {"labels": LABELS}), status)


def put(client, name="pets", **body):
    return client.put(f"/v1/label-sets/{name}", json={"labels": LABELS} | body)


def classify(client, **body):
    answer = client.post("/v1/classify", json={"image": PICTURE} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_a_label_set_is_kept_replaced_and_deleted(client, here):
    assert client.get("/v1/label-sets").json() == {"label_sets": []}
    made = put(client, labels=["cat ", "dog", "cat"], templates=TEMPLATES)
    assert made.status_code == 201
    plain = {"mode": "single", "abstains": False, "learned": None}
    plain["warnings"] = ["1 labels that stand there already, the first: cat (label 3)"]
    assert made.json() == {"name": "pets", "labels": ["cat", "dog"], "templates": TEMPLATES} | plain
    replaced = put(client)
    assert replaced.status_code == 200
    assert replaced.json()["templates"] == list(DEFAULT_TEMPLATES)
    assert client.get("/v1/label-sets/pets").json() == replaced.json()
    put(client, "a.b-c_1")
    assert client.get("/v1/label-sets").json() == {"label_sets": ["a.b-c_1", "pets"]}
    files = {path.name for path in (here[1] / "label-sets").iterdir()}
    assert files == {".lock", "a.b-c_1.json", "pets.json"}  # nothing half-written beside them
    for name in ("pets", "a.b-c_1"):
        assert client.delete(f"/v1/label-sets/{name}").status_code == 204
        error_of(client.get(f"/v1/label-sets/{name}"), 404)
    assert error_of(client.delete("/v1/label-sets/pets"), 404)["code"] == "label_set_not_found"


def test_classify_with_a_label_set_is_classify_with_its_labels(client):
    put(client, templates=TEMPLATES)
    expected = classify(client, labels=LABELS, templates=TEMPLATES)
    assert classify(client, label_set="pets") == expected
    own = ["a photo of a {}."]
    assert classify(client, label_set="pets", templates=own) == classify(client, labels=LABELS, templates=own)
    form = client.post("/v1/classify", files={"file": picture(0)}, data={"label_set": "pets"})
    assert form.json()["results"] == expected


def test_a_score_is_made_of_the_logits_that_come_with_it(client, here):
    plain = client.post("/v1/classify", json={"image": PICTURE, "labels": LABELS}).json()
    assert (plain["scored_by"], plain["temperature"], plain["logit_scale"]) == ("softmax", 1.0, 100.0)
    for each in plain["results"][0]["scores"]:
        assert each["logit"] == pytest.approx(100 * each["cosine"], rel=1e-5)
    LabelSets(here[1]).put("clever", learned_set(temperature=3.0))
    clever = client.post("/v1/classify", json={"image": PICTURE, "label_set": "clever"}).json()
    assert (clever["scored_by"], clever["temperature"]) == ("softmax", 3.0)
    assert clever["results"][0]["known"] is clever["known_threshold"] is None
    client.delete("/v1/label-sets/clever")
    for answer in (plain, clever):
        check_made_of_logits(answer)


def check_made_of_logits(answer):
    for result in answer["results"]:
        logits = np.array([each["logit"] for each in result["scores"]]) / answer["temperature"]
        assert list(logits) == sorted(logits, reverse=True)
        scores = 1 / (1 + np.exp(-logits))
        if answer["scored_by"] == "softmax":
            scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose([each["score"] for each in result["scores"]], scores, atol=1e-5)


def test_a_vector_is_classified_as_its_image_is(client):
    [given] = client.post("/v1/embeddings", json={"input": [{"image": PICTURE}]}).json()["data"]
    [of_image] = classify(client, labels=LABELS)
    for times in (1, 3):
        vector = [times * value for value in given["embedding"]]
        [of_vector] = client.post("/v1/classify", json={"vector": vector, "labels": LABELS}).json()["results"]
        assert [each["label"] for each in of_vector["scores"]] == [each["label"] for each in of_image["scores"]]
        for one, other in zip(of_vector["scores"], of_image["scores"], strict=True):
            assert one["cosine"] == pytest.approx(other["cosine"], abs=1e-5)


@pytest.mark.parametrize("vector", [[1.0] * 31, [0.0] * 32, [], ["a"] * 32])
def test_a_vector_that_is_none(client, vector):
    error = error_of(client.post("/v1/classify", json={"vector": vector, "labels": LABELS}), 422)
    assert error["param"].startswith("vector")


@pytest.mark.parametrize(("value", "what"), [(1e300, "longer"), (1e-300, "shorter")])
def test_a_vector_of_a_length_that_no_float32_has_is_told_so(client, value, what):
    error = error_of(client.post("/v1/classify", json={"vector": [value] * 32, "labels": LABELS}), 422)
    assert error["message"].startswith(f"vector: a vector is {what} than float32 can say")


def test_what_classify_refuses(client):
    put(client)
    for body, status, param in (
        ({}, 422, "labels"),
        ({"labels": ["a"], "label_set": "pets"}, 422, "labels"),
        ({"label_set": "nothing"}, 404, "label_set"),
        ({"label_set": "../pets"}, 422, None),
    ):
        answer = client.post("/v1/classify", json={"image": PICTURE} | body)
        assert error_of(answer, status)["param"] == param


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("pets", {"labels": []}),
        ("pets", {"labels": [" "]}),
        ("pets", {"templates": ["no place"]}),
        ("pets", {"labels": [str(i) for i in range(60)]}),
        ("pets", {"label": ["a"]}),
        ("Pets", {}),
        ("..", {}),
        ("x" * 65, {}),
    ],
)
def test_what_cannot_be_kept(client, name, body):
    answer = put(client, name, **body)
    error_of(answer, 422 if name != ".." else answer.status_code)
    assert answer.status_code in (404, 405, 422)


def test_a_damaged_file_is_named_and_can_be_replaced(client, here):
    put(client, "odd")
    (here[1] / "label-sets" / "odd.json").write_text('{"labels": 5}')
    assert "label set 'odd' is damaged" in error_of(client.get("/v1/label-sets/odd"), 500)["message"]
    assert put(client, "odd").status_code == 200


def test_a_changed_letter_is_damage_and_a_file_of_before_is_not(client, here):
    file = here[1] / "label-sets" / "odd.json"
    put(client, "odd", labels=["cat", "dög"], templates=["a picture of a {}."])
    put(client, "good")
    whole = file.read_bytes()
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        answer = client.get("/v1/label-sets/odd")
        if answer.status_code == 200:  # a space that JSON does not mind, or a digit of an escape that says the same
            said = answer.json()
            assert (said["labels"], said["templates"]) == (["cat", "dög"], ["a picture of a {}."]), i
        else:
            assert "'odd' is damaged" in error_of(answer, 500)["message"]
    assert client.get("/v1/label-sets/good").status_code == 200
    file.write_text('{"labels": ["cat"], "templates": ["a {}"]}')
    assert client.get("/v1/label-sets/odd").json()["labels"] == ["cat"]
    for wrong in (
        '{"labels": "cat", "templates": ["a {}"]}',
        '{"labels": ["cat"], "templates": ["a {}"], "chedksum": 1}',
    ):
        file.write_text(wrong)
        error_of(client.get("/v1/label-sets/odd"), 500)
    client.delete("/v1/label-sets/odd")


def test_one_set_written_by_many_is_always_one_of_theirs(client):
    sets = [[f"label {i} {j}" for j in range(8)] for i in range(6)]

    def replace(i):
        assert put(client, "busy", labels=sets[i % 6]).status_code in (200, 201)
        return client.get("/v1/label-sets/busy").json()["labels"] in sets

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(replace, range(30)))


# --- more than plain labels ---


def learned_set(fingerprint="tiny", **learned):
    rng = np.random.default_rng(0)
    examples = rng.standard_normal((4, 32)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    return LabelSet.of(["cat", "dog"], learned=Learned(fingerprint, examples=examples, targets=targets, **learned))


def test_a_set_keeps_all_that_labels_have(client):
    whole = {"name": "part-4711", "synonyms": ["valve"], "prompts": ["a brass valve"]}
    made = put(client, labels=["sofa|couch", "animal/dog", whole], templates="plain", mode="multi").json()
    assert made["labels"] == ["sofa|couch", "animal/dog", whole]
    assert (made["templates"], made["mode"]) == (["{}"], "multi")
    assert client.get("/v1/label-sets/pets").json() == made
    long = "x" * 1000
    assert put(client, labels=[{"name": "a", "synonyms": [long]}]).json()["labels"] == [f"a|{long}"]
    for wrong in ({"mode": "some"}, {"labels": [{"synonyms": ["x"]}]}, {"templates": "none such"}):
        error_of(put(client, **wrong), 422)
    client.delete("/v1/label-sets/pets")


def test_what_was_learned_is_told_and_stays_as_long_as_it_is_true(client, here):
    kept = learned_set(temperature=2.0, thresholds=(0.5, 0.6), model="tiny")
    LabelSets(here[1]).put("clever", kept)
    told = client.get("/v1/label-sets/clever").json()["learned"]
    assert told["examples"] == {"cat": 2, "dog": 2}
    assert (told["calibrated"], told["temperature"], told["thresholds"]) == (True, 2.0, {"cat": 0.5, "dog": 0.6})
    again = put(client, "clever", labels=["cat", "dog"]).json()
    assert (again["learned"], again["warnings"]) == (told, [])
    moved = put(client, "clever", labels=["cat", "dog"], mode="multi").json()
    assert (moved["learned"]["calibrated"], moved["learned"]["examples"]) == (False, told["examples"])
    assert "calibrate again" in moved["warnings"][0]
    other = put(client, "clever", labels=["dog", "cat"]).json()
    assert other["learned"] is None
    assert "is gone" in other["warnings"][0]
    LabelSets(here[1]).put("clever", kept)
    assert put(client, "clever", labels=["cat", "dog"], forget_learned=True).json()["learned"] is None
    client.delete("/v1/label-sets/clever")


def test_a_set_that_learned_answers_with_it_and_abstains(client, here):
    LabelSets(here[1]).put("clever", learned_set(temperature=3.0))
    sent = {"image": PICTURE, "label_set": "clever"}
    answer = client.post("/v1/classify", json=sent).json()
    [one] = answer["results"]
    assert answer["calibrated"]
    assert one["labels"] == [{"label": one["label"], "score": one["score"]}]
    assert one["scores"] != classify(client, labels=["cat", "dog"])[0]["scores"]
    assert error_of(client.post("/v1/classify", json=sent | {"scores": "sigmoid"}), 422)["param"] == "scores"
    LabelSets(here[1]).put("clever", learned_set(temperature=3.0, thresholds=(1.0, 1.0)))
    [none] = classify(client, label_set="clever")
    assert (none["label"], none["labels"], none["abstained"], len(none["scores"])) == (None, [], True, 2)
    client.delete("/v1/label-sets/clever")


def test_a_set_that_another_model_learned_is_refused_with_what_mends_it(client, here):
    LabelSets(here[1]).put("foreign", learned_set("another"))
    error = error_of(client.post("/v1/classify", json={"image": PICTURE, "label_set": "foreign"}), 409)
    assert (error["code"], error["param"]) == ("model_mismatch", "label_set")
    assert "glimpse labels create foreign --examples FOLDER --model tiny --force" in error["message"]
    client.delete("/v1/label-sets/foreign")


def test_several_labels_or_none_are_held_against_words_and_nobody_waits_for_those(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(word_bank, "MOST", 600)
    with world(tmp_path, n=1) as (own, encoder, _), ThreadPoolExecutor(1) as pool:
        put(own, labels=["cat", "dog", "boat"], mode="multi")
        sent = {"image": PICTURE, "label_set": "pets"}
        many = pool.submit(own.post, "/v1/classify", json=sent)
        until(lambda: any(len(texts) == 32 for texts in encoder.texts))  # a piece of the words
        before = len(encoder.texts)
        assert own.post("/v1/classify", json={"image": PICTURE, "labels": ["a", "b"]}).status_code == 200
        assert not many.done()
        assert len(encoder.texts) - before < 12
        [result] = many.result().json()["results"]
        assert result["labels"] == [one for one in plain_scores([result]) if one["score"] >= 0.5]
        assert result["abstained"] == (not result["labels"])
        asked = len(encoder.texts)
        assert own.post("/v1/classify", json=sent).json()["results"] == [result]
        assert len(encoder.texts) == asked
        typed = own.post("/v1/classify", json={"image": PICTURE, "labels": ["cat", "dog", "boat"], "mode": "multi"})
        assert typed.json()["results"] == [result]
        assert typed.json()["scored_by"] == "sigmoid"
        check_made_of_logits(typed.json())
        form = own.post("/v1/classify", files={"file": picture(0)}, data={"labels": "cat,dog", "abstain": "true"})
        assert form.status_code == 200
        held = form.json()["results"][0]
        assert held["abstained"] == (held["known"] < form.json()["known_threshold"])
        check_made_of_logits(form.json())
        one = own.post("/v1/classify", json={"image": PICTURE, "labels": ["cat"], "abstain": True}).json()
        assert one["scored_by"] == "rank"
        assert one["results"][0]["scores"][0]["score"] == one["results"][0]["known"]
        wrong = own.post("/v1/classify", files={"file": picture(0)}, data={"labels": "cat,dog", "mode": "both"})
        assert error_of(wrong, 422)["param"] == "mode"
        assert form.json()["results"][0]["abstained"] == (form.json()["results"][0]["label"] is None)


# --- zero-shot as Hugging Face's clients ask ---


def test_a_label_that_stands_there_twice_is_one_in_every_shape(client):
    labels = ["caf\u00e9", "cafe\u0301", "bar", "bar", " "]
    body = {"inputs": PICTURE, "parameters": {"candidate_labels": labels}}
    found = client.post("/v1/zero-shot", json=body).json()
    assert found == plain_scores(classify(client, labels=labels))
    assert sorted(one["label"] for one in found) == ["bar", "caf\u00e9"]


def test_zero_shot_says_what_classify_says(client):
    expected = plain_scores(classify(client, labels=LABELS, templates=TEMPLATES))
    body = {"inputs": PICTURE, "parameters": {"candidate_labels": LABELS, "hypothesis_template": TEMPLATES[0]}}
    assert client.post("/v1/zero-shot", json=body).json() == expected
    body["parameters"] = {"candidate_labels": LABELS, "multi_label": False}  # what it does not know is passed over
    assert client.post("/v1/zero-shot", json=body).json() == plain_scores(classify(client, labels=LABELS))


def plain_scores(results):
    return [{"label": each["label"], "score": each["score"]} for each in results[0]["scores"]]


def test_what_zero_shot_refuses(client):
    for body, param in (
        ({"inputs": PICTURE}, "parameters"),
        ({"inputs": PICTURE, "parameters": {"candidate_labels": []}}, "parameters.candidate_labels"),
        ({"inputs": "AAAA", "parameters": {"candidate_labels": ["a"]}}, "inputs"),
        ({"inputs": PICTURE, "parameters": {"candidate_labels": ["a"], "hypothesis_template": "none"}}, None),
    ):
        assert error_of(client.post("/v1/zero-shot", json=body), 422)["param"] == param
    error_of(client.post("/v1/zero-shot", content=json.dumps(body)), 415)


def test_hugging_faces_own_client_works_unchanged(tmp_path):
    app = create_app(settings_for(tmp_path), tiny_encoder(tmp_path))
    with serving(app) as url:
        found = InferenceClient(model=f"{url}/v1/zero-shot", token="none").zero_shot_image_classification(
            picture(0), candidate_labels=LABELS, hypothesis_template=TEMPLATES[0]
        )
        body = {"image": PICTURE, "labels": LABELS, "templates": TEMPLATES}
        expected = plain_scores(httpx.post(f"{url}/v1/classify", json=body).json()["results"])
    assert [{"label": element.label, "score": element.score} for element in found] == expected


# --- models that score each label on its own ---


def test_a_sigmoid_model_says_that_none_fits(client, tmp_path):
    refused = client.post("/v1/classify", json={"image": PICTURE, "labels": ["cat"], "scores": "sigmoid"})
    assert error_of(refused, 422)["param"] == "scores"  # of a model without a bias
    encoder = tiny_encoder(tmp_path)
    encoder.logit_scale, encoder.logit_bias = 10.0, -12.0
    with client_of(create_app(settings_for(tmp_path), encoder)) as sigmoid:
        assert sigmoid.get("/v1/info").json()["logit_bias"] == -12.0
        [own] = classify(sigmoid, labels=["cat"])
        assert 0 < own["score"] < 0.2  # a cosine of one would be 0.12
        [softmax] = classify(sigmoid, labels=["cat"], scores="softmax")
        assert softmax["score"] == 1.0
        body = {"inputs": PICTURE, "parameters": {"candidate_labels": ["cat"]}}
        [as_in_hugging_face] = sigmoid.post("/v1/zero-shot", json=body).json()
        assert as_in_hugging_face["score"] == pytest.approx(own["score"], rel=1e-4)
        files = {"file": base64.b64decode(PICTURE)}
        for by, expected in (("softmax", softmax), ("sigmoid", own)):
            sent = sigmoid.post("/v1/classify", data={"labels": "cat", "scores": by}, files=files)
            assert sent.json()["results"][0]["score"] == pytest.approx(expected["score"], abs=1e-6)
        unknown = sigmoid.post("/v1/classify", data={"labels": "cat", "scores": "?"}, files=files)
        assert error_of(unknown, 422)["param"] == "scores"


def test_labels_that_stand_there_twice_are_told_as_a_shell_tells_them(client):
    labels = ["cat", "dog|hound", " cat ", "cafe\u0301", "caf\u00e9", "", "dog|puppy"]
    twice = "2 labels that stand there already, the first: cat (label 3)"
    blank = "1 labels without a name, the first: label 6"
    given, told = labels_in(",".join(labels))
    assert [told.lines()[0], told.lines()[1]] == [twice, blank]
    kept = client.put("/v1/label-sets/doubled", json={"labels": labels}).json()
    assert kept["labels"] == [label.text for label in given] == ["cat", "dog|hound|puppy", "cafe\u0301"]
    assert kept["warnings"] == [twice, blank]
    assert client.get("/v1/label-sets/doubled").json()["warnings"] == []
    vector = [1.0] * 32
    asked = client.post("/v1/classify", json={"vector": vector, "labels": labels}).json()
    assert asked["warnings"] == [twice, blank]
    same = client.post("/v1/classify", json={"vector": vector, "label_set": "doubled"}).json()
    assert (same["warnings"], same["results"]) == ([], asked["results"])
    form = client.post("/v1/classify", files={"file": picture(0)}, data={"labels": labels}).json()
    assert form["warnings"] == [twice, blank]
    assert len(form["results"][0]["scores"]) == 3
