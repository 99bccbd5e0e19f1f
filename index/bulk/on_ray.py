"""The same work on a Ray cluster, by Ray Data: a shard a task, in actors that hold the model. The only import of ray.

An actor, or its whole machine, that dies is replaced by Ray and its shard is embedded again elsewhere: a part appears
whole, so there is one of each. All machines see the source, the output folder and the model under the same names.

The list of shards is small and in Ray's memory from the start: there are no read tasks that could wait for the
processors that actors hold.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from base.errors import GlimpseError, InputError, ModelMismatch
from base.extras import install
from encoder.encoder import Encoder
from index.bulk.job import Engine, Tell
from index.bulk.parts import Outcome, write_part
from index.bulk.source import Shard

WAIT = 5.0  # seconds for a cluster's head to answer


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


@contextmanager
def on_ray(address: str, encoder: Encoder, device: str, precision: str) -> Iterator[Engine]:
    """The engine that is a Ray cluster, connected to until the block ends.

    Args:
        address: HOST:PORT of its head; or `auto`, that which this machine is in.
        encoder: what the work is for; the actors open its model themselves.
        device: of the actors. With `cuda` each takes a GPU, else a processor.
        precision: of the actors.

    Raises:
        InputError: Ray is not installed, or that is no address.
        NoRay: nobody answers there, or there is nothing to work with.
    """
    if find_spec("ray") is None:
        raise InputError(f"--ray needs ray: {install('ray')}")

    def engine(out: Path, shards: Sequence[Shard], tell: Tell) -> Iterator[Outcome]:
        work = _Work(str(out.resolve()), encoder.ref, encoder.fingerprint, device, precision)
        for outcome in _outcomes(work, shards):
            if outcome.report is not None:
                tell(outcome.report.rows + len(outcome.report.unread), 1)
            yield outcome

    with _connected(address):
        _room(device)
        yield engine


def _outcomes(work: _Work, shards: Sequence[Shard]) -> Iterator[Outcome]:
    import ray.data

    each, most = _room(work.device)
    actors = min(most, len(shards))
    found = ray.data.from_items(list(shards), override_num_blocks=len(shards)).map(
        _Worker,
        fn_constructor_args=[work],
        compute=ray.data.ActorPoolStrategy(
            min_size=1, initial_size=actors, max_size=actors, max_tasks_in_flight_per_actor=2
        ),
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
    try:
        _check_answers(address)
        import ray.data

        for name in ("ray", "ray.data"):  # what it does for us is told by our own progress
            logging.getLogger(name).setLevel(logging.ERROR)
        quiet = ray.data.DataContext.get_current()
        quiet.enable_progress_bars = quiet.print_on_execution_start = False
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, TimeoutError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise NoRay(
            f"no Ray cluster at {address} ({reason}): start one (ray start --head --port=6379), or leave --ray out to "
            "work on this machine alone"
        ) from error
    with redirect_stdout(sys.stderr):  # Ray tells of actors that died: others have taken their place
        try:
            yield
        finally:
            with suppress(Exception):
                ray.shutdown()


def _check_answers(address: str) -> None:
    """OSError if nobody listens there: Ray would try for minutes. InputError for no address."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 2**16):
        raise InputError(f"--ray {address}: no address; give HOST:PORT of the cluster's head, or auto")
    socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT).close()
