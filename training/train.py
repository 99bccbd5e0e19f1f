"""The training loop: fine-tunes a dual encoder, or starts one from random weights.

`train(config)` is a generator of events, so that a command line, a demo and a test can each show them their way. It
does not print. Under torchrun every process runs the same loop on its part of each batch; the first one measures and
writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from base.errors import GlimpseError, InputError, TrainingError
from base.read_ahead import one_ahead
from base.sources.tables import some_of
from encoder.model.load import ClipParts
from encoder.model.weights import CONFIG, WEIGHTS
from encoder.unread import ReadTokens
from training.config import TrainConfig
from training.evaluation.geometry import confusions, examine, mutual_information_bound
from training.learner import Learner
from training.loss.objective import Objective
from training.model.distributed import Ranks, join_ranks
from training.model.optim import MAX_LOGIT_SCALE, lr_at, set_lr
from training.records.checkpoint import TrainState, load_state
from training.records.events import Epoch, Event, Finished, Interpolated, Started, Step, Warned
from training.run.fed import Fed
from training.run.held_out import HeldOut
from training.run.mixture import Mixture
from training.run.warnings import RunWarnings, news
from training.run.writer import RunWriter
from training.run_folder import LAST, METRICS, STATE, TRAIN_CONFIG
from training.source import Source, make_loader, open_source
from training.step import Stepper


def train(
    config: TrainConfig, *, resume: bool = False, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Run a training, from the start or from where it was left.

    Args:
        config: what to do; with `resume`, what `TrainConfig.load` read from the run folder.
        resume: go on from `last/training_state.pt`, exactly as if the run had not been interrupted.
        should_stop: asked after each step; true saves the state and ends.

    Raises:
        InputError: a source of pairs that cannot be used, a folder for the run that holds something else, or class
            folders whose names are the same to the model.
        TrainingError: too few pairs, a run folder in use, or a loss that is not finite.
        ModelError: as `encoder.model.load.load_clip`.
    """
    with join_ranks() as ranks:
        out = Path(config.out)
        begun = (out / LAST / STATE).exists() or (out / METRICS).exists()  # killed before that, it is begun anew
        if config.fsdp and ranks.world == 1:
            raise InputError("--fsdp needs several processes: torchrun --nproc-per-node N -m training ... --fsdp")
        if begun and not resume:
            raise TrainingError(f"{out}: there is a run already; continue it with --resume, or choose another --out")
        if not (out / TRAIN_CONFIG).exists():
            _check_free(out)
        source = open_source(config, begun=resume)
        if source.n_train < config.batch_size:
            remedy = (
                f"lower --batch-size to {max(2, source.n_train // 4)}"
                if source.n_train > 3
                else f"give more {config.samples}"
            )
            raise TrainingError(
                f"{source.n_train} {config.samples} to train on are fewer than a batch of {config.batch_size}; {remedy}"
            )
        ranks.wait()  # nobody writes before all have looked
        yield from _Run(config, source, ranks, resume).go(should_stop)


def _check_free(out: Path) -> None:
    """InputError for a folder that holds something else: a run's files would lie among it."""
    found = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    if found:
        raise InputError(
            f"--out {out}: holds {some_of(found, 3)} and no run; name a folder that is new or empty, as {out / 'run'}"
        )


