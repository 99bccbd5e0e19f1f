"""Keys, scopes, what is open without one, other sites and other names."""

import asyncio
import json
import os
import re
import resource
import stat
import threading

import httpx
import pytest
from service_world import client_of, error_of, picture, serving, settings_for, tiny_encoder, world

from base.errors import InputError
from base.locks import LOCK
from service.app import create_app
from service.http.auth import check_exposure
from service.keys import Keyring, add_key, given_keys, read_keys, remove_key

SECRET = "0123456789abcdef0123456789abcdef"
SEARCH = "/v1/collections/pictures/search"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    data = tmp_path_factory.mktemp("auth")
    keys = {scope: add_key(data, scope, scope) for scope in ("read", "admin")}
    with world(data, n=2, api_keys=f"robot:read:{SECRET}, boss:admin:{SECRET[::-1]}") as (client, _, _):
        yield client, keys, data


@pytest.fixture
def keys(here):
    return here[1]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


# --- with keys ---


@pytest.mark.parametrize("path", ["/", "/docs", "/health/live", "/health/ready", "/static/main.js", "/static/docs.js"])
def test_the_page_and_the_health_checks_are_open(client, path):
    assert client.get(path).status_code == 200


def test_who_is_refused_is_counted_with_the_route_that_was_asked_for(client, keys):
    def counted(route, status):
        text = client.get("/metrics", headers=bearer(keys["read"])).text
        named = f'glimpse_requests_total{{method="POST",route="{route}",status="{status}"}} '
        line = re.search(re.escape(named) + r"(\d+)", text)
        return int(line[1]) if line else 0

    route = "/v1/collections/{collection}/texts"
    for headers, status in (({}, 401), (bearer("wrong"), 401), (bearer(keys["read"]), 403)):
        before = counted(route, status)
        client.post("/v1/collections/pictures/texts", json={}, headers=headers)
        assert counted(route, status) == before + 1
    before = counted("unknown", 401)
    client.post("/v1/nothing")
    assert counted("unknown", 401) == before + 1


def test_every_route_that_the_api_lists_is_closed(client, keys):
    paths = client.get("/openapi.json", headers=bearer(keys["read"])).json()["paths"]
    assert len(paths) >= 8
    for path, methods in paths.items():
        for method in methods:
            if path.startswith("/health/"):
                continue
            asked = {"collection": "pictures", "id": 1, "image": 1} | dict.fromkeys(
                ("external_id", "name", "job", "run", "model"), "x"
            )
            answer = client.request(method, path.format(**asked))
            error = error_of(answer, 401)
            assert (error["code"], error["type"]) == ("missing_key", "authentication_error"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path",
    ["/openapi.json", "/metrics", "/nothing", "/health/live/", "/healthy", "/static", "/health/../v1/info"],
)
def test_what_is_not_named_open_is_closed(client, path):
    assert error_of(client.get(path), 401)["code"] == "missing_key"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic cmVhZDo=", f"Token {SECRET}", SECRET, "Bearer\tx", "Bearer a b"]
)
def test_what_is_no_bearer_key_is_401(client, header):
    assert error_of(client.get("/v1/info", headers={"Authorization": header}), 401)


def test_a_wrong_key_is_401_and_says_so(client, keys):
    for wrong in ("x", keys["read"][:-1], keys["read"] + "x", keys["read"].upper(), "\xff"):
        answer = client.get("/v1/info", headers={"Authorization": f"Bearer {wrong}".encode("latin-1")})
        assert error_of(answer, 401)["code"] == "invalid_key"
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_a_read_key_may_ask_and_not_change(client, keys):
    headers = bearer(keys["read"])
    for path in ("/v1/info", "/v1/collections", "/metrics", "/v1/collections/pictures/images/1/thumbnail"):
        assert client.get(path, headers=headers).status_code == 200
    assert len(client.post(SEARCH, json={"text": "a boat"}, headers=headers).json()["hits"]) == 2
    assert client.post("/v1/embeddings", json={"input": "a boat"}, headers=headers).status_code == 200
    for method, path in [
        ("DELETE", "/v1/collections/pictures"),
        ("PUT", "/v1/collections/new"),
        ("PATCH", "/v1/collections/pictures/images/1"),
        ("POST", "/v1/collections/pictures/images"),
        ("POST", "/v1/jobs"),
        ("POST", SEARCH + "/more"),
        ("POST", "/v1/classify/"),
    ]:
        answer = client.request(method, path, headers=headers)
        error = error_of(answer, 403)
        assert (error["code"], error["type"]) == ("insufficient_scope", "permission_error")
        assert 'scope="admin"' in answer.headers["www-authenticate"]


