"""Steps of a model on one batch, for each loss: in one process, or as a program of torchrun, each with its rows.

torchrun --nproc-per-node=2 tests/steps_worker.py CONFIG OUT
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import torch
from test_training_step import batch_of

from encoder.model.load import build_clip
from training.config import TrainConfig
from training.data.loader import Batch
from training.loss.objective import Objective
from training.model.distributed import Ranks, join_ranks
from training.model.starting_model import choose_trainable
from training.step import Stepper, Towers

CASES = (
    ("info-nce", None, False),
    ("info-nce", 2, True),
    ("siglip", None, True),
    ("triplet", None, False),
    ("nt-xent", 3, False),
)  # loss, chunk size, whether the processes have unlike numbers of rows


def steps(config_path: str | Path, ranks: Ranks) -> list[dict[str, Any]]:
    """What comes of a step of each case: loss, bias, measures and gradients."""
    results = []
    for loss, chunk_size, uneven in CASES:
        torch.manual_seed(0)
        parts = build_clip(config_path)
        parts.clip.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))
        config = TrainConfig(pairs="", out="", init="x", loss=loss, hardness=0.5 if loss == "info-nce" else 0.0)
        choose_trainable(parts.clip, config)
        optimizer = torch.optim.SGD([p for p in parts.clip.parameters() if p.requires_grad], lr=0.0)
        whole = batch_of(10, views=loss == "nt-xent")
        cut = 10 if ranks.world == 1 else 4 if uneven else 5
        rows = slice(0, cut) if ranks.first else slice(cut, 10)
        negatives = [] if loss == "nt-xent" else ["no red thing", "a cat"] * ranks.first
        negatives += ["a dog"] * (loss != "nt-xent" and ranks.rank == ranks.world - 1)
        views = None if whole.views is None else whole.views[rows]
        batch = Batch(whole.pixels[rows], whole.captions[rows], whole.ids[rows], negatives, views, [])
        towers = Towers(parts, torch.device("cpu"), "fp32")
        step = Stepper(towers, Objective(config, ranks), optimizer, grad_clip=1e9, chunk_size=chunk_size, seed=0)
        counts = ranks.everyone((len(batch.ids), len(batch.negatives)))
        bias = step.fit_bias(batch, counts) if loss == "siglip" else 0.0
        result = step(batch, 1, counts)
        grads = {name: p.grad for name, p in parts.clip.named_parameters() if p.grad is not None}
        results.append({"loss": result.loss, "bias": bias, "measures": result.measures, "grads": grads})
    return results


def main(config_path: str, out: str) -> None:
    with join_ranks() as ranks:
        results = steps(config_path, ranks)
        if ranks.first:
            torch.save(results, out)
        del results
    gc.collect()
    threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    assert "pt_gloo_runloop" not in threads, threads  # one of them that works while Python ends aborts the process


if __name__ == "__main__":
    main(*sys.argv[1:])
