"""Shows a training run: a live bar on a terminal, a line an epoch, warnings in plain words. Ctrl-C saves and ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from base.words import counted
from glimpse import console
from glimpse.progress_lines import ProgressLines
from training.config import TrainConfig
from training.model.distributed import is_first
from training.reading.measures import telling
from training.records.events import Epoch, Event, Finished, Interpolated, Started, Step, Warned
from training.run_folder import METRICS
from training.train import train


def run_training(config: TrainConfig, *, resume: bool = False, as_json: bool = False) -> int:
    """Train and show it; gives 0, or the signal that stopped it. Of several processes the first one shows it."""
    with _stop_on_interrupt() as stop:
        run = train(config, resume=resume, should_stop=stop.is_set)
        [finished] = deque(_shown(run, config) if is_first() else run, maxlen=1)
    assert isinstance(finished, Finished)
    if as_json and is_first():
        console.print_json(_as_json(finished))
    return stop.signal if finished.stopped else 0


def _shown(run: Iterator[Event], config: TrainConfig) -> Iterator[Event]:
    """The events of a run, each shown as it passes."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    lines = ProgressLines("training", console.err.print)
    with Progress(*columns, console=console.err, transient=True, disable=not console.err.is_terminal) as bar:
        task = bar.add_task("training", total=None, state="")

        def show(event: Event) -> None:
            match event:
                case Started():
                    _print_plan(event, config)
                    bar.update(task, total=event.steps, completed=event.resumed_at)
                case Step():
                    scale = f"  scale {event.logit_scale:.1f}" if config.uses_scale else ""
                    state = f"loss {event.loss:.3f}{scale}  {event.samples_per_second:.0f} images/s"
                    bar.update(task, completed=event.step, state=state)
                    if not console.err.is_terminal:
                        lines(event.step, event.steps, state)
                case Epoch():
                    _print_epoch(event, config.epochs)
                case Warned():
                    console.err.print(f"warning: {event.message}", style="yellow")
                case Interpolated():
                    _print_interpolation(event)
                case Finished():
                    _print_end(event, config)

        for event in run:
            with _no_end_by_a_closed_terminal():
                show(event)
            yield event


