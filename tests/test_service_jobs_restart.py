"""Jobs of a service that is killed in their midst: the next one goes on, and they make what they would have made."""

import csv
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from ports import free_port
from service_world import picture, tiny_encoder, until

from index.collection import open_collection
from index.ingest.sync import index_folders, open_or_create
from labelling.label_sets import LabelSet
from labelling.labeller import build_labeller
from labelling.outputs.table import LabelTable, open_table, write_rows
from labelling.rows import LabelReport, images_below, label_images

TESTS = Path(__file__).parent
N = 60


class Service:
    """A real service as a process, at a port of its own, or at one that another had."""

    def __init__(self, data, roots, seconds, port=None):
        self.port = port = port or free_port()
        words = [sys.executable, TESTS / "jobs_worker.py", data, roots, str(port), str(seconds)]
        environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
        self.log = (data / "service.log").open("ab")
        self.process = subprocess.Popen(words, env=environment, stderr=self.log)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        until(self.is_ready, seconds=60)

    def is_ready(self):
        assert self.process.poll() is None, (Path(self.log.name)).read_text()
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, **job):
        answer = self.http.post("/v1/jobs", json=job)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, key):
        return self.http.get(f"/v1/jobs/{key}").json()

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(30)
        self.http.close()
        self.log.close()


@contextmanager
def running(data, roots, seconds):
    service = Service(data, roots, seconds)
    try:
        yield service
    finally:
        service.end()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(N):
        (folder / f"{i % 3}").mkdir(exist_ok=True)
        (folder / f"{i % 3}" / f"{i:03}.png").write_bytes(picture(i) if i % 20 else b"no picture")
    return folder


def test_killed_in_its_midst_every_kind_of_job_goes_on(tmp_path, photos):
    data = tmp_path / "data"
    data.mkdir()
    with running(data, photos, 0.05) as service:
        indexing = service.ask(kind="index", collection="photos", folders=[str(photos)])
        labelling = service.ask(kind="label", folder=str(photos), labels=["boat", "house", "tree"])
        until(lambda: 8 <= service.job(indexing)["done"] < N)
        service.process.kill()
        service.process.wait()
    assert not (data / "jobs" / f"{labelling}.csv").exists()

    with running(data, photos, 0.05) as service:
        until(lambda: service.job(indexing)["state"] == "succeeded")
        report = service.job(indexing)["report"]
        assert report["unchanged"] + report["skipped"] >= 8  # one of the first eight is no picture
        until(lambda: 8 <= service.job(labelling)["done"] < N)
        service.process.kill()
        service.process.wait()
    assert not (data / "jobs" / f"{labelling}.csv").exists()

    with running(data, photos, 0.05) as service:
        watching = service.ask(kind="watch", collection="photos", folders=[str(photos)])
        with service.http.stream("GET", f"/v1/jobs/{labelling}/events") as answer:
            assert "event: end" in answer.read().decode()  # the end comes by itself
        done = service.job(labelling)
        assert (done["state"], done["report"]["labelled"], done["report"]["skipped"]) == ("succeeded", N - 3, 3)
        assert len({skip["path"] for skip in done["report"]["skips"]}) == 3
        result = service.http.get(f"/v1/jobs/{labelling}/result").text
        until(lambda: service.job(watching)["report"])
        with service.http.stream("GET", f"/v1/jobs/{watching}/events") as answer:
            assert next(answer.iter_lines()) == "event: state"
        counted = 'glimpse_requests_total{method="GET",route="/v1/jobs/{job}/events",status="200"} 2.0'
        until(lambda: counted in service.http.get("/metrics").text)  # one that leaves is let go
        with service.http.stream("GET", f"/v1/jobs/{watching}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: state"
            began = time.monotonic()
            service.process.send_signal(signal.SIGTERM)  # a stop is not held up by those who listen
            list(lines)
            service.process.wait(25)
            assert service.process.returncode == 0
            assert time.monotonic() - began < 25

    encoder = tiny_encoder(tmp_path)
    with open_or_create(tmp_path, "photos", encoder) as whole:
        index_folders(whole, encoder, [photos])
    for a, b in zip(contents(data), contents(tmp_path), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3) if isinstance(a, np.ndarray) else np.testing.assert_equal(a, b)
    labeller, report = build_labeller(encoder, LabelSet.of(["boat", "house", "tree"])), LabelReport()
    with open_table(tmp_path / "whole.csv") as file:
        list(write_rows(label_images(encoder, labeller, images_below(photos, report)), LabelTable(file), report))
    with (tmp_path / "whole.csv").open(newline="") as file:
        expected = list(csv.reader(file))
    got = list(csv.reader(result.splitlines()))
    assert [row[:2] for row in got] == [row[:2] for row in expected]
    scores = [np.array([float(row[2]) for row in rows[1:]]) for rows in (got, expected)]
    np.testing.assert_allclose(*scores, atol=2e-3)


def contents(data):
    """Paths, hashes and vectors of the collection, in the order of paths."""
    with open_collection(data, "photos") as collection:
        records = sorted(collection.records(), key=lambda record: str(record.path))
        vectors = collection.vectors([record.id for record in records])
    return [record.path for record in records], [record.sha256 for record in records], vectors
