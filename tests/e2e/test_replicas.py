"""Services behind the proxy of docker/nginx.conf, one of them killed under load: on a Milvus server, on one disk.

`pytest -s` prints what the load met before, while one was gone, and after.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from glimpse_process import GlimpseProcess
from ports import free_port
from proxies import changed, nginx_with
from service_world import draw, picture, until

from glimpse.client import Client

CONF = Path(__file__).parents[2] / "docker" / "nginx.conf"
REPLICAS = "/v1/collections/replicas"
WORDS = ("a red boat", "a house at night", "a tree", "two dogs", "the sea")
WAIT = ", with Retry-After"
PICTURES = 200  # of a job that is killed in its midst


@dataclass(frozen=True)
class Asked:
    """One request: what for, when it began, how long it took, and what was wrong; "": nothing."""

    what: str
    began: float
    seconds: float
    problem: str


@dataclass
class Load:
    """Clients that ask without end, each in a thread: plain ones, which never try again, and glimpse's own."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    texts: set[int] = field(default_factory=set)  # ids of what was acknowledged
    entries: set[str] = field(default_factory=set)
    images: set[int] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        asks = [self.searches, self.searches, self.adds_texts, self.client_searches, self.client_writes]
        threads = [threading.Thread(target=ask) for ask in asks]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def searches(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self._over.is_set():
                self._ask("search", post, http, f"{REPLICAS}/search", {"text": random.choice(WORDS)})
                time.sleep(0.02)  # the one that starts again wants a processor too

    def adds_texts(self) -> None:
        """A POST that makes something new each time: no proxy may send it twice."""
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self._over.is_set():
                made = self._ask("add text", post, http, f"{REPLICAS}/texts", {"texts": [random.choice(WORDS)]})
                self.texts |= set(made["ids"]) if made else set()
                time.sleep(0.1)

    def client_searches(self) -> None:
        with Client(self.url) as client:
            while not self._over.is_set():
                self._ask("client's search", client.search, "replicas", random.choice(WORDS))

    def client_writes(self) -> None:
        """Each write is read at once, by whichever service comes next."""
        with Client(self.url) as client:
            for i in itertools.count():
                if self._over.is_set():
                    return
                name = f"sku-{i}"
                self._ask("client's put", client.put_entry, "replicas", name, text=f"thing {i}")
                self.entries.add(name)
                self._ask("client's read", client.search, "replicas", external_id=name, modality="text")
                self._ask("client's change", client.update_entry, "replicas", name, metadata={"i": i})
                sent = self._ask("client's upload", client.add_images, "replicas", [picture(i)])
                if not sent or (key := sent[0].id) is None:
                    continue
                assert self._ask("client's read", client.content, "replicas", key) == picture(i)
                if i % 3:
                    self.images.add(key)
                else:
                    self._ask("client's delete", client.delete_entry, "replicas", key)

    def _ask(self, what: str, ask: Callable[..., Any], *given: Any, **more: Any) -> Any:
        began, problem, answer = time.monotonic(), "", None
        try:
            answer = ask(*given, **more)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        self.asked.append(Asked(what, began, time.monotonic() - began, problem))
        return answer


def post(http: httpx.Client, path: str, asked: dict[str, Any]) -> Any:
    answer = http.post(path, json=asked)
    if answer.status_code != 200:
        code = answer.json()["error"]["code"] if "json" in answer.headers["content-type"] else ""
        raise AssertionError(f"{answer.status_code} {code}{WAIT if 'retry-after' in answer.headers else ''}")
    return answer.json()


@dataclass
class Replicas:
    """Two services behind a proxy; the first is the one that is killed."""

    url: str
    services: list[GlimpseProcess]
    photos: Path


@contextmanager
def replicas(folder: Path, model: Path, *more: str, readers: bool = False) -> Iterator[Replicas]:
    """`readers`: the first only reads, and what writes goes to the second."""
    data, photos = folder / "data", folder / "photos"
    draw(photos, 3)
    first, second = (
        GlimpseProcess(model, data, *more, *own, GLIMPSE_JOB_ROOTS=str(photos))
        for own in (["--read-only"] if readers else [], [])
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    site = changed(
        CONF,
        **{
            "listen 8000": f"listen 127.0.0.1:{port}",
            "glimpse:8000": f"127.0.0.1:{first.port}",
            "glimpse-2:8000": f"127.0.0.1:{second.port}",
        },
    )
    if readers:
        site = site.replace(f"    server 127.0.0.1:{first.port} max_fails=0;\n", "", 1)
    with ExitStack() as stack:
        for service in (second, first):
            stack.callback(service.kill)
            service.begin()
        for service in (second, first):
            service.wait()
        stack.enter_context(nginx_with(site, folder, url))
        yield Replicas(url, [first, second], photos)


def searches_of(service: GlimpseProcess) -> float:
    """How many searches it has answered since it began."""
    counted = re.findall(
        r'glimpse_requests_total\{method="POST",route="/v1/collections/\{collection\}/search",status="200"\} (\S+)',
        httpx.get(f"{service.url}/metrics").text,
    )
    return float(counted[0]) if counted else 0.0


def kill_one_under_load(here: Replicas, title: str, seconds: float) -> Load:
    """Load, a SIGKILL, load, and load again once the killed one is back; each for so many seconds."""
    load, marks = Load(here.url), []
    killed, other = here.services
    with Client(here.url) as client:
        client.create_collection("replicas")
        client.add_images("replicas", [picture(1000 + i) for i in range(20)])
    with load.running():
        for step in (lambda: None, killed.kill, killed.start):
            step()
            marks.append(time.monotonic())
            time.sleep(seconds)
        assert searches_of(killed) > 10  # it serves again
        assert searches_of(other) > 10
    print(f"\n{title}\n{table(load.asked, marks)}")
    problems = [(one.what, one.problem) for one in load.asked if one.problem]
    assert [one for one in problems if one[0] != "add text"] == []
    told_to_wait = [one for one in problems if one[1].endswith(WAIT)]  # not begun, by the one that is being started
    assert len(problems) - len(told_to_wait) <= 1, problems  # the one text that was in flight
    assert len([one for one in load.asked if one.what == "search"]) > 50
    return load


def table(asked: list[Asked], marks: list[float]) -> str:
    parts = ("before", "one killed", "it is back")
    rows = ["| | | requests | failed | p50 | p99 |", "|---|---|---|---|---|---|"]
    for kind in ("searches", "writes, and reads of them"):
        for part, begin, end in zip(parts, marks, [*marks[1:], float("inf")], strict=True):
            of_kind = [one for one in asked if one.what.endswith("search") == (kind == "searches")]
            some = [one for one in of_kind if begin <= one.began < end]
            p50, p99 = np.percentile([one.seconds * 1000 for one in some], [50, 99])
            failed = sum(bool(one.problem) for one in some)
            rows.append(f"| {kind} | {part} | {len(some)} | {failed} | {p50:.0f} ms | {p99:.0f} ms |")
    return "\n".join(rows)


def check_what_is_there(here: Replicas, load: Load) -> None:
    """All that was acknowledged is there once, at either; nothing that was deleted."""
    for service in here.services:
        with Client(service.url) as client:
            texts = list(client.entries("replicas", "text"))
            assert {one.external_id for one in texts if one.external_id} == load.entries
            own = {one.id for one in texts if not one.external_id}
            assert own >= load.texts
            assert len(own) <= len(load.texts) + 1  # the one in flight may have been written
            assert {one.id for one in client.entries("replicas")} == load.images | set(range(1, 21))


def test_a_reader_of_one_disk_is_killed_under_load(tmp_path: Path, tiny_run: Path) -> None:
    with replicas(tmp_path, tiny_run, readers=True) as here:
        load = kill_one_under_load(here, "one disk: one writes and reads, one reads (killed)", 2)
        check_what_is_there(here, load)


@pytest.mark.milvus_server
def test_a_service_on_milvus_is_killed_under_load_and_its_job_goes_on(
    tmp_path: Path, tiny_run: Path, real_milvus
) -> None:
    with replicas(tmp_path, tiny_run, "--store", real_milvus.address) as here:
        load = kill_one_under_load(here, "a Milvus server: two services, one killed", 5)
        check_what_is_there(here, load)
        draw(here.photos, PICTURES)
        with Client(here.url) as client:
            job = client.start_job("index", collection="replicas-photos", folders=[str(here.photos)])
            until(lambda: client.job(job.id).done >= PICTURES // 10)
            here.services[1].kill()  # it was the only one for a while, so it runs jobs
            done = client.wait_for(job)
            assert (done.state, done.done) == ("succeeded", PICTURES)
            assert done.report["added"] + done.report["unchanged"] == PICTURES  # those it found were not done again
            assert client.collection("replicas-photos").counts["image"] == PICTURES
            for name in ("replicas", "replicas-photos"):  # the server is others' too
                client.delete_collection(name)
