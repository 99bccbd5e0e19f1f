"""`glimpse entries` and the client's catalogue: the same on this machine and at a service."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_world import picture, serving, settings_for

from base.errors import EntryNotFound, InputError
from encoder.model.dual_encoder import DualEncoder
from glimpse.catalogue import read_catalogue
from glimpse.cli import perform
from glimpse.client import Client, Deleted, NewEntry, Put
from index.collection import check_collection, open_collection
from service.app import create_app


class Shop:
    """A collection that the commands reach here or at a service."""

    def __init__(self, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._place = place
        self._capsys = capsys

    def run(self, command: str, *arguments: object, ends: int = 0) -> tuple[str, str]:
        """What an `entries` command prints."""
        self._capsys.readouterr()
        words = ["entries", command, *map(str, arguments), "-c", "shop", *self._place]
        if command in ("put", "sync") and "--data" in self._place:
            words += ["--precision", "fp32", "--device", "cpu"]
        assert perform(words) == ends
        said = self._capsys.readouterr()
        return said.out, said.err

    def json(self, command: str, *arguments: object, ends: int = 0) -> Any:
        return json.loads(self.run(command, *arguments, "--json", ends=ends)[0])

    def there(self) -> dict[str | None, tuple[str, str | None, dict[str, Any]]]:
        with open_collection(self.data, "shop") as shop:
            return {one.external_id: (one.modality, one.sha256 or one.text, one.metadata) for one in shop.records()}


@pytest.fixture(params=["here", "service"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_run: Path, encoder: DualEncoder, capsys: Any
) -> Iterator[Shop]:
    data = tmp_path / "data"
    if request.param == "here":
        yield Shop(data, ["--data", str(data)], capsys)
    else:
        with serving(create_app(settings_for(data), encoder)) as url:
            yield Shop(data, ["--url", url], capsys)
    assert check_collection(data, "shop") == ([], [])


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Six products in a CSV, five with an image and one of words."""
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(picture(i))
    rows: list[dict[str, object]] = [
        {"sku": f"s/{i}", "image": f"{i}.png", "title": f"thing {i}", "price": 10 * i, "tags": "a, b"} for i in range(5)
    ]
    return write(tmp_path, [*rows, {"sku": "care", "text": "how to wash", "title": "care"}])


