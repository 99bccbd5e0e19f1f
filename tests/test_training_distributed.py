"""Two real processes by torchrun on the CPU: the loss and the gradients of the whole batch, and a run that resumes.

What they are held against is one process: this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from glimpse_here import glimpse_here
from steps_worker import CASES, steps
from tiny_world import ROOT

from encoder.model.load import load_clip
from encoder.unread import ReadTokens
from training.model.distributed import Ranks


def start(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [*torchrun, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=ROOT)


def test_two_processes_have_the_loss_and_the_gradient_of_one(tiny_config: Path, tmp_path: Path) -> None:
    ended = start(ROOT / "tests" / "steps_worker.py", tiny_config, tmp_path / "two.pt")
    assert ended.returncode == 0, ended.stderr[-2000:]
    results = steps(tiny_config, Ranks()), torch.load(tmp_path / "two.pt", weights_only=True)
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
    run = [pairs, "--init", tiny_config, *settings]
    losses = {}
    for name, processes, flags in (
        ("one", 1, []),
        ("two", 2, []),
        ("adamw", 1, ["--optimizer=adamw"]),
        ("spread", 2, ["--fsdp", "--chunk-size=7"]),  # which learns by it
    ):
        whole = [*run, *flags, "--out", tmp_path / name]
        ended = glimpse_here("train", *whole) if processes == 1 else start("-m", "training", *whole)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert ended.stderr.count("before training") == 1  # one of them prints
        assert ("2 processes" in ended.stderr) == (processes == 2)
        assert "unreadable images skipped" in ended.stderr
        assert "FutureWarning" not in ended.stderr
        losses[name] = [epoch["loss"] for epoch in json.loads(ended.stdout)["epochs"]][1:]
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
    assert losses["spread"] == pytest.approx(losses["adamw"], rel=1e-4)
    for alone, together in (("one", "two"), ("adamw", "spread")):
        assert ReadTokens.of_folder(tmp_path / alone / "last") == ReadTokens.of_folder(tmp_path / together / "last")
        weights = load_clip(tmp_path / together / "last").clip.state_dict()
        for key, expected in load_clip(tmp_path / alone / "last").clip.state_dict().items():
            torch.testing.assert_close(weights[key], expected, rtol=1e-3, atol=1e-4, msg=f"{together} {key}")

    config = json.loads((tmp_path / "spread" / "train_config.json").read_text())
    (tmp_path / "spread" / "train_config.json").write_text(json.dumps(config | {"epochs": 3}))
    more = start("-m", "training", "--resume", "--out", tmp_path / "spread", "--json")
    assert more.returncode == 0, more.stderr[-2000:]
    epochs = json.loads(more.stdout)["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    assert epochs[-1]["loss"] < losses["spread"][-1] + 0.05


def test_a_batch_that_cannot_be_shared_is_one_line(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    run = [colour_pairs(24), "--init", tiny_config, "--batch-size=9", "--out", tmp_path / "run"]
    ended = start("-m", "training", *run)
    assert ended.returncode != 0
    assert "--batch-size 9 cannot be shared equally by 2 processes; 8 or 10 can" in ended.stderr


def test_gathering_alone_gives_back_what_it_got() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert Ranks().gather(rows, [3]) is rows
    assert Ranks().everyone("x") == ["x"]
    assert Ranks().from_first("x") == "x"
