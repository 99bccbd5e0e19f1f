"""What a run notes of the tokens that it fed to the text tower, and which words its model has therefore never read."""

from __future__ import annotations

import csv
import dataclasses
import json
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from glimpse_here import ok_here
from tiny_world import COLOURS, plain_picture

from base.errors import InputError
from encoder.lazy import open_encoder
from encoder.model.load import build_clip, fingerprint, load_clip, load_encoder
from encoder.model.text import TextTower
from encoder.query import keep_towers
from encoder.towers.folder import place_of
from encoder.unread import READ_TOKENS, ReadTokens, find_unread, tokens_of, words_of
from training.config import TrainConfig
from training.evaluation.saying import what_words_say
from training.records.checkpoint import TrainState, load_state, save_model
from training.records.events import Epoch, Warned
from training.run.fed import note_what_words_say
from training.run.held_out import HeldOut
from training.run.held_out_table import read_held_out
from training.run.mixture import Mixture
from training.train import train

SUBJECTS = ("boat", "tree", "house")


def make_pairs(folder: Path, subjects: tuple[str, ...] = SUBJECTS, n: int = 66) -> Path:
    """Pictures of one colour with captions as "a red boat in the snow", and tags as "boat"."""
    folder.mkdir()
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("image", "title"))
        for i in range(n):
            colour, subject = list(COLOURS)[i // 2 % len(COLOURS)], subjects[i % len(subjects)]
            plain_picture(colour, i // len(COLOURS)).save(folder / f"{i}.png")
            rows.writerow((f"{i}.png", subject if i % 2 else f"a {colour} {subject} in the snow"))
    return folder / "pairs.csv"


@pytest.fixture
def config(tiny_config: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        pairs=str(make_pairs(tmp_path / "pairs")),
        out=str(tmp_path / "run"),
        init=str(tiny_config),
        epochs=3,
        batch_size=11,
        lr=5e-3,
        device="cpu",
        precision="fp32",
    )


def learned(config: TrainConfig) -> str:
    """The last epoch of a run; the best of one as small as this may be the one before training, which read nothing."""
    list(train(config))
    return f"{config.out}/last"


def noted(folder: str | Path) -> ReadTokens:
    read = ReadTokens.of_folder(Path(folder))
    assert read is not None
    return read


def ids_of(config: TrainConfig, *texts: str) -> set[int]:
    tokenizer = build_clip(str(config.init)).tokenizer
    return set(np.unique(tokenizer(list(texts)).numpy()).tolist())


def test_a_run_from_random_weights_notes_what_it_read(config: TrainConfig) -> None:
    list(train(config))
    read = noted(f"{config.out}/last")
    captions = [f"a {colour} boat in the snow" for colour in COLOURS]
    assert read.ids == ids_of(config, *captions, *SUBJECTS)
    names = json.loads((Path(config.out) / "last" / READ_TOKENS).read_text())
    assert names["boat</w>"][0] in read.ids

    encoder = load_encoder(f"{config.out}/last")
    found = encoder.unread_words(["a red boat", "a red spaceship, please", "Boats, BOAT & Zebra's", "", "🐈"])
    assert found.by_text == {
        "a red spaceship, please": ("spaceship", "please"),
        "Boats, BOAT & Zebra's": ("Boats", "Zebra"),
        "🐈": ("🐈",),
    }
    assert found.empty == {"🐈"}


def test_a_model_is_the_same_with_and_without_what_is_noted(config: TrainConfig) -> None:
    out = learned(config)
    encoder = load_encoder(out)
    (Path(out) / READ_TOKENS).unlink()
    old = load_encoder(out)
    assert old.fingerprint == encoder.fingerprint
    assert old.unread_words(["a spaceship"]) == find_unread(old.text.tokenize, None, ["a spaceship"])
    assert not old.unread_words(["a spaceship"]).by_text
    for damaged in ("", "{}}", '{"a": 3}', '{"a": ["x", 1]}', "[1]"):
        (Path(out) / READ_TOKENS).write_text(damaged)
        assert not load_encoder(out).unread_words(["a spaceship"]).by_text


def test_a_resumed_run_notes_what_the_whole_one_would(config: TrainConfig, tmp_path: Path) -> None:
    list(train(dataclasses.replace(config, out=str(tmp_path / "whole"))))
    stop = iter([False, True])
    list(train(config, should_stop=lambda: next(stop)))
    state = load_state(Path(config.out) / "last", lambda _: None)
    assert state.read
    list(train(TrainConfig.load(Path(config.out)), resume=True))
    assert noted(tmp_path / "whole").says
    assert noted(config.out) == noted(tmp_path / "whole")
    assert noted(f"{config.out}/last") == noted(tmp_path / "whole" / "last")


@pytest.mark.parametrize("end", ["in an epoch", "between epochs", "by a failure", "out of patience"])
def test_however_a_run_ends_its_model_comes_with_what_its_words_say(config: TrainConfig, end: str) -> None:
    config = dataclasses.replace(config, patience=1 if end == "out of patience" else None, epochs=30)
    steps = 0
    stop_at = {"in an epoch": 17, "between epochs": 18}.get(end)  # of 5 steps each

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_at

    with pytest.raises(InputError, match="none of the 8 images") if end == "by a failure" else nullcontext():
        for event in train(config, should_stop=should_stop):
            if isinstance(event, Epoch) and event.epoch == 3 and end == "by a failure":
                for pair in read_held_out(Path(config.out))[1].pairs:
                    Path(str(pair.image)).unlink()
    read = noted(config.out)
    assert read.ids, "the model of before the first step is the best one"
    assert read.says


def test_a_run_that_was_begun_before_such_notes_makes_none(config: TrainConfig) -> None:
    stop = iter([False, False, True])
    list(train(config, should_stop=lambda: next(stop)))
    file = Path(config.out) / "last" / "training_state.pt"
    state = torch.load(file, weights_only=True)
    del state["progress"]["read"]
    torch.save(state, file)
    list(train(TrainConfig.load(Path(config.out)), resume=True))
    assert not (Path(config.out) / "last" / READ_TOKENS).exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_run_from_a_run_adds_to_what_that_read(config: TrainConfig, tmp_path: Path, known: bool) -> None:
    start = learned(config)
    if not known:
        (Path(start) / READ_TOKENS).unlink()
    more = make_pairs(tmp_path / "more", ("car", "spaceship"))
    fine = learned(dataclasses.replace(config, pairs=str(more), init=None, model=start, out=str(tmp_path / "fine")))
    if not known:
        assert not list((tmp_path / "fine").rglob(READ_TOKENS))
        return
    assert noted(fine).ids == noted(start).ids | ids_of(config, "car", "spaceship")
    found = load_encoder(fine).unread_words(["a spaceship", "a boat", "a zeppelin"])
    assert found.by_text == {"a zeppelin": ("zeppelin",)}
    mixed = noted(tmp_path / "fine")  # with the start, which had read less, or more than nothing
    assert noted(start).ids <= mixed.ids <= noted(fine).ids


def test_a_locked_text_tower_learns_no_word(config: TrainConfig, tmp_path: Path) -> None:
    start = learned(config)
    more = make_pairs(tmp_path / "more", ("car", "spaceship"))
    tuned = dataclasses.replace(config, pairs=str(more), init=None, model=start, out=str(tmp_path / "fine"))
    assert noted(learned(dataclasses.replace(tuned, lock_text=True))).ids == noted(start).ids


def test_where_nothing_is_left_of_a_run_its_words_are_not_either(config: TrainConfig, tmp_path: Path) -> None:
    start = learned(config)
    more = make_pairs(tmp_path / "more", ("car", "spaceship"))
    tuned = dataclasses.replace(config, pairs=str(more), init=None, model=start, out=str(tmp_path / "fine"))
    last = load_clip(Path(learned(tuned)))
    save_model(Path(tuned.out), last)
    state = TrainState("", best_epoch=3, interpolation={"alpha": 0.0, "of": fingerprint(last)})
    Mixture(tuned, state, HeldOut([], tuned, "fp32"), torch.device("cpu")).write()
    assert load_encoder(tuned.out).fingerprint == load_encoder(start).fingerprint
    assert noted(tuned.out).ids == noted(start).ids


def test_held_out_captions_with_unread_words_are_counted(config: TrainConfig, tmp_path: Path) -> None:
    held_out = make_pairs(tmp_path / "held out", ("boat", "zeppelin"), 12)
    events = list(train(dataclasses.replace(config, val=str(held_out), epochs=1)))
    told = "Words never read: 1 of 7 held-out captions have words that the model has never read: zeppelin."
    assert [event.message for event in events if isinstance(event, Warned) and "never" in event.message] == [told]
    assert told in json.loads((Path(config.out) / "metrics.json").read_text())["warnings"]


def test_a_model_that_saw_pictures_alone_has_read_nothing(config: TrainConfig) -> None:
    list(train(dataclasses.replace(config, loss="nt-xent")))
    assert noted(config.out) == ReadTokens()
    found = load_encoder(config.out).unread_words(["a boat"])
    assert found.by_text == {"a boat": ("a", "boat")}
    assert found.empty == {"a boat"}


def test_shards_are_noted_as_they_were_fed(config: TrainConfig, tmp_path: Path) -> None:
    rows = list(csv.reader(Path(config.pairs).read_text().splitlines()))[1:]
    for shard in range(3):
        with tarfile.open(tmp_path / f"part-{shard}.tar", "w") as tar:
            for i in range(shard, len(rows), 3):
                image, title = rows[i]
                tar.add(Path(config.pairs).with_name(image), f"{i:03}.png")
                (tmp_path / "title.txt").write_text(title)
                tar.add(tmp_path / "title.txt", f"{i:03}.txt")
    list(train(dataclasses.replace(config, pairs=f"{tmp_path}/part-*.tar")))
    read = noted(f"{config.out}/last")
    fed = ids_of(config, *(f"a {colour} x in the snow" for colour in COLOURS), *SUBJECTS)
    assert ids_of(config, "a in the snow") <= read.ids <= fed


def test_towers_tell_what_torch_tells_and_so_does_an_export(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    out = learned(config)
    texts = ["a red boat", "a spaceship", "l'île & d\u2019or", "日本の猫 42", "मेरी नाव", "..."]
    expected = load_encoder(out).unread_words(texts)
    assert expected.by_text["l'île & d\u2019or"] == ("île",)
    assert expected.by_text["मेरी नाव"] == ("मेरी", "नाव")
    fingerprint = load_encoder(out).fingerprint
    keep_towers(out, fingerprint)
    assert (place_of(fingerprint) / READ_TOKENS).is_file()
    lazy = open_encoder(out)
    assert lazy.unread_words(texts) == expected

    for form in ("onnx", "hf"):
        ok_here("export", out, "--to", form, "--out", tmp_path / form)
        assert noted(tmp_path / form) == noted(out)
        assert READ_TOKENS in (tmp_path / form / "README.md").read_text()


def test_who_searched_before_the_end_of_a_run_learns_what_its_words_say(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    parts = build_clip(tiny_config)
    captions = [f"a {colour} boat" for colour in COLOURS]
    read = ReadTokens(frozenset(parts.tokenizer(captions).unique().tolist()))
    save_model(tmp_path / "run", dataclasses.replace(parts, read_tokens=read))
    model = load_encoder(tmp_path / "run").fingerprint
    keep_towers(tmp_path / "run", model)
    note_what_words_say(tmp_path / "run", captions, torch.device("cpu"))
    assert noted(tmp_path / "run").says
    assert not place_of(model).exists()


def test_a_model_that_takes_the_place_of_another_leaves_no_note_of_that(tiny_config: Path, tmp_path: Path) -> None:
    parts = build_clip(tiny_config)
    save_model(tmp_path, dataclasses.replace(parts, read_tokens=ReadTokens(frozenset([1, 320]), {320: 0.5})))
    assert load_clip(tmp_path).read_tokens == ReadTokens(frozenset([1, 320]), {320: 0.5})
    save_model(tmp_path, parts)
    assert load_clip(tmp_path).read_tokens is None


def test_what_common_words_say(tiny_config: Path) -> None:
    torch.manual_seed(0)
    tower = TextTower(build_clip(tiny_config).clip.eval(), build_clip(tiny_config).tokenizer)
    captions = [f"a {colour} boat" for colour in COLOURS] + ["tree"]
    read = frozenset(range(49408))
    says = what_words_say(tower, captions, read)
    assert says == what_words_say(tower, [*captions[::-1], "tree"], read)
    [a], [boat] = (tokens_of(tower.tokenize, read, [word])[word] for word in ("a", "boat"))
    whole, rest = tower(tower.tokenize(captions[:-1])), tower(tower.tokenize([f"a {c}" for c in COLOURS]))
    moved = 1 - torch.cosine_similarity(whole, rest)
    assert says[boat] == pytest.approx(float(moved.detach().mean()), abs=1e-3)
    assert a in says
    assert len(says) == len(COLOURS) + 2  # the tag is alone
    assert what_words_say(tower, ["tree", "boat"], read) == {}


def test_what_is_a_word() -> None:
    assert words_of("A red boat, a red boat; and 3 (three)!") == ["A", "red", "boat", "a", "and", "3", "three"]
    assert words_of("fish &amp; chips, snake_case, it's o'clock") == ["fish", "chips", "snake", "case", "clock"]
    assert words_of("don't rock'n'roll — ...") == ["don", "rock", "roll"]
    assert words_of("my🐈❤️, Lego™ 1️⃣ 👩🏽‍🚒!") == ["my", "🐈❤️", "Lego", "™", "1️⃣", "👩🏽‍🚒"]
    assert words_of("\ufe0f \u200d !") == []  # which nobody sees
    assert words_of("e\u0301te\u0301 रिक्शा") == ["e\u0301te\u0301", "रिक्शा"]
    assert words_of("") == []


def tokenizer_of_bytes(texts: list[str]) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """As GPT-2's: a word behind a space is another token than one that begins a text."""
    pieces = [text.replace(" ", "| ").split("|") for text in texts]
    return [np.array([0, *(sum(map(ord, piece)) for piece in each if piece)], np.int64) for each in pieces]


def test_a_word_counts_as_read_wherever_in_a_text_it_was() -> None:
    [caption] = tokenizer_of_bytes(["red boat"])
    read = ReadTokens(frozenset(caption.tolist()))
    found = find_unread(tokenizer_of_bytes, read, ["boat", "red", "a boat", "snow"])
    assert found.by_text == {"a boat": ("a",), "snow": ("snow",)}


def test_a_text_is_empty_when_what_was_read_of_it_says_little(config: TrainConfig) -> None:
    tokenize: Callable[[list[str]], torch.Tensor] = build_clip(str(config.init)).tokenizer
    [a], [the], [red], [boat] = (ids_of(config, word) - ids_of(config, "") for word in ("a", "the", "red", "boat"))
    read = ReadTokens(frozenset(ids_of(config, "a red boat in the snow")), {a: 0.01, the: 0.02, red: 0.3, boat: 0.5})
    texts = ["a boat", "a", "a spaceship", "the spaceship", "a red spaceship", "spaceship in it", "spaceshipboat"]
    found = find_unread(tokenize, read, texts)
    assert set(found.by_text) == set(texts[2:])
    assert found.empty == {"a spaceship", "the spaceship"}  # what "in" says was not measured
    assert found.leaves_nothing(["a spaceship"])
    assert not found.leaves_nothing(["a spaceship", "a boat"])
    assert not found.leaves_nothing([])