def test_an_admin_key_passes(client, keys):
    for key in (keys["admin"], SECRET[::-1]):
        assert client.delete("/v1/nothing/at/all", headers=bearer(key)).status_code == 404
        assert client.get("/v1/info", headers={"Authorization": f"bearer  {key} "}).status_code == 200
    assert client.get("/v1/info", headers=bearer(SECRET)).status_code == 200


def test_a_stranger_is_refused_before_the_body_is_read(client):
    def endless():
        raise AssertionError("the body was read")
        yield b""

    async def ask():
        app = client.app
        sent = []
        scope = {
            "type": "http", "method": "POST", "path": "/v1/classify", "raw_path": b"/v1/classify", "query_string": b"",
            "headers": [(b"host", b"x")], "scheme": "http", "server": ("x", 80), "client": ("x", 1), "root_path": "",
            "http_version": "1.1", "asgi": {"version": "3.0"},
        }  # fmt: skip

        async def receive():
            endless().__next__()

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]["status"]

    assert asyncio.run(ask()) == 401


def test_keys_come_and_go_while_it_runs(client, here):
    data = here[2]
    key = add_key(data, "guest", "read")
    assert client.get("/v1/info", headers=bearer(key)).status_code == 200
    remove_key(data, "guest")
    assert error_of(client.get("/v1/info", headers=bearer(key)), 401)["code"] == "invalid_key"


# --- where keys are kept ---


def test_only_hashes_are_kept_and_only_the_owner_reads_them(tmp_path):
    key = add_key(tmp_path / "data", "shop", "read")
    file = tmp_path / "data" / "keys.json"
    assert key not in file.read_text()
    assert len(key) > 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert add_key(tmp_path / "data", "other", "admin") != key
    assert [(k.name, k.scope) for k in read_keys(tmp_path / "data")] == [("other", "admin"), ("shop", "read")]
    assert {path.name for path in (tmp_path / "data").iterdir()} == {file.name, LOCK}


def test_what_cannot_be_done_with_keys_says_why(tmp_path):
    add_key(tmp_path, "shop", "read")
    for wrong in ("shop", "", "a b", "../x", "x" * 65, "-x"):
        with pytest.raises(InputError):
            add_key(tmp_path, wrong, "read")
    with pytest.raises(InputError, match="read or admin"):
        add_key(tmp_path, "new", "root")
    with pytest.raises(InputError, match="no key 'gone'"):
        remove_key(tmp_path, "gone")
    assert [key.name for key in read_keys(tmp_path)] == ["shop"]


def test_keys_made_at_the_same_time_are_all_kept(tmp_path):
    threads = [threading.Thread(target=add_key, args=(tmp_path, f"key{i}", "read")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_keys(tmp_path)) == 8


def test_keys_of_the_environment():
    found = given_keys(f"a:read:{SECRET},, b:admin:{SECRET}:x ")
    assert [(key.name, key.scope) for key in found] == [("a", "read"), ("b", "admin")]
    assert given_keys(" ") == []
    for wrong in (SECRET, f"a:{SECRET}", f"a:write:{SECRET}", "a:read:tooshort", f":read:{SECRET}"):
        with pytest.raises(InputError) as error:
            given_keys(wrong)
        assert SECRET not in str(error.value)
        assert "tooshort" not in str(error.value)


def test_keys_that_could_not_be_read_once_are_read_again(tmp_path, caplog):
    key = add_key(tmp_path, "before", "read")
    ring = Keyring(tmp_path)
    add_key(tmp_path, "after", "read")  # so the file is another one
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # too many open files
    try:
        for _ in range(2):
            ring.refresh()
            assert (ring.find(key), ring.required) == (None, True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    ring.refresh()
    assert ring.find(key).name == "before"
    assert caplog.text.count("Too many open files") == 1


def test_removing_the_last_key_opens_nothing(tmp_path):
    ring = Keyring(tmp_path)
    assert not ring.required
    key = add_key(tmp_path, "only", "read")
    ring.refresh()
    assert ring.required
    assert ring.find(key).name == "only"
    remove_key(tmp_path, "only")
    ring.refresh()
    assert ring.required
    assert ring.find(key) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{"name": "a"}]}', '{"keys": [7]}', '{"keys": {}}'])
