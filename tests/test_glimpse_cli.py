"""The installed command: its JSON, its exit codes, its one-line errors, and how fast it answers."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from glimpse_here import glimpse_here
from local_hub import LocalHub, running
from service_world import until
from tiny_world import plain_picture

from encoder.model.load import load_encoder
from encoder.processor import runs_exported_images
from encoder.query import keep_towers
from index.collection import Entry, create_collection

GLIMPSE = Path(sys.executable).with_name("glimpse")


def glimpse(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GLIMPSE, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        cwd=cwd,
        env=os.environ | {"GLIMPSE_DEVICE": "cpu"} | env,
        timeout=300,
    )


def ok(*arguments: str | Path, cwd: Path | None = None) -> str:
    done = glimpse(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def here(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The same in this process, where a process each would tell no more."""
    done = glimpse_here(*arguments, GLIMPSE_DEVICE="cpu")
    assert done.returncode == code, done.stderr
    return done


def test_help_answers_at_once_and_without_torch() -> None:
    seconds = []
    for _ in range(3):
        before = os.times()
        assert "serve" in ok("--help")
        after = os.times()  # of a processor: others may want one, too
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.4 * 5  # five times the aim, for a slow machine
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "glimpse", "--help"], capture_output=True, text=True, check=True
    ).stderr
    modules = {line.rsplit("|", 1)[-1].strip() for line in loaded.splitlines()}
    assert modules.isdisjoint({"torch", "numpy", "PIL", "faiss", "fastapi", "open_clip"})


def test_what_a_command_leaves_is_not_looked_through_for_garbage_as_python_ends() -> None:
    ended = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())));"
        "from glimpse.__main__ import main; sys.argv = ['glimpse', '--version']; main()"
    )
    done = subprocess.run([sys.executable, "-c", ended], capture_output=True, text=True, timeout=60)
    frozen, others = map(int, done.stdout.splitlines()[-1].split())
    assert done.returncode == 0
    assert frozen > 100 * others


