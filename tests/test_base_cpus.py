"""The processors that are there: affinity, quotas of control groups old and new, who else is busy, and who decides."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import InputError
from base.machine import cpus as module
from base.machine.cpus import Cpus, Others, cpus, quota, threads

TOLD = """
import atexit, os, sys
if os.environ.get("ONLY_CPU"):
    os.sched_setaffinity(0, {int(os.environ["ONLY_CPU"])})
if os.environ.get("GROUP"):
    open(os.environ["GROUP"], "w").write(str(os.getpid()))
def tell():
    torch, faiss = (sys.modules.get(name) for name in ("torch", "faiss"))
    print("took", torch and torch.get_num_threads(), faiss and faiss.omp_get_max_threads(),
          os.environ.get("GOMP_SPINCOUNT"))
atexit.register(tell)
from glimpse.__main__ import main
main()
"""
MINE = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
on_two = pytest.mark.skipif(len(MINE) < 2, reason="one processor, or not Linux: every way takes one thread")


def put(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    return root


def of(tmp_path: Path, *lines: str) -> Path:
    return put(tmp_path, {"own": "\n".join(lines)}) / "own"


@pytest.mark.parametrize(
    ("path", "files", "expected"),
    [
        ("/", {}, math.inf),
        ("/", {"cpu.max": "200000 100000"}, 2.0),  # a container sees its own group as the root
        ("/a/b", {"a/b/cpu.max": "max 100000"}, math.inf),
        ("/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000"}, 1.5),
        ("/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "50000 100000"}, 0.5),  # the least of all above it
        ("/a", {"a/b/cpu.max": "50000 100000"}, math.inf),  # another one's
        ("/docker/1f", {"cpu.max": "300000 100000"}, 3.0),  # the host's path, and the container's mount
        ("/../x", {"cpu.max": "100000 100000"}, 1.0),  # seen out of a namespace
        ("/", {"cpu.max": "some 100000"}, math.inf),
        ("/", {"cpu.max": ""}, math.inf),
        ("/", {"unified/cpu.max": "100000 50000"}, 2.0),  # beside old ones
    ],
)
def test_quotas_of_new_control_groups(tmp_path: Path, path: str, files: dict[str, str], expected: float) -> None:
    assert quota(put(tmp_path / "root", files), of(tmp_path, f"0::{path}")) == expected


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1.5),
        ("1:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "25000", "cpu/a/cpu.cfs_period_us": "50000"}, 0.5),
        (
            "1:cpu,cpuacct:/a",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "9000", "cpu,cpuacct/a/cpu.cfs_period_us": "3000"},
            3.0,
        ),
        ("1:cpu,cpuacct:/a", {"cpu/cpu.cfs_quota_us": "9000", "cpu/cpu.cfs_period_us": "3000"}, 3.0),
        ("1:cpuset:/", {"cpu/cpu.cfs_quota_us": "9000", "cpu/cpu.cfs_period_us": "3000"}, math.inf),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "9000", "cpu/cpu.cfs_period_us": "0"}, math.inf),
    ],
)
def test_quotas_of_old_control_groups(tmp_path: Path, line: str, files: dict[str, str], expected: float) -> None:
    assert quota(put(tmp_path / "root", files), of(tmp_path, "4:memory:/x", line, "0::/")) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path, tmp_path / "missing") == math.inf


@pytest.mark.parametrize(
    ("given", "usable", "said"),
    [
        (Cpus(16, 16), 16, "16 of 16 processors"),
        (Cpus(16, 4), 4, "4 of 16 processors, by affinity"),
        (Cpus(16, 16, 2.0), 2, "2 of 16 processors, by their quota"),
        (Cpus(16, 16, 1.5), 2, "2 of 16 processors, by their quota"),
        (Cpus(16, 16, 0.1), 1, "1 of 16 processors, by their quota"),
        (Cpus(16, 2, 2.5), 2, "2 of 16 processors, by affinity"),
    ],
)
def test_the_least_of_all_counts_and_a_part_of_a_processor_as_one(given: Cpus, usable: int, said: str) -> None:
    assert (given.usable, str(given)) == (usable, said)


def test_where_python_tells_no_affinity_all_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cpus.cache_clear()
    try:
        assert cpus().affinity == os.cpu_count()
        assert threads() == cpus().usable
    finally:
        cpus.cache_clear()


def test_what_others_keep_busy_is_all_but_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"clock": 100.0, "own": 5.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: now["clock"])
    monkeypatch.setattr(module.os, "times", lambda: (now["own"], 0.0, 0.0, 0.0, 0.0))
    tick = os.sysconf("SC_CLK_TCK")
    stat = tmp_path / "stat"
    stat.write_text(f"cpu  {10 * tick} 0 {2 * tick} 500 7 0 0 0 0 0\ncpu0 1 1\n")
    others = Others(stat)
    assert others.busy() is None  # no time has passed
    stat.write_text(f"cpu  {22 * tick} {3 * tick} {4 * tick} 900 7 {tick} 0 0 0 0\n")  # 18 s more in use
    now.update(clock=110.0, own=8.0)  # 3 s of them ours
    assert others.busy() == pytest.approx(1.5)
    assert "keep 1.5 of" in (others.said() or "")
    now["own"] = 23.0
    assert (others.busy(), others.said()) == (0.0, None)
    assert Others(tmp_path / "missing").busy() is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0.05 0.03 0.01 1/130 9", False),
        ("1.20 0.30 0.10 2/130 9", True),
        ("1.20 3.00 3.00 1/130 9", False),  # it is over
        ("0.10 0.00 0.00 5/130 9", False),  # it has only begun, and may be a moment's
        ("nothing", False),
    ],
)
def test_a_machine_is_busy_if_others_run_now_and_did_before(tmp_path: Path, content: str, expected: bool) -> None:
    assert module.is_busy(put(tmp_path, {"loadavg": content}) / "loadavg") is expected
    assert module.is_busy(tmp_path / "missing") is False


def ran(tiny_run: Path, folder: Path, *asked: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: each for name, each in os.environ.items() if name not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")}
    return told(
        ["index", str(folder), "--model", str(tiny_run), *asked, "--device", "cpu"], folder.parent, clean, **environment
    )


def told(asked: list[str], folder: Path, clean: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    clean = clean | {"GLIMPSE_DATA": str(folder / "data")} | environment
    return subprocess.run([sys.executable, "-c", TOLD, *asked], env=clean, capture_output=True, text=True, timeout=300)


def taken(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("took ")[2].split()


@on_two
def test_torch_and_faiss_take_the_threads_of_affinity(tiny_run: Path, colour_folder: Path) -> None:
    one = ran(tiny_run, colour_folder, ONLY_CPU=str(MINE[-1]))
    assert taken(one)[:2] == ["1", "1"]
    assert taken(one)[2] in (module.SPINS, module.SPINS_BESIDE_OTHERS)
    assert f"takes 1 of {os.cpu_count()} processors, by affinity; --threads takes another number" in one.stderr


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of its own, that the machine's kernel gave."""
    for root in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        folder = root / f"glimpse-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / "cpu.cfs_quota_us").exists() or (folder / "cpu.max").exists():
                yield folder
                return
        finally:
            folder.rmdir()
    pytest.skip("this machine lets nobody make a control group with a quota of processors")


