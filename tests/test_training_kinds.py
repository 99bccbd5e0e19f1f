"""Whole runs of every kind: each loss, each source of pairs, adapters, locked towers, all on real small pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import COLOURS, plain_picture

from base.errors import InputError, TrainingError
from encoder.model.load import build_clip, load_clip, load_encoder
from training.config import LOSSES, TrainConfig
from training.data.pairs import Pair
from training.evaluation.metrics import mean_recall
from training.records.checkpoint import save_model
from training.records.events import Epoch, Event, Finished, Interpolated, Started, Step, Warned
from training.run.held_out import Probe
from training.run.mixture import Mixture
from training.source import open_source, without_negatives_of
from training.train import train


def settings_of(pairs: Path, tmp_path: Path, **other: Any) -> TrainConfig:
    quick = {"epochs": 2, "batch_size": 8, "lr": 1e-3, "device": "cpu", "precision": "fp32"}
    return TrainConfig(pairs=str(pairs), out=str(tmp_path / "run"), **(quick | other))


def epochs_of(events: list[Event]) -> list[Epoch]:
    return [event for event in events if isinstance(event, Epoch)]


@pytest.fixture
def coloured_folder(tmp_path: Path) -> Path:
    """Class folders of plain colours, eight pictures each."""
    for colour in ("red", "green", "blue", "yellow"):
        (tmp_path / "colours" / colour).mkdir(parents=True)
        for i in range(8):
            plain_picture(colour, 3 * i).save(tmp_path / "colours" / colour / f"{i}.png")
    return tmp_path / "colours"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_goes_down(
    loss: str, colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    pairs = colour_pairs(40)
    if loss == "nt-xent":
        pairs = pairs.parent
    events = list(train(settings_of(pairs, tmp_path, init=str(tiny_config), loss=loss, epochs=6, min_crop=0.9)))
    losses = [epoch.loss for epoch in epochs_of(events)[1:]]
    assert min(losses[2:]) < losses[0]  # type: ignore[type-var]
    assert ("view_to_view" in epochs_of(events)[-1].metrics) == (loss == "nt-xent")
    load_encoder(tmp_path / "run")


def test_class_folders_train_to_tell_classes_apart(coloured_folder: Path, tiny_config: Path, tmp_path: Path) -> None:
    config = settings_of(coloured_folder, tmp_path, folders=True, init=str(tiny_config), epochs=8, lr=3e-3)
    events = list(train(config))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert (started.n_train, started.n_val) == (28, 4)  # of each class one is held out
    assert isinstance(finished, Finished)
    assert finished.best_score >= 0.75
    assert epochs_of(events)[-1].metrics["per_class"].keys() == {"red", "green", "blue", "yellow"}


def test_shards_train_and_resume_exactly(tiny_config: Path, tmp_path: Path) -> None:
    import io

    import webdataset

    for shard in range(3):
        with webdataset.TarWriter(str(tmp_path / f"{shard:03}.tar")) as writer:
            for i in range(16):
                colour = list(COLOURS)[i % len(COLOURS)]
                picture = io.BytesIO()
                plain_picture(colour, 10 * shard + i).save(picture, "PNG")
                text = f"{colour} number {shard} {i}"
                writer.write({"__key__": f"{shard}-{i}", "png": picture.getvalue(), "txt": text})
    shards = tmp_path / "{000..002}.tar"
    whole = list(train(settings_of(shards, tmp_path / "a", init=str(tiny_config))))
    first = list(
        train(settings_of(shards, tmp_path / "b", init=str(tiny_config)), should_stop=iter([0, 0, 1]).__next__)
    )
    assert isinstance(first[-1], Finished)
    assert first[-1].stopped
    rest = list(train(TrainConfig.load(tmp_path / "b" / "run"), resume=True))
    assert [e.loss for e in first + rest if isinstance(e, Step)] == [e.loss for e in whole if isinstance(e, Step)]
    assert epochs_of(whole)[0].metrics["n_images"] == 16


def test_lora_learns_little_and_exports_a_plain_model(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    config = settings_of(colour_pairs(40), tmp_path, model=str(tiny_run), lora=4, lr=1e-2)
    events = list(train(config, should_stop=iter([0, 0, 0, 0, 0, 1]).__next__))
    started = events[0]
    assert isinstance(started, Started)
    assert started.trainable < started.parameters / 10
    rest = list(train(TrainConfig.load(Path(config.out)), resume=True))
    whole = list(train(settings_of(Path(config.pairs), tmp_path / "whole", model=str(tiny_run), lora=4, lr=1e-2)))
    assert [e.loss for e in events + rest if isinstance(e, Step)] == [e.loss for e in whole if isinstance(e, Step)]
    before, after = load_clip(tiny_run).clip.state_dict(), load_clip(Path(config.out) / "last").clip.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("in_proj_weight" in name for name in changed)
    assert not any("ln_" in name or "embedding" in name for name in changed)


def test_a_locked_tower_comes_out_as_it_went_in(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    config = settings_of(
        colour_pairs(40), tmp_path, model=str(tiny_run), lock_image=True, layer_decay=0.5, interpolate=False
    )
    list(train(config))
    before, after = load_clip(tiny_run).clip.state_dict(), load_clip(tmp_path / "run" / "last").clip.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("visual.") for name in changed)


def test_hard_negatives_and_labels_are_used(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    rows = []
    pairs = colour_pairs(40)
    for line in pairs.read_text().splitlines()[1:]:
        image, title = line.split(",")
        rows.append({"image": image, "title": title, "negative": [f"not {title}"], "colour": title.split()[0]})
    table = pairs.with_suffix(".jsonl")
    table.write_text("\n".join(json.dumps(row) for row in rows))
    seen = []
    for keys in ({}, {"negative_key": "negative"}, {"label_key": "colour"}):
        config = settings_of(table, tmp_path / f"{len(seen)}", init=str(tiny_config), epochs=1, **keys)
        seen.append(next(event.loss for event in train(config) if isinstance(event, Step)))
    assert len(set(seen)) == 3


def test_the_probe_is_measured_and_halves_the_score(
    colour_pairs: Callable[[int], Path], coloured_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    pairs = colour_pairs(40)
    plain = tmp_path / "plain"
    plain.mkdir()
    for i, colour in enumerate(COLOURS):
        plain_picture(colour, i).save(plain / f"{i}.png")
    for number, probe in enumerate((coloured_folder, plain, pairs)):
        events = list(train(settings_of(pairs, tmp_path / f"{number}", model=str(tiny_run), probe=str(probe))))
        first, *others = epochs_of(events)
        assert first.probe is not None
        assert 0 <= first.probe <= 1
        assert (first.probe == 1) == (probe == plain)  # of bare images: how much of the start's neighbourhood is left
        for epoch in others:
            assert epoch.probe is not None
            validation = mean_recall(epoch.metrics)
            assert epoch.score == pytest.approx((validation + epoch.probe) / 2)


def test_what_is_left_out_of_a_probe_of_bare_images_is_said(coloured_folder: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.mkdir()
    for i in range(2):
        plain_picture("red", i).save(probe / f"{i}.png")
    (probe / "linked").symlink_to(coloured_folder)
    config = settings_of(tmp_path, tmp_path, init="tiny", probe=str(probe), exclude=("1.png",))
    with pytest.raises(InputError, match="1 images to probe with"):
        Probe(config)
    plain_picture("red", 3).save(probe / "3.png")
    found = Probe(config)
    assert found.kind == "images"
    assert found.left_out.found == {
        "linked folders (--follow-links follows them)": (1, f"{probe}/linked"),
        "names by --exclude": (1, f"{probe}/1.png"),
    }


def test_weights_between_start_and_best_are_tried(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    config = settings_of(colour_pairs(40), tmp_path, model=str(tiny_run), epochs=3)
    events = list(train(config))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.best_epoch > 0
    [found] = [event for event in events if isinstance(event, Interpolated)]
    scores = {row["alpha"]: row["score"] for row in found.sweep}
    assert scores[0.0] == pytest.approx(epochs_of(events)[0].score)
    assert scores[1.0] == pytest.approx(epochs_of(events)[finished.best_epoch].score)
    assert finished.best_score == scores[found.alpha] == max(scores.values())  # type: ignore[type-var]
    again = list(train(TrainConfig.load(Path(config.out)), resume=True))  # a finished run is not mixed a second time
    assert not any(isinstance(event, Interpolated) for event in again)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["interpolation"]["sweep"] == found.sweep
    assert metrics["best_score"] == finished.best_score


def test_a_kill_while_the_model_is_mixed_mixes_it_once(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model": str(tiny_run), "epochs": 2, "lr": 1e-2, "val_fraction": 0.3, "warmup": 0.0}
    pairs = colour_pairs(40)
    whole = list(train(settings_of(pairs, tmp_path / "whole", **settings)))
    assert isinstance(whole[-1], Finished)
    for moment, after in enumerate((False, True)):  # before the mixture is written, and after
        config = settings_of(pairs, tmp_path / f"{moment}", **settings)

        def killed(run: Any, write: Any = Mixture.write, after: bool = after) -> None:
            if after:
                write(run)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Mixture, "write", killed)
            with pytest.raises(KeyboardInterrupt):
                list(train(config))
        rest = list(train(TrainConfig.load(Path(config.out)), resume=True))
        assert isinstance(rest[-1], Finished)
        assert rest[-1].alpha == whole[-1].alpha
        assert load_encoder(config.out).fingerprint == load_encoder(whole[-1].out).fingerprint


def test_a_start_that_changed_is_not_mixed_with(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / "start")
    config = settings_of(colour_pairs(40), tmp_path, model=str(tmp_path / "start"))
    stopped = list(train(config, should_stop=lambda: True))
    assert isinstance(stopped[-1], Finished)
    torch.manual_seed(5)
    save_model(tmp_path / "start", build_clip(tiny_config))
    events = list(train(TrainConfig.load(Path(config.out)), resume=True))
    assert any(isinstance(event, Warned) and event.message.startswith("Not mixed:") for event in events)
    assert not any(isinstance(event, Interpolated) for event in events)


def test_a_finished_model_is_not_written_over(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    config = settings_of(colour_pairs(40), tmp_path, model=str(tiny_run), epochs=1)
    list(train(config))
    shutil.rmtree(tmp_path / "run" / "last")  # to save space
    with pytest.raises(TrainingError, match="there is a run already"):
        list(train(config))
    with pytest.raises(InputError, match="is the model to start from"):
        settings_of(colour_pairs(40), tmp_path, model=config.out)


def test_a_held_out_caption_is_no_hard_negative() -> None:
    train_pairs = [Pair(Path("1"), ("a",), negatives=("B", "c")), Pair(Path("2"), ("d",))]
    kept = without_negatives_of(train_pairs, [Pair(Path("3"), ("b",))])
    assert [pair.negatives for pair in kept] == [("c",), ()]


def test_an_epoch_of_unreadable_images_ends_the_run(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    config = settings_of(colour_pairs(40), tmp_path, init=str(tiny_config))
    for pair in open_source(config).train:
        Path(str(pair.image)).write_bytes(b"broken")
    with pytest.raises(
        TrainingError,
        match=r"epoch 1 trained on nothing, since 3\d images could not be read; the first: .*png: not an image",
    ):
        list(train(config))


def test_other_images_in_the_probe_are_refused_on_resume(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for i, colour in enumerate(COLOURS):
        plain_picture(colour, i).save(plain / f"{i}.png")
    config = settings_of(colour_pairs(40), tmp_path, model=str(tiny_run), probe=str(plain))
    list(train(config, should_stop=lambda: True))
    (plain / "0.png").unlink()
    with pytest.raises(InputError, match="not the images that the run was begun with"):
        list(train(TrainConfig.load(Path(config.out)), resume=True))


def test_patience_ends_a_run_that_gets_no_better(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    config = settings_of(colour_pairs(40), tmp_path, model=str(tiny_run), epochs=20, lr=1e-9, warmup=0.0, patience=2)
    events = list(train(config))
    assert len(epochs_of(events)) == 3
    assert isinstance(events[-1], Finished)


def test_training_without_negatives_collapses_and_says_so(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    config = settings_of(
        colour_pairs(40), tmp_path, init=str(tiny_config), loss="contrastive", margin=0.0, epochs=6, lr=3e-3
    )
    events = list(train(config))
    warnings = [event.message for event in events if isinstance(event, Warned)]
    assert any(message.startswith("Collapse:") for message in warnings), warnings
    assert any(
        w.startswith("Collapse:") for w in json.loads((tmp_path / "run" / "metrics.json").read_text())["warnings"]
    )
    assert "Collapse:" in (tmp_path / "run" / "report.html").read_text()


def test_with_negatives_the_same_run_does_not_collapse(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    events = list(train(settings_of(colour_pairs(40), tmp_path, init=str(tiny_config), epochs=6, lr=3e-3)))
    assert not [event.message for event in events if isinstance(event, Warned) and "Collapse" in event.message]


def test_a_run_that_ends_below_its_start_says_so(
    colour_pairs: Callable[[int], Path], coloured_folder: Path, tiny_config: Path, tmp_path: Path
) -> None:
    good = settings_of(coloured_folder, tmp_path / "good", folders=True, init=str(tiny_config), epochs=8, lr=3e-3)
    list(train(good))
    wreck = settings_of(
        coloured_folder, tmp_path, folders=True, model=good.out, epochs=1, lr=5.0, warmup=0.0, grad_clip=1e6
    )
    events = list(train(wreck))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.best_epoch == 0
    warnings = json.loads((tmp_path / "run" / "metrics.json").read_text())["warnings"]
    assert any(message.startswith("Worse than the start:") for message in warnings)
    assert any(isinstance(event, Warned) and event.message.startswith("Worse than") for event in events)
    assert load_encoder(tmp_path / "run").fingerprint == load_encoder(good.out).fingerprint


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"loss": "nce"}, "choose info-nce"),
        ({"margin": 0.5}, "--margin needs --loss contrastive or triplet"),
        ({"loss": "triplet", "temperature": 0.1}, "--temperature needs"),
        ({"loss": "siglip", "hardness": 1.0}, "--hardness needs an InfoNCE loss"),
        ({"unlocked_groups": 2}, "--unlocked-groups needs --lock-image"),
        ({"lora": 4}, "--lora needs --model"),
        ({"lock_image": True, "lock_text": True}, "nothing to train"),
        ({"loss": "nt-xent", "lock_image": True}, "nothing to train"),
        ({"chunk_size": 0}, "--chunk-size 0 is out of range"),
        ({"lr": float("inf")}, "--lr inf is out of range"),
        ({"mining": "batch-hard"}, "--mining needs --loss triplet"),
        ({"templates": ("a {}",)}, "--template needs class folders, by --folders"),
        ({"label_key": "x", "multi_positive": False}, "--label-key needs"),
    ],
)
def test_settings_that_do_not_go_together_name_the_remedy(wrong: dict[str, Any], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        TrainConfig(pairs="x", out="y", init="z", **wrong)


def test_more_groups_than_a_tower_has_are_refused(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    config = settings_of(colour_pairs(40), tmp_path, model=str(tiny_run), lock_image=True, unlocked_groups=9)
    with pytest.raises(InputError, match="the image tower has 3 layers"):
        list(train(config))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_images_alone_names_what_can_be_done(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises((InputError, TrainingError), match="--loss nt-xent"):
        list(train(settings_of(colour_pairs(20).parent, tmp_path, init=str(tiny_config))))
