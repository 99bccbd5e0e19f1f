"""One optimiser step: forward, loss, backward, clip, update. Big batches go through in chunks, exactly.

With a chunk size the gradient is cached (GradCache, Gao et al. 2021): embed the whole batch without a graph, take the
loss and its gradient at the embeddings, then embed each chunk again and send its part of that gradient through it.
Same loss, same gradient, memory of one chunk; a second forward is the price. It is exact for models whose rows do not
see each other: BatchNorm, which they share, normalises each chunk by itself.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from encoder.model.dual_encoder import Normalise
from encoder.model.load import ClipParts
from encoder.model.text import TextTower
from training.data.loader import Batch, text_id
from training.loss.objective import Features, Objective
from training.model.fsdp import average_whole_gradients, whole
from training.model.optim import Optimizer, clamp_logit_scale

Inputs = tuple[Tensor, Tensor]  # pixels and the others, as `Towers.forward` takes them
Outputs = tuple[Tensor, Tensor, Tensor, Tensor]  # images, texts, logit_scale, logit_bias


class Towers(nn.Module):
    """Both towers as one module with one forward, so that DistributedDataParallel can wrap it."""

    def __init__(self, parts: ClipParts, device: torch.device, precision: str) -> None:
        super().__init__()
        self.clip: Any = parts.clip
        self._text = TextTower(parts.clip, parts.tokenizer)
        self._normalise = Normalise(parts.preprocess, device, torch.float32)
        self.device = device
        self._precision = precision

    def forward(self, pixels: Tensor, others: Tensor) -> Outputs:
        """Encode a batch.

        Args:
            pixels: (n, height, width, 3) uint8.
            others: (k, length) int64 tokens of texts, or (k, height, width, 3) uint8 second views; both on the CPU.

        Returns:
            (n, dim) and (k, dim) float32 unit rows, and logit_scale () and logit_bias ().
        """
        clip = self.clip
        with autocast(self.device, self._precision):
            images = self._image(pixels)
            texts = self._text(others) if others.dtype == torch.int64 else self._image(others)
        bias = getattr(clip, "logit_bias", None)
        scale = clip.logit_scale.exp()
        return _unit(images), _unit(texts), scale, torch.zeros_like(scale) if bias is None else bias

    def _image(self, pixels: Tensor) -> Tensor:
        return self.clip.encode_image(self._normalise(pixels))  # type: ignore[no-any-return]

    def tokenize(self, texts: list[str]) -> Tensor:
        """Tokens (n, length) int64 on the CPU."""
        return self._text.tokenize(texts)


@dataclass(frozen=True)
class StepResult:
    """What a step was: the loss of the whole batch, the norm of its gradient before clipping, and measures."""

    loss: float
    grad_norm: float
    measures: dict[str, float]

    @classmethod
    def of(cls, shares: Sequence[tuple[float, dict[str, float]]], grad_norm: float) -> StepResult:
        """The means of what each process has."""
        world = len(shares)
        measures = {name: sum(share[name] for _, share in shares) / world for name in shares[0][1]}
        return cls(sum(loss for loss, _ in shares) / world, grad_norm, measures)

    @property
    def finite(self) -> bool:
        """Whether the step was taken; with a loss or a gradient that is not a number it is not."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Stepper:
    """Takes optimiser steps on batches."""

    def __init__(
        self,
        towers: Towers,
        objective: Objective,
        optimizer: Optimizer,
        *,
        grad_clip: float,
        chunk_size: int | None,
        seed: int,
    ) -> None:
        self._towers = towers
        ranks = objective.ranks
        self._sharded = objective.config.fsdp
        self._model: Any = DistributedDataParallel(towers) if ranks.world > 1 and not self._sharded else towers
        self._objective = objective
        self._optimizer = optimizer
        self._parameters = [p for p in towers.parameters() if p.requires_grad]
        self._grad_clip = grad_clip
        self._chunk_size = chunk_size
        self._seed = f"{seed} {ranks.rank}"

    def __call__(
        self,
        batch: Batch,
        step: int,
        counts: Sequence[tuple[int, int]],
        progress: float = 1.0,
        inputs: Inputs | None = None,
    ) -> StepResult:
        """Train on this process's part of batch number `step`.

        Args:
            batch: n > 0 rows and m hard negatives.
            step: seeds the dropout.
            counts: (n, m) of every process.
            progress: the share of the run's steps that is done, 0 to 1.
            inputs: what `inputs` makes of the batch, where it was made ahead; else it is made now.
        """

        def loss_of(outputs: Outputs) -> tuple[Tensor, dict[str, float]]:
            return self._objective(Features(*outputs), *_ids(batch, outputs[0].device), counts, progress)

        self._optimizer.zero_grad(set_to_none=True)
        parts = self._chunks(inputs or self.inputs(batch), counts)
        if len(parts) == 1:
            self._seed_chunk(step, 0)
            loss, measures = loss_of(self._model(*parts[0]))
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            loss, measures = self._in_chunks(parts, step, loss_of)
        if self._sharded:
            average_whole_gradients(self._towers)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._grad_clip)
        if self._sharded:
            norm = whole(norm)
        result = StepResult.of(self._objective.ranks.everyone((float(loss.detach()), measures)), float(norm))
        if result.finite:
            self._optimizer.step()
            if self._objective.config.clamps_scale:
                clamp_logit_scale(self._towers.clip)
        return result

    def fit_bias(self, batch: Batch, counts: Sequence[tuple[int, int]]) -> float:
        """Set the logit_bias to where the sigmoid loss of a batch is least, and return it. Leaves it in eval mode."""
        self._towers.eval()
        with torch.no_grad():
            embedded = [self._towers(*part) for part in self._chunks(self.inputs(batch), counts)]
            features = Features(*_joined(embedded))
            bias = self._objective.best_bias(features, *_ids(batch, features.images.device), counts)
            self._towers.clip.logit_bias.fill_(bias)
        return float(bias)

    def inputs(self, batch: Batch) -> Inputs:
        """A batch as the towers take it; any thread may make it, while a step is taken on another one."""
        pixels = torch.from_numpy(batch.pixels)
        if batch.views is not None:
            others = torch.from_numpy(batch.views)
        else:
            others = self._towers.tokenize(batch.captions + batch.negatives)
        if self._towers.device.type == "cuda":  # only out of pinned memory is a copy to a GPU not waited for
            return pixels.pin_memory(), others.pin_memory()
        return pixels, others

    def _chunks(self, inputs: Inputs, counts: Sequence[tuple[int, int]]) -> list[Inputs]:
        """The inputs of a batch, whole or in pieces."""
        pixels, others = inputs
        rows = [n for n, _ in counts]
        # As many chunks in every process: a spread model is gathered anew for each.
        chunks = 1 if self._chunk_size is None else min(min(rows), math.ceil(max(rows) / self._chunk_size))
        return list(zip(torch.tensor_split(pixels, chunks), torch.tensor_split(others, chunks), strict=True))

    def _in_chunks(
        self,
        parts: list[Inputs],
        step: int,
        loss_of: Callable[[Outputs], tuple[Tensor, dict[str, float]]],
    ) -> tuple[Tensor, dict[str, float]]:
        embedded: list[Outputs] = []
        with torch.no_grad():
            for i, part in enumerate(parts):
                self._seed_chunk(step, i)
                embedded.append(self._towers(*part))
        leaves = [x.detach().requires_grad_() for x in _joined(embedded)]
        loss, measures = loss_of((leaves[0], leaves[1], leaves[2], leaves[3]))
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
        of_chunks = [torch.tensor_split(gradient, len(parts)) for gradient in gradients[:2]]
        for i, (part, of_images, of_texts) in enumerate(zip(parts, *of_chunks, strict=True)):
            last = i == len(parts) - 1
            with self._synchronised(last):
                self._seed_chunk(step, i)  # the same dropout as in the first forward
                out_images, out_texts, scale, bias = self._model(*part)
                through = (out_images * of_images).sum() + (out_texts * of_texts).sum()
                through = through + float(last) * (scale * gradients[2] + bias * gradients[3])  # once, not a chunk
                through.backward()
        return loss, measures

    @contextlib.contextmanager
    def _synchronised(self, last: bool) -> Iterator[None]:
        """Processes exchange gradients once a step, with the last chunk."""
        if self._sharded:
            self._model.set_requires_gradient_sync(last)
        with contextlib.nullcontext() if last or self._model is self._towers else self._model.no_sync():
            yield

    def _seed_chunk(self, step: int, chunk: int) -> None:
        """Dropout depends on the step alone: no state to save, and a chunk's second forward repeats its first."""
        torch.manual_seed(random.Random(f"{self._seed} {step} {chunk}").getrandbits(63))


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision: matrix products in bf16, weights and sums in fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _ids(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of its rows and of its hard negatives; see `training.loss.objective.positives_of`."""
    negatives = torch.tensor([text_id(text) for text in batch.negatives], dtype=torch.int64)
    return torch.from_numpy(batch.ids).to(device), negatives.to(device)


def _joined(chunks: Sequence[Outputs]) -> Outputs:
    """What the towers give for a batch, of what they gave for its chunks."""
    images, texts = (torch.cat([outputs[side] for outputs in chunks]) for side in (0, 1))
    return images, texts, *chunks[0][2:]


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=-1)
