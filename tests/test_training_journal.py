"""The diary: whole lines, taken back to where a run goes on, and the same numbers in TensorBoard's files."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from base.errors import TrainingError
from training.records.journal import Journal
from training.records.trackers import Trackers
from training.run_folder import LOG, TENSORBOARD, read_log

STEPS_AN_EPOCH = 3
NOBODY = Trackers((), Path(), {}, 0)


def a_step(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": (step - 1) // STEPS_AN_EPOCH + 1, "loss": 4 / step, "lr": 1e-3}


def an_epoch(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "loss": None if epoch == 0 else 0.5,
        "metrics": {"n_images": 7, "text_to_image": {"recall@1": 0.25}, "per_class": {"cat": 1.0}},
        "best": True,
        "health": {"alignment": 1.5, "positive_histogram": [1, 2, 3]},
    }


def write_run(
    out: Path,
    last_step: int,
    *,
    resume_at: int = 0,
    epochs_done: int = -1,
    track: Sequence[str] = (),
    ended: bool = True,
) -> None:
    """What the trainer writes from step `resume_at` on, having `epochs_done` in its saved state."""
    trackers = Trackers(track, out, {"lr": 1e-3}, resume_at)
    journal = Journal(out, trackers, resume_at=resume_at)
    if epochs_done < 0:
        journal.epoch(an_epoch(0))
    for step in range(resume_at + 1, last_step + 1):
        if (step - 1) // STEPS_AN_EPOCH > max(0, epochs_done) and (step - 1) % STEPS_AN_EPOCH == 0:
            journal.epoch(an_epoch((step - 1) // STEPS_AN_EPOCH))
        journal.step(a_step(step))
    if last_step % STEPS_AN_EPOCH == 0:
        journal.epoch(an_epoch(last_step // STEPS_AN_EPOCH))
    if ended:
        trackers.close(ended=True)
    journal.close()


def test_an_epoch_is_flat_numbers_and_nan_is_null(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", NOBODY, resume_at=0)
    journal.epoch(an_epoch(0))
    journal.step({"step": 1, "loss": math.nan, "grad_norm": math.inf})
    journal.close()
    epoch, step = read_log(tmp_path / "run")
    assert epoch == {
        "epoch": 0,
        "loss": None,
        "n_images": 7,
        "text_to_image/recall@1": 0.25,
        "best": True,
        "health/alignment": 1.5,
    }
    assert step == {"step": 1, "loss": None, "grad_norm": None}
    assert not (tmp_path / "run" / TENSORBOARD).exists()


def test_a_line_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path, NOBODY, resume_at=0)
    journal.step(a_step(1))
    assert list(read_log(tmp_path)) == [a_step(1)]
    journal.close()


@pytest.mark.parametrize("resume_at", range(10))
@pytest.mark.parametrize("torn", [b"", b'{"step": 10, "lo', b'{"step": 10}'])
def test_a_resumed_diary_is_that_of_a_run_without_a_break(tmp_path: Path, resume_at: int, torn: bytes) -> None:
    """A run that was killed at any time, and goes on from the state that it had saved at the end of an epoch."""
    write_run(tmp_path / "whole", 9)
    write_run(tmp_path / "broken", 9)
    with (tmp_path / "broken" / LOG).open("ab") as file:
        file.write(torn)
    write_run(tmp_path / "broken", 9, resume_at=resume_at, epochs_done=resume_at // STEPS_AN_EPOCH)
    assert (tmp_path / "broken" / LOG).read_bytes() == (tmp_path / "whole" / LOG).read_bytes()


def test_an_epoch_that_is_measured_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Killed between the diary and the state."""
    write_run(tmp_path / "whole", 3)
    write_run(tmp_path / "broken", 3)
    journal = Journal(tmp_path / "broken", NOBODY, resume_at=3)
    journal.epoch(an_epoch(1))
    journal.close()
    assert (tmp_path / "broken" / LOG).read_bytes() == (tmp_path / "whole" / LOG).read_bytes()


def test_a_diary_ends_where_a_line_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 2}\n')
    assert list(read_log(tmp_path)) == [{"step": 1}]
    assert list(read_log(tmp_path / "nowhere")) == []


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """{tag: {step: value}} of all of a run's event files, read as the records that they are."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:  # length, its checksum, an event, its checksum
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[12 + size + 4 :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    write_run(tmp_path, 3, track=["tensorboard"])
    found = scalars(tmp_path / TENSORBOARD)
    assert found["train/loss"] == pytest.approx({1: 4.0, 2: 2.0, 3: 4 / 3})
    assert found["epoch/text_to_image/recall_at_1"] == {0: 0.25, 1: 0.25}
    assert found["epoch/loss"] == {1: 0.5}
    assert found["epoch/health/alignment"] == {0: 1.5, 1: 1.5}
    assert len(list(read_log(tmp_path))) == 5


@pytest.mark.parametrize(
    ("tracker", "library", "extra"),
    [("tensorboard", "tensorboardX", "train"), ("mlflow", "mlflow", "mlflow"), ("wandb", "wandb", "wandb")],
)
def test_without_the_library_it_says_what_to_install(
    tracker: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(TrainingError, match=rf"{library}; .* pip install .*\[{extra}\]"):
        Trackers([tracker], tmp_path, {}, 0)


def test_mlflow_has_the_same_numbers_and_one_run_for_a_run_that_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "shop"
    write_run(out, 3, track=["mlflow"], ended=False)

    from mlflow import MlflowClient

    client = MlflowClient("mlruns")
    experiment = client.get_experiment_by_name("glimpse")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"  # stopped, and not done
    write_run(out, 6, resume_at=3, epochs_done=1, track=["mlflow"])
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params) == ("shop", "FINISHED", {"lr": "0.001"})
    losses = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "train/loss")}
    assert losses == pytest.approx({step: 4 / step for step in range(1, 7)})
    assert run.data.metrics["epoch/text_to_image/recall_at_1"] == 0.25


def test_weights_and_biases_has_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = tmp_path / "shop"
    write_run(out, 3, track=["wandb"])
    [written] = out.glob("wandb/offline-run-*/run-*.wandb")
    names = (b"train/loss", b"epoch/health/alignment", b"text_to_image/recall_at_1", b"shop")
    deadline = time.monotonic() + 20  # a process of its own writes, and is now and then not done when it says so
    while (missing := [name for name in names if name not in written.read_bytes()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not missing


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_tracker_that_is_down_is_said_and_stops_nothing(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    trackers = Trackers([tracker], tmp_path, {}, 0)
    journal = Journal(tmp_path, trackers, resume_at=0)
    for step in range(1, 4):
        journal.step(a_step(step))
    journal.close()
    [trouble] = trackers.troubles()
    assert trouble.startswith(f"Tracker {tracker}: told no more (")
    assert trouble.endswith("training goes on, and log.jsonl has all of it.")
    assert len(list(read_log(tmp_path))) == 3
