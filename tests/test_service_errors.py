import ast
import base64
import json
import re
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service_world import client_of, draw, error_of, picture, settings_for, tiny_encoder, until, world
from test_layers import PACKAGES

from base.errors import GlimpseError, ModelError
from index.collection import Entry, create_collection, open_collection
from service.app import create_app, serve
from service.collections.opened import OpenCollections
from service.errors import STATUS

PICTURE = base64.b64encode(picture(0)).decode()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    create_collection(folder, "foreign", model="other/model", fingerprint="other", dim=32).close()
    with world(folder, max_upload_bytes=200_000, max_batch=8, max_texts=8, max_prompts=50) as (client, encoder, files):
        yield client, encoder, files


SEARCH = "/v1/collections/pictures/search"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/collections/nowhere", "collection_not_found"),
        ("/v1/collections/..%2F..%2Fetc", "not_found"),
        ("/v1/collections/No Name", "collection_not_found"),
        ("/v1/collections/nowhere/images/1", "collection_not_found"),
        ("/v1/collections/pictures/images/999", "entry_not_found"),
        ("/v1/collections/pictures/images/999/content", "entry_not_found"),
        ("/v1/collections/pictures/images/999/thumbnail", "entry_not_found"),
        ("/v1/collections/pictures/images/7/content", "no_file"),
        ("/v1/collections/pictures/images/7/thumbnail", "no_file"),
        ("/nothing/here", "not_found"),
        ("/static/../app.py", "not_found"),
        ("/static/%2e%2e/app.py", "not_found"),
    ],
)
def test_404(client, path, code):
    error = error_of(client.get(path), 404)
    assert error["code"] == code
    assert error["type"] == "not_found_error"


def test_a_message_tells_nothing_of_the_servers_folders(client, here):
    assert str(here[2][0].parent.parent) not in client.get("/v1/collections/nowhere").text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"text": ""}, "text"),
        ({"text": 5}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "x", "limit": 0}, "limit"),
        ({"text": "x", "limit": 1001}, "limit"),
        ({"text": "x", "modality": "sound"}, "modality"),
        ({"text": "x", "lmit": 3}, "lmit"),
        ({"id": 0}, "id"),
        ({"id": 2**63}, "id"),
        ({"image": "not base64!"}, "image"),
        ({"image": base64.b64encode(b"not an image").decode()}, "image"),
        ({"image": "https://example.com/cat.jpg"}, "image"),
        ({"image": "data:text/html;base64,AAAA"}, "image"),
        ([], None),
    ],
)
def test_422_of_search(client, body, param):
    assert error_of(client.post(SEARCH, json=body), 422)["param"] == param


