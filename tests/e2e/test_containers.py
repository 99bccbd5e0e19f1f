"""The service in containers, for real: built, filled, killed, stopped and started again by Compose, as operators do.

`make test-docker`; skipped where no Docker Engine with Compose v2 answers. Everything is made for it and taken away
again: a model with random weights, pictures, a project of its own. It builds as the shell says (TORCH_INDEX, PIP_*).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_port
from tiny_world import COLOURS, plain_picture

from encoder.model.load import build_clip
from training.records.checkpoint import save_model

pytestmark = pytest.mark.docker
COMPOSE_FILE = Path(__file__).parents[2] / "docker" / "compose.yaml"
MEMORY = 2 * 2**30
# The server is the child of the init that docker puts first.
KILL = "import os; child, = open('/proc/1/task/1/children').read().split(); os.kill(int(child), 9)"


def test_nothing_is_lost_when_the_server_is_killed_and_stopped(compose: Compose, photos: Path) -> None:
    step("docker compose up --build --wait")
    compose("up", "--build", "--detach", "--wait", timeout=1800)
    container = compose.container()
    assert container["State"]["Health"]["Status"] == "healthy"
    say(f"healthy; the image has {compose.image_bytes() / 1e9:.2f} GB")

    step("what the container may do")
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] == MEMORY
    status = dict(
        line.split(":\t") for line in compose.inside("cat", "/proc/self/status").splitlines() if ":\t" in line
    )
    assert set(status["Uid"].split()) == {"10001"}
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    mounts = {mount["Destination"]: mount for mount in container["Mounts"]}
    assert {place for place, mount in mounts.items() if mount["Type"] == "volume"} == {"/data", "/models"}
    assert {place for place, mount in mounts.items() if not mount["RW"]} == {"/photos", "/runs"}
    for place in ("/", "/photos", "/runs"):
        refused = compose("exec", "-T", "glimpse", "touch", f"{place}/x", ok=False)
        assert "Read-only file system" in refused.stderr
    say("user 10001, no capabilities, read-only but for two volumes and /tmp, 2 GiB at most")

    step("docker compose run --rm glimpse index /photos")
    say(compose("run", "--rm", "glimpse", "index", "/photos", "--collection", "photos").stdout.strip())

    step("the same folder as a job")
    job = compose.ask("POST", "/v1/jobs", json={"kind": "index", "collection": "by-job", "folders": ["/photos"]})
    job = until(lambda: (now := compose.ask("GET", f"/v1/jobs/{job['id']}")) and now["ended_at"] and now)
    assert (job["state"], job["error"]) == ("succeeded", None)
    refused = compose.http.post("/v1/jobs", json={"kind": "index", "collection": "x", "folders": ["/runs"]})
    assert refused.status_code == 403
    assert {compose.ask("GET", f"/v1/collections/{name}")["counts"]["image"] for name in ("photos", "by-job")} == {24}
    say(f"{job['state']}; /runs is refused")

    step("search and classify")
    answers = asked(compose, photos)
    say(f"{len(answers['text']['hits'])} hits; {answers['label']['results'][0]['scores']}")

    step("kill -9 of the server")
    compose.inside("python", "-c", KILL)
    until(lambda: compose.container()["RestartCount"] == 1)
    compose.until_healthy()
    assert asked(compose, photos) == answers
    say("restarted by its policy, answers the same")

    step("docker compose stop; docker compose start")
    compose("stop")
    assert compose.container()["State"]["ExitCode"] == 0
    lines = [json.loads(line) for line in compose.log()]
    assert any(line.get("route") == "/v1/collections/{collection}/search" for line in lines)
    compose("start")
    compose.until_healthy()
    assert asked(compose, photos) == answers
    say("ended with 0 and a log of JSON lines; answers the same")

    step("docker compose down; docker compose up")
    compose("down")
    compose("up", "--detach", "--wait")
    assert asked(compose, photos) == answers
    say("the volumes kept it all")


def test_what_cannot_start_says_why_in_one_line(compose: Compose) -> None:
    compose("build", timeout=1800)
    for setting, words in {
        "GLIMPSE_PUBLISH": ("0.0.0.0:0", "0.0.0.0:0 can be reached by other machines and there is no key"),
        "GLIMPSE_MODEL": ("/runs/none", "/runs/none"),
        "GLIMPSE_MAX_BATCH": ("many", "max_batch: must be a whole number"),
    }.items():
        value, message = words
        step(f"{setting}={value}")
        compose("up", "--detach", **{setting: value})
        try:
            until(lambda: compose.container()["RestartCount"] > 0)
        finally:
            compose("stop")
        last = compose.log()[-1]
        assert last.startswith("glimpse: ")
        assert message in last
        say(last)
        compose("down")


class Compose:
    """`docker compose` of the project's file, as a project of its own."""

    def __init__(self, environment: dict[str, str], port: int) -> None:
        self._environment = environment
        self._project = f"glimpse-test-{os.getpid()}"
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def __call__(self, *words: str, ok: bool = True, timeout: float = 180, **settings: str) -> Done:
        start = ["docker", "compose", "--progress", "quiet", "--env-file", os.devnull, "--project-name", self._project]
        return run([*start, "--file", str(COMPOSE_FILE), *words], self._environment | settings, ok, timeout)

    def inside(self, *words: str) -> str:
        """What a program in the service's container writes."""
        return self("exec", "-T", "glimpse", *words).stdout

    def container(self) -> Any:
        """As `docker inspect` tells of the service's container."""
        name = self("ps", "--all", "--quiet", "glimpse").stdout.strip()
        return json.loads(run(["docker", "inspect", name], self._environment).stdout)[0]

    def image_bytes(self) -> int:
        """Size of the image."""
        shown = run(["docker", "image", "inspect", self._environment["GLIMPSE_IMAGE"]], self._environment)
        return int(json.loads(shown.stdout)[0]["Size"])

    def log(self) -> list[str]:
        """The service's log, line by line."""
        done = self("logs", "--no-log-prefix", "--no-color", "glimpse")
        return [line for line in done.stdout.replace("\x1b[2K", "").splitlines() if line]

    def until_healthy(self) -> None:
        """Wait for the health check."""
        until(lambda: self.container()["State"]["Health"]["Status"] == "healthy")

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """The answer of the service."""
        answer = self.http.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json()


Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures that the container's user can read."""
    folder = tmp_path_factory.mktemp("photos")
    for colour in COLOURS:
        for i in range(3):
            plain_picture(colour, 4 * i).save(folder / f"{colour}{i}.png")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def compose(photos: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The project; its containers, volumes and image are removed at the end."""
    try:
        run(["docker", "version"], dict(os.environ), timeout=20)
        run(["docker", "compose", "version"], dict(os.environ), timeout=20)
    except (OSError, subprocess.TimeoutExpired, AssertionError):
        pytest.skip("no Docker Engine with Compose v2 answers")
    runs = tmp_path_factory.mktemp("runs")
    save_model(runs / "tiny", build_clip(tiny_config))
    for path in (runs, *runs.rglob("*")):
        path.chmod(0o755)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GLIMPSE_", "COMPOSE_"))}
    environment |= {
        "GLIMPSE_IMAGE": f"glimpse-test:{os.getpid()}",
        "GLIMPSE_MODEL": "/runs/tiny",
        "GLIMPSE_PHOTOS": str(photos),
        "GLIMPSE_RUNS": str(runs),
        "GLIMPSE_PUBLISH": f"127.0.0.1:{port}",
        "GLIMPSE_MEMORY": str(MEMORY),
    }
    project = Compose(environment, port)
    try:
        yield project
    finally:
        project("down", "--volumes", "--rmi", "all", "--remove-orphans")
        project.http.close()


def run(words: list[str], environment: dict[str, str], ok: bool = True, timeout: float = 180) -> Done:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=timeout)
    if ok:
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout[-5000:]}{done.stderr[-5000:]}"
    return done


def asked(compose: Compose, photos: Path) -> dict[str, Any]:
    """What is asked again after each mishap: a search by words and by image, a classification, all collections."""
    search = "/v1/collections/photos/search"
    picture = (photos / "red0.png").read_bytes()
    answers = {
        "text": compose.ask("POST", search, json={"text": "red", "limit": 24}),
        "image": compose.ask("POST", search, json={"image": b64encode(picture).decode()}),
        "label": compose.ask("POST", "/v1/classify", files={"file": picture}, data={"labels": "red,blue"}),
        "collections": compose.ask("GET", "/v1/collections"),
    }
    assert answers["image"]["hits"][0]["path"].startswith("/photos/red")  # the three shades are one in bf16
    for answer in answers.values():
        answer.pop("seconds", None)
    return answers


def until(come: Callable[[], Any], seconds: float = 120) -> Any:
    """What `come` gives, once it is something."""
    end = time.monotonic() + seconds
    while not (given := come()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)
    return given


def step(text: str) -> None:
    print(f"\n--- {text}", flush=True)


def say(text: str) -> None:
    print(f"    {text}", flush=True)
