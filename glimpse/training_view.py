"""Shows a training run: a live bar on a terminal, a line an epoch, warnings in plain words. Ctrl-C saves and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from glimpse import console
from training.config import TrainConfig
from training.events import Epoch, Event, Finished, Interpolated, Started, Step, Warned
from training.ranks import is_first
from training.train import train


def run_training(config: TrainConfig, *, resume: bool = False, as_json: bool = False) -> Finished:
    """Train and show it; returns how it ended. Of several processes the first one shows it."""
    events: list[Event] = []
    with _stop_on_interrupt() as stop:
        run = train(config, resume=resume, should_stop=stop.is_set)
        for event in _shown(run, config) if is_first() else run:
            if not isinstance(event, Step):
                events.append(event)
    finished = events[-1]
    assert isinstance(finished, Finished)
    if as_json and is_first():
        console.print_json(_as_json(finished, events))
    return finished


def _shown(run: Iterator[Event], config: TrainConfig) -> Iterator[Event]:
    """The events of a run, each shown as it passes."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=console.err, transient=True, disable=not console.err.is_terminal) as bar:
        task = bar.add_task("training", total=None, state="")
        for event in run:
            match event:
                case Started():
                    _print_plan(event, config)
                    bar.update(task, total=event.steps, completed=event.resumed_at)
                case Step():
                    scale = f"  scale {event.logit_scale:.1f}" if config.uses_scale else ""
                    state = f"loss {event.loss:.3f}{scale}  {event.samples_per_second:.0f} images/s"
                    bar.update(task, completed=event.step, state=state)
                case Epoch():
                    _print_epoch(event, config.epochs)
                case Warned():
                    console.err.print(f"warning: {event.message}", style="yellow")
                case Interpolated():
                    _print_interpolation(event)
                case Finished():
                    _print_end(event)
            yield event


def _as_json(finished: Finished, events: list[Event]) -> dict[str, object]:
    epochs = [event for event in events if isinstance(event, Epoch)]
    interpolated = [event for event in events if isinstance(event, Interpolated)]
    return {
        "out": finished.out,
        "stopped": finished.stopped,
        "best_epoch": finished.best_epoch,
        "best_score": finished.best_score,
        "alpha": interpolated[-1].alpha if interpolated else None,
        "warnings": [event.message for event in events if isinstance(event, Warned)],
        "epochs": [{"epoch": e.epoch, "loss": e.loss, "score": e.score, "probe": e.probe, **e.metrics} for e in epochs],
    }


def _print_plan(plan: Started, config: TrainConfig) -> None:
    dropped = [
        f"{count} {why}"
        for count, why in ((plan.without_caption, "without caption"), (plan.without_image, "without image"))
        if count
    ]
    what = "images" if config.images_only or config.folders else "pairs"
    learns = "" if plan.trainable == plan.parameters else f", {plan.trainable / 1e6:.2f} M of them learn"
    processes = "" if plan.world == 1 else f", {plan.world} processes"
    console.err.print(
        f"{plan.n_train} {what} to train on, {plan.n_val} held out"
        + (f" ({', '.join(dropped)}: left out)" if dropped else "")
        + f"; {plan.parameters / 1e6:.1f} M parameters{learns}, {plan.steps} steps of {config.batch_size}, "
        f"{plan.device} {plan.precision}{processes}"
    )
    if plan.resumed_at:
        console.err.print(f"resumed at step {plan.resumed_at}")


def _print_epoch(epoch: Epoch, epochs: int) -> None:
    loss = "before training" if epoch.loss is None else f"loss {epoch.loss:.3f}"
    console.err.print(
        f"epoch {epoch.epoch:>2}/{epochs}  {loss}  {_metrics(epoch)}"
        + (f"  probe {epoch.probe:.3f}" if epoch.probe is not None else "")
        + f"  {epoch.seconds:.0f} s"
        + ("  best" if epoch.best and epoch.epoch else "")
        + (f"  ({epoch.skipped} unreadable images skipped)" if epoch.skipped else "")
    )


def _metrics(epoch: Epoch) -> str:
    if "top1" in epoch.metrics:
        return f"top-1 {epoch.metrics['top1']:.3f}  top-5 {epoch.metrics['top5']:.3f}"
    ways = [
        f"{way.replace('_to_', '->')} {recalls['recall@1']:.3f} {recalls['recall@5']:.3f} {recalls['recall@10']:.3f}"
        for way, recalls in epoch.metrics.items()
        if isinstance(recalls, dict)
    ]
    return "recall@1/5/10  " + "  ".join(ways)


def _print_interpolation(found: Interpolated) -> None:
    scores = ", ".join(f"{row['alpha']:g}: {row['score']:.3f}" for row in found.sweep)
    console.err.print(f"weights between the start (0) and the best epoch (1), score by share: {scores}")


def _print_end(end: Finished) -> None:
    if end.stopped:
        console.err.print(f"stopped and saved; go on with: glimpse train --resume --out {end.out}")
    elif end.best_epoch == 0:
        console.err.print(
            f"no epoch was better on the held-out part than the start: {end.out} holds the model as it was before. "
            "Try a lower --lr or more pairs"
        )
    else:
        console.err.print(
            f"best: epoch {end.best_epoch}, score {end.best_score:.3f}, in {end.out}; see {end.out}/report.html"
        )


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
