"""Two machines that train one model: each its own network (two namespaces joined by a cable of the kernel's), one disk.

Where namespaces may not be made, both have the network of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ports import free_port
from tiny_world import ROOT

NAMES = [f"glimpse{os.getpid()}{end}" for end in "ab"]


@pytest.fixture
def machines() -> Iterator[list[tuple[list[str], str]]]:
    """Of each machine, how a command is started there, and its address."""
    addresses = ["10.77.0.1", "10.77.0.2"]
    cable = ["ip", "link", "add", NAMES[0], "netns", NAMES[0], "type", "veth", "peer", NAMES[1], "netns", NAMES[1]]
    steps = [["ip", "netns", "add", name] for name in NAMES] + [cable]
    for name, address in zip(NAMES, addresses, strict=True):
        steps.append(["ip", "-n", name, "addr", "add", f"{address}/24", "dev", name])
        steps += [["ip", "-n", name, "link", "set", device, "up"] for device in ("lo", name)]
    if shutil.which("ip") and all(subprocess.run(step, capture_output=True).returncode == 0 for step in steps):
        yield [(["ip", "netns", "exec", name], address) for name, address in zip(NAMES, addresses, strict=True)]
    else:
        yield [([], "127.0.0.1")] * 2
    for name in NAMES:
        if shutil.which("ip"):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


class Launch:
    """One torchrun a machine, that find each other by the address of the first."""

    def __init__(self, machines: list[tuple[list[str], str]], name: str, run: list[str], logs: Path) -> None:
        self._open = ExitStack()
        meeting = f"{machines[0][1]}:{free_port()}"
        self.logs = [logs / f"{name}-{i}.log" for i in range(len(machines))]
        self.agents = []
        for first, (prefix, address), log in zip((1, 0), machines, self.logs, strict=True):
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
            torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", f"--rdzv-id={name}", "--max-restarts=3"]
            torchrun += [f"--rdzv-conf=is_host={first}"]
            device = subprocess.run(
                [*prefix, "ip", "-o", "addr", "show", "to", address], capture_output=True, text=True, check=False
            ).stdout.split()
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            environment |= {"GLOO_SOCKET_IFNAME": device[1] if device else "lo"}
            environment |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # docs/training.md says why
            command = [*prefix, *torchrun, f"--local-addr={address}", "-m", "training", *run]
            out = self._open.enter_context(log.open("w"))
            self.agents.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=ROOT))

    def worker(self, machine: int) -> int:
        """The process that trains there."""
        agent = self.agents[machine].pid
        children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        return int(children[0])

    def wait(self) -> list[int]:
        with self._open:
            return [agent.wait(timeout=240) for agent in self.agents]

    def kill(self) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.kill()


def losses(run: Path) -> list[float]:
    return [epoch["loss"] for epoch in json.loads((run / "metrics.json").read_text())["epochs"][1:]]


@pytest.mark.nodes
def test_a_run_goes_on_after_a_machine_lost_its_process(
    machines: list[tuple[list[str], str]], colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    settings = ["--epochs=8", "--batch-size=16", "--lr=1e-3", "--device=cpu", "--precision=fp32"]
    run = [str(colour_pairs(96)), "--init", str(tiny_config), *settings]
    whole = Launch(machines, "whole", [*run, "--out", str(tmp_path / "whole")], tmp_path)
    try:
        assert whole.wait() == [0, 0], [log.read_text()[-2000:] for log in whole.logs]
    finally:
        whole.kill()

    broken = Launch(machines, "broken", [*run, "--out", str(tmp_path / "broken")], tmp_path)
    try:
        for machine in (1, 0):  # the one that only trains, then perhaps the one that writes
            state = tmp_path / "broken" / "last" / "training_state.pt"
            before = state.stat().st_mtime_ns if state.exists() else 0
            until = time.monotonic() + 120
            while not state.exists() or state.stat().st_mtime_ns == before:
                assert time.monotonic() < until, [log.read_text()[-2000:] for log in broken.logs]
                time.sleep(0.02)
            os.kill(broken.worker(machine), signal.SIGKILL)
        assert broken.wait() == [0, 0], [log.read_text()[-3000:] for log in broken.logs]
    finally:
        broken.kill()
    assert losses(tmp_path / "broken") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    assert len(losses(tmp_path / "broken")) == 8
