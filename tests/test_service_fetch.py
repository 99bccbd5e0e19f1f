"""Images from the web, fetched from real servers on this machine; only the rule that forbids those is lifted."""

import asyncio
import ipaddress
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from service_world import error_of, picture, world

import service.inference.fetch
from base.errors import ImageError, Overloaded
from service.inference.fetch import Fetcher, is_public


class Site(BaseHTTPRequestHandler):
    """/picture, /redirect, /missing, /big (and silent about it), /slow (a byte now and then)."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"], self.headers.get("Authorization")))
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", "/picture")
            self.end_headers()
        elif self.path == "/missing":
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            try:
                if self.path == "/slow":
                    while not self.server.stopping.wait(0.02):
                        self.wfile.write(b".")
                self.wfile.write(b"x" * 100_000 if self.path == "/big" else picture(1))
            except OSError:
                pass  # hung up on, as it should be

    def log_message(self, *_):
        pass


@contextmanager
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.asked = []
    server.stopping = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def server():
    with site() as server:
        yield server


@pytest.fixture
def loopback_allowed(monkeypatch):
    monkeypatch.setattr(service.inference.fetch, "is_public", lambda address: address.is_loopback)


def fetch(url, *hosts, max_bytes=50_000, seconds=5.0, queue_size=8):
    async def main():
        fetcher = Fetcher(hosts, max_bytes=max_bytes, seconds=seconds, queue_size=queue_size)
        try:
            async with fetcher.get(url) as data:
                return data
        finally:
            await fetcher.close()

    return asyncio.run(main())


def refusal(url, *hosts, **limits):
    with pytest.raises(ImageError) as refused:
        fetch(url, *hosts, **limits)
    assert "\n" not in refused.value.reason
    return refused.value.reason


def test_an_allowed_host_is_fetched_from_by_its_name(server, loopback_allowed):
    port = server.server_port
    assert fetch(f"http://localhost:{port}/picture?secret=1", f"LOCALHOST:{port}") == picture(1)
    assert server.asked[-1] == ("/picture?secret=1", f"localhost:{port}", None)
    assert fetch(f"HTTP://LocalHost:{port}/picture", f"local*:{port}") == picture(1)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://localhost:{port}/picture", ["localhost"]),  # the scheme's own port only
        ("http://localhost:{port}/picture", ["example.org", "host:{port}", "*.localhost:{port}"]),
        ("http://127.0.0.1:{port}/picture", ["localhost:{port}"]),
        ("http://localhost.:{port}@example.com/picture", ["localhost:{port}"]),
        ("http://example.org@localhost:{port}/picture", ["*"]),
        ("http://:{port}/picture", ["*", "*:*"]),
        ("http://local\x00host:{port}/", ["*:*"]),
        ("http://[::1/", ["*"]),
    ],
)
def test_other_hosts_and_odd_addresses_are_not(server, loopback_allowed, url, hosts):
    before = len(server.asked)
    refusal(url.format(port=server.server_port), *(host.format(port=server.server_port) for host in hosts))
    assert len(server.asked) == before


def test_without_hosts_nothing_is(server, loopback_allowed):
    assert "addresses are not fetched" in refusal(f"http://localhost:{server.server_port}/picture")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0"])
def test_no_name_of_this_machine_is_reached(server, host):
    before = len(server.asked)
    reason = refusal(f"http://{host}:{server.server_port}/picture", "*:*")
    assert "public internet" in reason or "cannot be found" in reason
    assert len(server.asked) == before


@pytest.mark.parametrize(
    "address",
    "10.0.0.1 172.16.3.4 192.168.1.1 127.0.0.1 127.9.9.9 169.254.169.254 100.64.0.1 0.0.0.0 255.255.255.255 224.0.0.1 "
    "192.0.2.1 198.18.0.1 240.0.0.1 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 ::ffff:10.0.0.1 "
    "::ffff:169.254.169.254 64:ff9b::a00:1 2002:a00:1:: 2001:0:a00:1:: 2001:db8::1 "
    "fec0::1 ::10.0.0.1 ::ffff:0:10.0.0.1 5f00::1 3fff::1 100::1 64:ff9b:1::a00:1 "
    "192.0.0.8 192.88.99.1 4000::1".split(),
)
def test_inner_addresses_are_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_those_of_the_internet_are(address):
    assert is_public(ipaddress.ip_address(address))


def test_a_name_without_any_address_is_refused(monkeypatch):
    async def nothing(*_, **__):
        return []

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", nothing)
    assert "cannot be found" in refusal("http://none.example/", "none.example")


def test_a_name_with_one_inner_address_is_refused(server, monkeypatch):
    async def both(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.215.14", "127.0.0.1")]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", both)
    assert "public internet" in refusal("http://both.example/", "both.example")


def test_the_address_that_was_checked_is_the_one_connected_to(server, loopback_allowed, monkeypatch):
    asked = []

    async def rebinding(self, host, port, **_):  # the first answer is this machine, each later one another
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) == 1 else "192.0.2.1", port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", rebinding)
    port = server.server_port
    assert fetch(f"http://rebinding.example:{port}/picture", f"rebinding.example:{port}") == picture(1)
    assert server.asked[-1][1] == f"rebinding.example:{port}"
    assert asked[0] == "rebinding.example"
    assert "rebinding.example" not in asked[1:]


def test_redirects_and_failures_are_refused(server, loopback_allowed):
    host = f"localhost:{server.server_port}"
    assert "redirects" in refusal(f"http://{host}/redirect", host)
    assert server.asked[-1][0] == "/redirect"
    assert "answered 404" in refusal(f"http://{host}/missing", host)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"localhost:{unused.getsockname()[1]}"
        assert "could not be read (ConnectError)" in refusal(f"http://{closed}/", closed)
    assert "could not be read" in refusal(f"https://{host}/picture", host)  # no TLS there


def test_size_and_time_are_capped(server, loopback_allowed):
    host = f"localhost:{server.server_port}"
    assert "more than 50000 bytes" in refusal(f"http://{host}/big", host)
    started = time.monotonic()
    assert "within 0.3 s" in refusal(f"http://{host}/slow", host, seconds=0.3)
    assert time.monotonic() - started < 20  # it would go on for ever


def test_no_more_wait_than_may(server, loopback_allowed):
    host = f"localhost:{server.server_port}"

    async def main():
        fetcher = Fetcher([host], max_bytes=1_000_000, seconds=0.5, queue_size=4)

        async def one():
            fetcher.check_room()
            async with fetcher.get(f"http://{host}/slow"):
                pass

        answers = await asyncio.gather(*(one() for _ in range(30)), return_exceptions=True)
        await fetcher.close()
        assert fetcher.waiting == 0
        return [type(answer) for answer in answers]

    answers = asyncio.run(main())
    assert answers.count(Overloaded) == 30 - 16 - 4
    assert answers.count(ImageError) == 16 + 4


def test_requests_take_addresses_where_the_operator_allows_it(server, loopback_allowed, tmp_path):
    host = f"localhost:{server.server_port}"
    with world(tmp_path, n=3, fetch_hosts=(host,)) as (client, encoder, _):
        asked = {"images": [f"http://{host}/picture", f"http://{host}/missing"], "labels": ["a", "b"]}
        good, bad = client.post("/v1/classify", json=asked).json()["results"]
        assert good["label"]
        assert "answered 404" in bad["error"]
        answer = client.post("/v1/embeddings", json={"input": [{"image": f"http://{host}/picture"}]})
        fetched = answer.json()["data"][0]["embedding"]
        assert fetched == pytest.approx(encoder.encode_images([picture(1)])[0].tolist(), abs=1e-5)
        found = client.post("/v1/collections/pictures/search", json={"image": f"http://{host}/picture"})
        assert len(found.json()["hits"]) == 3
        refused = client.post("/v1/collections/pictures/search", json={"image": "http://elsewhere.example/x.png"})
        assert "nothing is fetched from elsewhere.example" in error_of(refused, 422)["message"]
