"""Hard negatives: which candidates pass, on matrices that can be checked by eye, and the command on real pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import plain_picture
from typer.testing import CliRunner

from base.errors import GlimpseError, InputError, ModelMismatch
from encoder.model.dual_encoder import DualEncoder
from glimpse import mining
from glimpse.commands.training.mine import mine
from index.ingest.sync import index_folders, open_or_create
from training.data.keys import Keys
from training.data.mine import Choice, hard_negatives
from training.data.pairs import read_pairs, text_key

CANDIDATES = np.array([[10, 11, 12, 13, 14, 15], [20, 21, 21, 22, -1, -1]])
SCORES = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.5, 0.4, 0.3, 0.2, 0.0, 0.0]], np.float32)
SAME = np.array([[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool)
OWN = np.array([0.8, 0.5], np.float32)


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        # 10 is above 0.95 * 0.8, 11 is right; 20 is right, 21 counts once
        (Choice(3), [[12, 13, 14], [21, 22]]),
        (Choice(2), [[12, 13], [21, 22]]),
        (
            Choice(3, relative_margin=0.3),
            [[14, 15], [22]],
        ),  # at most 0.56 and 0.35: the second 21 is suspect too
        (Choice(3, relative_margin=0.0), [[12, 13, 14], [21, 22]]),
        # Ranks count the wrong ones: 10 is 1, 12 is 2; 21 is 1 and 2, 22 is 3.
        (Choice(3, window=(2, 3)), [[12, 13], [22]]),
        (Choice(3, window=(3, 3)), [[13], [22]]),
        (Choice(3, window=(50, 60)), [[], []]),
    ],
)
def test_the_nearest_wrong_ones_inside_window_and_margin(choice: Choice, chosen: list[list[int]]) -> None:
    assert hard_negatives(CANDIDATES, SCORES, OWN, SAME, choice) == chosen


def test_a_positive_below_zero_still_keeps_its_distance() -> None:
    found = hard_negatives(
        np.array([[1, 2, 3]]),
        np.array([[-0.1, -0.205, -0.3]], np.float32),
        np.array([-0.2], np.float32),
        np.zeros((1, 3), bool),
        Choice(3, relative_margin=0.05),
    )
    assert found == [[3]]  # below -0.21


def test_a_score_that_is_no_number_lets_nothing_pass() -> None:
    assert hard_negatives(CANDIDATES, SCORES, np.array([np.nan, 0.5], np.float32), SAME, Choice())[0] == []


@given(st.data())
def test_whatever_comes_in_only_what_may_be_chosen_comes_out(data: st.DataObject) -> None:
    n, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    candidates = rng.integers(-1, 8, (n, k))
    scores = -np.sort(-rng.uniform(-1, 1, (n, k)).astype(np.float32), axis=1)
    own, same = rng.uniform(-1, 1, n).astype(np.float32), rng.random((n, k)) < 0.3
    first = data.draw(st.integers(1, 6))
    choice = Choice(data.draw(st.integers(1, 5)), (first, first + data.draw(st.integers(0, 6))), 0.1)
    for row, found in enumerate(hard_negatives(candidates, scores, own, same, choice)):
        expected: list[int] = []
        seen, rank = {-1}, 0
        for column, candidate in enumerate(candidates[row]):
            is_wrong = candidate >= 0 and not same[row, column]
            rank += is_wrong
            near = scores[row, column] > own[row] - np.float32(0.1) * abs(own[row])
            inside = choice.window[0] <= rank <= choice.window[1]
            if is_wrong and inside and not near and candidate not in seen:
                expected.append(candidate)
            seen.add(candidate)
        assert found == expected[: choice.count]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "--negatives 0"),
        ({"window": (0, 5)}, "--rank-window 0:5"),
        ({"window": (5, 4)}, "--rank-window 5:4"),
        ({"relative_margin": 1.5}, "--relative-margin 1.5"),
        ({"relative_margin": float("nan")}, "--relative-margin nan"),
    ],
)
def test_a_choice_out_of_range_is_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Choice(**wrong)


# --- the command ---

app = typer.Typer()
app.command()(mine)


def run(*arguments: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu", "--json"])
    if done.exception:
        raise done.exception
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def pictures(tmp_path: Path, encoder: DualEncoder, colour_pairs: Callable[[int], Path]) -> Path:
    """The CSV of 24 pairs, indexed as collection "images" in tmp_path / "data"."""
    pairs = colour_pairs(24)
    with open_or_create(tmp_path / "data", "images", encoder) as collection:
        index_folders(collection, encoder, [pairs.parent])
    return pairs


def test_the_negatives_are_the_captions_of_the_nearest_wrong_images(
    pictures: Path, encoder: DualEncoder, tmp_path: Path
) -> None:
    out = pictures.with_name("mined.jsonl")
    summary = run(pictures, "--out", out, "--data", tmp_path / "data", "--negatives", 2, "--rank-window", "2:9")
    pairs = read_pairs(pictures).pairs
    images = encoder.encode_images([str(pair.image) for pair in pairs])
    texts = encoder.encode_texts([pair.captions[0] for pair in pairs])
    scores = texts @ images.T
    expected = []
    for i, row in enumerate(scores):
        others = [j for j in np.argsort(-row, kind="stable") if j != i][1:9]
        passing = [pairs[j].captions[0] for j in others if row[j] <= row[i] - 0.05 * abs(row[i])]
        expected.append(passing[:2])
    assert [row["negative"] for row in rows_of(out)] == expected
    assert [(row["image"], row["title"]) for row in rows_of(out)] == [
        (f"{i}.png", pair.captions[0]) for i, pair in enumerate(pairs)
    ]
    lengths = list(map(len, expected))
    assert sum(lengths) > 0
    assert summary == {
        "out": str(out),
        "pairs": 24,
        "with_negatives": sum(map(bool, lengths)),
        "mean_negatives": round(sum(lengths) / 24, 3),
        "not_in_collection": 0,
        "without_caption": 0,
        "without_image": 0,
        "left_out": [],
        "cut_texts": 0,
    }


def test_training_reads_what_was_mined(pictures: Path, tmp_path: Path) -> None:
    """From another folder too, whether or not the pairs name their images from a root."""
    (tmp_path / "elsewhere").mkdir()
    for out, root in (
        (pictures.with_name("mined.jsonl"), None),
        (tmp_path / "elsewhere" / "mined.jsonl", None),
        (tmp_path / "elsewhere" / "rooted.jsonl", pictures.parent),
    ):
        rooted = ("--images-root", root) if root else ()
        run(pictures, "--out", out, "--data", tmp_path / "data", "--relative-margin", 0, *rooted)
        before = read_pairs(pictures, images_root=root).pairs
        after = read_pairs(out, Keys.of(negative="negative"), images_root=root).pairs
        assert [(pair.image.resolve(), pair.captions) for pair in after] == [
            (pair.image.resolve(), pair.captions) for pair in before
        ]
        assert any(pair.negatives for pair in after)
        beside = root is not None or out.parent == pictures.parent
        assert [Path(row["image"]).is_absolute() for row in rows_of(out)] == [not beside] * len(after)


def test_what_shares_a_caption_is_no_negative(pictures: Path, encoder: DualEncoder, tmp_path: Path) -> None:
    """Same texts but for case and spacing; and an image with two captions is right for both."""
    images = encoder.encode_images([str(pair.image) for pair in read_pairs(pictures).pairs])
    query = encoder.encode_texts(["a cat", "A dog"]).sum(axis=0)
    order = [f"{i}.png" for i in np.argsort(-(images @ query))]  # so that the first scores above all others
    texts: list[object] = [["a cat", "A dog"], *["a dog"] * 7, *["A  cat", "a CAT "] * 3]
    texts += [f"thing {i % 3}" for i in range(len(order) - len(texts))]
    table = pictures.with_name("shared.jsonl")
    rows = [{"file": name, "text": text} for name, text in zip(order, texts, strict=True)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = pictures.with_name("mined.jsonl")
    keys = ("--image-key", "file", "--caption-key", "text", "--negatives", 9, "--relative-margin", 0)
    run(table, "--out", out, "--data", tmp_path / "data", *keys)
    mined = rows_of(out)
    assert mined[0] | {"negative": None} == {"file": order[0], "text": ["a cat", "A dog"], "negative": None}
    assert sorted(mined[0]["negative"]) == ["thing 0", "thing 1", "thing 2"]
    for row in mined[1:]:
        assert text_key(row["text"]) not in map(text_key, row["negative"])
        assert len(set(row["negative"])) == len(row["negative"])


def test_what_shares_a_label_is_no_negative(pictures: Path, tmp_path: Path) -> None:
    """The label is written through; a pair without one has all others for negatives."""
    names = [line.split(",")[0] for line in pictures.read_text().splitlines()[1:]]
    labels = [None if i == 0 else f"kind {i % 2}" for i in range(len(names))]
    table = pictures.with_name("labelled.jsonl")
    rows = [
        {"image": name, "title": f"text {i}", "kind": label}
        for i, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = pictures.with_name("mined.jsonl")
    wide = ("--negatives", 99, "--relative-margin", 0, "--rank-window", "1:99")
    asked = ("--out", out, "--data", tmp_path / "data")
    run(table, *asked, *wide)
    unlabelled = rows_of(out)
    assert "kind" not in unlabelled[0]
    run(table, *asked, *wide, "--label-key", "kind")
    label_of = {row["title"]: row["kind"] for row in rows}
    mined = rows_of(out)
    for row, label, before in zip(mined, labels, unlabelled, strict=True):
        assert row["kind"] == label
        assert row["negative"] == [text for text in before["negative"] if label is None or label_of[text] != label]
    assert sum(len(row["negative"]) for row in mined) < sum(len(row["negative"]) for row in unlabelled)
    # At most 13 are wrong for a pair with a label: a window of 13 has them all, if none of its own label takes a rank.
    run(table, *asked, *wide[:-1], "1:13", "--label-key", "kind")
    assert rows_of(out)[1:] == mined[1:]
    after = read_pairs(out, Keys.of(label="kind", negative="negative")).pairs
    assert [pair.label for pair in after] == labels


def test_a_window_beyond_the_collection_is_all_of_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--data", tmp_path / "data", "--negatives", 99, "--rank-window")
    out, other = pictures.with_name("mined.jsonl"), pictures.with_name("other.jsonl")
    run(pictures, "--out", out, *asked, "1:24")
    run(pictures, "--out", other, *asked, "1:1000000000000000000000")
    assert rows_of(out) == rows_of(other)
    assert any(row["negative"] for row in rows_of(out))
    # Where a batch would have too many hits for the memory, it is cut: to 2 pairs and to 1.
    for hits in (50, 7):
        monkeypatch.setattr(mining, "HITS", hits)
        run(pictures, "--out", other, *asked, "1:100000000")
        assert [row["title"] for row in rows_of(other)] == [row["title"] for row in rows_of(out)]
        assert [row["negative"] for row in rows_of(other)] == [row["negative"] for row in rows_of(out)]


@pytest.mark.parametrize("name", ["pairs.jsonl", "deep/../pairs.jsonl", "link.jsonl"])
def test_the_table_itself_is_never_overwritten(name: str, pictures: Path, tmp_path: Path) -> None:
    table = pictures.with_name("pairs.jsonl")
    table.write_text('{"image": "0.png", "title": "red"}\n')
    pictures.with_name("deep").mkdir()
    pictures.with_name("link.jsonl").symlink_to(table)
    with pytest.raises(InputError, match="the table of pairs itself; give another name"):
        run(table, "--out", pictures.parent / name, "--data", tmp_path / "data")
    assert table.read_text() == '{"image": "0.png", "title": "red"}\n'


def test_what_is_written_is_named_json_lines(pictures: Path, tmp_path: Path) -> None:
    before = pictures.read_text()
    other = pictures.with_name("other.jsonl")
    other.write_text('{"image": "0.png", "title": "mine"}\n')
    for out, message in (
        (pictures, r"is JSON Lines; give a name that ends so: .*\.jsonl"),
        (pictures.with_name("mined"), "give a name that ends so: mined.jsonl"),
        (other, "is there already, and was not mined; choose another name"),
        (pictures.parent, r"a folder; name a file in it, as in .*/mined\.jsonl"),
    ):
        with pytest.raises(InputError, match=message):  # before any work: there is no such collection to open
            run(pictures, "--out", out, "--data", tmp_path / "nowhere")
    assert (pictures.read_text(), "mine" in other.read_text()) == (before, True)


def test_pairs_that_are_not_indexed_are_kept_and_counted(pictures: Path, tmp_path: Path) -> None:
    plain_picture("red", 77).save(tmp_path / "new.png")
    with pictures.open("a") as file:
        file.write(f"{tmp_path / 'new.png'},a new red one\n,no image\n3.png,\n")
    out = pictures.with_name("mined.jsonl")
    summary = run(pictures, "--out", out, "--data", tmp_path / "data")
    assert (summary["pairs"], summary["not_in_collection"]) == (25, 1)
    assert (summary["without_caption"], summary["without_image"]) == (1, 1)
    last = rows_of(out)[-1]
    assert last == {"image": str(tmp_path / "new.png"), "title": "a new red one", "negative": []}
    assert not any("a new red one" in row["negative"] for row in rows_of(out))
    said = CliRunner().invoke(app, [str(pictures), "--out", str(out), "--data", str(tmp_path / "data")])
    assert "25 pairs" in said.stdout
    assert said.stderr.endswith(f"\nglimpse train {out} --negative-key negative learns from them\n")
    assert f"; 1 are not in collection images, so they have none, the first: {tmp_path / 'new.png'}" in said.stdout
    assert "left out: 1 of 27 rows without caption, the first: 3.png (line 28)\n" in said.stderr
    assert "left out: 1 of 27 rows whose image is not there, the first: no name (line 27)\n" in said.stderr


def test_images_that_no_pair_names_stand_in_nobodys_way(pictures: Path, tmp_path: Path) -> None:
    """They have no caption to lend, so they take no rank either."""
    lines = pictures.read_text().splitlines(keepends=True)
    few = pictures.with_name("few.csv")
    few.write_text("".join(lines[:4]))
    out = pictures.with_name("mined.jsonl")
    run(few, "--out", out, "--data", tmp_path / "data", "--rank-window", "1:2", "--relative-margin", 0)
    captions = {line.strip().split(",")[1] for line in lines[1:4]}
    mined = rows_of(out)
    assert any(row["negative"] for row in mined)
    assert all(set(row["negative"]) <= captions - {row["title"]} for row in mined)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rank-window", "five"), "--rank-window five: give first and last rank"),
        (("--rank-window", "0:5"), "--rank-window 0:5"),
        (("--negatives", "0"), "--negatives 0"),
        (("--out", "nowhere/mined.jsonl"), "no such folder"),
        (("--caption-key", "text"), 'no column "text"'),
        (("--caption-key", ""), '--caption-key "" names no column'),
        (("--caption-key", " , "), '--caption-key " , " names no column'),
        (("--label-key", "kind"), 'no column "kind"'),
        (("--label-key", ""), 'no column ""'),
        (("--collection", "gone"), "no collection 'gone'"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str, pictures: Path, tmp_path: Path) -> None:
    out = pictures.with_name("mined.jsonl")
    with pytest.raises(GlimpseError, match=message):
        run(pictures, "--out", out, "--data", tmp_path / "data", *arguments)
    assert not out.exists()


def test_another_model_or_other_images_are_refused(pictures: Path, tiny_config: Path, tmp_path: Path) -> None:
    from encoder.model.load import build_clip
    from training.records.checkpoint import save_model

    out = pictures.with_name("mined.jsonl")
    save_model(tmp_path / "other", build_clip(tiny_config))
    with pytest.raises(ModelMismatch):
        run(pictures, "--out", out, "--data", tmp_path / "data", "--model", tmp_path / "other")
    plain_picture("red").save(tmp_path / "lone.png")
    (tmp_path / "lone.csv").write_text("image,title\nlone.png,red\n")
    with pytest.raises(InputError, match=r"none of the images of .*lone.csv; index them first"):
        run(tmp_path / "lone.csv", "--out", out, "--data", tmp_path / "data")
