"""`glimpse search --queries`: many queries of a file or a pipe, here and at a running service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from glimpse_here import bytes_here as glimpse
from glimpse_here import ok_here as ok
from glimpse_process import installed
from service_world import serving, settings_for
from tiny_world import plain_picture

from base.errors import InputError
from encoder.model.load import load_encoder
from service.app import create_app


@pytest.fixture(scope="module")
def run_and_data(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder with the collection `colours`, made by the model in a run folder; and its images."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "pictures").mkdir()
    for colour in ("red", "green", "blue", "yellow"):
        plain_picture(colour).save(folder / "pictures" / f"{colour}.png")
    ok("index", folder / "pictures", "-c", "colours", "--data", folder / "data", "--model", tiny_run, **CPU)
    return folder / "data", folder / "pictures"


CPU = {"GLIMPSE_DEVICE": "cpu", "GLIMPSE_PRECISION": "fp32"}


def test_queries_of_a_file_are_answered_a_line_each(
    run_and_data: tuple[Path, Path], tiny_run: Path, tmp_path: Path
) -> None:
    data, pictures = run_and_data
    objects: list[dict] = [
        {"text": "a blue thing", "limit": 1, "offset": 1},
        {"image": str(pictures / "red.png"), "limit": 2},
        {"id": 1, "not": ["snow", "ice"], "text": None},
        {"text": "word " * 90},
        {"id": 99},
        {"text": "x", "limit": 0},
        {"text": "x", "filter": {"must": [{"key": "n", "between": [1, 2]}]}},
        {"text": "x", "filter": {"must": [{"key": "file.path", "match": {"value": str(pictures / "red.png")}}]}},
    ]
    file = tmp_path / "queries.txt"
    file.write_text("\n".join(["a red thing", "", *map(json.dumps, objects), " ein grünes Ding \n"]), encoding="utf-8")
    asked = ("search", "--queries", file, "-c", "colours", "-k", 3)
    with serving(create_app(settings_for(data), load_encoder(tiny_run, device="cpu", precision="fp32"))) as url:
        here, there = glimpse(*asked, "--data", data, **CPU), glimpse(*asked, "--url", url)
    assert (here.returncode, there.returncode) == (1, 1)
    for done in (here, there):
        assert done.stderr.decode() == (
            "warning: 1 of 10 queries are longer than the model reads; their ends are not read\n"
            "3 of 10 queries could not be answered: their lines say why\n"
        )
    ours, theirs = ([json.loads(line) for line in done.stdout.splitlines()] for done in (here, there))
    assert [answer["query"] for answer in ours] == ["a red thing", *objects, "ein grünes Ding"]
    assert [len(answer["hits"]) for answer in ours] == [3, 1, 2, 3, 3, 0, 0, 0, 1, 3]
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.keys() == its.keys()
        assert [hit["id"] for hit in mine["hits"]] == [hit["id"] for hit in its["hits"]]
    assert [answer["error"]["code"] for answer in ours if "error" in answer] == [
        "entry_not_found", "invalid_input", "invalid_input",
    ]  # fmt: skip
    alone = json.loads(ok("search", "a red thing", "-c", "colours", "-k", 3, "--data", data, "--json", **CPU))["hits"]
    assert [hit["id"] for hit in alone] == [hit["id"] for hit in ours[0]["hits"]]
    assert ours[2]["hits"][0]["path"] == str(pictures / "red.png")


def test_queries_may_be_one_array_and_pictures_addresses_of_files(
    run_and_data: tuple[Path, Path], tmp_path: Path
) -> None:
    data, _ = run_and_data
    plain_picture("red").save(tmp_path / "a red.png")
    address = (tmp_path / "a red.png").as_uri()
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps(["a red thing", {"image": address, "limit": 1}], indent=1))
    where = ("-c", "colours", "--data", data)
    lines = ok("search", "--queries", queries, *where, **CPU).splitlines()
    assert [len(json.loads(line)["hits"]) for line in lines] == [4, 1]
    by_path, by_address = (
        json.loads(ok("search", "--image", image, *where, "--json", **CPU))["hits"]
        for image in (tmp_path / "a red.png", address)
    )
    assert by_path == by_address
    for words in (["--image", "https://example.com/a.jpg"], ["https://example.com/a.jpg"]):
        done = glimpse("search", *words, *where, **CPU)
        assert done.returncode == 2
        assert b"https://example.com/a.jpg is not on this machine: save the picture as a file" in done.stderr


def test_queries_come_through_a_pipe_and_are_more_than_a_request_takes(world: tuple[Path, str]) -> None:
    lines = b"".join(b'{"id": %d, "limit": 2}\n' % (1 + i % 6) for i in range(230))
    for where in (("--data", world[0]), ("--url", world[1])):
        said = installed("search", "--queries", "-", "-c", "pictures", *where, input=lines)
        answers = [json.loads(line) for line in said.splitlines()]
        assert [answer["query"]["id"] for answer in answers] == [1 + i % 6 for i in range(230)]
        assert all(len(answer["hits"]) == 2 for answer in answers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no query; give one a line"),
        (b"\n \n", "has no query; give one a line"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"red\n{nonsense\n", r"line 2: this cannot be read as JSON \(from column 2 on\)"),
        (b'{"limit": 3}', "line 1: give text, image, id or external_id"),
        (b'{"text": "x", "limit": "3"}', "line 1: limit must be a whole number"),
        (b'{"text": "x", "limit": true}', "line 1: limit must be a whole number"),
        (b'{"text": "x", "colour": 1}', "line 1: a query has no colour; it has text, not, image"),
        (b'{"image": "none.png"}', "line 1: none.png: no such file"),
        (b'{"text": "x", "not": [1]}', "line 1: not must be a text or a list of texts"),
        (b'{"text": " "}', "line 1: the text is empty"),
        (b'[{"text": "x"}, 3]', "item 2: no query; give a text, or an object"),
        (b'["x", {"limit": 3}]', "item 2: give text, image, id or external_id"),
    ],
)
def test_a_line_that_is_no_query_is_named_before_anything_is_asked(
    content: bytes, message: str, tmp_path: Path
) -> None:
    from glimpse.finding.many import read_queries

    (tmp_path / "queries.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_queries(tmp_path / "queries.txt", {})


def test_a_file_of_queries_goes_with_nothing_that_follows_one_search(tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    for options, message in (
        (("x",), "give it without text"),
        (("--copy-to", tmp_path), "give it without --copy-to"),
        (("-c", "a", "-c", "b"), "--queries asks one collection"),
        ((), f"--queries {file}: No such file or directory"),
    ):
        done = glimpse("search", "--queries", file, *options)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
        assert message in done.stderr.decode()
