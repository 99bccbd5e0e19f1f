"""Wrong command lines: one line each, in our own words; and commands that know no service say so."""

from __future__ import annotations

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

from base.errors import GlimpseError
from glimpse.cli import app, app_for
from glimpse.usage import UsageError, said

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