@contextmanager
def _no_end_by_a_closed_terminal() -> Iterator[None]:
    """A word to a terminal that is closed fails before its signal is heard, by which the run is saved. It goes on."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _as_json(finished: Finished) -> dict[str, object]:
    """What the run folder says of the whole run, also of a part that was done before it was resumed."""
    metrics = json.loads((Path(finished.out) / METRICS).read_text(encoding="utf-8"))
    return {
        "out": finished.out,
        "stopped": finished.stopped,
        "best_epoch": finished.best_epoch,
        "best_score": finished.best_score,
        "alpha": finished.alpha,
        "warnings": metrics["warnings"],
        "left_out": metrics["left_out"],
        "unreadable": metrics["unreadable"],
        "epochs": [
            {key: epoch[key] for key in ("epoch", "loss", "score", "probe")} | epoch["metrics"]
            for epoch in metrics["epochs"]
        ],
    }


def _print_plan(plan: Started, config: TrainConfig) -> None:
    learns = "" if plan.trainable == plan.parameters else f", {plan.trainable / 1e6:.2f} M of them learn"
    processes = "" if plan.world == 1 else f", {plan.world} processes"
    probe = f"; probe: {plan.probe} of {config.probe}" if plan.probe else ""
    console.err.print(
        f"{plan.n_train} {config.samples} to train on, {plan.n_val} held out"
        f"; {plan.parameters / 1e6:.1f} M parameters{learns}, {plan.steps} steps of {config.batch_size}, "
        f"{plan.device} {plan.precision}{processes}{probe}"
    )
    if config.learns_by_heart and (unasked := dict(_shown_otherwise(config))):
        console.err.print(f"a long training: {', '.join(unasked.values())} ({' '.join(unasked)}: as they are)")
    console.print_left_out(plan.left_out)
    if plan.resumed_at:
        console.err.print(f"resumed at step {plan.resumed_at} of {plan.steps}")


def _shown_otherwise(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """What of the pairs is shown otherwise without being asked for, after the flag that leaves it as it is."""
    if config.word_dropout is None:
        yield "--word-dropout 0", f"{config.used_word_dropout:.0%} of captions are read without half of their words"
    if config.grounds is None:
        yield "--grounds 0", f"{config.used_grounds:.0%} of pictures on a plain ground are laid on another"


def _print_epoch(epoch: Epoch, epochs: int) -> None:
    loss = "before training" if epoch.loss is None else f"loss {epoch.loss:.3f}"
    console.err.print(
        f"epoch {epoch.epoch:>2}/{epochs}  {loss}  {_metrics(epoch)}"
        + (f"  probe {epoch.probe:.3f}" if epoch.probe is not None else "")
        + f"  {epoch.seconds:.0f} s"
        + ("  best" if epoch.best and epoch.epoch else "")
        + (f"  ({counted(epoch.skipped, 'unreadable image')} skipped)" if epoch.skipped else "")
    )
    if epoch.epoch <= 1 and epoch.skipped:
        for image in epoch.unreadable:
            console.err.print(f"skipped {image}")
        if epoch.skipped > len(epoch.unreadable):
            console.err.print("... and more; metrics.json names a hundred of them")


def _metrics(epoch: Epoch) -> str:
    if "top1" in epoch.metrics:
        top5 = f"  top-5 {epoch.metrics['top5']:.3f}" if "top5" in telling(epoch.metrics) else ""
        return f"top-1 {epoch.metrics['top1']:.3f}{top5}"
    ways = [
        f"{way.replace('_to_', '->')} {recalls['recall@1']:.3f} {recalls['recall@5']:.3f} {recalls['recall@10']:.3f}"
        for way, recalls in epoch.metrics.items()
        if isinstance(recalls, dict)
    ]
    return "recall@1/5/10  " + "  ".join(ways)


def _print_interpolation(found: Interpolated) -> None:
    scores = ", ".join(f"{row['alpha']:g}: {row['score']:.3f}" for row in found.sweep)
    console.err.print(f"weights between the start (0) and the best epoch (1), score by share: {scores}")


def _print_end(end: Finished, config: TrainConfig) -> None:
    if end.stopped:
        console.err.print(f"stopped and saved; go on with: glimpse train --resume --out {end.out}")
        return
    if end.alpha is not None and 0 < end.alpha < 1:
        trained = f"epoch {end.best_epoch}" if end.best_epoch else "the last epoch"
        what = f"best: {end.alpha:.0%} of {trained} and the rest of the start, score {end.best_score:.3f}"
    elif end.best_score >= 1 and (end.best_epoch == 0 or end.alpha == 0):
        what = (
            "the start finds all that is held out, so nothing can be better and the model is as it was. Hold out what "
            f"is harder to tell apart, or give {config.larger_held_out}"
        )
    elif end.best_epoch == 0 or end.alpha == 0:
        what = (
            "nothing was better on the held-out part than the start, so the model is as it was. Try a lower --lr, more "
            f"{config.samples}, or {config.larger_held_out}"
        )
    else:
        what = f"best: epoch {end.best_epoch}, score {end.best_score:.3f}"
    console.err.print(f"{what}; in {end.out}, with {end.out}/report.html")


class _Stop(threading.Event):
    """Set by a signal."""

    signal: int = signal.SIGINT


@contextmanager
def _stop_on_interrupt() -> Iterator[_Stop]:
    """The first Ctrl-C or SIGTERM asks to stop after the step under way; a second one stops at once.

    One that follows within a second is the same one: torchrun sends it again to whom the terminal sent it. A terminal
    that is closed asks as well, and does no more than that, unless it is ignored, as behind nohup.
    """
    stop = _Stop()
    asked = 0.0
    told = [fd for fd in (1, 2) if os.isatty(fd) or stat.S_ISFIFO(os.fstat(fd).st_mode)]  # tee ends with its terminal

    def ask(signum: int, _frame: object) -> None:
        nonlocal asked
        if signum == signal.SIGHUP:
            for fd in told:  # a word more would be an error, and end the run before it is saved
                os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        elif stop.is_set() and time.monotonic() - asked > 1:
            raise KeyboardInterrupt
        if not stop.is_set() and is_first():
            console.err.print("stopping after this step; Ctrl-C again stops at once and loses the epoch so far")
        asked = asked or time.monotonic()
        stop.signal = signum
        stop.set()

    heeded = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heeded.append(signal.SIGHUP)
    before = {signum: signal.signal(signum, ask) for signum in heeded}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
