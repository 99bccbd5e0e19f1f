"""Whole commands beside other work: threads as glimpse takes them, each fixed number, and as OpenMP waits by itself.

N processes that only count keep N processors busy meanwhile, 0, 1, ... one for each. The ways take turns. What is
measured is a command's own rate, without its start. `--only serve`, `--busy 1` for some of it. `--quota 1`: all of it
in a control group of the kernel that may take so many processors, as a container has; for who may make such groups.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from base.machine.cpus import cpus
from bench.common import machine, photos, random_model

GLIMPSE = (sys.executable, "-m", "glimpse")
ITSELF = "OpenMP by itself"
AUTO = "as glimpse takes them"
LIBGOMP = "300000"  # looks of libgomp before a thread sleeps, where nobody says otherwise
SECONDS = 3.0  # of requests to a service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=["index", "search", "train", "serve"])
    parser.add_argument("--busy", nargs="*", type=int, default=list(range(cpus().machine + 1)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quota", type=float)
    arguments = parser.parse_args()
    print(machine())
    ways = {AUTO: {}, ITSELF: {"GOMP_SPINCOUNT": LIBGOMP}}
    ways |= {f"--threads {n}": {"GLIMPSE_THREADS": str(n)} for n in range(1, cpus().machine + 1)}
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")}
    with tempfile.TemporaryDirectory() as folder, held_to(arguments.quota):
        work = Work(Path(folder))
        rates: Mapping[str, Callable[[Mapping[str, str]], float]] = {
            "index": work.index,
            "search": work.search,
            "train": work.train,
            "serve": work.serve,
        }
        for name in arguments.only or rates:
            for n in arguments.busy:
                found: dict[str, list[float]] = {way: [] for way in ways}
                with counting(n):
                    for _ in range(arguments.rounds):
                        for way, environment in ways.items():
                            found[way].append(rates[name](clean | environment))
                beside = f"{n} busy beside it" if arguments.quota is None else f"{arguments.quota:g} processors"
                show(f"{name}, {beside}", {way: statistics.median(each) for way, each in found.items()})


def show(title: str, rates: Mapping[str, float]) -> None:
    best = max(rate for way, rate in rates.items() if way.startswith("--"))
    print(f"\n{title:36}{'a second':>10}{'of the best number':>20}")
    for way, rate in rates.items():
        print(f"{way:36}{rate:>10.2f}{rate / best:>20.2f}", flush=True)


@contextmanager
def held_to(processors: float | None) -> Iterator[None]:
    """The process, and all that it starts, in a control group with that quota."""
    if processors is None:
        yield
        return
    old = Path("/sys/fs/cgroup/cpu")
    root, quota = (old, "cpu.cfs_quota_us") if old.exists() else (Path("/sys/fs/cgroup"), "cpu.max")
    group = root / f"glimpse-bench-{os.getpid()}"
    group.mkdir()
    try:
        microseconds = str(int(processors * 100_000))
        (group / quota).write_text(microseconds if root == old else f"{microseconds} 100000")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


@contextmanager
def counting(n: int) -> Iterator[None]:
    """`n` processes that do nothing but keep a processor busy."""
    begun = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for each in begun:
            each.kill()
            each.wait()


class Work:
    """The commands, each giving its rate. What they need is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.photos = str(random_model("ViT-B-32-256")), photos(64)
        self.small = str(random_model("ViT-S-32"))
        self.pairs = folder / "pairs.csv"
        with self.pairs.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image", "title"])
            table.writerows([path, f"photo number {i}"] for i, path in enumerate(sorted(self.photos.glob("*.jpg"))))
        self.n = 0

    def index(self, environment: Mapping[str, str]) -> float:
        """Images a second of `glimpse index`, its model's loading included."""
        said = self._run(environment, "index", self.photos, "--data", self._new(), "--model", self.model, "--json")
        return float(json.loads(said)["images_per_second"])

    def search(self, environment: Mapping[str, str]) -> float:
        """`glimpse search` from a cold start: commands a second."""
        data = self.folder / "searched"
        if not data.exists():
            self._run(environment, "index", self.photos, "--data", data, "--model", self.model)
        started = time.perf_counter()
        for i in range(3):
            self._run(environment, "search", f"photo {i}", "--data", data)
        return 3 / (time.perf_counter() - started)

    def train(self, environment: Mapping[str, str]) -> float:
        """Pairs a second of `glimpse train`, whole commands."""
        started = time.perf_counter()
        asked = (self.pairs, "--model", self.small, "--epochs", 2, "--batch-size", 16, "--out", self._new())
        self._run(environment, "train", *asked)
        return 2 * 64 / (time.perf_counter() - started)

    def serve(self, environment: Mapping[str, str]) -> float:
        """Texts a second of a service, 32 in each request, of one client."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*GLIMPSE, "serve", "--model", self.model, "--data", str(self._new()), "--port", str(port)]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                    wait_for(client, process)
                    started, n = time.perf_counter(), 0
                    while (took := time.perf_counter() - started) < SECONDS:
                        texts = [f"text {n} {i}" for i in range(32)]
                        client.post("/v1/embeddings", json={"input": texts}).raise_for_status()
                        n += 1
                    return 32 * n / took
            finally:
                process.kill()

    def _new(self) -> Path:
        self.n += 1
        return self.folder / str(self.n)

    @staticmethod
    def _run(environment: Mapping[str, str], *asked: object) -> str:
        command = [*GLIMPSE, *map(str, asked)]
        return subprocess.run(command, env=environment, check=True, stdout=-1, stderr=-1, text=True).stdout


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if client.get("/health/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the service ended before it was ready")


if __name__ == "__main__":
    main()
