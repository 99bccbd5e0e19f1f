"""What a run is measured on: held out by the user, kept apart from what it trains on, and written down for others."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_world import COLOURS, plain_picture

from base.errors import InputError, TrainingError
from encoder.model.load import load_encoder
from glimpse.cli import perform
from training.config import TrainConfig
from training.records.events import Epoch, Event, Finished, Started, Warned
from training.run.held_out import measure
from training.run.held_out_table import read_held_out
from training.run_folder import HELD_OUT
from training.source import open_source
from training.train import train


def settings_of(pairs: Path | str, out: Path, **other: Any) -> TrainConfig:
    quick = {"epochs": 1, "batch_size": 4, "device": "cpu", "precision": "fp32"}
    return TrainConfig(pairs=str(pairs), out=str(out), **(quick | other))


def class_folders(folder: Path, shades: range) -> Path:
    for colour in ("red", "green", "blue"):
        (folder / colour).mkdir(parents=True)
        for shade in shades:
            plain_picture(colour, 3 * shade).save(folder / colour / f"{shade}.png")
    return folder


def table_of(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "title"), *rows])
    return path


def as_excel_saves_it(path: Path) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)


def before_training(events: list[Event]) -> dict[str, Any]:
    return next(event.metrics for event in events if isinstance(event, Epoch))


def test_any_model_is_measured_on_what_a_run_holds_out(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    events = list(train(settings_of(colour_pairs(60), run, model=str(tiny_run), val_fraction=0.3)))
    config, held_out = read_held_out(run)
    assert held_out.pairs == open_source(config).val
    assert not perform(["eval", "--model", str(tiny_run), "--split", str(run), "--device", "cpu", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["n_images"] == len(held_out.pairs)
    assert said["text_to_image"] == before_training(events)["text_to_image"]
    as_excel_saves_it(run / "held_out.csv")
    assert read_held_out(run)[1].pairs == held_out.pairs


@pytest.mark.parametrize("kind", ["folders", "folders in Latin-1", "images", "images in Latin-1", "captions", "labels"])
def test_what_is_written_down_measures_as_the_run_did(kind: str, tiny_run: Path, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", range(6))
    if "Latin-1" in kind:
        for path in folder.rglob("*.png"):
            os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/caf\xe9 " + os.fsencode(path.name))  # noqa: PTH104
    source, other = folder, {"folders": True} if "folders" in kind else {"loss": "nt-xent"}
    if kind in ("captions", "labels"):
        source = tmp_path / "pairs.jsonl"
        rows = [
            {"image": f"photos/{path.parent.name}/{path.name}", "kind": path.parent.name,
             "text": [f'a "{path.parent.name}", number {path.stem}', f"{path} ,; \u202e\u05d0"]}
            for path in sorted(folder.rglob("*.png"))
        ]  # fmt: skip
        source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        other = {"caption_key": "text"} | ({"label_key": "kind"} if kind == "labels" else {})
    config = settings_of(source, tmp_path / "run", model=str(tiny_run), val_fraction=0.4, **other)
    events = list(train(config))
    config, held_out = read_held_out(tmp_path / "run")
    metrics, _, _ = measure(load_encoder(tiny_run, "cpu", "fp32"), held_out.pairs, config)
    assert metrics == before_training(events)


@pytest.mark.parametrize("root", ["now", "now/photos", "now/photos/all"])
def test_images_that_were_moved_are_measured_where_they_are_now(
    root: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "before" / "photos" / "all", range(6))
    (folder / "red").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    config = settings_of(folder, tmp_path / "run", model=str(tiny_run), val_fraction=0.4, folders=True)
    events = list(train(config))
    (tmp_path / "before").rename(tmp_path / "now")
    asked = ["eval", "--model", str(tiny_run), "--split", str(tmp_path / "run"), "--device", "cpu", "--json"]
    with pytest.raises(InputError, match=r"none of its \d images is where it was, the first: .* --images-root DIR"):
        perform(asked)
    assert not perform([*asked, "--images-root", str(tmp_path / root)])
    said, measured = json.loads(capsys.readouterr().out), before_training(events)
    assert (said["n_images"], said["top1"]) == (measured["n_images"], measured["top1"])
    with (tmp_path / "run" / HELD_OUT).open("a") as table:  # by hand
        table.write("no.png,,red\n,,red\n")
    assert not perform([*asked, "--images-root", str(tmp_path / root)])
    assert json.loads(capsys.readouterr().out)["n_images"] == measured["n_images"]


def write_shards(folder: Path, n: int = 3) -> None:
    import webdataset

    folder.mkdir(exist_ok=True)
    for shard in range(n):
        with webdataset.TarWriter(str(folder / f"{shard}.tar")) as writer:
            for i, colour in enumerate(list(COLOURS)[:6]):
                picture = io.BytesIO()
                plain_picture(colour, 10 * shard + i).save(picture, "PNG")
                writer.write({"__key__": f"{shard}-{i}", "png": picture.getvalue(), "txt": f"{colour} {shard} {i}"})


def test_what_is_held_out_of_shards_is_found_again(tiny_run: Path, tmp_path: Path) -> None:
    write_shards(tmp_path)
    model = str(tiny_run)
    events = list(train(settings_of(tmp_path / "{0..2}.tar", tmp_path / "run", model=model)))
    config, held_out = read_held_out(tmp_path / "run")
    assert held_out.pairs == open_source(config).val
    assert before_training(events)["n_images"] == 6
    as_excel_saves_it(tmp_path / "run" / "held_out.csv")
    assert read_held_out(tmp_path / "run")[1].pairs == held_out.pairs

    given = settings_of(tmp_path / "{0..1}.tar", tmp_path / "other", model=model, val=str(tmp_path / "2.tar"))
    started = next(iter(train(given)))
    assert isinstance(started, Started)
    assert (started.n_train, started.n_val) == (12, 6)
    with pytest.raises(InputError, match=r"1\.tar: a shard to train on and one of --val"):
        open_source(settings_of(tmp_path / "{0..1}.tar", tmp_path / "x", model=model, val=str(tmp_path / "1.tar")))


@pytest.mark.parametrize("root", ["now", "now/shards"])
def test_shards_that_were_moved_are_measured_where_they_are_now(
    root: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "before").mkdir()
    write_shards(tmp_path / "before" / "shards", 4)
    source = tmp_path / "before" / "shards" / "{0..3}.tar"
    config = settings_of(source, tmp_path / "run", model=str(tiny_run), val_fraction=0.5)
    events, held_out = list(train(config)), open_source(config).val
    (tmp_path / "before").rename(tmp_path / "now")
    run, precision = str(tmp_path / "run"), ["--device", "cpu", "--precision", "fp32"]
    asked = ["eval", "--model", str(tiny_run), "--split", run, *precision, "--json"]
    with pytest.raises(InputError, match=r"2 of its 2 shards are not where they were, the first: .* --images-root DIR"):
        perform(asked)
    with pytest.raises(InputError, match=f"2 of its 2 shards are not in {run}, the first: "):
        perform([*asked, "--images-root", run])
    assert not perform([*asked, "--images-root", str(tmp_path / root)])
    said, measured = json.loads(capsys.readouterr().out), before_training(events)
    assert said["n_images"] == measured["n_images"] == 12
    assert read_held_out(Path(run), tmp_path / root)[1].pairs == held_out


def test_images_that_are_held_out_are_not_trained_on(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    pairs = colour_pairs(20)
    images = pairs.parent
    (images / "copy.png").write_bytes((images / "3.png").read_bytes())
    rows = [("1.png", "one of its own"), ("copy.png", "RED  picture number 0"), ("gone.png", "x")]
    held_out = table_of(images / "val.csv", rows)
    config = settings_of(pairs, tmp_path / "run", model=str(tiny_run), val=str(held_out))
    source = open_source(config)
    assert source.n_train == 18
    assert {pair.image.name for pair in source.val if isinstance(pair.image, Path)} == {"1.png", "copy.png"}
    [left_out] = source.left_out.lines()
    assert left_out == f"2 images to train on that --val holds out too, the first: {images / '1.png'}"
    assert list(source.told) == [
        "Held-out set not whole: 1 of 3 rows whose image is not there, the first: gone.png (line 4).",
        "Captions on both sides: 1 of 2 held-out captions are trained on too, beside other images; the first: "
        "RED picture number 0.",
    ]
    events = list(train(config))
    few = "Few held out: 2 can hardly tell one epoch from another; give more pairs, or a larger set for --val."
    assert {*source.told, few} <= {event.message for event in events if isinstance(event, Warned)}
    assert before_training(events)["n_images"] == 2


def test_classes_are_held_out_by_folders_of_their_own(tiny_run: Path, tmp_path: Path) -> None:
    train_folder, val_folder = class_folders(tmp_path / "train", range(4)), class_folders(tmp_path / "val", range(4, 6))
    config = settings_of(train_folder, tmp_path / "run", model=str(tiny_run), folders=True, val=str(val_folder))
    source = open_source(config)
    assert (source.n_train, len(source.val), list(source.told)) == (12, 6, [])
    assert before_training(list(train(config)))["n_images"] == 6


def test_a_split_that_cannot_be_used_says_why(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    pairs = colour_pairs(8)
    with pytest.raises(TrainingError, match=r"holds out all images of .*; give it others"):
        open_source(settings_of(pairs, tmp_path / "run", model=str(tiny_run), val=str(pairs)))
    with pytest.raises(InputError, match="leave out one of them"):
        settings_of(pairs, tmp_path / "run", model=str(tiny_run), val=str(pairs), val_fraction=0.2)
    with pytest.raises(InputError, match="cannot be read as a table"):
        open_source(settings_of(pairs, tmp_path / "run", model=str(tiny_run), val=str(tmp_path / "none.csv")))
    with pytest.raises(TrainingError, match=r"not a training run; there is no .*/train_config.json$"):
        read_held_out(tmp_path)
    with pytest.raises(TrainingError, match=r"not a training run; there is no .*/train_config.json$"):
        read_held_out(pairs)  # its table in place of the folder
    (tmp_path / "old").mkdir()
    settings_of(pairs, tmp_path / "old", model=str(tiny_run)).save(tmp_path / "old")
    with pytest.raises(TrainingError, match="was begun before runs wrote down what they hold out"):
        read_held_out(tmp_path / "old")


def test_an_epoch_that_was_stopped_counts_its_time_from_its_beginning(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that a step moves by a second, and looking at it by next to nothing."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1e-4
        return now[0]

    monkeypatch.setattr("training.train.time.perf_counter", clock)

    def run(config: TrainConfig, *, steps: int, resume: bool = False) -> list[Event]:
        asked = [0]

        def should_stop() -> bool:
            now[0] += 1
            asked[0] += 1
            return asked[0] == steps

        return list(train(config, resume=resume, should_stop=should_stop))

    config = settings_of(colour_pairs(40), tmp_path / "run", model=str(tiny_run))
    stopped = run(config, steps=6)
    assert isinstance(stopped[-1], Finished)
    assert stopped[-1].stopped
    now[0] += 3600  # the night in between
    resumed = run(TrainConfig.load(tmp_path / "run"), steps=-1, resume=True)
    [epoch] = [event for event in resumed if isinstance(event, Epoch)]
    assert epoch.seconds == pytest.approx(9, abs=0.1)
