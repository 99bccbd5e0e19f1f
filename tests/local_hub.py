"""A Hugging Face hub on this machine: what huggingface_hub asks of one, and the ways in which one refuses."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".pt")  # kept in LFS, so named by their SHA-256


@dataclass
class LocalHub:
    """Repositories to give and to refuse; change them as a test goes."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)  # name -> file -> content
    refusals: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)  # name -> status, headers
    broken: dict[str, int] = field(default_factory=dict)  # file -> status of its GET
    damaged: set[str] = field(default_factory=set)  # files of which a byte is flipped on the way
    revisions: tuple[str, ...] = ("main",)
    seconds: float = 0.0  # before each answer
    root_seconds: float = 0.0  # before an answer about the root
    plain: bool = False  # a mirror that sends no X-Error-Code
    asked: list[str] = field(default_factory=list)  # METHOD path
    url: str = ""

    def content(self, name: str, revision: str, file: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a file of a repository."""
        if name in self.refusals:
            status, headers = self.refusals[name]
            return status, headers, b""
        if name not in self.repositories:
            return 404, {} if self.plain else {"X-Error-Code": "RepoNotFound"}, b""
        commit = hashlib.sha1(repr(sorted(self.repositories[name])).encode()).hexdigest()
        if revision not in (*self.revisions, commit):
            return 404, {} if self.plain else {"X-Error-Code": "RevisionNotFound"}, b""
        if file not in self.repositories[name]:
            missing = {} if self.plain else {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return 404, missing, b""
        body = self.repositories[name][file]
        git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        etag = hashlib.sha256(body).hexdigest() if file.endswith(LARGE) else git
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"'}
        if file in self.damaged:
            body = body[:-1] + bytes([body[-1] ^ 1])
        return 200, headers, body


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            path = urlsplit(self.path).path.strip("/")  # a proxy is asked for whole addresses
            hub.asked.append(f"{self.command} {unquote(path)}")
            time.sleep(hub.seconds if path else hub.root_seconds)
            name, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            status, headers, body = hub.content(name, unquote(revision), file)
            if status == 200 and self.command == "GET" and file in hub.broken:
                status, headers, body = hub.broken[file], {}, b""
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                with suppress(ConnectionError):  # who asked did not wait
                    self.wfile.write(body)

        do_GET = do_HEAD = _answer  # noqa: N815  the names that http.server calls

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def running(hub: LocalHub) -> Iterator[LocalHub]:
    """The hub, answering at `hub.url`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
