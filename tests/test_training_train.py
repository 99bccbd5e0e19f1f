"""The loop: learns, measures itself from the first moment, resumes exactly, never leaves a folder without a model."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from base.errors import InputError, TrainingError
from base.read_ahead import one_ahead
from encoder.model.load import build_clip, load_clip, load_encoder
from training.config import TrainConfig
from training.data.loader import Batch
from training.loss.objective import INFO_NCE
from training.model.optim import MAX_LOGIT_SCALE, adamw, clamp_logit_scale, lr_at
from training.records.checkpoint import save_model
from training.records.events import Epoch, Finished, Started, Step
from training.step import Inputs, Stepper
from training.train import train


@pytest.fixture
def config(colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        pairs=str(colour_pairs(72)),
        out=str(tmp_path / "run"),
        init=str(tiny_config),
        epochs=3,
        batch_size=16,
        lr=1e-3,
        device="cpu",
        precision="fp32",
    )


def losses(events: list[object]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def test_a_run_learns_and_leaves_a_model(config: TrainConfig) -> None:
    events = list(train(config))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert (started.n_train, started.n_val, started.steps) == (65, 7, 12)
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [event.epoch for event in epochs] == [0, 1, 2, 3]
    assert epochs[0].loss is None
    assert losses(events)[-1] < losses(events)[0]
    assert isinstance(finished, Finished)
    assert not finished.stopped
    assert finished.best_score == max(event.score for event in epochs)

    out = Path(config.out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert [record["epoch"] for record in metrics["epochs"]] == [0, 1, 2, 3]
    assert metrics["best_epoch"] == finished.best_epoch
    assert TrainConfig.load(out) == config
    best, last = load_encoder(out), load_encoder(out / "last")
    assert best.dim == 32
    assert (best.fingerprint == last.fingerprint) == (finished.best_epoch == 3)


def test_a_fine_tuning_with_the_sigmoid_loss_goes_on_exactly(
    config: TrainConfig, tiny_run: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, init=None, model=str(tiny_run), loss="siglip", epochs=2)
    whole = list(train(dataclasses.replace(config, out=str(tmp_path / "whole"))))
    stop = iter([False] * 5 + [True] * 9)
    list(train(config, should_stop=lambda: next(stop)))
    list(train(TrainConfig.load(Path(config.out)), resume=True))
    stopped, at_once = (
        [json.loads(line)["loss"] for line in (Path(out) / "log.jsonl").read_text().splitlines() if "grad_norm" in line]
        for out in (config.out, tmp_path / "whole")
    )
    assert stopped == at_once
    encoder = load_encoder(config.out)
    assert encoder.fingerprint == load_encoder(tmp_path / "whole").fingerprint
    assert encoder.logit_bias is not None
    assert encoder.logit_bias not in (0.0, -10.0)
    assert max(event.loss for event in whole if isinstance(event, Step)) < 8  # guessing costs 4


@pytest.mark.parametrize("stop_after", [2, 4, 6])
def test_a_stopped_run_goes_on_exactly(config: TrainConfig, stop_after: int, tmp_path: Path) -> None:
    whole = list(train(dataclasses.replace(config, out=str(tmp_path / "whole"))))

    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_after

    first = list(train(config, should_stop=stop))
    assert isinstance(first[-1], Finished)
    assert first[-1].stopped
    load_encoder(config.out)  # a stopped run has a model already
    rest = list(train(TrainConfig.load(Path(config.out)), resume=True))
    assert losses(first) + losses(rest) == losses(whole)
    assert load_encoder(config.out).fingerprint == load_encoder(tmp_path / "whole").fingerprint
    epoch_losses = [e.loss for e in first + rest if isinstance(e, Epoch)]
    assert epoch_losses == [e.loss for e in whole if isinstance(e, Epoch)]


def test_batches_made_ahead_of_a_gpu_are_those_of_a_run_without(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tokens included: here they are made beside the step on a processor too."""
    config = dataclasses.replace(config, epochs=2)
    (Path(config.pairs).parent / "0.png").write_bytes(b"broken")
    threads: set[str] = set()
    inputs = Stepper.inputs

    def watched(stepper: Stepper, batch: Batch) -> Inputs:
        threads.add(threading.current_thread().name)
        return inputs(stepper, batch)

    monkeypatch.setattr(Stepper, "inputs", watched)
    whole = list(train(dataclasses.replace(config, out=str(tmp_path / "whole"))))
    assert threads == {"MainThread"}
    monkeypatch.setattr("training.train.one_ahead", lambda items, overlap: one_ahead(items, overlap=True))
    assert losses(list(train(config))) == losses(whole)
    assert threads == {"MainThread", "ahead_0"}


