"""Addresses that need no key: of one file, for a time; and what pages of other origins may load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from service_world import add_collection, client_of, draw, error_of, serving, settings_for, tiny_encoder, world

from base.errors import EntryNotFound, InputError
from glimpse.client import Client
from index.backup import back_up
from service.app import create_app
from service.keys import add_key
from service.preflight import check
from service.signing import FILE, Signer

IMAGES = "/v1/collections/pictures/images"
SEARCH = "/v1/collections/pictures/search"
SHOP = "https://shop.example"


class World:
    """A service with keys."""

    def __init__(self, data: Path, client: TestClient, key: str) -> None:
        self.data = data
        self.client = client
        self.read = {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("signing")
    key = add_key(data, "shop", "read")
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 4))
    with client_of(create_app(settings_for(data, cors_origins=(SHOP,)), encoder)) as client:
        yield World(data, client, key)


def test_a_read_key_gets_addresses_that_need_none(there: World) -> None:
    found = there.client.post(SEARCH, headers=there.read, json={"text": "a boat", "signed_urls": 60}).json()["hits"]
    listed = there.client.get(f"{IMAGES}?signed_urls=60", headers=there.read).json()["entries"]
    one = there.client.get(f"{IMAGES}/1?signed_urls=60", headers=there.read).json()
    assert len(found) == len(listed) == 4
    for record in (*found, *listed, one):
        for name in ("content_url", "thumbnail_url"):
            answer = there.client.get(record[name])
            assert answer.status_code == 200
            assert there.client.head(record[name]).status_code == 200
            assert set(parse_qs(record[name].partition("?")[2])) == {"v", "expires", "signature"}
        small = there.client.get(f"{record['thumbnail_url']}&size=128")  # a page chooses the size
        assert len(small.content) < len(answer.content)
    plain = there.client.get(f"{IMAGES}/1", headers=there.read).json()
    assert "signature" not in plain["content_url"]
    error_of(there.client.get(plain["content_url"]), 401)
    texts = there.client.get("/v1/collections/pictures/texts?signed_urls=60", headers=there.read).json()["entries"]
    assert [text["content_url"] for text in texts] == [None, None]


def test_it_opens_nothing_else(there: World) -> None:
    address = there.client.get(f"{IMAGES}/1?signed_urls=60", headers=there.read).json()["content_url"]
    query = address.partition("?")[2]
    for other in (f"{IMAGES}/2/content", f"{IMAGES}/1/thumbnail", "/v1/collections/other/images/1/content"):
        assert error_of(there.client.get(f"{other}?{query}"), 403)["code"] == "invalid_signature"
    for path in (IMAGES, f"{IMAGES}/1", "/v1/info", "/metrics", "/v1/collections/pictures/texts/7"):
        assert error_of(there.client.get(f"{path}?{query}"), 401)["code"] == "missing_key"
    for method in ("DELETE", "PATCH", "POST", "PUT"):
        error_of(there.client.request(method, address), 401)
    wrong = there.client.get(address, headers={"Authorization": "Bearer wrong"})
    assert error_of(wrong, 401)["code"] == "invalid_key"
    assert there.client.get(address.replace("signature=", "signature=x"), headers=there.read).status_code == 200
    for changed in (f"{address}&expires=99999999999", f"{address}&v=0", f"{address}&signature=x", address + "%00",
                    address.replace("v=", "v=0"), address.replace("expires=", "expires=9"), address[:-1]):  # fmt: skip
        assert error_of(there.client.get(changed), 403)["code"] == "invalid_signature"


def test_it_ends(there: World) -> None:
    address = there.client.get(f"{IMAGES}/1", headers=there.read).json()["content_url"]
    over = Signer(there.data).signed(address, -3)
    error = error_of(there.client.get(over), 403)
    assert error["code"] == "expired_signature"
    assert "was good until" in error["message"]
    for seconds in (0, -1, 7 * 86_400 + 1, "x"):
        error_of(there.client.get(f"{IMAGES}/1?signed_urls={seconds}", headers=there.read), 422)
        error_of(there.client.post(SEARCH, headers=there.read, json={"id": 1, "signed_urls": seconds}), 422)
    for seconds in (1, 60, 3600, 7 * 86_400):
        end = int(parse_qs(Signer(there.data).signed(address, seconds).partition("?")[2])["expires"][0])
        assert time.time() + seconds - 1 < end <= time.time() + seconds + max(1, seconds / 8)
    asked = {Signer(there.data).signed(address, 86_400) for _ in range(5)}
    assert len(asked) <= 2  # browsers keep a picture by its address


def test_the_secret_is_made_once_and_is_no_ones_business(there: World, tmp_path: Path) -> None:
    there.client.get(f"{IMAGES}/1?signed_urls=60", headers=there.read)
    path = there.data / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    back_up(there.data, "pictures", tmp_path / "backup")
    assert path.read_bytes() not in (tmp_path / "backup").read_bytes()

    signed = Signer(tmp_path).signed("/a?v=1", 60)
    assert problem(Signer(tmp_path), signed) is None  # another process, or after a restart
    (tmp_path / FILE).chmod(0o644)
    report = check({"data": tmp_path, "model": "none", "port": 0})
    assert [warning for warning in report.warnings if FILE in warning and "chmod 600" in warning]
    (tmp_path / FILE).unlink()
    assert problem(Signer(tmp_path), signed) == "invalid_signature"
    (tmp_path / FILE).write_text("damaged")
    assert problem(Signer(tmp_path), Signer(tmp_path).signed("/a?v=1", 60)) is None


def problem(signer: Signer, address: str) -> str | None:
    path, _, query = address.partition("?")
    found = signer.problem_of(path, parse_qs(query, keep_blank_values=True))
    return found[0] if found else None


@given(at=st.integers(min_value=0), letter=st.characters(codec="utf-8"))
def test_no_other_address_has_the_same_signature(
    tmp_path_factory: pytest.TempPathFactory, at: int, letter: str
) -> None:
    signer = Signer(tmp_path_factory.getbasetemp())
    address = signer.signed("/v1/collections/a/images/1/content?v=0123456789ab", 60)
    at %= len(address)
    changed = address[:at] + quote(letter, safe="") + address[at + 1 :]
    if parse_qs(changed.partition("?")[2]) != parse_qs(address.partition("?")[2]) or "?" not in changed:
        assert problem(signer, changed) in ("invalid_signature", "expired_signature")


def test_another_collection_of_the_name_is_another_picture(tmp_path: Path) -> None:
    with world(tmp_path, n=2) as (client, encoder, files):
        address = client.get(f"{IMAGES}/1?signed_urls=60").json()["content_url"]
        assert client.get(address).content == files[0].read_bytes()
        client.delete("/v1/collections/pictures")
        add_collection(tmp_path, encoder, files[::-1])
        assert error_of(client.get(address), 404)["code"] == "file_changed"
        # without keys too, what is wrong is told, so that it works the same once there are some
        assert error_of(client.get(f"{address}x"), 403)["code"] == "invalid_signature"


def test_the_client_makes_them(tmp_path: Path) -> None:
    key = add_key(tmp_path, "shop", "read")
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 2)
    add_collection(tmp_path, encoder, files)
    with serving(create_app(settings_for(tmp_path), encoder)) as url, Client(url, key=key) as shop:
        nobody = Client(url, key="")
        with nobody:
            for address in (
                shop.signed_url("pictures", 1),
                url + (shop.search("pictures", id=2, signed_urls=60).hits[0].content_url or ""),
                url + (next(shop.entries("pictures", signed_urls=60)).content_url or ""),
            ):
                assert nobody.send("GET", address.removeprefix(url)).content == files[0].read_bytes()
            small = nobody.send("GET", shop.signed_url("pictures", 1, 60, thumbnail=128).removeprefix(url))
        assert small.headers["content-type"] == "image/webp"
        with pytest.raises(EntryNotFound):
            shop.signed_url("pictures", 99)
        with pytest.raises(InputError):
            shop.signed_url("pictures", 1, 10**9)


# --- pages of other origins ---


def test_files_may_be_shown_by_other_origins_where_one_is_allowed(there: World, tmp_path: Path) -> None:
    policy = "cross-origin-resource-policy"
    for what in ("content", "thumbnail"):
        path = f"{IMAGES}/1/{what}"
        shown = there.client.get(path, headers=there.read)
        assert shown.headers[policy] == "cross-origin"
        assert shown.headers["vary"] == "Origin"  # else a browser would give a script what <img> got, without its leave
        asked = there.client.get(path, headers=there.read | {"Origin": SHOP})
        assert asked.headers["access-control-allow-origin"] == SHOP
        assert asked.headers["vary"] == "Origin"
        if what == "thumbnail":
            again = there.client.get(path, headers=there.read | {"If-None-Match": shown.headers["etag"]})
            assert (again.status_code, again.headers[policy]) == (304, "cross-origin")
    assert there.client.get(f"{IMAGES}/1", headers=there.read).headers[policy] == "same-origin"
    assert there.client.get("/").headers[policy] == "same-origin"
    with world(tmp_path, n=1) as (closed, _, _):
        for what in ("content", "thumbnail"):
            answer = closed.get(f"{IMAGES}/1/{what}")
            assert answer.headers[policy] == "same-origin"
            assert "vary" not in answer.headers


@pytest.mark.parametrize(
    "names",
    [
        "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
        "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout",
        "authorization,content-type,openai-organization,openai-project,user-agent",
        "authorization,content-type,x-use-cache,x-wait-for-model",  # huggingface.js
        "authorization,baggage,sentry-trace,traceparent,x-request-id,if-none-match,range",
    ],
)
def test_the_headers_of_official_clients_are_allowed(there: World, names: str) -> None:
    for path, method in (("/v1/embeddings", "POST"), ("/v1/models", "GET"), (f"{IMAGES}/1", "PATCH"),
                         (f"{IMAGES}/1/thumbnail", "GET"), (SEARCH, "POST"), ("/v1/label-sets/a", "PUT")):  # fmt: skip
        asked = {"Origin": SHOP, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": names}
        answer = there.client.options(path, headers=asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert method in answer.headers["access-control-allow-methods"]
        assert set(names.split(",")) <= set(answer.headers["access-control-allow-headers"].replace(" ", "").split(","))
        refused = there.client.options(path, headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers
