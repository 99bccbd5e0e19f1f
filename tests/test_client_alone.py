"""glimpse-client installed alone: with what it asks for and nothing else, against a real service of this checkout."""

from __future__ import annotations

import csv
import functools
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from packaging.requirements import Requirement
from service_world import serving, settings_for, tiny_encoder
from tiny_world import COLOURS, plain_picture
from wheels import INSTALL, PIP, environment_with, run_clean

from service.app import create_app

mcp_client = pytest.importorskip("mcp.client", reason="the extra mcp is not installed")
stdio = pytest.importorskip("mcp.client.stdio", reason="the extra mcp is not installed")

HEAVY = ("torch", "open_clip", "faiss", "numpy", "PIL", "fastapi", "onnxruntime", "tokenizers", "safetensors")


class Client(NamedTuple):
    """An environment with glimpse-client, and the service that it asks."""

    python: Path
    url: str
    pictures: Path

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`glimpse ...` with GLIMPSE_URL."""
        command = self.python.with_name("glimpse")
        return run_clean(command, *map(str, arguments), GLIMPSE_URL=self.url)

    def said(self, *arguments: object) -> str:
        """What it prints, once it has done what it was asked."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


def needs(*wanted: str) -> list[Distribution]:
    """What pip would install for these requirements, of what is installed here."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()

    def add(requirement: Requirement) -> None:
        library = found[requirement.name] = distribution(requirement.name)
        for extra in {"", *requirement.extras} - {extra for name, extra in seen if name == requirement.name}:
            seen.add((requirement.name, extra))
            for each in map(Requirement, library.requires or ()):
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    add(each)

    for each in wanted:
        add(Requirement(each))
    return list(found.values())


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("client")
    python = environment_with(folder, needs("httpx", "typer", "rich", "mcp"))
    done = run_clean(python, *INSTALL, f"glimpse-client[mcp] @ {wheel.as_uri()}")  # refused, if it asked for more
    assert done.returncode == 0, done.stderr
    pictures = folder / "pictures"
    pictures.mkdir()
    for colour in COLOURS:
        plain_picture(colour).save(pictures / f"{colour}.png")
    (pictures / "broken.jpg").write_bytes(b"broken")
    (folder / "data").mkdir()
    settings = settings_for(folder / "data", job_roots=str(pictures))
    with serving(create_app(settings, tiny_encoder(folder))) as url:
        yield Client(python, url, pictures)


def test_nothing_heavy_is_there(client: Client) -> None:
    program = f"from importlib.util import find_spec; print([name for name in {HEAVY!r} if find_spec(name)])"
    assert run_clean(client.python, "-c", program).stdout.strip() == "[]"
    done = run_clean(client.python, *PIP, "check")
    assert done.returncode == 0, done.stdout


def test_the_commands_ask_the_service(client: Client, tmp_path: Path) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text(f"image,caption\n{client.pictures / 'red.png'},a red thing\n")
    sent = json.loads(client.said("index", client.pictures, "-c", "colours", "--captions", captions, "--json"))
    assert (sent["added"], [Path(one["path"]).name for one in sent["skipped"]]) == (8, ["broken.jpg"])
    again = json.loads(client.said("index", client.pictures, "-c", "colours", "--captions", captions, "--json"))
    assert (again["added"], again["unchanged"]) == (0, 8)

    found = json.loads(client.said("search", "a red thing", "-c", "colours", "-k", 3, "--json"))["hits"]
    assert len(found) == 3
    like = json.loads(client.said("search", "--image", client.pictures / "red.png", "-c", "colours", "--json"))["hits"]
    assert like[0]["metadata"] == {"caption": "a red thing", "filename": "red.png"}
    assert "score" in client.said("search", "red", "-c", "colours")
    page, queries = tmp_path / "found.html", tmp_path / "queries.txt"
    queries.write_text("red\nblue\n")
    client.said("search", "red", "-c", "colours", "-k", 2, "--copy-to", tmp_path / "found", "--sheet", page)
    assert len(list((tmp_path / "found").iterdir())) == page.read_text().count("<img") == 2
    assert len(client.said("search", "--queries", queries, "-c", "colours").splitlines()) == 2
    assert "a red thing" in client.said("show", like[0]["id"], "-c", "colours")

    out = tmp_path / "labels.csv"
    told = json.loads(client.said("label", client.pictures, "--labels", "red,blue", "--out", out, "--json"))
    assert told["labelled"] == 8
    with out.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8
    assert len(client.said("label", client.pictures, "--labels", "red,blue").splitlines()) == 9

    products = tmp_path / "products.csv"
    products.write_text(f"external_id,image,text,price\na/1,{client.pictures / 'red.png'},,5\na/2,,red words,\n")
    synced = json.loads(client.said("entries", "sync", products, "-c", "colours", "--json"))
    assert (synced["created"], synced["failed"]) == (2, [])
    assert json.loads(client.said("entries", "get", "a/1", "-c", "colours", "--json"))["metadata"] == {"price": "5"}
    assert "2 entries deleted" in client.said("entries", "delete", "a/1", "a/2", "-c", "colours")

    listed = json.loads(client.said("collections", "--json"))["collections"]
    assert [(one["name"], one["counts"]["image"]) for one in listed] == [("colours", 8)]


def test_jobs_run_at_the_service(client: Client) -> None:
    job = json.loads(client.said("jobs", "start", "index", client.pictures, "-c", "job", "--follow", "--json"))
    assert (job["state"], job["report"]["added"]) == ("succeeded", 8)
    assert job["id"] in client.said("jobs", "list")
    labels = json.loads(client.said("jobs", "start", "label", client.pictures, "--labels", "a,b", "--follow", "--json"))
    assert client.said("jobs", "result", labels["id"]).count("\n") == 9


def test_an_agent_has_its_tools(client: Client) -> None:
    server = stdio.StdioServerParameters(
        command=str(client.python.with_name("glimpse")), args=["mcp"], env={"GLIMPSE_URL": client.url}
    )

    async def use() -> Any:
        async with mcp_client.Client(server) as agent:
            assert "search" in {tool.name for tool in (await agent.list_tools()).tools}
            return await agent.call_tool("classify", {"image": str(client.pictures / "red.png"), "labels": ["a", "b"]})

    assert not anyio.run(use).is_error


def test_the_python_client_says_what_its_vectors_need(client: Client) -> None:
    program = f"""
