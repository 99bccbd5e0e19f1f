"""Fixtures that many tests share: a tiny real model in a run folder, small pictures of plain colours, servers."""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from tiny_world import COLOURS, ROOT, TINY, plain_picture

from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder
from index.collection import collection_names, delete_collection
from training.records.checkpoint import save_model

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from milvus_server import RealServer
    from service_world import WatchedEncoder

LONGEST = ("test_demo.py", "test_training_distributed.py", "test_service_openapi.py", "test_service_jobs_restart.py")

# A machine that does something else meanwhile is slow, and that is no defect: nothing is measured by the tests' time.
settings.register_profile("glimpse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("glimpse")


def pytest_configure(config: pytest.Config) -> None:
    """A cache of this run alone, also of the programs that it starts."""
    cache = tempfile.TemporaryDirectory(prefix="glimpse-cache-")
    os.environ["GLIMPSE_CACHE"] = cache.name
    config.add_cleanup(cache.cleanup)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: what gzip or zip made holds the second in which each worker collected it."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, or one process is left with one of them at the end while the other has nothing to do."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """What was imported stays to the end: it is not walked for garbage again and again, which takes a twentieth."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def store_of_before() -> Iterator[None]:
    """--store names the store for all of a process: what one test names in this one is not for the next."""
    before = os.environ.get("GLIMPSE_STORE")
    yield
    os.environ.pop("GLIMPSE_STORE", None)
    if before is not None:
        os.environ["GLIMPSE_STORE"] = before


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON file with an open_clip model config of a very small model."""
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with random weights."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    torch.manual_seed(0)
    save_model(folder, build_clip(tiny_config))
    return folder


@pytest.fixture(scope="session")
def encoder(tiny_run: Path) -> DualEncoder:
    return load_encoder(tiny_run, device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def sigmoid_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a model for the sigmoid loss, with a logit_bias that bf16 cannot hold."""
    folder = tmp_path_factory.mktemp("sigmoid")
    (folder / "config.json").write_text(json.dumps(TINY | {"init_logit_bias": -2.3, "init_logit_scale": 2.0}))
    torch.manual_seed(0)
    save_model(folder / "run", build_clip(folder / "config.json"))
    return folder / "run"


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    """A folder with a class folder for each of three colours, four pictures in each."""
    folder = tmp_path / "colours"
    for colour in ("red", "green", "blue"):
        (folder / colour).mkdir(parents=True)
        for i in range(4):
            plain_picture(colour, 4 * i).save(folder / colour / f"{i}.png")
    return folder


@pytest.fixture
def colour_pairs(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a CSV of `n` pairs image,title: plain pictures, and captions that differ from picture to picture."""

    def make(n: int) -> Path:
        folder = tmp_path / "pairs"
        folder.mkdir(exist_ok=True)
        with (folder / "pairs.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("image", "title"))
            for i in range(n):
                colour = list(COLOURS)[i % len(COLOURS)]
                plain_picture(colour, i // len(COLOURS)).save(folder / f"{i}.png")
                rows.writerow((f"{i}.png", f"{colour} picture number {i}"))
        return folder / "pairs.csv"

    return make


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of glimpse-client."""
    from wheels import built

    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def real_milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A real Milvus server."""
    from milvus_server import RealServer

    server = RealServer(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(
    scope="module",
    params=["local", "lite", pytest.param("server", marks=pytest.mark.milvus_server)],
)
def store_address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of each store that collections may lie in."""
    if request.param == "server":
        yield request.getfixturevalue("real_milvus").address
    elif request.param == "lite":
        yield f"milvus://{tmp_path_factory.mktemp('lite')}/store.db"
    else:
        yield "local"


@pytest.fixture
def store(store_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, empty, and what is opened lies there; the data folder is `tmp_path`."""
    monkeypatch.setenv("GLIMPSE_STORE", store_address)
    yield store_address
    for name in collection_names(tmp_path):
        delete_collection(tmp_path, name)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, WatchedEncoder, list[Path]]]:
    """A service with one collection; files that want another have their own."""
    from service_world import world

    with world(tmp_path_factory.mktemp("here")) as made:
        yield made


@pytest.fixture
def client(here: Sequence[Any]) -> TestClient:
    return here[0]


@pytest.fixture
def watched(here: Sequence[Any]) -> WatchedEncoder:
    return here[1]


@pytest.fixture
def files(here: Sequence[Any]) -> list[Path]:
    return here[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A data folder with the collection `pictures`, of six images and two texts, and a service of it."""
    from service_world import served

    folder = tmp_path_factory.mktemp("world")
    with served(folder) as url:
        yield folder, url


@pytest.fixture(params=["here", "there"])
def asked(request: pytest.FixtureRequest, world: tuple[Path, str]) -> tuple[str, ...]:
    """The words of a search for five images like the first, here and of the service."""
    where = ("--data", str(world[0])) if request.param == "here" else ("--url", world[1])
    return ("search", "--like", "1", "-k", "5", "-c", "pictures", *where)


DISK = """
import os, subprocess, sys
from pathlib import Path
disk = Path(sys.argv[1])
def mount(*options):
    subprocess.run(["mount", *options, str(disk)], check=True)
mount("-t", "tmpfs", "-o", "size=4m", "tmpfs")
"""


@pytest.fixture
def on_own_disk(tmp_path: Path) -> Callable[[str], None]:
    """Runs Python in a process with a small `disk` of its own: a tmpfs in a mount namespace."""
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this kernel gives no mount namespace: {error}")

    def run(code: str) -> None:
        command = ["unshare", "-Urm", sys.executable, "-c", DISK + code, str(tmp_path)]
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def without_rights() -> list[str]:
    """What to put before a command for it to have no more rights than a user: root reads and removes whatever it is."""
    if os.geteuid():
        return []
    prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("root cannot lay down its rights here")
    return prefix
