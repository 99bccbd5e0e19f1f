"""What glimpse does on an NVIDIA card, in one run of at most eight minutes: one table, and the same as JSON.

    python -m bench.gpu [--seconds 480] [--only training,index] [--json FILE]
    python -m bench.gpu --tiny          # every part in small, on a processor too: whether the script works

Each part runs in a process of its own. One that fails, or whose time is over, is a row with the reason, and the others
go on: one that hangs leaves them the least that each needs. One for which too little is left of `--seconds` is skipped.
The JSON file is written anew after each. Needs no network and no data: pictures are drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.files import write_whole
from base.machine.cpus import use_threads


@dataclass(frozen=True)
class Part:
    """A part: where it is, and the least seconds that are worth starting it on a card."""

    module: str
    function: str
    least: int


PARTS = {  # in the order of what one wants to know first
    "machine": Part("bench.gpu.serving", "measure_machine", 10),
    "training": Part("bench.gpu.training", "measure_speed", 60),
    "encoding": Part("bench.gpu.serving", "measure_encoding", 15),
    "index": Part("bench.gpu.serving", "measure_index", 20),
    "memory": Part("bench.gpu.training", "measure_memory", 30),
    "reading": Part("bench.gpu.training", "measure_reading", 45),
    "sharding": Part("bench.gpu.steps", "measure_sharding", 15),
    "losses": Part("bench.gpu.steps", "measure_losses", 10),
    "service": Part("bench.gpu.serving", "measure_service", 30),
    "learning": Part("bench.gpu.training", "measure_learning", 40),
    "options": Part("bench.gpu.steps", "measure_options", 20),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480, help="for all of it")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between (default: all)")
    parser.add_argument("--tiny", action="store_true", help="small sizes, which try the script and measure nothing")
    parser.add_argument("--json", type=Path, help="write the JSON there instead of printing it")
    parser.add_argument(
        "--log", type=Path, help="append there what the parts' programs say, tracebacks of rows that fail"
    )
    parser.add_argument("--run", nargs=3, metavar=("PART", "ROWS", "WORK"), help=argparse.SUPPRESS)  # a part's process
    arguments = parser.parse_args()
    if arguments.run:
        run_part(*arguments.run, tiny=arguments.tiny)
        return
    wanted = [name.strip() for name in arguments.only.split(",")]
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"--only {unknown[0]}: there is no such part; choose of {', '.join(PARTS)}")
    if not (arguments.tiny or has_card()):
        parser.error("torch sees no CUDA device here; --tiny tries the script without one")

    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    print(f"{'part':10} {'what':46} figures", flush=True)
    result: dict[str, Any] = {}
    least = {name: 1 if arguments.tiny else part.least for name, part in PARTS.items() if name in wanted}
    for name in [*least]:
        begun = time.monotonic()
        left = arguments.seconds - (begun - started)
        own = least.pop(name)
        if left < own:
            found = [{"part": name, "row": name, "failed": f"skipped: {max(left, 0):.0f} s were left of --seconds"}]
        else:
            found = of_process(name, max(own, left - sum(least.values())), arguments)
        rows += found
        for row in found:
            print(line_of(row), flush=True)
        print(f"{name:10} {'':46} {time.monotonic() - begun:.0f} s", flush=True)
        result = {"tiny": arguments.tiny, "seconds": round(time.monotonic() - started, 1), "rows": rows}
        if arguments.json:
            write_whole(arguments.json.resolve(), json.dumps(result, indent=1) + "\n")
    if not arguments.json:
        print(json.dumps(result))


def has_card() -> bool:
    """Whether torch sees a CUDA device; asked in a process of its own, for this one shall hold nothing of it."""
    asks = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", asks], check=False).returncode == 0


def of_process(part: str, seconds: float, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a part that runs in a process of its own for so long at most; what ended it early is one of them."""
    work = Path(tempfile.mkdtemp())
    rows, log = work / "rows", work / "log"
    rows.touch()
    command = [sys.executable, "-m", "bench.gpu", "--run", part, str(rows), str(work), *["--tiny"] * arguments.tiny]
    try:
        with log.open("wb") as file:
            root = Path(__file__).parents[2]  # where `-m` finds it
            process = subprocess.Popen(command, cwd=root, stdout=file, stderr=file, process_group=0)
            over = wait_for(process, seconds)
        found = [json.loads(line) for line in rows.read_text().splitlines()]
        if over or process.returncode:
            said = log.read_text(errors="replace").strip().splitlines()
            why = f"stopped after {seconds:.0f} s, its share of --seconds" if over else (said or ["no word"])[-1][:200]
            ended = "" if over else f"ended with {process.returncode}: "
            found.append({"part": part, "row": part, "failed": ended + why})
        return found
    finally:
        if arguments.log and log.exists():
            with arguments.log.open("ab") as file:
                file.write(f"== {part}\n".encode() + log.read_bytes())
        shutil.rmtree(work, ignore_errors=True)


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Until it ends; whether it had to be ended: by an interrupt, so that it ends what it started, else at once."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_part(part: str, rows: str, work: str, *, tiny: bool) -> None:
    """What the process of a part does."""
    use_threads()  # before torch is imported, which takes one for each core of the machine
    module = importlib.import_module(PARTS[part].module)
    from bench.gpu.rows import Bench

    getattr(module, PARTS[part].function)(Bench(part, Path(rows), Path(work), tiny))


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    figures = row.get("failed") or ", ".join(f"{name} {shown(value)}" for name, value in row["figures"].items())
    return f"{row['part']:10} {row['row']:46} {figures}"


def shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.6f}" if 0.99 < value < 1 else f"{value:.3g}"


if __name__ == "__main__":
    main()
