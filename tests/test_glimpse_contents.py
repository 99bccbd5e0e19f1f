"""`glimpse collections facets` and `changes`, and a search of several collections: here and of a service."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from service_world import serving, settings_for
from tiny_world import plain_picture

from base.errors import CursorGone, InputError
from encoder.model.dual_encoder import DualEncoder
from glimpse.cli import perform
from index.collection import Entry, create_collection, delete_collection, open_collection
from service.app import create_app


@pytest.fixture(scope="module")
def served(encoder: DualEncoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A data folder with two collections of one model, and a service of it."""
    data = tmp_path_factory.mktemp("contents")
    for name, n in (("shop", 12), ("store", 4)):
        with create_collection(data, name, model=encoder.ref, fingerprint=encoder.fingerprint, dim=32) as made:
            x = np.random.default_rng(n).standard_normal((n, 32)).astype(np.float32)
            made.upsert(
                [
                    Entry(row, "image", f"/{name}/{i}", external_id=f"{name}-{i}",
                          metadata={"colour": "red" if i % 3 else "blue", "price": str(i / 2), "new": i == 7})
                    for i, row in enumerate(x)
                ]
            )  # fmt: skip
    with serving(create_app(settings_for(data), encoder)) as url:
        yield data, url


@pytest.fixture(params=["here", "of a service"])
def where(served: tuple[Path, str], request: pytest.FixtureRequest) -> tuple[str, str]:
    data, url = served
    return ("--data", str(data)) if request.param == "here" else ("--url", url)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    capsys.readouterr()
    assert perform([str(one) for one in arguments]) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_keys_and_values(where: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    facets = ("collections", "facets", "shop", *where)
    assert [line.split() for line in said(capsys, *facets)[0].splitlines()] == [
        ["key", "entries", "values", "numbers"],
        ["colour", "12", "2"],
        ["new", "12", "2"],
        ["price", "12", "12", "0", "to", "5.5"],
    ]
    assert json.loads(said(capsys, *facets, "--json")[0])["keys"][2] == {
        "key": "price", "entries": 12, "values": 12, "min": 0, "max": 5.5,
    }  # fmt: skip
    cheap = tmp_path / "cheap.json"
    cheap.write_text('{"must": [{"key": "price", "range": {"lt": 2}}]}')
    counted = said(capsys, *facets, "--key", "colour", "--key", "new", "--filter", f"@{cheap}")[0]
    assert [line.split() for line in counted.splitlines()] == [
        ["key", "value", "entries"], ["colour", "blue", "2"], ["colour", "red", "2"], ["new", "false", "4"],
    ]  # fmt: skip
    assert json.loads(said(capsys, *facets, "--key", "colour", "-k", 1, "--json")[0]) == {
        "facets": [{"key": "colour", "hits": [{"value": "red", "count": 8}]}]
    }
    with pytest.raises(InputError, match="--filter goes with --key"):
        said(capsys, *facets, "--filter", "{}")
    with pytest.raises(InputError, match=r"file\.size"):
        said(capsys, *facets, "--key", "file.size")
    assert "no text of shop has metadata" in said(capsys, *facets, "--modality", "text")[0]


def test_changes_are_lines_that_go_on_where_they_ended(
    served: tuple[Path, str], where: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("collections", "changes", "shop", *where)
    out, err = said(capsys, *changes)
    lines = [json.loads(line) for line in out.splitlines()]
    assert sorted(line["external_id"] for line in lines) == sorted(f"shop-{i}" for i in range(12))
    assert lines[0].keys() == {
        "event", "id", "external_id", "modality", "path", "text", "taken", "metadata", "cursor"
    }  # fmt: skip
    first = said(capsys, *changes, "--limit", 3)
    assert [json.loads(line)["id"] for line in first[0].splitlines()] == [line["id"] for line in lines[:3]]
    cursor = first[1].split()[-1]
    rest = said(capsys, *changes, "--after", cursor)[0].splitlines()
    assert [json.loads(line)["id"] for line in rest] == [line["id"] for line in lines[3:]]
    end = err.split()[-1]
    assert said(capsys, *changes, "--after", end)[0] == ""
    with open_collection(served[0], "shop", writable=True) as made:
        made.update({1: {"text": None}})
    assert [json.loads(line)["id"] for line in said(capsys, *changes, "--after", end)[0].splitlines()] == [1]
    with pytest.raises(CursorGone, match="read it anew"):
        said(capsys, "collections", "changes", "store", *where, "--after", end)


def test_it_follows_until_it_is_told_to_end(
    served: tuple[Path, str], where: tuple[str, str], encoder: DualEncoder
) -> None:
    data, _ = served
    with create_collection(data, "live", model=encoder.ref, fingerprint=encoder.fingerprint, dim=32) as made:
        command = [
            sys.executable,
            "-m",
            "glimpse",
            "collections",
            "changes",
            "live",
            *where,
            "--after",
            "now",
            "--follow",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            try:
                said_anything = None
                for n in range(200):  # it may not be up yet: what was before is not told
                    made.upsert([Entry(np.ones(32, np.float32), "image", f"/live/{n}")])
                    if select.select([program.stdout], [], [], 0.3)[0]:
                        said_anything = json.loads(program.stdout.readline())
                        break
                assert said_anything is not None
                assert said_anything["event"] == "created"
                assert said_anything["path"].startswith("/live/")
                program.send_signal(signal.SIGINT)
                program.wait(20)
            finally:
                program.kill()
    delete_collection(data, "live")


def test_several_collections_are_searched_as_one(
    where: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plain_picture("red").save(tmp_path / "red.png")
    if where[0] == "--data":
        where = (*where, "--device", "cpu", "--precision", "fp32")
    looked = ("search", "a thing", "--image", tmp_path / "red.png")
    search = (*looked, "-c", "shop", "-c", "store", "-c", "shop", "-k", 16, *where)
    hits = json.loads(said(capsys, *search, "--json")[0])["hits"]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert sorted(hit["path"] for hit in hits) == sorted(
        [f"/shop/{i}" for i in range(12)] + [f"/store/{i}" for i in range(4)]
    )
    assert all(hit["path"].startswith(f"/{hit['collection']}/") for hit in hits)
    assert said(capsys, *search)[0].splitlines()[0].split() == ["score", "collection", "id", "external_id"]
    with pytest.raises(InputError, match="--like names an entry of one collection"):
        said(capsys, "search", "--like", 1, "-c", "shop", "-c", "store", *where)
    _, err = said(capsys, "search", "x", "-c", "shop", "-c", "store", "--score-threshold", 1, *where)
    assert "nothing in shop and store fits" in err