@pytest.mark.parametrize("path", [SEARCH, "/v1/embeddings", "/v1/classify"])
def test_half_a_character_is_422(client, path):
    body = b'{"text": "\\ud83d", "input": "\\ud83d", "image": "AAAA", "labels": ["\\ud83d"]}'
    error_of(client.post(path, content=body, headers={"Content-Type": "application/json"}), 422)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"image": PICTURE, "labels": []}, "labels"),
        ({"image": PICTURE}, "labels"),
        ({"labels": ["a"]}, None),
        ({"image": PICTURE, "images": [PICTURE], "labels": ["a"]}, None),
        ({"images": [PICTURE] * 9, "labels": ["a"]}, "images"),
        ({"image": PICTURE, "labels": ["a"], "templates": ["no place"]}, None),
        ({"image": PICTURE, "labels": [str(i) for i in range(60)]}, None),
        ({"image": "AAAA", "labels": ["a"]}, None),
        ({"images": ["AAAA", "AAAA"], "labels": ["a"]}, None),
    ],
)
def test_422_of_classify(client, body, param):
    assert error_of(client.post("/v1/classify", json=body), 422)["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": ["a"] * 9}, "input"),
        ({"input": "a", "dimensions": 16}, "dimensions"),
        ({"input": ["a", "data:image/png;base64,AAAA"]}, "input[1]"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_422_of_embeddings(client, body, param):
    assert error_of(client.post("/v1/embeddings", json=body), 422)["param"] == param


def test_another_model_is_404_as_openai_says_it(client):
    error = error_of(client.post("/v1/embeddings", json={"input": "a", "model": "text-embedding-3-small"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("path", [SEARCH, "/v1/classify", "/v1/embeddings"])
def test_broken_json_is_422_and_another_type_415(client, path):
    broken = client.post(path, content=b'{"text": ', headers={"Content-Type": "application/json"})
    assert error_of(broken, 422)["code"] == "invalid_json"
    for kind in ({"Content-Type": "text/plain"}, {}):
        assert error_of(client.post(path, content=b"{}", headers=kind), 415)["code"] == "unsupported_media_type"


def test_forms_that_lack_something(client):
    file = {"file": ("a.png", picture(0), "image/png")}
    assert error_of(client.post("/v1/classify", files={"other": b"x"}, data={"labels": "a"}), 422)["param"] == "other"
    error_of(client.post("/v1/classify", files=file), 422)
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    error_of(client.post("/v1/classify", content=b"nothing of a form", headers=broken), 400)


def _part(name: str, content: bytes = b"a", filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (_part("file", picture(0)) + b"--x--\r\n", 422, "invalid_request", "the part file has no filename"),
        (_part("images", picture(0), "a.png") + b"--x--\r\n", 422, "invalid_request", "the part images is a file"),
        (_part("file", picture(0), "a.png") + _part("lables") + b"--x--\r\n", 422, "invalid_request", "no field here"),
        (_part("file", picture(0), "a.png") * 9 + b"--x--\r\n", 422, "too_many", "more than 8 images.*MAX_BATCH"),
        (_part("file", picture(0), "a.png"), 422, "invalid_form", "ends before its last boundary"),
        (_part("file", picture(0), "a.png")[:-9], 422, "invalid_form", "cut off"),
        (b"--x\r\nX: y\r\n\r\na\r\n--x--\r\n", 400, "invalid_form", "a part of the form has no name"),
        (b"hello", 400, "invalid_form", "not as its boundary"),
        (b"", 422, "invalid_request", "no part called file"),
    ],
)
def test_a_form_is_refused_in_the_same_words_wherever_it_is_sent(client, body, status, code, said):
    doors = ("POST /v1/classify", "POST /v1/collections/pictures/images", "PUT /v1/collections/pictures/entries/form")
    for method, path in map(str.split, doors):
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        error = error_of(client.request(method, path, content=body, headers=kind), status)
        assert error["code"] == code
        words = "an entry has one image" if method == "PUT" and code == "too_many" else said
        assert re.search(words, error["message"])
        kind = {"Content-Type": "multipart/form-data"}
        error = error_of(client.request(method, path, content=body or b"x", headers=kind), 400)
        assert "names no boundary" in error["message"]


def test_the_mark_of_its_byte_order_may_stand_before_a_body(client):
    asked = {
        "/v1/embeddings": {"input": "a"},
        "/v1/classify": {"vector": [1.0] * 32, "labels": ["a", "b"]},
        "/knn-service": {"text": "a", "indice_name": "pictures"},
        "/v1/collections/pictures/search": {"text": "a"},
        "/v1/collections/pictures/facets": {"keys": ["a"]},
    }
    for path, body in asked.items():
        sent = b"\xef\xbb\xbf" + json.dumps(body).encode()
        answer = client.post(path, content=sent, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, answer.text


def test_405_names_what_is_allowed(client):
    answer = client.get(SEARCH)
    error_of(answer, 405)
    assert answer.headers["allow"] == "POST"
    answer = client.post("/v1/collections/pictures")  # by several routes
    error_of(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
    answer = client.put("/static/style/base.css")
    error_of(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_collection_of_another_model_is_409_but_browsable_by_id(client, here):
    search = "/v1/collections/foreign/search"
    error = error_of(client.post(search, json={"text": "x"}), 409)
    assert error["code"] == "model_mismatch"
    assert "other/model" in error["message"]
    with open_collection(here[2][0].parent.parent, "foreign", writable=True) as writer:
        writer.upsert([Entry([1.0] * 32, "image", path="/a"), Entry([2.0] * 32, "image", path="/b")])
    assert [hit["path"] for hit in client.post(search, json={"id": 1}).json()["hits"]] == ["/b"]


def test_a_body_that_is_too_large_is_413_announced_or_not(client):
    too_much = b'{"text": "' + b"x" * 200_000 + b'"}'
    json = {"Content-Type": "application/json"}
    for path in (SEARCH, "/v1/classify", "/v1/embeddings"):
        error_of(client.post(path, content=too_much, headers=json), 413)
        in_pieces = (too_much[i : i + 10_000] for i in range(0, len(too_much), 10_000))
        error_of(client.post(path, content=in_pieces, headers=json), 413)
    form = client.post("/v1/classify", files={"file": b"x" * 200_001}, data={"labels": "a"})
    assert error_of(form, 413)["code"] == "too_large"
    assert client.post(SEARCH, json={"text": "still well"}).status_code == 200


def test_a_file_that_is_gone_or_no_image(tmp_path):
    encoder = tiny_encoder(tmp_path)
    vector = encoder.encode_texts(["x"])[0]
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    gone, page, broken = (tmp_path / name for name in ("gone.jpg", "page.html", "broken.jpg"))
    with create_collection(tmp_path, "odd", model="tiny", fingerprint="tiny", dim=32) as made:
        made.upsert([Entry(vector, "image", path=path) for path in (gone, page, broken)])
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        images = "/v1/collections/odd/images"
        assert error_of(client.get(f"{images}/1/content"), 404)["code"] == "file_gone"
        assert error_of(client.get(f"{images}/1/thumbnail"), 404)["code"] == "file_gone"
        assert error_of(client.get(f"{images}/2/content"), 415)["code"] == "unsupported_media_type"
        error = error_of(client.get(f"{images}/3/thumbnail"), 422)
        assert error["code"] == "invalid_image"
        assert error_of(client.get(f"{images}/3/thumbnail?size=9999"), 422)["param"] == "size"


def test_a_file_that_was_emptied_is_another_one_for_its_thumbnail_too(tmp_path):
    with world(tmp_path, n=2) as (client, _, files):
        client.put("/v1/collections/new")
        sent = client.post("/v1/collections/new/images", files={"file": ("a.png", picture(0), "image/png")})
        assert sent.json()["results"][0]["id"] == 1
        [upload] = (tmp_path / "uploads").rglob("*.png")
        for file, images in ((files[0], "/v1/collections/pictures/images"), (upload, "/v1/collections/new/images")):
            for damage in (b"", b"hello"):
                file.write_bytes(damage)
                for way in ("content", "thumbnail", "thumbnail?size=64"):
                    assert error_of(client.get(f"{images}/1/{way}"), 404)["code"] == "file_changed"
            file.unlink()
            for way in ("content", "thumbnail"):
                assert error_of(client.get(f"{images}/1/{way}"), 404)["code"] == "file_gone"


def test_a_file_that_is_another_one_now_is_not_sent(tmp_path):
    """Whoever may write to an indexed folder can put a link to any file of the server in an image's place."""
    secret = tmp_path / "secret"
    secret.write_bytes(picture(9))
    with world(tmp_path, n=2) as (client, _, files):
        images = "/v1/collections/pictures/images"
        moved = files[0].rename(files[0].with_name("moved"))
        files[0].symlink_to(secret)
        for what in ("content", "thumbnail"):
            assert error_of(client.get(f"{images}/1/{what}"), 404)["code"] == "file_changed"
        assert client.get(f"{images}/2/content").content == files[1].read_bytes()
        files[0].unlink()
        files[0].symlink_to(moved)  # a link is no matter where it leads to the same image
        assert client.get(f"{images}/1/content").content == moved.read_bytes()


def test_an_image_that_would_decode_to_too_much_is_refused(tmp_path):
    with world(tmp_path, n=1, max_pixels=1000) as (client, _, _):
        error = error_of(client.post(SEARCH, json={"image": PICTURE}), 422)
        assert "the limit is" in error["message"]


def test_a_damaged_collection_is_listed_with_its_problem_and_costs_no_other(tmp_path):
    broken = tmp_path / "collections" / "broken"
    broken.mkdir(parents=True)
    (broken / "catalog.sqlite").write_bytes(b"not a database" * 100)
    with world(tmp_path, n=1) as (client, _, _):
        listed = {c["name"]: c["problem"] for c in client.get("/v1/collections").json()["collections"]}
        assert listed["broken"]
        assert listed["pictures"] is None
        error = error_of(client.get("/v1/collections/broken"), 500)
        assert error["code"] == "collection_damaged"
        assert client.post(SEARCH, json={"text": "x"}).status_code == 200


def test_an_unforeseen_error_says_nothing_of_the_inside(tmp_path):
    with world(tmp_path, n=1) as (client, encoder, _):

        def fails(texts):
            raise ZeroDivisionError("secret")

        encoder.encode_texts = fails
        client.app.state.service.models.default.loaded.inference._texts._encode = fails
        answer = client.post(SEARCH, json={"text": "x"})
        assert error_of(answer, 500)["code"] == "internal_error"
        assert "secret" not in answer.text
        assert answer.headers["connection"] == "close"  # the server does, so the next request must not come that way


def test_alive_but_not_ready_while_the_model_loads(tmp_path):
    encoder = tiny_encoder(tmp_path)
    draw(tmp_path / "files", 1)
    with encoder.held(), TestClient(create_app(settings_for(tmp_path), encoder)) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/").status_code == 200
        for answer in (
            client.get("/health/ready"),
            client.get("/v1/info"),
            client.post("/v1/embeddings", json={"input": "x"}),
            client.post("/v1/classify", json={"image": PICTURE, "labels": ["a"]}),
        ):
            assert error_of(answer, 503)["code"] == "not_ready"
            assert answer.headers["retry-after"]
        encoder.go.set()


def test_a_failed_start_leaves_no_thread(tmp_path, monkeypatch):
    def fails(self):
        raise OSError("no disk")

    monkeypatch.setattr(OpenCollections, "open_all", fails)
    encoder = tiny_encoder(tmp_path)
    before = set(threading.enumerate())
    with TestClient(create_app(settings_for(tmp_path), encoder)) as client:
        until(lambda: client.app.state.service.failure is not None)
        assert error_of(client.get("/health/ready"), 503)["message"].startswith("the service could not start")
        left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("model")]
        for thread in left:
            thread.join(10)
        assert not any(thread.is_alive() for thread in left)


def test_a_model_that_cannot_be_loaded_stops_the_server_with_its_reason(tmp_path):
    (tmp_path / "no-run").mkdir()
    with pytest.raises(ModelError, match="not a run folder"):
        serve(settings_for(tmp_path, model=str(tmp_path / "no-run"), port=0))


ROOT = Path(__file__).parents[1]
NOT_BY_NAME = {  # answers whose code stands elsewhere than beside their status
    (403, "expired_signature"), (403, "folder_refused"), (403, "invalid_signature"),
    (404, "folder_refused"), (404, "not_found"), (405, "method_not_allowed"), (412, "changed_meanwhile"),
}  # fmt: skip
# which no route answers with
OF_COMMANDS = {"backup_damaged", "embed_job_busy", "given_up", "invalid_xmp", "no_ray", "training_error"}
OF_JOBS = {"entries_left"}


def _kinds(kind=GlimpseError):
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _status_of(kind):
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def _refusals():
    """(status, code) of each answer in the source of the service that names both."""
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Refusal", "refuse_to_answer"):
                words = {each.arg: each.value for each in node.keywords}
                both = node.args[0], words.get("code")
                if all(isinstance(each, ast.Constant) for each in both):
                    yield both[0].value, both[1].value


def test_the_page_of_the_api_has_each_status_with_its_codes():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("\n## Errors\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", page, re.M)
    told = [(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)]
    assert len(told) == len(set(told)), "said twice"
    ours = [kind for kind in _kinds() if kind.__module__.split(".")[0] in PACKAGES[:-1]]  # a client's are these again
    kinds = {(_status_of(kind), kind.code) for kind in ours if kind.code not in {*OF_COMMANDS, *OF_JOBS}}
    assert set(told) == (kinds | set(_refusals()) | NOT_BY_NAME) - {(422, "folder_refused")}
    assert all(f"`{code}`" in page for code in OF_JOBS)