from base.errors import InputError
from glimpse.client import Client
with Client({client.url!r}) as client:
    print(client.info().model, [one.label for one in client.classify([{str(client.pictures / "red.png")!r}], ["x"])])
    try:
        client.embed_texts(["a boat"])
    except InputError as error:
        print(error)
"""
    done = run_clean(client.python, "-c", program)
    assert done.stdout.splitlines() == [
        "tiny ['x']", "vectors come as arrays of numpy, which is not installed: pip install numpy"
    ], done.stderr  # fmt: skip


def test_it_lists_the_models_of_the_service(client: Client) -> None:
    assert "tiny" in client.said("models")


@functools.cache  # one way for all that needs a model
def would_install(*way: str) -> str:
    asked = run_clean(*way, "--dry-run", "--no-index", "--no-deps", "--force-reinstall")
    return asked.stdout + asked.stderr


@pytest.mark.parametrize(
    "arguments",
    ["search boat --data .", "index {} --data .", "collections --data .",
     "collections check", "duplicates", "labels create x --labels a,b", "train x.csv", "export x --out y",
     "models --here", "models --measure x", "serve", "demo"],
)  # fmt: skip
def test_what_needs_a_model_here_says_what_to_install(client: Client, tmp_path: Path, arguments: str) -> None:
    done = client.run(*shlex.split(arguments.format(client.pictures)))
    *before, line = done.stderr.splitlines()
    assert all("on this machine, not of the service of GLIMPSE_URL" in told for told in before)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"glimpse: this needs \w+, which a client comes without: ", line)
    assert "Would install glimpse-client-" in would_install(*shlex.split(line.partition("the extra search: ")[2]))
