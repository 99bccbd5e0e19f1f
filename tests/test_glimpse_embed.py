"""`glimpse embed` as a person and a script meet it: said, refused, interrupted, killed and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_index_bulk import png, write_tar

from base.locks import LOCK
from glimpse.__main__ import main
from index.bulk.job import Manifest
from index.collection import open_collection

GLIMPSE = Path(sys.executable).with_name("glimpse")
SHARDS, EACH = 8, 120
RAY, RAY_NEEDED = find_spec("ray") is not None, "--ray needs ray: "


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shards")
    for s in range(SHARDS):
        write_tar(folder / f"{s}.tar", {f"{i:04d}.png": png(i) for i in range(s * EACH, s * EACH + EACH)})
    return f"{folder}/{{0..{SHARDS - 1}}}.tar"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `glimpse ...` in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("GLIMPSE_DEVICE", "cpu")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["glimpse", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_a_time_that_no_clock_shows_stops_nothing(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, year in (("old.png", -11_644_473_600), ("new.png", 10_413_792_000), ("now.png", 1_700_000_000)):
        (tmp_path / "photos" / name).write_bytes(png(year % 255))
        os.utime(tmp_path / "photos" / name, (year, year))
    for source in (tmp_path / "photos", tmp_path / "table.csv"):
        (tmp_path / "table.csv").write_text("image\nphotos/old.png\nphotos/new.png\nphotos/now.png\n")
        out = tmp_path / f"of-{source.stem}"
        code, said, err = run("embed", source, "--model", tiny_run, "--out", out)
        assert (code, "3 images" in said) == (0, True), err
        code, _, err = run("collections", "import", out, source.stem, "--data", tmp_path / "data")
        assert code == 0, err
        with open_collection(tmp_path / "data", source.stem) as collection:
            assert collection.count("image") == 3


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [GLIMPSE, *map(str, arguments)]
    env = os.environ | {"GLIMPSE_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def stopped(out: Path, how: signal.Signals, parts: int, *arguments: str | Path) -> tuple[int, str, str]:
    """Run the installed command until there are so many parts, and then end it so."""
    process = start(*arguments)
    while process.poll() is None and len(list(out.glob("*.parquet"))) < parts:
        time.sleep(0.002)
    process.send_signal(how)
    said, err = process.communicate(timeout=60)
    return process.returncode, said, err


def check_whole(out: Path) -> None:
    manifest = Manifest.read(out)
    assert manifest
    assert (manifest.content["state"], manifest.missing) == ("complete", 0)
    paths = [path for file, _ in manifest.parts for path in pq.read_table(file)["path"].to_pylist()]
    assert len(paths) == len(set(paths)) == SHARDS * EACH
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        LOCK,
        *(file.name for file, _ in manifest.parts),
    }


def test_killed_then_interrupted_then_run_to_its_end(shards: str, tiny_run: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    command = ("embed", shards, "--model", tiny_run, "--out", out)
    assert stopped(out, signal.SIGKILL, 2, *command)[0] == -signal.SIGKILL
    done = len(list(out.glob("*.parquet")))
    assert 2 <= done < SHARDS
    code, said, err = stopped(out, signal.SIGINT, done + 1, *command)
    assert (code, said) == (130, "")
    assert "shards are done; the same command again does the others" in err
    assert "Traceback" not in err
    manifest = Manifest.read(out)
    assert manifest
    done, before = len(list(out.glob("*.parquet"))), done
    assert before < done < SHARDS
    assert before <= len(manifest.parts) <= done  # a file that is there counts, said or not
    assert manifest.content["state"] == "incomplete"
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != LOCK]
    code, said, err = run(*command, "--json")
    report: dict[str, Any] = json.loads(said)
    assert (code, report["done"], report["done_before"]) == (0, SHARDS, done), err
    assert (report["images"], report["embedded"]) == (SHARDS * EACH, (SHARDS - done) * EACH)
    check_whole(out)


def test_from_a_folder_to_a_collection(colour_folder: Path, tiny_run: Path, tmp_path: Path, run: Run) -> None:
    (colour_folder / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out, data = tmp_path / "out", tmp_path / "data"
    code, said, err = run("embed", colour_folder, "--model", tiny_run, "--out", out)
    assert code == 0
    assert f"{out}: 12 images in 1 of 1 shards (0 were done before), 1 skipped, 12 embedded in" in said
    assert f"skipped {colour_folder}/red/broken.png: " in err
    code, said, err = run("collections", "import", out, "colours", "--data", data)
    assert (code, err) == (0, "")
    assert f"colours: 12 entries in {out} (12 added, 0 changed, 0 unchanged)" in said
    code, said, _ = run("collections", "import", out, "--into", "colours", "--data", data, "--json")
    done = json.loads(said)
    assert (code, done["unchanged"], done["added"], done["changed"], done["missing"]) == (0, 12, 0, 0, 0)
    code, said, _ = run("index", colour_folder, "-c", "colours", "--data", data, "--json")
    report = json.loads(said)
    assert (report["unchanged"], report["added"], report["updated"]) == (12, 0, 0)  # it knows the files
    with open_collection(data, "colours") as colours:
        assert colours.count("image") == 12


@pytest.mark.parametrize(
    ("source", "options", "code", "why"),
    [
        ("none", (), 2, "no such folder or file; give a folder of images"),
        ("", ("--model", "/none/such"), 1, "/none/such: neither a folder here nor a model"),
        ("", ("--ray", "somewhere"), 2, "--ray somewhere: no address; give HOST:PORT" if RAY else RAY_NEEDED),
        ("", ("--ray", "127.0.0.1:1"), 1 if RAY else 2, "no Ray cluster at 127.0.0.1:1" if RAY else RAY_NEEDED),
    ],
)
def test_refused_in_one_line_and_nothing_is_made(
    source: str,
    options: tuple[str, ...],
    code: int,
    why: str,
    shards: str,
    tiny_run: Path,
    tmp_path: Path,
    run: Run,
) -> None:
    out = tmp_path / "out"
    given, said, err = run("embed", source or shards, "--model", tiny_run, "--out", out, *options)
    assert given == code, err
    assert (said, err.count("\n"), why in err) == ("", 1, True), err
    assert not out.exists()


def test_a_folder_of_something_else_and_one_of_another_model(
    shards: str, tiny_run: Path, sigmoid_run: Path, colour_folder: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "out"
    code, _, err = run("embed", shards, "--model", tiny_run, "--out", colour_folder)
    assert (code, "no job of embedding: give --out a new folder" in err) == (2, True)
    assert {path.name for path in colour_folder.iterdir()} == {"red", "green", "blue"}
    run("embed", colour_folder, "--model", tiny_run, "--out", out)
    code, _, err = run("embed", colour_folder, "--model", sigmoid_run, "--out", out)
    assert (code, f"holds vectors of {tiny_run}" in err) == (1, True), err
    code, _, err = run("collections", "import", colour_folder, "new", "--data", tmp_path / "data")
    assert (code, "has no manifest.json" in err, (tmp_path / "data").exists()) == (2, True, False)