def test_the_whole_path(
    colour_folder: Path, colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    """Train, evaluate, index, search and label, each as a user would and each read as a script would.

    What comes a second time, otherwise, is asked in this process.
    """
    pairs, run, data = colour_pairs(64), tmp_path / "runs" / "colours", tmp_path / "data"
    small = ("--epochs", "2", "--batch-size", "16", "--lr", "1e-3")
    trained = json.loads(ok("train", pairs, "--init", tiny_config, "--out", run, *small, "--json"))
    assert [epoch["epoch"] for epoch in trained["epochs"]] == [0, 1, 2]
    assert not trained["stopped"]

    retrieval = json.loads(ok("eval", "--model", run, "--pairs", pairs, "--json"))
    assert retrieval["n_images"] == 64
    assert set(retrieval["text_to_image"]) == {"recall@1", "recall@5", "recall@10", "median_rank"}
    accuracy = json.loads(here("eval", "--model", run, "--folders", colour_folder, "--json").stdout)
    assert accuracy["n_images"] == 12
    assert set(accuracy["per_class"]) == {"red", "green", "blue"}

    (colour_folder / "broken.jpg").write_bytes(b"broken")
    (colour_folder / "captions.csv").write_text("image,title\nred/0.png,the first red\n")
    index = ("index", colour_folder, "-c", "colours", "--data", data, "--json")
    report = json.loads(ok(*index, "--model", run, "--captions", colour_folder / "captions.csv"))
    assert {name: report[name] for name in ("collection", "added", "updated", "moved", "removed", "unchanged")} == {
        "collection": "colours",
        "added": 12,
        "updated": 0,
        "moved": 0,
        "removed": 0,
        "unchanged": 0,
    }
    assert report["skipped"][0]["path"] == str(colour_folder / "broken.jpg")
    assert report["seconds"] > 0
    assert report["images_per_second"] > 0
    assert json.loads(here(*index).stdout)["unchanged"] == 12  # the collection knows its model

    search = ("search", "--collection", "colours", "--data", data, "--json", "-k", "3")
    by_image = json.loads(ok(*search, "--image", colour_folder / "red" / "0.png"))
    assert by_image["hits"][0]["score"] == pytest.approx(1, abs=0.01)  # to so small a model the reds may be alike
    [itself] = [hit for hit in by_image["hits"] if hit["path"] == str(colour_folder / "red" / "0.png")]
    assert itself["metadata"] == {"title": "the first red"}
    assert itself["score"] == pytest.approx(1, abs=0.01)
    both = json.loads(here(*search, "red", "--image", colour_folder / "red" / "0.png").stdout)
    assert len(both["hits"]) == 3
    assert both["seconds"] >= 0
    assert {hit["path"] for hit in json.loads(here(*search, "red").stdout)["hits"]} <= {
        str(path) for path in colour_folder.rglob("*.png")
    }
    first = by_image["hits"][0]["id"]
    less = ("--like", first, "--not", "blue", "--not", "green", "--offset", "1")
    away = json.loads(here(*search, "red", *less).stdout)
    assert first not in {hit["id"] for hit in away["hits"]}
    assert len(away["hits"]) == 3

    out = tmp_path / "labels.csv"
    labelled = json.loads(
        ok("label", colour_folder, "--labels", "red,green,blue", "--model", run, "--data", data, "--out", out, "--json")
    )
    assert labelled["labelled"] == 12
    assert len(labelled["skipped"]) == 1
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {str(path) for path in colour_folder.rglob("*.png")}
    assert all(1 / 3 <= float(row["score"]) <= 1 for row in rows)
    names = tmp_path / "names.txt"
    names.write_text("# colours\nred\n\ngreen\n")
    streamed = here("label", colour_folder, "--labels-file", names, "--model", run, "--template", "a {} thing")
    assert streamed.stdout.splitlines()[0] == "path,label,score"

    [listed] = json.loads(ok("collections", "--data", data, "--json"))["collections"]
    assert listed["name"] == "colours"
    assert listed["counts"]["image"] == 12
    assert "colours" in here("collections", "--data", data).stdout
    assert "0.png" in here("search", "red", "-c", "colours", "--data", data).stdout


def test_searching_by_entries_alone_loads_no_model(tmp_path: Path) -> None:
    with create_collection(tmp_path, "images", model="gone/model", fingerprint="gone", dim=3) as made:
        rows = np.eye(3, dtype=np.float32) + 0.1
        made.upsert([Entry(row, "image", f"/{i}.jpg", metadata={"shelf": i // 2}) for i, row in enumerate(rows)])
        made.upsert([Entry(rows[0], "text", text="a text")])
    search = ("search", "--like", "1", "--data", tmp_path)
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "glimpse", *search], capture_output=True, text=True, check=True
    )
    assert "torch" not in {line.rsplit("|", 1)[-1].strip() for line in loaded.stderr.splitlines()}
    assert [line.split()[-1] for line in loaded.stdout.splitlines()] == ["path", "/1.jpg", "/2.jpg"]
    [hit] = json.loads(ok(*search, "--group-by", "shelf", "--score-threshold", "0.1", "-k", "1", "--json"))["hits"]
    assert hit.keys() == {
        "id", "external_id", "modality", "path", "text", "taken", "score", "z", "relevance", "metadata"
    }  # fmt: skip
    assert (hit["path"], hit["metadata"]) == ("/1.jpg", {"shelf": 0})
    assert "a text" in ok(*search, "--modality", "text")
    nothing = glimpse(*search, "--score-threshold", "1")
    assert nothing.returncode == 0
    assert re.fullmatch(r"nothing in images fits: the best scored 0\.\d{3}, and was cut off\n", nothing.stderr)
    no_entry = "it is neither an id, nor an external id, nor the path of one"
    unknown = glimpse("search", "--like", "99", "--data", tmp_path)
    assert (unknown.returncode, unknown.stderr) == (1, f"glimpse: no entry 99: {no_entry}\n")
    conditions = '{"must": [{"key": "shelf", "match": {"value": 1}}]}'
    (tmp_path / "filter.json").write_text(conditions)
    for given in (conditions, f"@{tmp_path / 'filter.json'}"):
        shaped = ok(*search, "--filter", given, "--collapse", "0.99", "--diversity", "0.3", "--json")
        assert [hit["path"] for hit in json.loads(shaped)["hits"]] == ["/2.jpg"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_a_training_saves_it(
    how: signal.Signals, colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["train", colour_pairs(200), "--init", tiny_config, "--out", run, "--epochs", "200", "--batch-size", 32]
    process = subprocess.Popen(
        [GLIMPSE, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=os.environ | {"GLIMPSE_DEVICE": "cpu"}
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch  2"):
            process.send_signal(how)
            break
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 128 + how
    assert f"go on with: glimpse train --resume --out {run}" in said
    assert (run / "last" / "training_state.pt").is_file()


@pytest.mark.parametrize("how", ["(%s); :", "(%s) 2>&1 | cat"])  # whose cat ends with the terminal
def test_closing_the_terminal_of_a_training_saves_it(
    how: str, colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["train", colour_pairs(64), "--init", tiny_config, "--out", run, "--epochs", "200", "--batch-size", 32]
    process, terminal = pty.fork()
    if not process:
        os.environ["GLIMPSE_DEVICE"] = "cpu"
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests are run by
        shell = how % 'trap : HUP; "$@"; echo $? > "$0"'
        os.execv("/bin/sh", ["sh", "-c", shell, str(tmp_path / "code"), str(GLIMPSE), *map(str, arguments)])
    said = b""
    while b"epoch  2" not in said:
        said += os.read(terminal, 1 << 16)
    os.close(terminal)
    os.waitpid(process, 0)
    until(lambda: (tmp_path / "code").is_file() and (tmp_path / "code").read_text().endswith("\n"))
    assert int((tmp_path / "code").read_text()) == 128 + signal.SIGHUP
    assert (run / "last" / "training_state.pt").is_file()
    assert json.loads((run / "metrics.json").read_text())["epochs"][-1]["epoch"] >= 2


def test_a_terminal_that_is_closed_without_a_signal_ends_no_training(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["train", colour_pairs(64), "--init", tiny_config, "--out", run, "--epochs", "4", "--batch-size", 32]
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [GLIMPSE, *map(str, arguments)],
        stderr=terminal,
        start_new_session=True,  # whose terminal it is not, so that no signal comes
        env=os.environ | {"GLIMPSE_DEVICE": "cpu"},
    ) as process:
        os.close(terminal)
        said = b""
        while b"epoch  1" not in said:
            said += os.read(ours, 1 << 16)
        os.close(ours)
        assert process.wait(120) == 0
    assert [epoch["epoch"] for epoch in json.loads((run / "metrics.json").read_text())["epochs"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "red", "--data", "nothing"], 1, "no collection 'images' in nothing"),
        (["search", "--data", "nothing"], 2, "give a text"),
        (["index", "nowhere", "--model", "x"], 2, "nowhere: no such folder"),
        (["index", "red.png", "--model", "x"], 2, "red.png: a file; give the folder that it is in"),
        (["index", "."], 2, "collection images is new: give the model"),
        (["index", ".", "--model", "no/model"], 1, "neither a folder here nor a model"),
        (["label", ".", "--model", "x"], 2, "give either --labels"),
        (["label", ".", "--model", "x", "--labels", "a,b", "--template", "no place"], 2, "has no {} for the label"),
        (["label", ".", "--model", "x", "--labels", " , "], 2, "no labels given"),
        (["label", ".", "--model", "x", "--labels", "red.png"], 2, "give it by --labels-file"),
        (["jobs", "start", "label", "/photos", "--labels", "red.png"], 2, "that is a file; give what is in it"),
        (["eval", "--model", "x"], 2, "give one of --pairs TABLE, --folders DIR and --split RUN"),
        (["train"], 2, "give a CSV of image-text pairs"),
        (["train", "gone.csv", "--init", "ViT-B-32"], 2, "cannot be read as a table"),
        (["train", "gone.csv"], 2, "give either --model REF"),
        (["train", "--resume", "--out", "nowhere"], 1, "not a training run"),
        (["search", "x", "-k", "0"], 2, "-k"),
        (["search", ""], 2, "the text is empty"),
        (["search", "x", "--not", " "], 2, "the text is empty"),
        (["search", "red.png"], 2, "give --image red.png"),
        (["search", "/gone/red.png"], 2, "give --image /gone/red.png"),
        (["search", "file:///gone/a%20red.png"], 2, "give --image '/gone/a red.png'"),
        (["search", "file://localhost/gone/a.png"], 2, "give --image /gone/a.png"),
        (["search", f"file:/{'x' * 5000}"], 2, "is a path"),
        (["search", "/tmp/"], 2, "/tmp/ is a folder"),
        (["search", "./gone/../red.png"], 2, "give --image ./gone/../red.png"),
        (["search", " C:\\photos\\red.png"], 2, "give --image 'C:\\photos\\red.png'"),
        (["search", "/etc/passwd"], 2, "/etc/passwd is a file and no picture: give words"),
        (["search", "data:image/png;base64,AAAA"], 2, "save it as a file, and give --image FILE"),
        (["label", ".", "--model", "x", "--labels", "/tmp/"], 2, "that is a folder; name the labels"),
        (["label", ".", "--model", "x", "--labels", "cat;dog"], 2, "put commas between labels"),
        (["search", "\u200b"], 2, "the text is empty"),
        (["label", ".", "--model", "x", "--labels", "no/such.txt"], 2, "give it by --labels-file"),
        (["search", "--not", "x"], 2, "give a text"),
        (["search", "x", "--collapse", "2"], 2, "collapse: must be above 0, up to 1, not 2.0"),
        (["search", "x", "--cutoff", "never"], 2, "cutoff: must be auto"),
        (["search", "x", "--filter", "{"], 2, "--filter: this cannot be read as JSON (from column 2 on); give JSON"),
        (["search", "x", "--filter", "@gone.json"], 2, "gone.json"),
        (["search", "x", "--filter", "[]"], 2, "--filter: give a JSON object"),
        (["serve", "--model", "x", "--port", "99999"], 2, "port: must be 65535 at most"),
        (["train", "--resume", "pairs.csv"], 2, "without PAIRS"),
        (["train", "--resume", "--epochs", "9"], 2, "without --epochs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line_that_names_the_remedy(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    plain_picture("red").save(tmp_path / "red.png")
    done = glimpse_here(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("glimpse: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("train gone.csv", 2, "give either --model REF"),
        ("serve --model no/model --port 0", 1, "neither a folder here nor a model"),
        ("serve --model x --host 192.0.2.1", 2, "cannot be listened on"),
    ],
)
def test_an_error_ends_the_installed_command_in_one_line(
    arguments: str, code: int, message: str, tmp_path: Path
) -> None:
    done = glimpse(*arguments.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[-1].startswith("glimpse: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_come_from_the_environment_too(tiny_run: Path, tmp_path: Path) -> None:
    plain_picture("red").save(tmp_path / "red.png")
    plain_picture("blue", size=(1200, 1000)).save(tmp_path / "large.png")
    env = {"GLIMPSE_MODEL": str(tiny_run), "GLIMPSE_DATA": str(tmp_path / "data"), "GLIMPSE_MAX_PIXELS": "1000000"}
    done = glimpse("index", tmp_path, **env)
    assert done.returncode == 0, done.stderr
    assert "large.png: the image has 1 million pixels; the limit is 1 million (GLIMPSE_MAX_PIXELS)" in done.stderr
    assert "images: 1 images (1 added" in done.stdout
    assert (tmp_path / "data" / "collections" / "images").is_dir()


def test_models_are_listed_and_a_closed_pipe_or_stream_is_no_error() -> None:
    assert "ViT-B-32/openai" in ok("models", "vit-b-32").splitlines()
    piped = subprocess.run(f"{GLIMPSE} models --all | head -1", shell=True, capture_output=True, text=True)
    assert "Traceback" not in piped.stderr
    for closed in (">&-", "<&- >&- 2>&-"):
        done = subprocess.run(f"{GLIMPSE} models {closed}", shell=True, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert "Traceback" not in done.stderr
    done = subprocess.run(f"{GLIMPSE} search --queries - <&-", shell=True, capture_output=True, text=True)
    assert done.stderr == "glimpse: --queries -: has no query; give one a line\n"


def test_models_worth_knowing_are_shown_and_one_is_recommended_for_this_machine() -> None:
    listed = here("models")
    shown = listed.stdout.splitlines()
    known = json.loads(here("models", "--json").stdout)["models"]
    assert all(model["source"] in listed.stderr for model in known if model["zero_shot"])
    assert [line.split()[0] for line in shown[1:]] == [model["ref"] for model in known]
    assert all(model["source"] and model["licence"] and model["good_for"] for model in known)
    found = json.loads(ok("models", "--recommend", "--language", "Japanese", "--photos", "1000", "--json"))
    assert (found["photos"], found["languages"]) == (1000, ["ja"])
    assert found["take"]["recall"] > 50
    assert "in Japanese finds its photo" in found["take"]["why"]
    assert found["take"]["seconds"] > 0
    assert found["machine"]["gflops"] > 0
    assert found["machine"]["memory"] * 0.7 >= found["take"]["model"]["memory_megabytes"] * 1e6
    for wrong, said in {
        ("--language", "de"): "--language is for --recommend",
        ("--recommend", "--language", "Elvish"): "nobody has measured models in 'Elvish'",
        ("--recommend", "--here"): "--recommend names one model",
    }.items():
        done = here("models", *wrong, code=2)
        assert done.stdout == ""
        assert said in done.stderr


def test_a_model_is_measured_in_each_precision(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.measure.SECONDS", 0.1)
    measured = json.loads(here("models", "--measure", tiny_run, "--json").stdout)
    rows = {row["precision"]: row for row in measured["precisions"]}
    assert set(rows) == {"fp32", "bf16"}
    assert [name for name, row in rows.items() if row["is_auto"]] == [measured["auto"]]
    for row in rows.values():
        assert row["images_per_second"] > 0
        assert row["query_ms"] > 0
        assert row["peak_mb"] > 100  # torch alone is more
    assert rows["fp32"]["least_cosine"] == pytest.approx(1, abs=1e-5)
    assert 0.99 < rows["bf16"]["least_cosine"] < 1.00001
    assert "--measure takes one model" in here("models", "vit", "--measure", tiny_run, code=2).stderr
    missing = here("models", "--measure", "nowhere/at-all", code=1)
    assert "Traceback" not in missing.stderr


@pytest.mark.skipif(not runs_exported_images("auto", "fp32"), reason="images go by torch on this processor")
def test_a_model_is_measured_by_the_towers_that_index_takes(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.measure.SECONDS", 0.1)
    keep_towers(str(tiny_run), load_encoder(tiny_run).fingerprint)
    rows = json.loads(here("models", "--measure", tiny_run, "--json").stdout)["precisions"]
    assert [(row["precision"], row["exported"]) for row in rows] == [("fp32", False), ("fp32", True), ("bf16", False)]
    assert rows[1]["least_cosine"] == pytest.approx(1, abs=1e-5)
    [auto] = [row for row in rows if row["is_auto"]]
    assert auto["exported"] == (auto["precision"] == "fp32")


def test_names_that_are_not_utf8_are_no_obstacle(tiny_run: Path, tmp_path: Path) -> None:
    folder, data, out = tmp_path / "pictures", tmp_path / "data", tmp_path / "labels.csv"
    folder.mkdir()
    plain_picture("red").save(folder / "[live] :cat:.png")
    name = os.path.join(os.fsencode(folder), b"bad\xff\xfe.png")  # noqa: PTH118  Path would not show the bytes
    with open(name, "wb") as file:  # noqa: PTH123
        plain_picture("blue").save(file, "PNG")
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    index = glimpse("index", folder, "--model", tiny_run, "--data", data, "--json", **strict)
    assert json.loads(index.stdout)["added"] == 2
    found = glimpse("search", "red", "--data", data, "--json", **strict)
    assert {hit["path"].encode(errors="surrogateescape") for hit in json.loads(found.stdout)["hits"]} == {
        name,
        os.fsencode(folder / "[live] :cat:.png"),
    }
    done = glimpse("label", folder, "--labels", "red,blue", "--model", tiny_run, "--data", data, "--out", out, **strict)
    assert done.returncode == 0, done.stderr
    assert name in out.read_bytes()
    shown = ok("search", "red", "--data", data)
    assert str(folder / "[live] :cat:.png") in shown
    assert name in shown.encode(errors="surrogateescape")


def test_a_name_cannot_write_to_the_terminal(tiny_run: Path, tmp_path: Path) -> None:
    folder, data = tmp_path / "pictures", tmp_path / "data"
    folder.mkdir()
    plain_picture("red").save(folder / "\x1b[2J\nred.png")
    (folder / "\x1b[2Jbad.png").write_text("no picture")
    indexed = here("index", folder, "--model", tiny_run, "--data", data)
    assert "\\x1b[2Jbad.png" in indexed.stderr
    shown = here("search", "red", "--data", data).stdout
    assert "\\x1b[2J\\nred.png" in shown
    assert "\x1b" not in indexed.stderr + shown


def test_a_label_with_a_comma_stands_in_quotes(tiny_run: Path, tmp_path: Path) -> None:
    plain_picture("red").save(tmp_path / "red.png")
    out = tmp_path / "labels.csv"
    many = ", ".join(f"label {i}" for i in range(60))  # longer than the name of a file may be
    asked = ("--labels", f'"red, or so", blue, {many}', "--model", tiny_run, "--data", tmp_path, "--out", out, "--json")
    per_label = json.loads(here("label", tmp_path, *asked).stdout)["labels"]
    assert list(per_label)[:3] == ["red, or so", "blue", "label 0"]
    assert len(per_label) == 62


def test_a_disk_that_is_full_or_no_folder_is_one_line(tiny_run: Path, tmp_path: Path) -> None:
    plain_picture("red").save(tmp_path / "red.png")
    for arguments in (
        ("label", tmp_path, "--labels", "a,b", "--model", tiny_run, "--data", tmp_path, "--out", "/dev/full"),
        ("index", tmp_path, "--model", tiny_run, "--data", tmp_path / "red.png"),
    ):
        done = here(*arguments, code=1)
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_hub_behind_a_proxy_gives_its_models_and_its_refusals_are_one_line(
    tiny_run: Path, colour_folder: Path, tmp_path: Path
) -> None:
    hub = LocalHub({"tiny/demo": {file.name: file.read_bytes() for file in tiny_run.iterdir()}})
    hub.refusals["tiny/gated"] = (401, {"X-Error-Code": "GatedRepo"})
    label = ("label", colour_folder, "--labels", "red,blue", "--model")
    with running(hub):
        env = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://hub.invalid", "ALL_PROXY": hub.url}
        labelled = glimpse(*label, "hf-hub:tiny/demo@main/", **env)
        assert (labelled.returncode, len(labelled.stdout.splitlines())) == (0, 13), labelled.stderr
        refused = glimpse(*label, "hf-hub:tiny/gated", **env)
    assert refused.returncode == 1
    assert re.fullmatch(r"glimpse: hf-hub:tiny/gated: .*accept its terms.*set HF_TOKEN.*\n", refused.stderr)
