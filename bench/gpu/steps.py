"""Parts of bench/gpu that take steps or losses by themselves: group of one, options, several right ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from bench.common import open_clip
from bench.gpu.rows import TINY, Bench
from bench.training.training_speed import CAPTION
from training.config import TrainConfig
from training.data.loader import Batch, text_id
from training.learner import Learner
from training.loss import losses
from training.loss.objective import Objective, positives_of
from training.model.distributed import Ranks, _Gather
from training.step import Stepper


def measure_losses(bench: Bench) -> None:
    """A loss, forward and backward, at batches of thousands, four rows a caption; open_clip's knows only one."""
    reference = open_clip.ClipLoss()
    for n in bench.pick((4096, 8192, 16_384, 32_768), (64, 128)):
        ids = torch.stack((torch.arange(n) // 4 + 1, torch.arange(n) + 1, torch.zeros(n, dtype=torch.int64)), dim=1)
        ids = ids.to(bench.device)
        none = ids.new_empty(0)
        scale = torch.tensor(14.3, device=bench.device)
        torch.manual_seed(0)
        images, texts = (
            F.normalize(torch.randn(n, 512, device=bench.device), dim=-1).requires_grad_() for _ in range(2)
        )
        ways: dict[str, Callable[[Any, Any], Any]] = {
            "several right": lambda x, y: losses.info_nce(x, y, scale, positives=positives_of(ids, none)),  # noqa: B023
            "one right": lambda x, y: losses.info_nce(x, y, scale),  # noqa: B023
            "open_clip's ClipLoss": lambda x, y: reference(x, y, scale),  # noqa: B023
        }
        for way, loss in ways.items():
            name = f"InfoNCE of {n:,}, {way}"
            with bench.attempt(name):
                bench.reset_peak()
                seconds = bench.seconds(lambda: loss(images, texts).backward(), bench.pick(5, 1))  # noqa: B023
                here = float(loss(images, texts))
                figures = {"ms": seconds * 1e3, "peak_GB": bench.peak_gb()}
                if n <= 4096:
                    figures["off_the_CPU's"] = abs(here - loss_on_cpu(way, images, texts, ids)) / abs(here)
                bench.row(name, **figures)


def loss_on_cpu(way: str, images: torch.Tensor, texts: torch.Tensor, ids: torch.Tensor) -> float:
    """The same number from a processor in float64."""
    x, y, scale = images.detach().cpu().double(), texts.detach().cpu().double(), torch.tensor(14.3).double()
    positives = positives_of(ids.cpu(), ids.new_empty(0).cpu()) if way == "several right" else None
    return float(losses.info_nce(x, y, scale, positives=positives))


def measure_sharding(bench: Bench) -> None:
    """Steps of one process alone, by DistributedDataParallel and by FSDP2, in a group of one: NCCL on a card.

    What they exchange costs nothing then, so this is what the machinery itself adds; and all must have the same loss.
    """
    backend = "cpu:gloo,cuda:nccl" if bench.device == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        with bench.attempt("collectives"):
            check_collectives(bench)
        size = bench.pick(512, 8)
        batch = drawn_batch(size, bench.pick(224, TINY["vision_cfg"]["image_size"]))
        alone: list[float] = []
        for name in ("one process", "DistributedDataParallel", "--fsdp"):
            with bench.attempt(f"{name}, batch {size}"):
                stepper, learner = stepper_of(bench, fsdp=name == "--fsdp")
                if name == "DistributedDataParallel":
                    stepper._model = DistributedDataParallel(learner.towers)
                measured, found = take_steps(bench, stepper, batch)
                started = time.perf_counter()
                learner.restore(learner.state())
                measured["s_to_save_and_restore"] = time.perf_counter() - started
                alone = alone or found
                off = max(abs(x - y) for x, y in zip(alone, found, strict=True))
                bench.row(f"{name}, batch {size}", **measured, loss_off=off)
                del stepper, learner
    finally:
        dist.destroy_process_group()


def check_collectives(bench: Bench) -> None:
    """What a run of several processes calls, on this backend."""
    rows = torch.randn(64, 32, device=bench.device, requires_grad=True)
    gathered = _Gather.apply(rows, 0, 1)
    gathered.square().sum().backward()
    torch.testing.assert_close(rows.grad, 2 * rows.detach())
    everyone: list[Any] = [None]
    dist.all_gather_object(everyone, {"rows": 64})
    dist.broadcast_object_list(everyone, src=0)
    dist.barrier()
    version = ".".join(map(str, torch.cuda.nccl.version())) if bench.device == "cuda" else "gloo"
    bench.row("collectives", backend=f"NCCL {version}" if bench.device == "cuda" else version, right="yes")


def drawn_batch(size: int, side: int) -> Batch:
    """Pixels without sense, captions of a dozen tokens."""
    captions = [CAPTION.format(i) for i in range(size)]
    pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)
    ids = np.array([(text_id(caption), i + 1, 0) for i, caption in enumerate(captions)], np.int64)
    return Batch(pixels, captions, ids, [], None, [])


def stepper_of(bench: Bench, *, fsdp: bool = False) -> tuple[Stepper, Learner]:
    """As the trainer makes them."""
    bench.reset_peak()
    config = TrainConfig(
        pairs="",
        out="",
        init=bench.architecture,
        fsdp=fsdp,
        device=bench.device,
        precision="bf16",
        optimizer="adamw",  # --fsdp has no other
    )
    learner = Learner(config, Ranks(), resume=False)
    learner.begin_epoch()
    objective = Objective(config, Ranks())
    return Stepper(learner.towers, objective, learner.optimizer, grad_clip=1.0, chunk_size=None, seed=0), learner


def take_steps(bench: Bench, stepper: Stepper, batch: Batch) -> tuple[dict[str, float], list[float]]:
    """Figures of steps on one batch, whose tokens are made before; and the losses of the first three."""
    inputs, counts, numbers = stepper.inputs(batch), [(len(batch.ids), 0)], itertools.count(1)

    def step() -> float:
        return stepper(batch, next(numbers), counts, inputs=inputs).loss

    started = time.perf_counter()
    found = [step()]
    first = time.perf_counter() - started
    found += [step(), step()]
    seconds = bench.seconds(step, bench.pick(10, 1))
    return {
        "samples_per_s": len(batch.ids) / seconds,
        "ms_a_step": seconds * 1e3,
        "first_step_s": first,
        "peak_GB": bench.peak_gb(),
    }, found


def measure_options(bench: Bench) -> None:
    """What glimpse does not do, and might if it pays: each beside the step as it is."""
    size = bench.pick(1024, 8)
    batch = drawn_batch(size, bench.pick(224, TINY["vision_cfg"]["image_size"]))
    for name, change in OPTIONS.items():
        with bench.attempt(f"a step, {name}"):
            if change is compile_blocks:
                bench.need_cuda()
            stepper, learner = stepper_of(bench)
            change(learner)
            measured, _ = take_steps(bench, stepper, batch)
            bench.row(f"a step, {name}", **measured)
            del stepper, learner


def fuse_optimizer(learner: Learner) -> None:
    for group in learner.optimizer.param_groups:
        group["fused"] = True


def compile_blocks(learner: Learner) -> None:
    """Block by block: they are alike, so one is compiled for all."""
    for blocks in [module for module in learner.towers.modules() if isinstance(module, torch.nn.ModuleList)]:
        for block in blocks:
            block.compile()


OPTIONS: dict[str, Callable[[Learner], object]] = {
    "as it is": lambda learner: None,
    "fused AdamW": fuse_optimizer,
    "channels last": lambda learner: learner.parts.clip.visual.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
    "compiled blocks": compile_blocks,
}