class _Run:
    """One run: the model that learns, its data, and where it stands."""

    def __init__(self, config: TrainConfig, source: Source, ranks: Ranks, resume: bool) -> None:
        self._config, self._source, self._ranks = config, source, ranks
        self._out = Path(config.out)
        self._learner = Learner(config, ranks, resume=resume)
        self._overlap = self._learner.device.type != "cpu"
        self._loader = make_loader(source, self._learner.parts.preprocess, config, ranks, overlap=self._overlap)
        self._total_steps = config.epochs * len(self._loader)
        self._held_out = HeldOut(source.val, config, self._learner.precision)
        by_name = config.folders and not config.images_only
        self._held_out.check_classes(self._learner.parts.tokenizer, source.classes if by_name else ())
        read = self._learner.parts.read_tokens
        self._state = TrainState(
            pairs_hash=source.hash, start=self._learner.start, read=None if read is None else sorted(read.ids)
        )
        if resume:
            self._state = load_state(self._out / LAST, self._learner.restore)
            if self._state.pairs_hash != source.hash:
                raise TrainingError(
                    f"{config.pairs}: not the pairs that {self._out} was begun with; resuming would train on what it "
                    f"held out. Put them back, or fine-tune on the new ones with --model {self._out} and another --out"
                )
            if not (self._out / CONFIG).exists() or not (self._out / WEIGHTS).exists():
                raise TrainingError(f"{self._out}: its best model is no longer there; put it back, or begin a new run")
        self._fed = None if self._state.read is None or not self._learner.reads else Fed(self._state.read)
        picture = self._loader.reader.picture
        self._warnings = RunWarnings(config, source, self._learner, self._held_out, picture, world=ranks.world)
        self._stepper = Stepper(
            self._learner.towers,
            Objective(config, ranks),
            self._learner.optimizer,
            grad_clip=config.grad_clip,
            chunk_size=config.chunk_size,
            seed=config.seed,
        )

    def go(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train to the end, or until it is asked to stop."""
        config, state = self._config, self._state
        if self._ranks.first:
            self._writer = RunWriter(config, self._source, self._learner, self._warnings, resume_at=state.step)
        try:
            yield self._plan()
            yield from map(Warned, self._warnings.before)
            if not state.history:
                self._fit_bias()
                yield from self._end_epoch(0, started=time.perf_counter())
            for epoch in range(len(state.history), config.epochs + 1):
                if self._out_of_patience():
                    break
                started = time.perf_counter() - state.epoch_seconds
                for event in self._steps(epoch):
                    yield event
                    if any(self._ranks.everyone(should_stop())):
                        state.epoch_seconds = time.perf_counter() - started
                        self._save_state()
                        self._note_what_words_say()
                        yield self._finished(stopped=True)
                        return
                yield from self._end_epoch(epoch, started=started)
                if epoch < config.epochs and any(self._ranks.everyone(should_stop())):
                    self._note_what_words_say()
                    yield self._finished(stopped=True)
                    return
            yield from self._finish()
        except GlimpseError:
            with suppress(GlimpseError, OSError):  # what ended the run is what there is to say
                self._note_what_words_say()
            raise
        finally:
            if self._ranks.first:
                self._writer.close()

    def _plan(self) -> Started:
        return Started(
            n_train=self._source.n_train,
            n_val=len(self._source.val),
            left_out=self._source.left_out,
            parameters=self._learner.parameters,
            trainable=self._learner.trainable,
            steps=self._total_steps,
            device=str(self._learner.device),
            precision=self._learner.precision,
            world=self._ranks.world,
            resumed_at=self._state.step,
            probe=self._held_out.probe_kind,
        )

    def _fit_bias(self) -> None:
        """Where a trained model gets a logit_bias, begin with one that fits the first batch that can be read."""
        if not self._learner.lacks_bias:
            return
        for batch in self._loader.epoch(1):
            counts = self._ranks.everyone((len(batch.pixels), len(batch.negatives)))
            if _enough(counts):
                self._state.start_bias = self._stepper.fit_bias(batch, counts)
                return

    def _steps(self, epoch: int) -> Iterator[Step]:
        """The rest of an epoch's steps."""
        config, state = self._config, self._state
        self._learner.begin_epoch()
        done = state.step - (epoch - 1) * len(self._loader)  # all, if it was stopped before the epoch was measured
        before = time.perf_counter()
        batches = (
            (batch, self._stepper.inputs(batch) if len(batch.pixels) else None)
            for batch in self._loader.epoch(epoch, skip=done)
        )
        for batch, inputs in one_ahead(batches, overlap=self._overlap):
            everyone = self._ranks.everyone((len(batch.pixels), len(batch.negatives), batch.unreadable))
            counts = [(n, m) for n, m, _ in everyone]
            state.step += 1
            for _, _, unreadable in everyone:
                state.skip(unreadable)
            if not _enough(counts):
                continue
            lr = lr_at(
                state.step - 1,
                peak=config.peak_lr,
                warmup_steps=round(config.warmup * self._total_steps),
                total_steps=self._total_steps,
            )
            set_lr(self._learner.optimizer, lr)
            result = self._stepper(batch, state.step, counts, (state.step - 1) / self._total_steps, inputs)
            if not result.finite:
                number = state.step - (epoch - 1) * len(self._loader)
                or_fp32 = "" if self._learner.precision == "fp32" else ", or --precision fp32,"
                raise TrainingError(
                    f"the loss or its gradient is not finite at step {state.step} (epoch {epoch}, batch {number} of "
                    f"{len(self._loader)}); the last good state is in {self._out / 'last'}. Try a lower --lr than "
                    f"{config.peak_lr:g}{or_fp32} with another --out"
                )
            if self._fed and inputs:
                self._fed.note(inputs[1])
            guess = result.measures.get("guess")
            state.learn(result.loss, guess)
            before, since = time.perf_counter(), before
            step = Step(
                step=state.step,
                steps=self._total_steps,
                epoch=epoch,
                loss=result.loss,
                lr=lr,
                logit_scale=self._learner.logit_scale,
                grad_norm=result.grad_norm,
                samples_per_second=sum(n for n, _ in counts) / (before - since),
                measures=result.measures
                | ({} if guess is None else {"mutual_information": mutual_information_bound(result.loss, guess)}),
            )
            if self._ranks.first:
                self._writer.step(step)
            yield step

    def _end_epoch(self, epoch: int, *, started: float) -> Iterator[Event]:
        """Measure, keep the best and the last, write it all down; all processes learn what the first one saw.

        Raises:
            TrainingError: no image of the epoch could be read.
        """
        state, ranks = self._state, self._ranks
        if epoch and not state.epoch_steps:
            raise TrainingError(
                f"epoch {epoch} trained on nothing, since {state.epoch_skipped} images could not be read; the first: "
                f"{next(iter(state.unreadable))}"
            )
        plain = self._learner.plain()
        self._note_read()
        plain = replace(plain, read_tokens=None if state.read is None else ReadTokens(frozenset(state.read)))
        record = ranks.from_first(self._measure(plain, epoch, started) if ranks.first else None)
        assert record is not None
        before = self._warnings.by_now(state)
        state.end_epoch(record)
        if ranks.first:
            self._writer.epoch(record, plain)
        self._save_state()
        yield record
        yield from map(Warned, news(before, self._warnings.by_now(state)))
        yield from self._troubles()

    def _measure(self, plain: ClipParts, epoch: int, started: float) -> Epoch:
        config, state = self._config, self._state
        marks = self._held_out.measure(plain, at_start=epoch == 0)
        best = epoch == 0 or marks.score > self._state.score
        if epoch == 0:  # of the held-out part: they cannot be read in any epoch
            state.skip([f"{file['path']}: {file['reason']}" for file in marks.encoded.skipped])
        if best:
            state.confusions = [asdict(confusion) for confusion in confusions(marks.encoded)]
        scale = self._learner.logit_scale
        return Epoch(
            epoch=epoch,
            loss=state.epoch_loss_sum / state.epoch_steps if epoch else None,
            metrics=marks.metrics,
            score=marks.score,
            probe=marks.probe,
            best=best,
            skipped=state.epoch_skipped,
            unreadable=list(state.unreadable)[:3],
            seconds=round(time.perf_counter() - started, 2),
            logit_scale=scale,
            clamped=config.clamps_scale and math.log(scale) > MAX_LOGIT_SCALE - 1e-4,
            guess=state.epoch_guess_sum / state.epoch_steps if state.epoch_guess_sum else None,
            health=asdict(examine(marks.encoded, config.seed)),
        )

    def _finish(self) -> Iterator[Event]:
        """Look between the start and the best epoch for something better than both, and say how it ended."""
        config, state = self._config, self._state
        before = self._warnings.by_now(state)
        mixture = Mixture(config, state, self._held_out, self._learner.device)
        if config.model is not None and config.interpolate and state.interpolation is None:
            found = self._ranks.from_first(mixture.sweep() if self._ranks.first else None)
            if isinstance(found, str):
                yield Warned(found)
            elif found is not None:
                state.interpolation = found
                self._save_state()  # before the model is mixed: a kill in between must not mix twice
                yield Interpolated(found["alpha"], found["sweep"])
        if self._ranks.first:
            mixture.write()
            self._note_what_words_say()
            self._writer.results(state, ended=True)  # nothing was learned since the state was saved
        self._ranks.wait()
        yield from map(Warned, news(before, self._warnings.by_now(state, ended=True)))
        if self._ranks.first:
            self._writer.end()
        yield from self._troubles()
        yield self._finished(stopped=False)

    def _finished(self, *, stopped: bool) -> Finished:
        state = self._state
        alpha = state.interpolation["alpha"] if state.interpolation else None
        return Finished(str(self._out), state.best_epoch, self._state.score, stopped, alpha)

    def _save_state(self) -> None:
        """Write what resuming needs and what there is to report; all processes call it."""
        learned = self._learner.state()
        self._note_read()
        if self._ranks.first:
            self._writer.state(self._state, learned)
        self._ranks.wait()

    def _note_read(self) -> None:
        """What all processes have fed to the text tower by now, into the state; all of them call it."""
        if self._fed:
            self._state.read = self._fed.ids(self._ranks)

    def _note_what_words_say(self) -> None:
        """However the run ends: of the model that it leaves."""
        if self._ranks.first:
            self._writer.what_words_say()

    def _out_of_patience(self) -> bool:
        patience, state = self._config.patience, self._state
        return patience is not None and len(state.history) - 1 - state.best_epoch >= patience

    def _troubles(self) -> Iterator[Warned]:
        """What went wrong with trackers."""
        if self._ranks.first:
            yield from map(Warned, self._writer.troubles())


def _enough(counts: Sequence[tuple[int, int]]) -> bool:
    """One row alone has no negative, and a process without rows no part in the step."""
    return sum(n for n, _ in counts) > 1 and all(n for n, _ in counts)
