"""Embedding on a real Ray cluster of two nodes: an actor, a node, the driver killed; each image is there once."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from ports import free_port
from test_index_bulk import write_tar

from index.bulk.job import Manifest

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed; make test-ray"),
]
BIN = Path(sys.executable).parent
SHARDS, EACH = 16, 6
MODEST = ("--object-store-memory=100000000", "--disable-usage-stats", "--num-cpus=2", "--block")


def parents() -> dict[int, int]:
    """The parent of each process there is."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def below(pid: int) -> list[int]:
    """A process and all that it has started."""
    parent_of, found = parents(), [pid]
    for each in found:
        found += [child for child, parent in parent_of.items() if parent == each]
    return found


def called(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Cluster:
    """A head and a second node on this machine, started and killed by their processes."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._log = (folder / "ray.log").open("wb")
        self._env = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "OMP_NUM_THREADS": "1"}
        where = ("--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={folder / 't'}")
        self.head = self._start("--head", f"--port={self.port}", *where)
        self.other = self.add()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(BIN / "ray"), "start", *arguments, *MODEST]
        return subprocess.Popen(command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, env=self._env)

    def add(self) -> subprocess.Popen[bytes]:
        wait(lambda: answers(self.port), 60)
        node = self._start(f"--address={self.address}")
        wait(lambda: any("raylet" in called(pid) for pid in below(node.pid)), 60)
        time.sleep(2)  # it says that it is there
        return node

    def workers(self) -> list[int]:
        """The processes of actors."""
        all_of = below(self.head.pid) + below(self.other.pid)
        return [pid for pid in all_of if called(pid).startswith("ray::MapWorker")]

    def kill_node(self) -> None:
        kill(*below(self.other.pid))
        self.other.wait()

    def close(self) -> None:
        kill(*below(self.other.pid), *below(self.head.pid))
        self.other.wait()
        self.head.wait()
        self._log.close()


def answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def wait(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("ray"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pictures that take a while to decode, in shards."""
    import io

    folder, draw = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    for s in range(SHARDS):
        samples = {}
        for i in range(s * EACH, s * EACH + EACH):
            small = Image.fromarray(draw.integers(0, 255, (60, 60, 3), np.uint8))
            data = io.BytesIO()
            small.resize((1600, 1600)).save(data, "PNG", compress_level=1)
            samples[f"{i:04d}.png"] = data.getvalue()
        write_tar(folder / f"{s:02d}.tar", samples)
    return f"{folder}/*.tar"


class Job:
    """`glimpse embed --ray`, as a process."""

    def __init__(self, cluster: Cluster, shards: str, model: Path, out: Path) -> None:
        self.out = out
        self.command = [
            *(str(BIN / "glimpse"), "embed", shards, "--model", str(model), "--out", str(out), "--device", "cpu"),
            *("--ray", cluster.address, "--json"),
        ]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def begun(self, parts: int = 2) -> None:
        wait(lambda: len(list(self.out.glob("*.parquet"))) >= parts, 90)

    def ends(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        report: dict[str, Any] = json.loads(out)
        return report

    def check(self) -> None:
        """Each image once, and nothing else."""
        manifest = Manifest.read(self.out)
        assert manifest
        assert manifest.missing == 0
        assert manifest.content["state"] == "complete"
        paths = [path for file, _ in manifest.parts for path in pq.read_table(file)["path"].to_pylist()]
        assert len(paths) == len(set(paths)) == SHARDS * EACH
        files = {path.name for path in self.out.iterdir()}
        assert files == {"manifest.json", ".lock", *(file.name for file, _ in manifest.parts)}


@pytest.fixture
def job(cluster: Cluster, shards: str, tiny_run: Path, tmp_path: Path) -> Job:
    return Job(cluster, shards, tiny_run, tmp_path / "out")


def test_the_same_rows_as_in_one_process(
    cluster: Cluster, job: Job, shards: str, tiny_run: Path, tmp_path: Path
) -> None:
    report = job.ends(job.start())
    assert (report["done"], report["images"], report["skipped"]) == (SHARDS, SHARDS * EACH, [])
    job.check()
    here = tmp_path / "here"
    command = [str(BIN / "glimpse"), "embed", shards, "--model", str(tiny_run), "--out", str(here), "--device", "cpu"]
    subprocess.run(command, check=True, capture_output=True)
    for file in job.out.glob("*.parquet"):
        ours, theirs = pq.read_table(here / file.name), pq.read_table(file)
        assert ours.drop(["vector"]) == theirs.drop(["vector"])
        x, y = (np.array(table["vector"].to_pylist(), np.float32) for table in (ours, theirs))
        np.testing.assert_allclose(x, y, atol=2e-3)
    again = job.ends(job.start())
    assert (again["done_before"], again["embedded"]) == (SHARDS, 0)


def test_an_actor_is_killed(cluster: Cluster, job: Job) -> None:
    process = job.start()
    job.begun()
    kill(cluster.workers()[0])
    assert job.ends(process)["images"] == SHARDS * EACH
    job.check()


def test_the_driver_is_killed_and_run_again(cluster: Cluster, job: Job) -> None:
    process = job.start()
    job.begun()
    process.kill()
    process.communicate()
    report = job.ends(job.start())
    assert report["done_before"] >= 2
    assert report["images"] == SHARDS * EACH
    job.check()


def test_a_node_is_killed(cluster: Cluster, job: Job) -> None:
    process = job.start()
    job.begun()
    cluster.kill_node()
    assert job.ends(process)["images"] == SHARDS * EACH
    job.check()
    cluster.other = cluster.add()