def test_fine_tuning_starts_from_the_model_and_measures_it_first(config: TrainConfig, tiny_run: Path) -> None:
    tuned = dataclasses.replace(config, init=None, model=str(tiny_run), lr=None, epochs=1)
    assert tuned.peak_lr == 1e-5
    events = list(train(tuned))
    baseline = next(event for event in events if isinstance(event, Epoch))
    assert baseline.epoch == 0
    assert baseline.loss is None


def test_a_run_that_only_gets_worse_keeps_the_model_it_began_with(config: TrainConfig) -> None:
    good = f"{config.out} of before"
    list(train(dataclasses.replace(config, out=good, epochs=6)))
    wrecked = dataclasses.replace(config, init=None, model=good, epochs=1, lr=5.0, warmup=0.0)
    finished = list(train(wrecked))[-1]
    assert isinstance(finished, Finished)
    assert finished.best_epoch == 0
    assert load_encoder(config.out).fingerprint == load_encoder(good).fingerprint


def test_a_loss_that_is_not_finite_stops_the_run(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INFO_NCE, "info-nce", lambda images, texts, scale, **_: (images.sum() + texts.sum()) * math.nan)
    with pytest.raises(TrainingError, match=r"not finite at step 1 \(epoch 1, batch 1 of 4\).*lower --lr"):
        list(train(config))
    load_encoder(config.out)  # the last good state: the start


def test_a_folder_in_use_is_not_written_over(config: TrainConfig) -> None:
    list(train(dataclasses.replace(config, epochs=1)))
    with pytest.raises(TrainingError, match="--resume, or choose another --out"):
        list(train(config))


