"""What a run tells trackers: TensorBoard, MLflow, Weights & Biases, each by its own client and its own settings.

In a thread a tracker, so that no server holds up the training; one that is down is said once, and the run goes on: all
of it is in `log.jsonl` anyway. MLflow writes where MLFLOW_TRACKING_URI says, else to `mlruns` in the current folder;
W&B as `wandb login` or WANDB_MODE=offline have it. A resumed run goes on as the one that it was there.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from base.errors import TrainingError
from base.extras import install
from training.run_folder import TENSORBOARD, TRACKED, read_json, write_json

Numbers = Mapping[str, float]
PROJECT = "glimpse"  # the experiment or project, where the environment names none
WAITING = 10_000  # records for a tracker that is slow
PATIENCE = 30.0  # seconds that the end of a run waits for what is not told yet


class Tracker(Protocol):
    """One tracker's run. Whatever its client raises is the caller's to catch."""

    def tell(self, group: str, numbers: Numbers, at: int) -> None:
        """Numbers of a step ("train") or an epoch ("epoch"), by their names."""

    def close(self, ended: bool) -> None:
        """The run has ended, or else it was stopped or has failed, and may go on some day."""


class TensorBoard:
    """Event files in the run folder, by tensorboardX."""

    def __init__(self, out: Path, settings: Mapping[str, Any], resume_at: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(out / TENSORBOARD), purge_step=resume_at + 1)

    def tell(self, group: str, numbers: Numbers, at: int) -> None:
        """As `Tracker.tell`."""
        for key, value in numbers.items():
            self._writer.add_scalar(f"{group}/{key}", value, at)

    def close(self, ended: bool) -> None:
        """As `Tracker.close`."""
        self._writer.close()


class MLflow:
    """A run of an MLflow experiment: MLFLOW_EXPERIMENT_NAME, or `glimpse`."""

    def __init__(self, out: Path, settings: Mapping[str, Any], resume_at: int) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # its server is another's to set up
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # of some minutes' worth
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or "mlruns")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        self._run = known_as("mlflow", out, resume_at)
        if self._run is None:
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            self._run = self._client.create_run(experiment, run_name=out.resolve().name).info.run_id
            remember("mlflow", out, self._run)
            params = [Param(key, str(value)) for key, value in settings.items() if value is not None]
            self._client.log_batch(self._run, params=params)
        else:
            self._client.update_run(self._run, status="RUNNING")

    def tell(self, group: str, numbers: Numbers, at: int) -> None:
        """As `Tracker.tell`."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        self._client.log_batch(self._run, [Metric(f"{group}/{key}", value, now, at) for key, value in numbers.items()])

    def close(self, ended: bool) -> None:
        """As `Tracker.close`."""
        self._client.set_terminated(self._run, "FINISHED" if ended else "KILLED")


class WeightsAndBiases:
    """A run of a W&B project: WANDB_PROJECT, or `glimpse`. Numbers and settings are sent, no code and no load."""

    def __init__(self, out: Path, settings: Mapping[str, Any], resume_at: int) -> None:
        import wandb

        online = os.environ.get("WANDB_MODE", "online") == "online"
        if online and not wandb.login(prompt=False, verify=False):  # else it would ask the terminal
            raise TrainingError("no key; wandb login, or WANDB_MODE=offline")
        name = known_as("wandb", out, resume_at) or uuid.uuid4().hex
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=out.resolve().name,
            id=name,
            resume="allow",
            dir=str(out),
            config=dict(settings),
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, save_code=False, disable_git=True
            ),
        )
        remember("wandb", out, name)
        for group in ("train", "epoch"):
            self._run.define_metric(f"{group}/at")
            self._run.define_metric(f"{group}/*", step_metric=f"{group}/at")

    def tell(self, group: str, numbers: Numbers, at: int) -> None:
        """As `Tracker.tell`."""
        self._run.log({f"{group}/{key}": value for key, value in numbers.items()} | {f"{group}/at": at})

    def close(self, ended: bool) -> None:
        """As `Tracker.close`."""
        self._run.finish(exit_code=int(not ended))


