"""Shows a training run: a live bar on a terminal, a line an epoch, warnings in plain words. Ctrl-C saves and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from glimpse import console
from training.config import TrainConfig
from training.train import Epoch, Finished, Started, Step, train


def run_training(config: TrainConfig, *, resume: bool = False, as_json: bool = False) -> Finished:
    """Train and show it; returns how it ended."""
    finished: Finished | None = None
    epochs: list[Epoch] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    bar = Progress(*columns, console=console.err, transient=True, disable=not console.err.is_terminal)
    with _stop_on_interrupt() as stop, bar:
        task = bar.add_task("training", total=None, state="")
        for event in train(config, resume=resume, should_stop=stop.is_set):
            if isinstance(event, Started):
                _print_plan(event, config)
                bar.update(task, total=event.steps, completed=event.resumed_at)
            elif isinstance(event, Step):
                state = f"loss {event.loss:.3f}  scale {event.logit_scale:.1f}  {event.samples_per_second:.0f} pairs/s"
                bar.update(task, completed=event.step, state=state)
            elif isinstance(event, Epoch):
                epochs.append(event)
                _print_epoch(event, config.epochs)
            else:
                finished = event
    assert finished is not None
    _print_end(finished)
    if as_json:
        console.print_json(
            {
                "out": finished.out,
                "stopped": finished.stopped,
                "best_epoch": finished.best_epoch,
                "best_mean_recall": finished.best_recall,
                "epochs": [{"epoch": e.epoch, "loss": e.loss, **e.metrics} for e in epochs],
            }
        )
    return finished


def _print_plan(plan: Started, config: TrainConfig) -> None:
    dropped = [
        f"{count} rows {why}"
        for count, why in ((plan.without_caption, "have no caption"), (plan.without_image, "name a missing image"))
        if count
    ]
    console.err.print(
        f"{plan.n_train} pairs to train on, {plan.n_val} held out"
        + (f" ({', '.join(dropped)}: left out)" if dropped else "")
        + f"; {plan.parameters / 1e6:.1f} M parameters, {plan.steps} steps of {config.batch_size}, "
        f"{plan.device} {plan.precision}"
    )
    if plan.resumed_at:
        console.err.print(f"resumed at step {plan.resumed_at}")


def _print_epoch(epoch: Epoch, epochs: int) -> None:
    t2i, i2t = epoch.metrics["text_to_image"], epoch.metrics["image_to_text"]
    loss = "before training" if epoch.loss is None else f"loss {epoch.loss:.3f}"
    console.err.print(
        f"epoch {epoch.epoch:>2}/{epochs}  {loss}  recall@1/5/10  text->image "
        f"{t2i['recall@1']:.3f} {t2i['recall@5']:.3f} {t2i['recall@10']:.3f}  image->text "
        f"{i2t['recall@1']:.3f} {i2t['recall@5']:.3f} {i2t['recall@10']:.3f}  {epoch.seconds:.0f} s"
        + ("  best" if epoch.best and epoch.epoch else "")
        + (f"  ({epoch.skipped} unreadable images skipped)" if epoch.skipped else "")
    )


def _print_end(end: Finished) -> None:
    if end.stopped:
        console.err.print(f"stopped and saved; go on with: glimpse train --resume --out {end.out}")
    elif end.best_epoch == 0:
        console.err.print(
            f"no epoch was better on the held-out pairs than the start: {end.out} holds the model as it was before. "
            "Try a lower --lr or more pairs"
        )
    else:
        console.err.print(f"best: epoch {end.best_epoch}, mean recall {end.best_recall:.3f}, in {end.out}")


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C asks to stop after the step under way; a second one stops at once."""
    stop = threading.Event()

    def ask(signum: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        console.err.print("stopping after this step; Ctrl-C again stops at once and loses the epoch so far")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