def test_resuming_nothing_or_something_else_is_one_line(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a training run"):
        TrainConfig.load(tmp_path / "nothing")
    list(train(dataclasses.replace(config, epochs=1)))
    other = json.loads(Path(str(config.init)).read_text())
    other["embed_dim"] = 48
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(TrainingError, match=r"not a state of this model .*size mismatch for "):
        list(train(dataclasses.replace(config, init=str(tmp_path / "other.json")), resume=True))


def test_weights_that_a_kill_cut_short_are_removed_by_the_next(tiny_config: Path, tmp_path: Path) -> None:
    """Also the file that safetensors begins, under a name of its own."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from encoder.model.load import build_clip\nfrom training.records.checkpoint import save_model\n"
        "parts = build_clip(sys.argv[1])\n"
        "while True:\n    save_model(Path(sys.argv[2]), parts)\n"
    )
    folder = tmp_path / "run"
    saving = subprocess.Popen([sys.executable, "-c", program, str(tiny_config), str(folder)])
    until = time.monotonic() + 60
    while not any(".part" not in path.name for path in folder.rglob(".*")):
        assert time.monotonic() < until
        time.sleep(0.0005)
    saving.kill()
    saving.wait()
    save_model(folder, build_clip(tiny_config))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert names == {"open_clip_config.json", "open_clip_model.safetensors"}


def test_a_run_from_before_there_was_a_choice_goes_on_by_adamw(tmp_path: Path) -> None:
    config = TrainConfig(pairs="pairs.csv", out=str(tmp_path), init="ViT-B-32")
    config.save(tmp_path)
    assert TrainConfig.load(tmp_path).used_optimizer == "muon"
    kept = json.loads((tmp_path / "train_config.json").read_text())
    del kept["optimizer"]
    (tmp_path / "train_config.json").write_text(json.dumps(kept))
    assert TrainConfig.load(tmp_path).used_optimizer == "adamw"


def test_fewer_pairs_than_a_batch_say_what_to_lower(config: TrainConfig) -> None:
    with pytest.raises(TrainingError, match="lower --batch-size to 16"):
        list(train(dataclasses.replace(config, batch_size=128)))


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 1}, {"lr": -1.0}, {"warmup": 1.0}, {"model": "x"}, {"init": None}]
)
def test_settings_out_of_range_are_refused(config: TrainConfig, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(config, **wrong)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [lr_at(step, peak=1.0, warmup_steps=10, total_steps=110) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates[109] < 0.001


def test_only_matrices_decay_and_the_scale_is_clamped(tiny_config: Path) -> None:
    clip = build_clip(tiny_config).clip
    decayed, kept = adamw(clip, lr=1e-3, weight_decay=0.2).param_groups
    names = {id(parameter): name for name, parameter in clip.named_parameters()}
    assert {names[id(p)] for p in kept["params"]} >= {"logit_scale", "positional_embedding", "visual.class_embedding"}
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert kept["weight_decay"] == 0
    assert len(decayed["params"]) + len(kept["params"]) == len(names)
    with torch.no_grad():
        clip.logit_scale.fill_(9.0)
    clamp_logit_scale(clip)
    assert clip.logit_scale.item() == pytest.approx(MAX_LOGIT_SCALE)


def test_a_gradient_that_is_not_finite_costs_no_weights(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Explode(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
            return grad * math.inf

    monkeypatch.setitem(INFO_NCE, "info-nce", lambda images, texts, scale, **_: Explode.apply(images).sum() + scale)
    with pytest.raises(TrainingError, match="gradient is not finite at step 1"):
        list(train(config))
    assert all(torch.isfinite(p).all() for p in load_clip(config.out).clip.parameters())


def test_a_run_killed_before_its_first_state_is_begun_anew(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.run.writer.save_state", killed)
        with pytest.raises(KeyboardInterrupt):
            list(train(config))
    assert isinstance(list(train(config))[-1], Finished)


def test_a_run_folder_may_be_moved_and_other_pairs_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    list(train(config, should_stop=lambda: True))
    Path(config.out).rename(tmp_path / "moved")
    moved = TrainConfig.load(tmp_path / "moved")
    assert moved.out == str(tmp_path / "moved")
    with Path(config.pairs).open("a") as file:
        file.write("0.png,another caption\n")
    with pytest.raises(TrainingError, match="not the pairs that"):
        list(train(moved, resume=True))


def test_unreadable_batches_do_not_spoil_resuming(config: TrainConfig, tmp_path: Path) -> None:
    pairs = dataclasses.replace(config, batch_size=2, epochs=1)
    for i in range(0, 72, 2):
        (Path(config.pairs).parent / f"{i}.png").write_bytes(b"broken")
    whole = list(train(dataclasses.replace(pairs, out=str(tmp_path / "whole"))))
    steps = iter(range(100))
    first = list(train(pairs, should_stop=lambda: next(steps) == 3))
    rest = list(train(TrainConfig.load(Path(pairs.out)), resume=True))
    assert losses(first) + losses(rest) == losses(whole)


def test_a_damaged_state_or_config_is_one_line(config: TrainConfig) -> None:
    list(train(config, should_stop=lambda: True))
    state = Path(config.out) / "last" / "training_state.pt"
    for content in (b"junk", state.read_bytes()[:-1000]):
        state.write_bytes(content)
        with pytest.raises(TrainingError, match=r"cut short or damaged; .* another --out; --model \S+ begins with"):
            list(train(TrainConfig.load(Path(config.out)), resume=True))
    for damaged in ("[]", "{", '{"pairs": 1}', '{"unknown": 1}'):
        (Path(config.out) / "train_config.json").write_text(damaged)
        with pytest.raises(TrainingError, match="not a training run that can be resumed"):
            TrainConfig.load(Path(config.out))


def test_a_run_of_before_a_setting_was_renamed_goes_on(config: TrainConfig) -> None:
    list(train(dataclasses.replace(config, epochs=1)))
    path = Path(config.out) / "train_config.json"
    kept = json.loads(path.read_text())
    kept["shard"] = kept.pop("fsdp")
    path.write_text(json.dumps(kept))
    assert TrainConfig.load(Path(config.out)) == dataclasses.replace(config, epochs=1)


@pytest.mark.parametrize("other", [{"folders": True, "pairs": "classes", "val": None}, {"loss": "nt-xent"}])
def test_columns_that_nobody_reads_need_no_name(config: TrainConfig, other: dict[str, Any]) -> None:
    assert dataclasses.replace(config, caption_key="", **other).keys.captions == ()


def test_a_run_folder_can_be_read_by_others_and_says_nothing_of_how_it_was_written(config: TrainConfig) -> None:
    before = os.umask(0o077)
    try:
        list(train(dataclasses.replace(config, epochs=1)))
    finally:
        os.umask(before)
    files = [path for path in Path(config.out).rglob("*") if path.is_file() and path.name != "log.jsonl"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    state = (Path(config.out) / "last" / "training_state.pt").read_bytes()
    assert b".part" not in state
