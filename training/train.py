"""The training loop: fine-tunes a dual encoder on pairs, or starts one from random weights.

`train(config)` is a generator of events, so that a command line, a demo and a test can each show them their way. It
knows InfoNCE on one device; it does not print.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.device import choose_device, choose_precision
from encoder.errors import TrainingError
from encoder.load import ClipParts, build_clip, load_clip
from encoder.model import DualEncoder, Normalise, logit_scale_of
from encoder.text import TextTower
from encoder.weights import CONFIG
from training.checkpoint import STATE, TrainState, load_state, save_metrics, save_model, save_state
from training.config import TRAIN_CONFIG, TrainConfig
from training.data import Batch, Pair, PairLoader, hash_pairs, read_pairs, split_pairs
from training.evaluate import evaluate_pairs
from training.losses import info_nce
from training.metrics import mean_recall
from training.optim import adamw, clamp_logit_scale, lr_at


@dataclass(frozen=True)
class Started:
    """The plan, before the first step."""

    n_train: int
    n_val: int
    without_caption: int
    without_image: int
    parameters: int
    steps: int
    device: str
    precision: str
    resumed_at: int  # step


@dataclass(frozen=True)
class Step:
    """One optimiser step is done."""

    step: int  # from 1
    steps: int
    loss: float
    lr: float
    logit_scale: float
    samples_per_second: float


@dataclass(frozen=True)
class Epoch:
    """An epoch is done and measured on the held-out pairs; epoch 0 is the model as it was before training."""

    epoch: int
    loss: float | None
    metrics: dict[str, Any]
    mean_recall: float
    best: bool
    skipped: int  # images that could not be read
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The run is over, or was stopped and can be resumed."""

    out: str
    best_epoch: int
    best_recall: float
    stopped: bool


Event = Started | Step | Epoch | Finished


