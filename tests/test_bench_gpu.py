"""bench/gpu in small, on a processor: every part runs, and one that cannot keeps no other back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PARTS = "machine training encoding index memory reading sharding losses service learning options".split()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the benchmarks draw, once for all tests."""
    return tmp_path_factory.mktemp("bench")


def run(cache: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.gpu", *flags]
    more = {"GLIMPSE_BENCH": str(cache), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | more, capture_output=True, text=True, timeout=400, check=False
    )


def rows_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr[-2000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["rows"]
    return rows


@pytest.mark.slow
def test_every_part_runs_in_small(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="open_clip's trainer, the reference, reads CSV by it")
    done = run(cache, "--tiny", "--json", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert list(dict.fromkeys(row["part"] for row in rows)) == PARTS
    failed = {row["failed"] for row in rows if "failed" in row}
    assert failed == {"needs a CUDA device"}, [row for row in rows if "failed" in row]
    assert {row["part"] for row in rows if "figures" in row} == set(PARTS)
    for row in rows:
        assert row["row"] in done.stdout
    figures = {row["row"]: row["figures"] for row in rows if "figures" in row}
    for way in ("fp32", "bf16"):
        assert figures[f"vectors, {way}"]["least cosine of images"] > 0.999
    for way in ("one process", "DistributedDataParallel", "--fsdp"):
        assert figures[f"{way}, batch 8"]["loss off"] < 1e-4
    assert figures["open_clip_train, batch 8"]["glimpse/this"] > 0
    assert 0 < figures["glimpse, batch 8"]["of matrix rate"] < 1
    assert 0 < figures["glimpse, batch 8, JPEGs read"]["waits for images"] < 1
    assert figures["images, 4 clients"]["failed"] == 0


def test_a_part_that_cannot_run_is_a_row_and_the_others_go_on(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('no fastapi on this machine')")
    rows = rows_of(run(cache, "--tiny", "--only", "losses,service", PYTHONPATH=str(tmp_path)))
    service = [row for row in rows if row["part"] == "service"]
    assert [row for row in service if "fastapi" in row.get("failed", "")]
    assert [row for row in service if "figures" in row]  # the model alone needs none
    assert all("figures" in row for row in rows if row["part"] == "losses")


def test_what_no_longer_fits_is_stopped_or_skipped_and_says_so(cache: Path) -> None:
    rows = rows_of(run(cache, "--tiny", "--seconds", "1.1", "--only", "learning,training"))
    assert [(row["part"], row["row"], row["failed"].split(":")[0]) for row in rows] == [
        ("training", "training", "stopped after 1 s, its share of --seconds"),
        ("learning", "learning", "skipped"),
    ]


def test_a_part_that_hangs_leaves_the_others_their_least(cache: Path, tmp_path: Path) -> None:
    """And what there is by then is in the file already."""
    file, before = tmp_path / "gpu.json", tmp_path / "before.json"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, shutil, sys, time\n"
        "if 'training' in sys.argv: os._exit(3)\n"
        f"if 'losses' in sys.argv: shutil.copy({str(file)!r}, {str(before)!r})\n"
        "if '--run' in sys.argv: time.sleep(60)\n"
    )
    parts = ["training", "losses", "service", "learning", "options"]
    flags = ("--tiny", "--seconds", "6", "--only", ",".join(parts), "--json", str(file))
    run(cache, *flags, PYTHONPATH=str(tmp_path))
    rows = json.loads(file.read_text())["rows"]
    assert [row["part"] for row in rows] == parts
    assert json.loads(before.read_text())["rows"] == rows[:1]
    assert rows[0]["failed"] == "ended with 3: no word"
    assert re.fullmatch(r"stopped after [123] s, its share of --seconds", rows[1]["failed"])


def test_without_a_card_it_measures_nothing(cache: Path) -> None:
    done = run(cache)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--tiny" in done.stderr.splitlines()[-1]
    assert "choose of machine, training" in run(cache, "--only", "speed").stderr
