"""Wrong command lines: one line each, in our own words; and commands that know no service say so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from test_service_words import FORBIDDEN

from base.errors import GlimpseError, InputError
from glimpse.cli import app, app_for, perform
from glimpse.usage import _ALIKE, _ALWAYS, _OPTIONS, UsageError, said

GLIMPSE = Path(sys.executable).with_name("glimpse")
ROOT: Any = typer.main.get_command(app)
OF_NO_SERVICE = {  # what is asked of this machine by its very name: models, files, a service to be started
    "demo", "embed", "eval", "export", "mine", "models", "serve", "train",
}  # fmt: skip


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(ROOT))


def needed(command: Any) -> list[str]:
    """The words without which a command line is not whole."""
    words = []
    for param in command.params:
        if param.required:
            words += ["x"] if param.param_type_name == "argument" else [max(param.opts, key=len), "x"]
    return words


def wrong(*words: str) -> str:
    """What is said of a command line that cannot be."""
    with pytest.raises(UsageError) as error:
        ROOT.main([*words], prog_name="glimpse", standalone_mode=False)
    return said(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("search x -k 0", "-k: must be 1 at least; see "),
        ("search x -k many", "-k: must be a whole number; see "),
        ("label . --scores max", "--scores: 'max' is not one of 'softmax', 'sigmoid'; see "),
        ("search x --colection a", "there is no option --colection; is --collection meant?; see "),
        ("search x --zzzz", "there is no option --zzzz; see "),
        ("duplicates --url http://x", "duplicates works on this machine alone: there is no --url; see "),
        ("keys remove", "name is missing, as in glimpse keys remove shop-frontend; see "),
        ("search a red shirt", "too many words: red shirt; what belongs together stands in quotes; see "),
        ("search x --image", "--image needs a value behind it"),
        ("index . -r", "there is no option -r, and no need for it: subfolders are included; see "),
        ("search x --limit 3", "there is no option --limit; is -k meant?; see "),
        ("search x --format json", "there is no option --format; is --json meant?; see "),
        ("eval --output x", "there is no option --output; see "),  # eval writes nothing: there is no --out
        ("ls", "no such command 'ls'; is glimpse collections list meant?; see glimpse --help"),
        ("rm shop", "no such command 'rm'; is glimpse collections delete meant?; see "),
        ("collections rm shop", "no such command 'rm'; is glimpse collections delete meant?; see "),
        ("collections show shop", "no such command 'show'; is glimpse collections list meant?; see "),
        (
            "collections mv a b",
            "no such command 'mv'; is glimpse collections rename or glimpse collections move meant?; see ",
        ),
        ("jobs stop 1", "no such command 'stop'; is glimpse jobs cancel meant?; see "),
        ("keys create shop", "no such command 'create'; is glimpse keys add meant?; see "),
        ("labels ls", "no such command 'ls'; is glimpse labels list meant?; see "),
        ("help search", "no such command 'help'; is glimpse --help meant?; see "),
        ("serch", "no such command 'serch'. Did you mean 'search', 'serve'?; see "),
    ],
)
def test_a_wrong_command_line_is_one_line_with_its_remedy(words: str, message: str) -> None:
    line = wrong(*words.split())
    assert line.startswith(message)
    assert re.search(r"glimpse( \w+)* --help$", line) or not message.endswith("see ")


def test_a_variable_is_named_where_the_value_came_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIMPSE_THREADS", "0")
    assert wrong("search", "x").startswith("GLIMPSE_THREADS: must be 1 at least")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_option_of_any_command_is_refused_in_words_of_the_library(path: tuple[str, ...]) -> None:
    tried = 0
    for param in COMMANDS[path].params:
        if param.param_type_name != "option" or param.is_flag or param.name == "help":
            continue
        lines = [wrong(*path, *needed(COMMANDS[path]), max(param.opts, key=len))]
        for value in ("x", "-1", "1e999", "nan"):
            try:
                COMMANDS[path].make_context("x", [*needed(COMMANDS[path]), max(param.opts, key=len), value])
            except UsageError as error:
                lines.append(said(error))
            except (GlimpseError, typer.Exit):
                pass
        tried += len(lines)
        assert [line for line in lines if FORBIDDEN.search(line) or "nvalid" in line] == []
    assert tried >= 1 or path in (("demo",), ("jobs", "show"), ("jobs", "follow")), path


def test_every_name_that_is_offered_for_another_is_one_of_ours() -> None:
    groups = {path[0] for path in COMMANDS if len(path) > 1}
    ours = {path[-1] for path in COMMANDS} | {" ".join(path) for path in COMMANDS} | groups | {"--help", "--version"}
    assert [names for names in _ALIKE if names.split(", ")[0] not in ours] == []
    options = {opt for command in COMMANDS.values() for param in command.params for opt in param.opts}
    assert set(_OPTIONS) - options == set()
    assert set(_ALWAYS) & options == set()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["index", ""], "folders"),
        (["index", ".", ""], "folders"),
        (["index", ".", "--captions="], "--captions"),
        (["label", "", "--labels", "a"], "folder"),
        (["label", ".", "--labels", "a", "--to", ""], "--to"),
        (["eval", "--model", "x", "--folders", ""], "--folders"),
        (["embed", "", "--model", "x", "--out", "y"], "source"),
        (["train", "x.csv", "--model", ""], "--model"),
        (["collections", "backup", "x", ""], "file"),
        (["collections", "--data", "", "list"], "--data"),
        (["entries", "put", "x", "--image", ""], "--image"),
    ],
)
def test_an_empty_name_is_not_the_folder_where_one_stands(words: list[str], name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name} is empty: was a variable not set, or is \. meant\?$"):
        perform(words)


def test_places_are_called_as_the_disk_calls_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    kept, typed = "Fre\u0301d", "Fr\u00e9d"
    (tmp_path / kept / "\u00fc").mkdir(parents=True)
    (tmp_path / "labels.csv").touch()
    for words, message in [
        (["index", typed], f"no image in {tmp_path}/{kept}, "),
        (["index", f"~/{typed}/u\u0308"], f"no image in {tmp_path}/{kept}/\u00fc, "),
        (["index", f"file://{tmp_path}/Fr%C3%A9d"], f"no image in {tmp_path}/{kept}, "),
        (["index", kept, f"--captions=~/{typed}/gone.csv"], f"{tmp_path}/{kept}/gone.csv: cannot be read as a table"),
        (
            ["label", typed, "--labels", "a", "--out=~/gone/x.csv", "--model", "x"],
            f"--out {tmp_path}/gone/x.csv: there",
        ),
        (["label", "--review", "last", "--data", f"{typed}/new"], f"in {tmp_path}/{kept}/new; "),
        (["index", "s3://bucket/photos"], "folders s3://bucket/photos: an address, which is not fetched"),
        (["train", "https://a.b/pairs.csv", "--model", "x"], "pairs https://a.b/pairs.csv: an address, "),
        (["search", typed, "--data", "gone", "-c", typed], f"'{typed}' cannot name"),  # no place: as it was typed
        (["search", "x", "--data", typed, f"--collection={typed}"], f"'{typed}' cannot name"),  # nor beside one
    ]:
        with pytest.raises(GlimpseError, match=re.escape(message)):
            perform(words)


def test_help_has_a_short_name_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for path in [(), ("search",), ("collections",), ("keys", "add")]:
        assert perform([*path, "-h"]) == 0
        assert " ".join((*path, "[OPTIONS]")) in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval --model x --folders . --image-key i", "--image-key is a column of --pairs"),
        ("eval --model x --split . --caption-key c", "--caption-key is a column of --pairs"),
        ("index . --image-key i", "--image-key is a column of --captions, which is not given"),
        ("jobs start index /x --image-key i", "--image-key is a column of --captions, which is not given"),
        ("jobs start watch /x --image-key i", "--image-key is a column of --captions, which is not given"),
        ("compare . --data x", "--data says where --collection lies, and none is given"),
        ("reindex --abandon --drop-unreadable", "--drop-unreadable is for going on, and --abandon forgets"),
        ("reindex --abandon --model x", "--model is for going on, and --abandon forgets"),
        ("embed TABLE --model x --out o --any-name", "--any-name is for a folder"),
        ("embed FOLDER --model x --out o --image-key i", "--image-key is a column of a table or of Parquet"),
        ("backup y --verify x", "FILE is for writing a backup, and --verify FILE reads one"),
        ("backup --verify x --force", "--force is for writing a backup, and --verify FILE reads one"),
        ("backup --verify x --keep-weekly 3", "--keep-weekly is for writing a backup, and --verify FILE reads one"),
        ("duplicates --identical --threshold 1", "--threshold is of pictures alike, and --identical looks at bytes"),
        ("demo --no-serve --port 80", "--port is for serving, and --no-serve ends before"),
        ("labels create a --labels b --device cpu", "--device is for --model, which is not given"),
        ("labels calibrate a TABLE --model x --exclude b", "--exclude is for class folders"),
        ("labels calibrate a . --model x --force", "--force overwrites the file of --report, which is not given"),
        ("collections facets a -k 3", "-k is how many values of a --key, and none is given"),
        ("models --all --url http://x", "--all is about this machine, and --url asks a service"),
        ("models --measure x --url http://x", "--measure is about this machine, and --url asks a service"),
        ("keys limit a --rate none --burst 3", "--burst goes with a --rate"),
        ("entries delete a --all", "--all is for a --filter without a condition"),
    ],
)  # fmt: skip
def test_an_option_that_would_do_nothing_is_refused(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.csv").write_text("image\n1.png\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.png").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        perform(words.replace("TABLE", "table.csv").replace("FOLDER", "folder").split())
    assert str(error.value) == f"{message}: leave it out"


@pytest.mark.parametrize("option", ["--images", "-k", "--query"])
def test_what_is_for_the_page_of_a_comparison_asks_for_its_name(option: str) -> None:
    with pytest.raises(InputError, match=f"^{option} is for the page: name it by --out compare.html$"):
        perform(["compare", ".", option, "3"])


@pytest.mark.parametrize(
    ("option", "others"),
    [("force", "--out or --to or --xmp or --embed or --write-metadata"), ("store", "--collection")],
)
def test_label_refuses_what_would_do_nothing_too(option: str, others: str) -> None:
    value = ["local"] if option == "store" else []
    with pytest.raises(InputError, match=f"^--{option} goes with {others}$"):
        perform(["label", ".", "--labels", "a,b", "--model", "x", f"--{option}", *value])


@pytest.mark.parametrize("words", ["search x --sheet", "compare . --out", "labels calibrate a . --model x --report"])
def test_a_page_is_not_written_over_a_photo(words: str, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=r"1.jpg: is written as a page; name it so, as \w+.html$"):
        perform([*words.split(), str(tmp_path / "1.jpg")])


def test_a_run_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").touch()
    with pytest.raises(InputError, match=r"--out .*pairs.csv: a file; name a folder for the run"):
        perform(["train", str(tmp_path / "pairs.csv"), "--model", "x", "--out", str(tmp_path / "pairs.csv")])


def test_a_table_is_no_list_of_queries(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("image,title\n1.jpg,a cat\n")
    with pytest.raises(InputError, match=r"pairs.csv: a table; give the texts alone, one a line, or JSON Lines"):
        perform(["search", "--queries", str(tmp_path / "pairs.csv"), "--data", str(tmp_path)])


def test_no_model_of_a_name_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["models", "nobody"]) == 0
    out, err = capfd.readouterr()
    assert (out, "has 'nobody' in its name" in err) == ("", True)


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("GLIMPSE_")}
    return subprocess.run([GLIMPSE, *words], capture_output=True, text=True, env=bare | env, check=False)


def test_the_installed_command_says_it_on_one_line() -> None:
    done = run("search", "x", "-k", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "glimpse: -k: must be 1 at least; see glimpse search --help\n"
    bare = run()
    assert bare.returncode == 2
    assert bare.stderr.startswith("Usage: glimpse")


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", "ü"), ("ascii", "\\xfc")])
def test_a_stream_that_is_not_in_utf8_gets_what_it_can_say(encoding: str, shown: str, tmp_path: Path) -> None:
    def written(*words: str) -> tuple[str, str]:
        command, env = [GLIMPSE, *words, "--data", tmp_path], os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, env=env, check=False)
        return done.stdout.decode(encoding), done.stderr.decode(encoding)

    made = written("labels", "create", "a", "--labels", "ü,日本", "--json")[0]
    assert made.isascii()
    assert [label["name"] for label in json.loads(made)["labels"]] == ["ü", "日本"]
    assert shown in written("labels", "show", "a")[0]
    assert "\\u65e5\\u672c" in written("labels", "show", "a")[0]
    assert f"'{shown} \\u65e5\\u672c' cannot name a label set" in written("labels", "show", "ü 日本")[1]


def test_each_command_asks_a_service_or_says_that_it_looks_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLIMPSE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("GLIMPSE_DATA", raising=False)
    here = []
    for path, command in COMMANDS.items():
        names = {param.name for param in command.params}
        if "url" in names or path[0] in OF_NO_SERVICE:
            continue
        for given in ([], ["--data", str(tmp_path)]):
            context = command.make_context(f"glimpse {' '.join(path)}", [*needed(command), *given])
            told = capsys.readouterr().err
            line = f"glimpse {' '.join(path)}: of glimpse-data on this machine, not of the service of GLIMPSE_URL"
            assert told.startswith(line) != bool(given), (path, told)
            assert context.params["data"]
        here.append(path)
    assert {("duplicates",), ("reindex",), ("keys", "add"), ("labels", "list"), ("collections", "check")} <= set(here)


def test_where_a_service_has_another_command_for_it_that_is_named(tmp_path: Path) -> None:
    done = run("reindex", "--collection", "x", GLIMPSE_URL="http://127.0.0.1:9", GLIMPSE_DATA=str(tmp_path))
    assert "not of the service of GLIMPSE_URL; of that: glimpse jobs start reindex\n" in done.stderr
    assert run("keys", "list", GLIMPSE_DATA=str(tmp_path)).stderr == ""


def test_the_command_that_is_wanted_is_built_alone_and_all_where_none_is_named() -> None:
    def built(*words: str) -> dict[str, Any]:
        return typer.main.get_command(app_for(words)).commands  # type: ignore[attr-defined, no-any-return]

    assert set(built("search", "--help")) == {"search"}
    assert set(built("eval")) == {"eval"}
    checked = built("collections", "check", "delete")
    assert (set(checked), set(checked["collections"].commands)) == ({"collections"}, {"check"})
    whole = ROOT.commands["collections"].commands.keys()
    for words in (("collections",), ("collections", "--data", "check"), ("collections", "chek")):
        assert built(*words)["collections"].commands.keys() == whole
    for words in ((), ("serch", "x"), ("--version",), ("check",)):
        assert built(*words).keys() == ROOT.commands.keys()