@on_two
def test_a_quota_of_the_kernel_is_what_a_command_takes(tiny_run: Path, colour_folder: Path, group: Path) -> None:
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text("100000 100000")
    else:
        (group / "cpu.cfs_quota_us").write_text("100000")
    held = ran(tiny_run, colour_folder, GROUP=str(group / "cgroup.procs"))
    assert taken(held)[:2] == ["1", "1"]
    assert f"takes 1 of {os.cpu_count()} processors, by their quota; --threads takes another number" in held.stderr
    assert taken(ran(tiny_run, colour_folder, "--threads", "2", GROUP=str(group / "cgroup.procs")))[1] == "2"


@on_two
def test_what_the_user_asks_for_wins_the_option_first(tiny_run: Path, colour_folder: Path) -> None:
    only = {"ONLY_CPU": str(MINE[-1])}
    both = ran(tiny_run, colour_folder, "--threads", "2", OMP_NUM_THREADS="1", GLIMPSE_THREADS="1", **only)
    assert taken(both)[:2] == ["2", "2"]
    assert "takes" not in both.stderr
    fresh = [{"GLIMPSE_DATA": str(colour_folder.parent / name)} for name in ("two", "three")]  # else nothing is to do
    by_environment = ran(tiny_run, colour_folder, OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive", **only, **fresh[0])
    assert taken(by_environment) == ["2", "2", "None"]  # who sets how threads wait is left alone as well
    assert taken(ran(tiny_run, colour_folder, GLIMPSE_THREADS="2", OMP_NUM_THREADS="1", **fresh[1]))[:2] == ["2", "2"]


@on_two
def test_every_command_that_may_take_long_has_the_option(tiny_run: Path, colour_folder: Path) -> None:
    ran(tiny_run, colour_folder)
    rows = [f'{{"image": "{path}", "title": "{path.parent.name}"}}' for path in sorted(colour_folder.rglob("*.png"))]
    (colour_folder.parent / "pairs.jsonl").write_text("\n".join(rows))
    pairs, out = str(colour_folder.parent / "pairs.jsonl"), str(colour_folder.parent / "mined.jsonl")
    clean = {name: each for name, each in os.environ.items() if name != "OMP_NUM_THREADS"}
    for asked in (
        ["duplicates"],
        ["mine", pairs, "--out", out],
        ["labels", "create", "hues", "--labels", "red,blue", "--model", str(tiny_run)],
        ["collections", "compact", "images"],
        ["reindex", "--model", str(tiny_run)],
    ):
        *found, _ = taken(told([*asked, "--threads", "1"], colour_folder.parent, clean))
        assert "1" in found, asked
        assert set(found) <= {"1", "None"}, asked  # None: it has not come to be loaded


@pytest.mark.parametrize(
    ("asked", "environment", "message"),
    [
        (["--threads", "0"], {}, "--threads: must be 1 at least"),
        (["--threads", "many"], {}, "--threads: must be a whole number"),
        ([], {"GLIMPSE_THREADS": "-1"}, "GLIMPSE_THREADS: must be 1 at least"),
        ([], {"OMP_NUM_THREADS": "two"}, "OMP_NUM_THREADS=two: give a number of threads from 1 to 1024, or unset it"),
        ([], {"OMP_NUM_THREADS": "0"}, "OMP_NUM_THREADS=0: give"),
    ],
)
def test_what_is_no_number_of_threads_is_refused(
    tmp_path: Path, asked: list[str], environment: dict[str, str], message: str
) -> None:
    command = [sys.executable, "-m", "glimpse", "search", "a dog", *asked]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_service_says_how_many_threads_it_takes(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "glimpse.toml").write_text("threads = 2\n")
    command = [sys.executable, "-m", "glimpse", "serve", "--check", "--json", "--model", str(tiny_run), "--port", "0"]
    said = []
    for environment in ({"OMP_NUM_THREADS": "3"}, {"GLIMPSE_THREADS": "2"}, {"GLIMPSE_CONFIG": "glimpse.toml"}):
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, cwd=tmp_path)
        said.append(json.loads(done.stdout)["settings"]["threads"])
    assert said == [3, 2, 2]


def test_nobody_is_asked_for_threads_where_a_service_works(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "glimpse", "search", "x", "--url", "http://127.0.0.1:9", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, "--threads cannot be asked of a service" in done.stderr) == (2, True)


def test_a_list_for_nested_loops_is_its_first_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert (module.use_threads(), os.environ["OMP_NUM_THREADS"]) == (4, "4,2")
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("OMP_NUM_THREADS", "1.5")
    with pytest.raises(InputError, match=r"OMP_NUM_THREADS=1\.5"):
        module.use_threads()
