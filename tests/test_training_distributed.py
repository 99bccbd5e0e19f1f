"""Two real processes by torchrun on the CPU: the loss and the gradients of the whole batch, and a run that resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from encoder.model.load import load_clip

CASES = (
    ("info-nce", None, False),
    ("info-nce", 2, True),
    ("siglip", None, True),
    ("triplet", None, False),
    ("nt-xent", 3, False),
)  # loss, chunk size, whether the processes have unlike numbers of rows

STEPS = """
import gc, os, sys, torch
from encoder.model.load import build_clip
from tests.test_training_distributed import CASES
from tests.test_training_step import batch_of
from training.config import TrainConfig
from training.data.loader import Batch
from training.objective import Objective
from training.model.distributed import join_ranks
from training.model.starting_model import choose_trainable
from training.step import Stepper, Towers

config_path, out = sys.argv[1:]

def steps(ranks):
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
    if ranks.first:
        torch.save(results, out)

with join_ranks() as ranks:
    steps(ranks)
gc.collect()
threads = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
assert "pt_gloo_runloop" not in threads, threads  # one of them that works while Python ends aborts the process
"""


def start(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*torchrun, *arguments] if processes > 1 else [sys.executable, *arguments]
    root = Path(__file__).parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=root)


def test_two_processes_have_the_loss_and_the_gradient_of_one(tiny_config: Path, tmp_path: Path) -> None:
    script = tmp_path / "steps.py"
    script.write_text(STEPS)
    results = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        ended = start(processes, str(script), str(tiny_config), str(out))
        assert ended.returncode == 0, ended.stderr[-2000:]
        results.append(torch.load(out, weights_only=True))
    for case, one, two in zip(CASES, *results, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5), case
        assert two["bias"] == pytest.approx(one["bias"], rel=1e-5)
        assert (one["bias"] == 0) == (case[0] != "siglip")
        assert two["measures"] == pytest.approx(one["measures"], rel=1e-4), case
        assert one["grads"].keys() == two["grads"].keys()
        assert max(gradient.abs().max() for gradient in one["grads"].values()) > 1e-3
        for name, gradient in one["grads"].items():
            torch.testing.assert_close(two["grads"][name], gradient, rtol=1e-4, atol=1e-5, msg=f"{case} {name}")


def test_a_run_of_two_processes_is_the_run_of_one_and_resumes(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    settings = ["--epochs=2", "--batch-size=16", "--lr=1e-3", "--device=cpu", "--precision=fp32", "--json"]
    pairs = colour_pairs(72)
    for i in range(3):  # which leaves the processes with unlike numbers of rows, and of chunks
        (pairs.parent / f"{i}.png").write_bytes(b"broken")
    run = [str(pairs), "--init", str(tiny_config), *settings]
    losses = {}
    for name, processes, flags in (
        ("one", 1, []),
        ("two", 2, []),
        ("adamw", 1, ["--optimizer=adamw"]),
        ("spread", 2, ["--fsdp", "--chunk-size=7"]),  # which learns by it
    ):
        ended = start(processes, "-m", "training", *run, *flags, "--out", str(tmp_path / name))
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert ended.stderr.count("before training") == 1  # one of them prints
        assert ("2 processes" in ended.stderr) == (processes == 2)
        assert "unreadable images skipped" in ended.stderr
        assert "FutureWarning" not in ended.stderr
        losses[name] = [epoch["loss"] for epoch in json.loads(ended.stdout)["epochs"]][1:]
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
    assert losses["spread"] == pytest.approx(losses["adamw"], rel=1e-4)
    for alone, together in (("one", "two"), ("adamw", "spread")):
        weights = load_clip(tmp_path / together / "last").clip.state_dict()
        for key, expected in load_clip(tmp_path / alone / "last").clip.state_dict().items():
            torch.testing.assert_close(weights[key], expected, rtol=1e-3, atol=1e-4, msg=f"{together} {key}")

    config = json.loads((tmp_path / "spread" / "train_config.json").read_text())
    (tmp_path / "spread" / "train_config.json").write_text(json.dumps(config | {"epochs": 3}))
    more = start(2, "-m", "training", "--resume", "--out", str(tmp_path / "spread"), "--json")
    assert more.returncode == 0, more.stderr[-2000:]
    epochs = json.loads(more.stdout)["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    assert epochs[-1]["loss"] < losses["spread"][-1] + 0.05


def test_a_batch_that_cannot_be_shared_is_one_line(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    run = [str(colour_pairs(24)), "--init", str(tiny_config), "--batch-size=9", "--out", str(tmp_path / "run")]
    ended = start(2, "-m", "training", *run)
    assert ended.returncode != 0
    assert "--batch-size 9 cannot be shared equally by 2 processes; 8 or 10 can" in ended.stderr


def test_gathering_alone_gives_back_what_it_got() -> None:
    from training.model.distributed import Ranks

    rows = torch.randn(3, 2, requires_grad=True)
    assert Ranks().gather(rows, [3]) is rows
    assert Ranks().everyone("x") == ["x"]
    assert Ranks().from_first("x") == "x"