def test_a_damaged_file_of_keys_opens_nothing(tmp_path, content, caplog):
    key = add_key(tmp_path, "a", "read")
    ring = Keyring(tmp_path, given_keys(f"given:admin:{SECRET}"))
    (tmp_path / "keys.json").write_text(content)
    ring.refresh()
    assert ring.required
    assert ring.find(key) is None
    assert ring.find(SECRET).name == "given"
    assert Keyring(tmp_path).required
    assert "no key of the file is taken" in caplog.text
    with pytest.raises(InputError, match="not a file of keys"):
        read_keys(tmp_path)


@pytest.mark.parametrize("damage", ["a loop of links", "a folder", "a pipe", "a device", "a file for the folder"])
def test_what_is_no_file_in_the_place_of_the_keys_opens_nothing(tmp_path, damage, caplog):
    data = tmp_path / "data"
    key = add_key(data, "bob", "read")
    ring = Keyring(data)
    assert ring.find(key) is not None
    file, kept = data / "keys.json", (data / "keys.json").read_bytes()
    file.unlink()
    if damage == "a loop of links":
        file.symlink_to(file.name)
    elif damage == "a folder":
        file.mkdir()
    elif damage == "a pipe":
        os.mkfifo(file)
    elif damage == "a device":
        file.symlink_to("/dev/zero")
    else:
        data.rename(tmp_path / "away")
        data.write_bytes(b"")
    for _ in range(3):
        ring.refresh()
        assert ring.required
        assert ring.find(key) is None
    assert len([record for record in caplog.records if "no key of the file is taken" in record.message]) == 1
    if data.is_file():
        data.unlink()
        (tmp_path / "away").rename(data)
    else:
        file.rmdir() if damage == "a folder" else file.unlink()
    file.write_bytes(kept)
    ring.refresh()
    assert ring.find(key) is not None


@pytest.mark.parametrize("sha256", [7, None, "ä" * 64, "0" * 63, "G" * 64, ["0" * 64]])
def test_a_key_whose_hash_is_damaged_is_named_and_the_others_work(tmp_path, sha256, caplog):
    key = add_key(tmp_path, "a", "read")
    file = tmp_path / "keys.json"
    content = json.loads(file.read_text())
    content["keys"].append(content["keys"][0] | {"name": "b", "sha256": sha256})
    file.write_text(json.dumps(content))
    ring = Keyring(tmp_path)
    assert (ring.required, ring.find(key).name, ring.find(SECRET)) == (True, "a", None)
    assert "not taken" in caplog.text
    assert "number 2" in caplog.text
    with pytest.raises(InputError, match="number 2"):  # as `serve --check` says it
        read_keys(tmp_path)
    with pytest.raises(InputError, match="number 2"):  # else it would be forgotten
        add_key(tmp_path, "c", "read")


def test_a_key_that_someone_wrote_into_the_file_by_hand_is_checked(tmp_path):
    entry = {"name": "a", "scope": "everything", "sha256": "0" * 64}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [entry]}))
    with pytest.raises(InputError, match="read or admin"):
        read_keys(tmp_path)