def write(folder: Path, rows: list[dict[str, object]]) -> Path:
    with (folder / "catalogue.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["sku", "image", "text", "title", "price", "tags"])
        table.writeheader()
        table.writerows(rows)
    return folder / "catalogue.csv"


def model_of(shop: Shop, tiny_run: Path) -> list[object]:
    return [] if (shop.data / "collections").exists() or "--url" in shop._place else ["--model", tiny_run]


def test_a_catalogue_is_kept_in_step(shop: Shop, catalogue: Path, tiny_run: Path) -> None:
    sync = ("sync", catalogue, "--id-key", "sku")
    first = shop.json(*sync, *model_of(shop, tiny_run))
    assert first == {
        "collection": "shop", "created": 6, "replaced": 0, "unchanged": 0, "deleted": 0, "failed": [], "left_out": [],
    }  # fmt: skip
    there = shop.there()
    assert there["care"] == ("text", "how to wash", {"title": "care"})
    assert there["s/2"][2] == {"title": "thing 2", "price": "20", "tags": ["a", "b"]}
    assert shop.run(*sync)[0] == "shop: 0 created, 0 replaced, 6 unchanged, 0 deleted, 0 failed\n"

    rows = list(csv.DictReader(catalogue.read_text().splitlines()))
    rows[0]["price"] = "99"
    (catalogue.parent / "1.png").write_bytes(picture(100))
    rows[4] = {"sku": "new", "image": "missing.png"}
    write(catalogue.parent, rows)
    out, err = shop.run(*sync, "--delete-others", "--yes", ends=1)
    assert out == "shop: 0 created, 2 replaced, 3 unchanged, 1 deleted, 1 failed\n"
    assert err == f"skipped new: {catalogue.parent / 'missing.png'}: No such file or directory\n"
    now = shop.there()
    assert set(now) == {"s/0", "s/1", "s/2", "s/3", "care"}
    assert now["s/0"][2]["price"] == "99"
    assert now["s/1"][1] != there["s/1"][1]
    assert now["s/2"] == there["s/2"]


def test_a_search_shows_ids_of_ones_own_and_not_where_the_copies_lie(
    shop: Shop, catalogue: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run("sync", catalogue, "--id-key", "sku", *model_of(shop, tiny_run))
    place = ["-c", "shop", *shop._place, *(["--precision", "fp32", "--device", "cpu"] * ("--data" in shop._place))]
    perform(["search", "thing 1", *place])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[-3:] == ["id", "external_id", "caption"]
    assert sorted(row.split()[-3:] for row in rows) == [[f"s/{i}", "thing", str(i)] for i in range(5)]
    perform(["search", "washing", "--modality", "text", *place])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[-4:] == ["id", "external_id", "caption", "text"]
    assert row.split()[-4:] == ["care", "how", "to", "wash"]


def test_one_is_put_shown_changed_and_deleted(shop: Shop, catalogue: Path, tiny_run: Path) -> None:
    shop.run("sync", catalogue, "--id-key", "sku", *model_of(shop, tiny_run))
    image = catalogue.parent / "0.png"
    put = ("put", "مرحبا/1", "--image", image, "--metadata", '{"price": 5}')
    assert shop.json(*put)["status"] == "created"
    assert shop.run(*put)[0].startswith("مرحبا/1: unchanged, entry ")
    assert shop.json("put", "مرحبا/1", "--text", "words")["status"] == "replaced"
    assert shop.json("get", "مرحبا/1")["text"] == "words"
    shown, _ = shop.run("get", "s/1")
    assert "external_id: s/1\n" in shown
    assert "metadata.title: thing 1\n" in shown
    cheap = ("--filter", '{"must": [{"key": "price", "range": {"lt": 20}}]}')
    assert shop.json("patch", *cheap, "--metadata", '{"sale": true}', "--dry-run")["matched"] == 2
    assert shop.run("patch", *cheap, "--metadata", '{"sale": true}')[0] == "shop: 2 of 2 entries changed\n"
    assert shop.json("get", "s/1")["metadata"]["sale"] is True
    assert shop.json("patch", "s/1", "--metadata", '{"sale": null}')["changed"] == 1
    assert "sale" not in shop.json("get", "s/1")["metadata"]
    assert shop.run("delete", *cheap, "--dry-run")[0] == "shop: 2 entries would be deleted\n"
    assert shop.json("delete", *cheap, "--yes") == {"matched": 2, "deleted": 2, "dry_run": False}
    tagging = ("--add-tag", "a, b", "--add-tag", "été", "--remove-tag", "a")
    assert shop.json("patch", *cheap, *tagging, "--dry-run")["matched"] == 0
    for words in (("s/3", "s/4"), ("--filter", '{"must": [{"key": "tags", "match": {"value": "b"}}]}')):
        done = shop.json("patch", *words, *tagging)
        matched = done["matched"]
        assert (matched, done["changed"], len(done["changed_ids"])) == ((2, 2, 2) if words[0] == "s/3" else (3, 1, 1))
    assert shop.there()["s/3"][2]["tags"] == ["b", "a, b", "été"]
    assert shop.run("patch", "s/3", "--remove-tag", "e\u0301te\u0301")[0] == "shop: 1 of 1 entries changed\n"
    out, err = shop.run("delete", "s/2", "none", ends=1)
    assert (out, err) == ("shop: 1 entries deleted\n", "1 of the ids are not there\n")
    assert set(shop.there()) == {"s/3", "s/4", "care", "مرحبا/1"}


def test_what_is_wrong_is_said_and_nothing_done(shop: Shop, catalogue: Path, tiny_run: Path) -> None:
    shop.run("sync", catalogue, "--id-key", "sku", *model_of(shop, tiny_run))
    before = shop.there()
    for words, why in [
        (("put", "x"), "exactly one of"),
        (("put", "..", "--text", "a"), "no URL can say"),
        (("put", "x", "--image", catalogue), "not an image"),
        (("put", "x", "--image-url", "https://example.org/x.jpg"), "image_url is fetched|addresses are not fetched"),
        (("put", "x", "--text", "a", "--metadata", "[]"), "JSON object"),
        (("patch", "s/1"), "--metadata"),
        (("patch", "s/1", "--add-tag", " "), "tag.* character|character.* tag|add_tags"),
        (("delete",), "either ids, or --filter"),
        (("delete", "--filter", "{}", "--yes"), "no condition"),
        (("delete", "--filter", '{"must": [{"key": "n"}]}', "--yes"), r"filter.must\[0\]"),
        (("sync", catalogue), "--id-key"),
        (("sync", catalogue.parent / "none.csv"), "cannot be read"),
    ]:
        with pytest.raises(InputError, match=why):
            shop.run(*words)
    with pytest.raises(EntryNotFound):
        shop.run("get", "x")
    rows = list(csv.DictReader(catalogue.read_text().splitlines()))
    write(catalogue.parent, [*rows[:2], rows[1]])
    with pytest.raises(InputError, match="rows were left out"):
        shop.run("sync", catalogue, "--id-key", "sku", "--delete-others", "--yes")
    write(catalogue.parent, rows[:2])
    with pytest.raises(InputError, match="say --yes"):
        shop.run("sync", catalogue, "--id-key", "sku", "--delete-others")
    assert shop.there() == before


def test_a_row_that_cannot_be_kept_costs_no_other(shop: Shop, tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"external_id": "half", "text": "a \\ud800"}\n{"external_id": "endless", "text": "b", "price": 1e999}\n'
        '{"external_id": "h\\ud800", "text": "d"}\n{"external_id": "good", "text": "c"}\n'
    )
    done = shop.json("sync", tmp_path / "rows.jsonl", *model_of(shop, tiny_run), ends=1)
    assert (done["created"], [one["external_id"] for one in done["failed"]]) == (1, ["half", "endless", "h\ud800"])
    assert list(shop.there()) == ["good"]


def test_rows_become_entries(tmp_path: Path) -> None:
    lines = [
        {"external_id": 7, "image": "a.png", "metadata": {"n": 1, "deep": {"x": [1]}}, "colour": "red", "none": None},
        {"external_id": "t", "text": "words", "tags": ["x", "y"], "price": 4.5},
        {"external_id": "u", "image_url": "https://example.org/u.jpg", "tags": ""},
        {"external_id": "t", "text": "again"}, {"text": "nobody's"}, {"external_id": "bad", "metadata": "[1]"},
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    entries, left_out = read_catalogue(tmp_path / "a.jsonl")
    assert entries == [
        NewEntry("7", tmp_path / "a.png", metadata={"n": 1, "deep": {"x": [1]}, "colour": "red"}),
        NewEntry("t", text="words", metadata={"price": 4.5}, tags=["x", "y"]),
        NewEntry("u", image_url="https://example.org/u.jpg"),
    ]
    assert [line.partition(",")[0] for line in left_out.lines()] == [
        "1 of 6 rows with the id of one before",
        "1 of 6 rows without an id",
        "1 of 6 rows that cannot be read: metadata must be a JSON object",
    ]


def test_the_client_puts_many_in_batches(tmp_path: Path, encoder: DualEncoder) -> None:
    settings = settings_for(tmp_path, max_entries=5, max_upload_bytes=20_000)
    with serving(create_app(settings, encoder)) as url, Client(url) as client:
        client.create_collection("shop")
        new = [NewEntry(f"n{i}", picture(i), metadata={"i": i}) for i in range(12)]
        bad = [
            NewEntry("half", text="\ud800"),
            NewEntry("large", picture(1, (400, 400), "BMP")),
            NewEntry(" x", text="a"),
        ]
        done: list[int] = []
        results = client.put_entries("shop", [*new, *bad, NewEntry("last", text="red")], progress=done.append)
        assert [one.status for one in results] == ["created"] * 12 + ["failed"] * 3 + ["created"]
        assert [one.error and one.error["code"] for one in results[12:]] == [
            "invalid_image", "too_large", "invalid_request", None,
        ]  # fmt: skip
        assert done == list(range(1, 17))
        assert client.put_entry("shop", "n3", image=picture(3), metadata={"i": 3}).status == "unchanged"
        with pytest.raises(InputError, match="exactly one"):
            client.put_entry("shop", "n3", text="a", image=picture(3))
        entry = client.entry("shop", "n3")
        assert (entry.external_id, entry.metadata, entry.id) == ("n3", {"i": 3}, results[3].id)
        assert client.update_entry("shop", "n3", metadata={"j": 1}).metadata == {"i": 3, "j": 1}
        client.delete_entry("shop", "n3")
        with pytest.raises(EntryNotFound):
            client.entry("shop", "n3")
        assert client.delete_entries("shop", external_ids=["n1", "n2", "n3"], dry_run=True) == Deleted(2, 0, True)
        assert client.delete_entries("shop", external_ids=["n1", "n2", "n3"]) == Deleted(2, 2)
        assert client.patch_entries("shop", filter={}, all=True, metadata={"new": 1}).changed == 10
        assert client.patch_entries("shop", filter={}, all=True, add_tags=["seen"]).changed == 10
        assert client.patch_entries("shop", filter={}, all=True, add_tags=["seen"]).unchanged == 10
        ids = client.add_texts("shop", ["a", "b"], idempotency_key="k")
        assert client.add_texts("shop", ["a", "b"], idempotency_key="k") == ids
        assert client.add_texts("shop", ["a", "c"], idempotency_key="k") != ids
        assert isinstance(results[0], Put)
