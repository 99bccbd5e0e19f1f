"""The same work on a Ray cluster, by Ray Data: a shard a task, in actors that hold the model. The only import of ray.

An actor, or its whole machine, that dies is replaced by Ray and its shard is embedded again elsewhere: a part appears
whole, so there is one of each. All machines see the source, the output folder and the model under the same names.

The list of shards is small and in Ray's memory from the start: there are no read tasks that could wait for the
processors that actors hold.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from base.errors import GlimpseError, InputError, ModelMismatch
from base.extras import install
from encoder.encoder import Encoder
from index.bulk.job import Engine, Tell
from index.bulk.parts import Outcome, write_part
from index.bulk.source import Shard

WAIT = 20.0  # seconds for a cluster to answer


class NoRay(GlimpseError):
    """There is no Ray cluster at that address, or it cannot do the work."""

    code = "no_ray"


@dataclass(frozen=True)
class _Work:
    """What an actor is to know."""

    out: str
    model: str
    fingerprint: str
    device: str
    precision: str


class _Worker:
    """An actor: it loads the model at its first shard, and then embeds one shard after the other."""

    def __init__(self, work: _Work) -> None:
        self._work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            outcome = write_part(Path(self._work.out), self._encoder, row["item"])
        except (GlimpseError, OSError) as error:  # as it is: Ray would wrap it in pages
            return {"item": error}
        return {"item": outcome}

    @cached_property
    def _encoder(self) -> Encoder:
        from encoder.lazy import open_encoder

        encoder = open_encoder(self._work.model, self._work.device, self._work.precision)
        if encoder.fingerprint != self._work.fingerprint:
            raise ModelMismatch(
                f"{self._work.model} is another model on machine {os.uname().nodename}: put the same files there"
            )
        return encoder


def on_ray(address: str, encoder: Encoder, device: str, precision: str) -> Engine:
    """The engine that is a Ray cluster.

    Args:
        address: HOST:PORT of its head; or `auto`, that which this machine is in.
        encoder: what the work is for; the actors open its model themselves.
        device: of the actors. With `cuda` each takes a GPU, else a processor.
        precision: of the actors.

    Raises:
        InputError: Ray is not installed.
    """
    try:
        import ray
        import ray.data  # noqa: F401
    except ImportError:
        raise InputError(f"--ray needs ray: {install('ray')}") from None

    def engine(out: Path, shards: Sequence[Shard], tell: Tell) -> Iterator[Outcome]:
        work = _Work(str(out.resolve()), encoder.ref, encoder.fingerprint, device, precision)
        with _connected(address):
            for outcome in _outcomes(work, shards):
                if outcome.report is not None:
                    tell(outcome.report.rows + len(outcome.report.unread), 1)
                yield outcome

    return engine


def _outcomes(work: _Work, shards: Sequence[Shard]) -> Iterator[Outcome]:
    import ray

    each, most = _room(work.device)
    found = ray.data.from_items(list(shards), override_num_blocks=len(shards)).map(
        _Worker,
        fn_constructor_args=[work],
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=min(most, len(shards)), max_tasks_in_flight_per_actor=1
        ),
        max_restarts=-1,
        max_task_retries=-1,
        **each,
    )
    for row in found.iter_rows():
        outcome = row["item"]
        if isinstance(outcome, BaseException):
            raise outcome
        yield outcome


def _room(device: str) -> tuple[dict[str, float], int]:
    """What an actor takes, and how many there is room for. NoRay: for none."""
    import ray

    kind = "GPU" if device.startswith("cuda") else "CPU"
    if (there := int(ray.cluster_resources().get(kind, 0))) < 1:
        raise NoRay(f"the Ray cluster has no {kind}: add machines that have one, or give another --device")
    return ({"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}), there


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    os.environ.setdefault("RAY_raylet_start_wait_time_s", "30")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet = ray.data.DataContext.get_current()
    quiet.enable_progress_bars = False
    quiet.print_on_execution_start = False
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise NoRay(
            f"no Ray cluster at {address} ({reason}): start one (ray start --head --port=6379), or leave --ray out to "
            "work on this machine alone"
        ) from error
    try:
        yield
    finally:
        with suppress(Exception):
            ray.shutdown()
