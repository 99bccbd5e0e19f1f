"""`glimpse show`: one entry, by whatever one has of it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from glimpse_here import bytes_here as glimpse
from service_world import add_collection, draw, serving, settings_for, tiny_encoder
from tiny_world import plain_picture

from index.collection import Entry, open_collection
from service.app import create_app

BY_DAY = '{"must": [{"key": "file.taken", "range": {"gte": "2024-05-01", "lt": "2024-05-02"}}]}'


def ok(*arguments: object, **given: Any) -> bytes:
    done = glimpse(*arguments, **given)
    assert done.returncode == 0, done.stderr
    return done.stdout


CPU = {"GLIMPSE_DEVICE": "cpu", "GLIMPSE_PRECISION": "fp32"}


def test_an_entry_is_found_by_its_path_whatever_the_form_of_its_accents(tiny_run: Path, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Été/süß.png") for form in ("NFC", "NFD"))
    (tmp_path / decomposed).parent.mkdir()
    plain_picture("red").save(tmp_path / decomposed)
    data = ("--data", tmp_path / "data")
    ok("index", tmp_path, *data, "--model", tiny_run, **CPU)
    for path in (composed, decomposed):
        assert json.loads(ok("show", tmp_path / path, *data, "--json"))["path"] == str(tmp_path / decomposed)
    ok("search", "--like", tmp_path / composed, *data)


def test_of_much_metadata_a_person_is_shown_some_and_a_program_all(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 1))
    known = {"long": "x" * 2_000_000, "list": [12] * 1000, **{f"key {i}": i for i in range(120)}}
    with open_collection(tmp_path, "pictures", writable=True) as made:
        made.upsert([Entry(np.ones(32, np.float32), "image", tmp_path / "1.png", metadata=known, external_id="much")])
        made.upsert([Entry(np.ones(32, np.float32), "text", text="y" * 20_000)])
    shown = ("show", "-c", "pictures", "--data", tmp_path, "much")
    done = glimpse(*shown)
    lines = done.stdout.decode().splitlines()
    assert f"metadata.long: {'x' * 500}... (2,000,000 characters; --json has all)" in lines
    assert f"metadata.list: [{'12, ' * 124}12,... (4,000 characters; --json has all)" in lines
    assert "metadata.key 97: 97" in lines
    assert not [line for line in lines if line.startswith("metadata.key 98")]
    assert done.stderr.decode() == "... and 22 more keys of metadata; --json has all\n"
    assert json.loads(ok(*shown, "--json"))["metadata"] == known
    found = ok("search", "--like", "much", "--modality", "text", "-c", "pictures", "--data", tmp_path).decode()
    assert f" {'y' * 499}…\n" in found


def test_one_entry_is_shown_by_whatever_one_has_of_it(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 3)
    odd = tmp_path / "files" / "odd \u202e name.png"
    add_collection(tmp_path, encoder, files)
    with open_collection(tmp_path, "pictures", writable=True) as made:
        row = np.ones(32, np.float32)
        known = {"caption": "odd\x1b[2J", "n": [1, {"a": "ü"}]}
        taken = "2024-05-01T12:34:56+02:00"
        made.upsert([Entry(row, "image", odd, metadata=known, external_id="shoe/1", width=3, height=2, taken=taken)])
        made.upsert([Entry(row, "text", text="by its own id", external_id="2")])
        number = made.find_external(["shoe/1"])["shoe/1"].id
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        for where in (("--data", tmp_path), ("--url", url)):
            shown = ("show", "-c", "pictures", *where)
            entry = json.loads(ok(*shown, number, "--json"))
            assert entry == {
                "external_id": "shoe/1", "id": number, "modality": "image", "path": str(odd), "text": None,
                "width": 3, "height": 2, "taken": taken, "sha256": None, "metadata": known,
            }  # fmt: skip
            for what in ("shoe/1", odd):
                assert json.loads(ok(*shown, what, "--json")) == entry
            relative = ok(*shown, f"files/{files[0].name}", cwd=tmp_path).decode()
            assert f"path: {files[0]}\n" in relative
            assert "metadata.caption: picture 00\n" in relative
            assert json.loads(ok(*shown, 2, "--json"))["path"] == str(files[1])  # the id comes first
            like = ("search", "-c", "pictures", *where, "--json", "--like")
            found = json.loads(ok(*like, number))["hits"]
            assert len(found) == 3
            assert {hit["taken"] for hit in found} == {None}
            assert json.loads(ok(*like, 1, "--filter", BY_DAY))["hits"][0]["taken"] == taken
            assert json.loads(ok(*like, "shoe/1"))["hits"] == json.loads(ok(*like, odd))["hits"] == found
            lines = ['{"external_id": "shoe/1"}', f'{{"id": {number}}}', '{"external_id": "none"}']
            (tmp_path / "queries.jsonl").write_text("\n".join(lines))
            done = glimpse("search", "--queries", tmp_path / "queries.jsonl", "-c", "pictures", *where)
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            assert [answer["hits"] for answer in answers] == [found, found, []]
            assert answers[2]["error"] == {"code": "entry_not_found", "message": "no entry with external_id 'none'"}
            assert "text: a red boat" in ok(*shown, 4).decode()
            lines = ok(*shown, "shoe/1").decode()
            assert f"\ntaken: {taken}\n" in lines
            assert "metadata.caption: odd\\x1b[2J\n" in lines
            assert 'metadata.n: [1, {"a": "ü"}]\n' in lines
            for what in ("nothing", "0", "9" * 30, "/none.png"):
                done = glimpse(*shown, what)
                assert done.returncode == 1
                assert done.stderr.decode() == (
                    f"glimpse: no entry {what}: it is neither an id, nor an external id, nor the path of one\n"
                )
