"""How fast an architecture learns on this machine: some steps on drawn pixels and short texts, no image read."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from training.config import TrainConfig
from training.data.loader import Batch
from training.learner import Learner
from training.loss.objective import Objective
from training.model.distributed import join_ranks
from training.step import Stepper

BATCH = 32  # pairs a step; larger ones are seldom slower
SECONDS = 1.0  # of steps, at least one, after one that warms up


@dataclass(frozen=True)
class Rate:
    """What was measured.

    Attributes:
        parameters: of the model; most of a small one are the vectors of its 49,408 tokens.
        image_parameters: those of its image tower.
        samples_per_second: pairs through the model and back, in batches of BATCH.
        device, precision: where and in what.
    """

    parameters: int
    image_parameters: int
    samples_per_second: float
    device: str
    precision: str


def measure_rate(init: str, device: str = "auto", precision: str = "auto") -> Rate:
    """Train random weights of an architecture for a second.

    Raises:
        ModelError: as `encoder.model.load.build_clip`.
    """
    config = TrainConfig(pairs="", out="", init=init, device=device, precision=precision)
    with join_ranks() as ranks:
        learner = Learner(config, ranks, resume=False)
        stepper = Stepper(
            learner.towers,
            Objective(config, ranks),
            learner.optimizer,
            grad_clip=config.grad_clip,
            chunk_size=None,
            seed=config.seed,
        )
        batch = _drawn(learner.parts.preprocess.height_width)

        def step() -> None:
            stepper(batch, 1, [(BATCH, 0)])  # waits for the device: the loss is asked for

        step()
        steps, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < SECONDS or not steps:
            step()
            steps += 1
    visual: torch.nn.Module = learner.parts.clip.visual  # type: ignore[assignment]
    image = sum(parameter.numel() for parameter in visual.parameters())
    return Rate(learner.parameters, image, round(BATCH * steps / seconds, 1), str(learner.device), learner.precision)


def _drawn(height_width: tuple[int, int]) -> Batch:
    """Pixels of noise with a caption of six words each."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *height_width, 3), np.uint8)
    ids = np.arange(1, 3 * BATCH + 1, dtype=np.int64).reshape(BATCH, 3)
    return Batch(pixels, [f"a red boat at sea {i}" for i in range(BATCH)], ids, [], None, [])