# --- without keys ---


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"host": "127.0.0.2"}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "192.168.1.5"}, True),
        ({"host": "myhost"}, True),
        ({"host": "0.0.0.0", "allow_anonymous": True}, False),
        ({"host": "0.0.0.0", "api_keys": f"a:read:{SECRET}"}, False),
        ({"host": "0.0.0.0", "publish": "127.0.0.1:8000"}, False),
        ({"host": "0.0.0.0", "publish": "[::1]:8000"}, False),
        ({"host": "0.0.0.0", "publish": "8000"}, True),
        ({"host": "0.0.0.0", "publish": "0.0.0.0:8000"}, True),
        ({"host": "127.0.0.1", "publish": "8000"}, True),
    ],
)
def test_only_this_machine_is_served_without_a_key(tmp_path, changes, refused):
    settings = settings_for(tmp_path, **changes)
    if not refused:
        check_exposure(settings)
        return
    with pytest.raises(InputError, match=r"glimpse keys add .* GLIMPSE_ALLOW_ANONYMOUS=1") as error:
        check_exposure(settings)
    assert "\n" not in str(error.value)


def test_without_keys_a_foreign_name_is_refused(tmp_path):
    """A page on the web that points its own name at 127.0.0.1 (DNS rebinding) reads nothing."""
    with serving(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as url:
        for name in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "evil.example."):
            assert error_of(httpx.get(f"{url}/v1/info", headers={"Host": name}), 421)["code"] == "unknown_host"
        for name in ("localhost", "127.0.0.1:8000", "[::1]:8000", "glimpse:8000", "a.localhost", "192.168.1.5"):
            assert httpx.get(f"{url}/v1/info", headers={"Host": name}).status_code == 200
        key = add_key(tmp_path, "first", "read")
        assert httpx.get(f"{url}/v1/info").status_code == 401
        named = httpx.get(f"{url}/v1/info", headers={"Host": "photos.example"} | bearer(key))
        assert named.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "https://testserver", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://proxied.example", "Sec-Fetch-Site": "same-origin"}, 200),  # the proxy changed the Host
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, 200),  # allowed
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://other.testserver", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),  # as no browser posts
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://testserver.evil.example"}, 403),
        ({"Origin": "http://testserver:81"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_without_keys_a_page_of_another_site_posts_nothing(keyless, headers, status):
    """A form of any site can post multipart to localhost, and the browser asks nobody before."""
    files = {"file": ("x.png", picture(1), "image/png")}
    answer = keyless.post("/v1/classify", files=files, data={"labels": "a,b"}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert error_of(answer, 403)["code"] == "foreign_origin"
    assert keyless.get("/v1/info", headers=headers).status_code == 200  # the browser keeps the answer from that page


@pytest.fixture(scope="module")
def keyless(tmp_path_factory):
    data = tmp_path_factory.mktemp("keyless")
    settings = settings_for(data, cors_origins=("https://shop.example",))
    with client_of(create_app(settings, tiny_encoder(data))) as client:
        yield client


# --- other sites ---


def test_other_origins_are_closed_out_unless_named(tmp_path):
    origin = "https://shop.example"
    encoder = tiny_encoder(tmp_path)
    key = add_key(tmp_path, "shop", "read")
    with client_of(create_app(settings_for(tmp_path, cors_origins=(origin,)), encoder)) as client:
        wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        before = client.options("/v1/classify", headers=wish | {"Origin": origin})  # browsers send no key here
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == origin
        assert "authorization" in before.headers["access-control-allow-headers"].lower()
        private = {"Access-Control-Request-Private-Network": "true"}  # Chromium's, for a service in one's own network
        asked = client.options("/v1/classify", headers=wish | private | {"Origin": origin})
        assert (asked.status_code, asked.headers["access-control-allow-private-network"]) == (200, "true")
        asked = client.get("/v1/info", headers=bearer(key) | {"Origin": origin})
        assert asked.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in asked.headers
        refused = client.get("/v1/info", headers={"Origin": origin})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == origin  # so that its page can read why
        for other in ("https://evil.example", "http://shop.example", "https://shop.example.evil.example", "null"):
            assert client.options("/v1/classify", headers=wish | {"Origin": other}).status_code == 400
            answer = client.get("/v1/info", headers=bearer(key) | {"Origin": other})
            assert "access-control-allow-origin" not in answer.headers