KINDS: dict[str, tuple[Callable[[Path, Mapping[str, Any], int], Tracker], str, str]] = {  # the library, its extra
    "tensorboard": (TensorBoard, "tensorboardX", "train"),
    "mlflow": (MLflow, "mlflow", "mlflow"),
    "wandb": (WeightsAndBiases, "wandb", "wandb"),
}


class Trackers:
    """Those that a run was asked to tell."""

    def __init__(self, names: Iterable[str], out: Path, settings: Mapping[str, Any], resume_at: int) -> None:
        """Begin, or go on.

        Args:
            names: out of KINDS.
            out: the run folder.
            settings: of the run.
            resume_at: the step that the run goes on from; 0 for a new one.

        Raises:
            TrainingError: a library is not installed.
        """
        for name in names:
            _, library, extra = KINDS[name]
            try:
                __import__(library)
            except ImportError:
                raise TrainingError(f"--track {name} needs the library {library}; {install(extra)}") from None
        self._told = [_Told(name, out, settings, resume_at) for name in names]

    def tell(self, group: str, record: Mapping[str, Any], at: int) -> None:
        """Numbers of a record at a step or epoch; what is no number is left out. Returns at once."""
        numbers = {
            key.replace("@", "_at_"): float(value)
            for key, value in record.items()
            if key not in ("step", "epoch") and isinstance(value, (int, float))
        }
        for told in self._told:
            told.put((group, numbers, at))

    def troubles(self) -> list[str]:
        """What went wrong since it was asked last, a sentence each."""
        return [trouble for told in self._told for trouble in told.troubles()]

    def close(self, ended: bool) -> None:
        """Tell the rest, for `PATIENCE` seconds at most, and whether the run has ended; what is closed stays so."""
        for told in self._told:
            told.put(ended)
        end = time.monotonic() + PATIENCE
        for told in self._told:
            told.join(max(0.0, end - time.monotonic()))


class _Told(threading.Thread):
    """One tracker, told what was put, in order, until it fails."""

    def __init__(self, name: str, *run: Any) -> None:
        super().__init__(daemon=True, name=f"tracker {name}")
        self._tracker, self._run_of = name, run
        self._queue: queue.Queue[tuple[str, Numbers, int] | bool] = queue.Queue(WAITING)  # bool: close
        self._troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._failed = False
        self.start()

    def put(self, what: tuple[str, Numbers, int] | bool) -> None:
        if self._failed:
            return
        try:
            self._queue.put_nowait(what)
        except queue.Full:
            self._fail("it is too slow")

    def troubles(self) -> list[str]:
        return [self._troubles.get() for _ in range(self._troubles.qsize())]

    def run(self) -> None:
        try:
            tracker = KINDS[self._tracker][0](*self._run_of)
            ended = False
            while not self._failed:
                if isinstance(what := self._queue.get(), bool):
                    ended = what
                    break
                tracker.tell(*what)
            tracker.close(ended)
        except Exception as error:  # whatever its client raises: of the network, of its server, of a full disk
            self._fail((str(error) or type(error).__name__).splitlines()[0])

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._troubles.put(
            f"Tracker {self._tracker}: told no more ({reason}); training goes on, and log.jsonl has all of it."
        )


def known_as(tracker: str, out: Path, resume_at: int) -> str | None:
    """The name that a tracker has for a run that goes on; None for one that begins."""
    return read_json(out / TRACKED).get(tracker) if resume_at else None


def remember(tracker: str, out: Path, name: str) -> None:
    """Keep the name that a tracker has for a run."""
    with _remembering:
        write_json(out / TRACKED, read_json(out / TRACKED) | {tracker: name})


_remembering = threading.Lock()