def train(
    config: TrainConfig, *, resume: bool = False, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Run a training, from the start or from where it was left.

    Args:
        config: what to do; with `resume`, what `TrainConfig.load` read from the run folder.
        resume: go on from `last/training_state.pt`, exactly as if the run had not been interrupted.
        should_stop: asked after each step; true saves the state and ends.

    Raises:
        InputError: a file of pairs that cannot be used.
        TrainingError: too few pairs, a run folder in use, or a loss that is not finite.
        ModelError: as `encoder.load.load_clip`.
    """
    out = Path(config.out)
    begun = (out / "last" / STATE).exists()  # a run that was killed before its first state is begun anew
    if not resume and (begun or ((out / CONFIG).exists() and not (out / TRAIN_CONFIG).exists())):
        raise TrainingError(f"{out}: there is a run already; continue it with --resume, or choose another --out")
    file = read_pairs(
        Path(config.pairs),
        images_root=Path(config.images_root) if config.images_root else None,
        image_key=config.image_key,
        caption_key=config.caption_key,
    )
    train_pairs, val_pairs = split_pairs(file.pairs, config.val_fraction, config.seed)
    if len(train_pairs) < config.batch_size:
        raise TrainingError(
            f"{len(train_pairs)} pairs to train on are fewer than a batch of {config.batch_size}; "
            f"lower --batch-size to {max(2, len(train_pairs) // 4)}"
        )

    torch.manual_seed(config.seed)
    parts = load_clip(config.model) if config.model is not None else build_clip(str(config.init))
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    clip = parts.clip.to(device)
    loader = PairLoader(
        train_pairs,
        parts.preprocess,
        batch_size=config.batch_size,
        seed=config.seed,
        min_crop=config.min_crop,
        overlap=device.type != "cpu",
    )
    total_steps = config.epochs * len(loader)
    optimizer = adamw(clip, lr=config.peak_lr, weight_decay=config.weight_decay)
    step = _Stepper(parts, optimizer, config, total_steps, device, precision)

    out.mkdir(parents=True, exist_ok=True)
    pairs_hash = hash_pairs(train_pairs + val_pairs)
    state = TrainState(0, 0.0, 0, best_epoch=0, best_recall=-1.0, history=[], pairs_hash=pairs_hash)
    if resume:
        state = load_state(out / "last", clip, optimizer)
        if state.pairs_hash != pairs_hash:
            raise TrainingError(
                f"{config.pairs}: not the pairs that {out} was begun with; resuming would train on what it held out. "
                f"Put them back, or fine-tune on the new ones with --model {out} and another --out"
            )
    config.save(out)
    yield Started(
        n_train=len(train_pairs),
        n_val=len(val_pairs),
        without_caption=file.without_caption,
        without_image=file.without_image,
        parameters=sum(p.numel() for p in clip.parameters()),
        steps=total_steps,
        device=str(device),
        precision=precision,
        resumed_at=state.step,
    )

    run = _Run(out, parts, optimizer, val_pairs, precision, state)
    if not state.history:
        yield run.end_epoch(0, loss=None, skipped=0, started=time.perf_counter())
    for epoch in range(len(state.history), config.epochs + 1):
        started, skipped = time.perf_counter(), 0
        clip.train()
        done = state.step - (epoch - 1) * len(loader)  # all of them, if it was stopped before the epoch was measured
        before = started
        for batch in loader.epoch(epoch, skip=done):
            skipped += batch.skipped
            if len(batch.captions) < 2:  # one pair alone has no negative
                state.step += 1
                continue
            loss, lr = step(batch, state.step)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss or its gradient is not finite at step {state.step + 1} (epoch {epoch}); the last good "
                    f"state is in {out / 'last'}. Try a lower --lr than {config.peak_lr:g}, or --precision fp32, with "
                    "another --out"
                )
            state.step += 1
            state.epoch_loss_sum += loss
            state.epoch_steps += 1
            before, since = time.perf_counter(), before
            rate = len(batch.captions) / (before - since)  # reading the images included
            yield Step(state.step, total_steps, loss, lr, logit_scale_of(clip), rate)
            if should_stop():
                save_state(out / "last", state, clip, optimizer)
                yield Finished(str(out), state.best_epoch, state.best_recall, stopped=True)
                return
        loss = state.epoch_loss_sum / max(1, state.epoch_steps)
        yield run.end_epoch(epoch, loss=loss, skipped=skipped, started=started)
    yield Finished(str(out), state.best_epoch, state.best_recall, stopped=False)


class _Stepper:
    """One optimiser step: schedule, forward, loss, backward, clip, update."""

    def __init__(
        self,
        parts: ClipParts,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        total_steps: int,
        device: torch.device,
        precision: str,
    ) -> None:
        self._clip: Any = parts.clip
        self._text = TextTower(parts.clip, parts.tokenizer)
        self._normalise = Normalise(parts.preprocess, device, torch.float32)
        self._optimizer = optimizer
        self._config = config
        self._total_steps = total_steps
        self._warmup_steps = round(config.warmup * total_steps)
        self._device = device
        self._precision = precision

    def __call__(self, batch: Batch, step: int) -> tuple[float, float]:
        """Train on one batch; the loss and the learning rate."""
        lr = lr_at(step, peak=self._config.peak_lr, warmup_steps=self._warmup_steps, total_steps=self._total_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        images = self._normalise(batch.pixels)
        tokens = self._text.tokenize(batch.captions)
        with autocast(self._device, self._precision):
            image_features, text_features = self._clip.encode_image(images), self._text(tokens)
        loss = info_nce(_unit(image_features), _unit(text_features), self._clip.logit_scale.exp())
        value = loss.item()
        if math.isfinite(value):
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self._clip.parameters(), self._config.grad_clip)
            if not torch.isfinite(norm):  # a step with it would make every weight NaN
                return math.nan, lr
            self._optimizer.step()
            clamp_logit_scale(self._clip)
        return value, lr


class _Run:
    """The end of each epoch: measure, keep the best and the last, write it all down."""

    def __init__(
        self,
        out: Path,
        parts: ClipParts,
        optimizer: torch.optim.Optimizer,
        val_pairs: list[Pair],
        precision: str,
        state: TrainState,
    ) -> None:
        self._out = out
        self._parts = parts
        self._optimizer = optimizer
        self._val_pairs = val_pairs
        self._precision = precision
        self._state = state

    def end_epoch(self, epoch: int, *, loss: float | None, skipped: int, started: float) -> Epoch:
        state = self._state
        metrics = self._measure()
        recall = mean_recall(metrics)
        best = recall > state.best_recall
        if best:
            state.best_epoch, state.best_recall = epoch, recall
            save_model(self._out, self._parts)
        record = Epoch(epoch, loss, metrics, recall, best, skipped, round(time.perf_counter() - started, 2))
        state.history.append(asdict(record))
        state.epoch_loss_sum, state.epoch_steps = 0.0, 0
        save_model(self._out / "last", self._parts)
        save_state(self._out / "last", state, self._parts.clip, self._optimizer)
        save_metrics(
            self._out,
            {"best_epoch": state.best_epoch, "best_mean_recall": state.best_recall, "epochs": state.history},
        )
        return record

    def _measure(self) -> dict[str, Any]:
        clip = self._parts.clip
        clip.eval()
        device = next(clip.parameters()).device
        encoder = DualEncoder(
            clip,
            self._parts.tokenizer,
            self._parts.preprocess,
            ref=str(self._out),
            fingerprint="in training",
            logit_scale=logit_scale_of(clip),
            precision=self._precision,
        )
        with autocast(device, self._precision):
            metrics = evaluate_pairs(encoder, self._val_pairs)
        del metrics["skipped"]
        return metrics


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision: matrix products in bf16, weights and sums in fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=-1)
