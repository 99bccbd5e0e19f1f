"""What is wrong with a command line, in one line like every other error. The words of typer and pydantic end here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_type_hints

import typer

from base.errors import InputError
from base.words import words_of

UsageError: type[Any] = typer.BadParameter.__mro__[1]  # of click, which newer typers carry inside


def said(error: Any) -> str:
    """What to say of a `UsageError`."""
    context = error.ctx
    message = _WORDS.get(type(error).__name__, _other)(error)
    return f"{message}; see {context.command_path} --help" if context is not None else message


def with_places(command: Any, words: Sequence[str]) -> list[str]:
    """The words of a command line with its files and folders as they are called on the disk.

    A shell leaves ~ as it is behind "=", and accents may be typed in one form and kept in another. InputError for a
    place that is "", for that would be the folder where one stands, and for addresses.
    """
    from base.sources.named_files import as_on_disk

    parts = [_behind_equals(word) for word in words]
    marks = {f"\0{i}": i for i, (_, value) in enumerate(parts) if value[:1] != "-" and ODD_PLACES.search(value)}
    rest = [f"{option}\0{i}" if f"\0{i}" in marks else words[i] for i, (option, _) in enumerate(parts)]
    context, meant = None, list(words)
    while rest:
        context = command.context_class(command, info_name=command.name, parent=context)
        given, rest, _ = command.make_parser(context).parse_args(rest)
        hints = get_type_hints(command.callback) if command.callback else {}
        for param in command.params:
            is_path = "Path" in repr(hints.get(param.name))
            if not is_path and param.name not in _PLACES:
                continue
            value = given.get(param.name)
            name = max(param.opts, key=len) if param.param_type_name == "option" else param.name
            for i in (marks.get(one) for one in (value if isinstance(value, list | tuple) else [value])):
                if i is None:
                    continue
                option, one = parts[i]
                if one == "":
                    raise InputError(f"{name} is empty: was a variable not set, or is . meant?")
                if is_path and not (param.name == "image" and "://" in one):  # it knows both
                    if re.match(r"(?!file:)[a-z0-9+]{2,}://", one, re.I):
                        raise InputError(f"{name} {one}: an address, which is not fetched; give a file or folder here")
                    meant[i] = option + as_on_disk(one)
        command = getattr(command, "commands", {}).get(rest[0]) if rest else None
        if command is None:
            break
        rest = rest[1:]
    return meant


def _behind_equals(word: str) -> tuple[str, str]:
    """An option with its "=", and its value; of any other word nothing, and the word."""
    option, equals, value = word.partition("=")
    return (option + equals, value) if equals and option.startswith("--") else ("", word)


def _bad_value(error: Any) -> str:
    problems = getattr(error.__cause__, "errors", None)
    words = words_of(problems()[0]) if problems else error.message
    return f"{_name_of(error)}: {words.removesuffix('.')}"


def _missing(error: Any) -> str:
    example = (getattr(error.ctx.command, "epilog", None) or "").removeprefix("Example: ")
    return f"{_name_of(error)} is missing{f', as in {example}' if example else ''}"


def _no_option(error: Any) -> str:
    name, command = error.option_name, error.ctx.command
    if name == "--url":
        return f"{command.name} works on this machine alone: there is no {name}"
    known = [opt for param in command.params for opt in param.opts]
    if name in _ALWAYS:
        return f"there is no option {name}, and no need for it: {_ALWAYS[name]}"
    near = [opt for opt in known if name in _OPTIONS.get(opt, "").split()]
    near += difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"there is no option {name}" + (f"; is {near[0]} meant?" if near else "")


def _no_value(error: Any) -> str:
    return f"{error.option_name} needs a value behind it" if "requires" in error.message else _other(error)


def _other(error: Any) -> str:
    message = error.format_message().removesuffix(".")
    if "extra argument" in message:
        words = message.partition("(")[2].partition("(")[2].removesuffix(")")
        return f"too many words: {words}; what belongs together stands in quotes"
    if found := re.match(r"No such command ['\"](.+?)['\"]", message):
        return _no_command(found[1], error.ctx) or f"{message[:1].lower()}{message[1:]}"
    return f"{message[:1].lower()}{message[1:]}"


def _no_command(word: str, context: Any) -> str | None:
    """What to say of a command that is called otherwise here; None where that is not known."""
    commands = dict.fromkeys(context.command.commands)
    if context.parent is None:
        commands |= dict.fromkeys(["--help", "--version", *(f"collections {name}" for name in _OF_COLLECTIONS)])
    alike = [names.split(", ") for names in _ALIKE if word.lower() in names.split(", ")]
    meant = [name for names in alike for name in names if name in commands]
    if not meant:
        return None
    told = " or ".join(f"{context.command_path} {name}" for name in dict.fromkeys(meant))
    return f"no such command '{word}'; is {told} meant?"


def _name_of(error: Any) -> str:
    """Of an option or argument; of a variable, if its value came from there."""
    param = error.param
    if param is None:
        return str(error.param_hint or "a value")
    source = error.ctx.get_parameter_source(param.name) if error.ctx else None
    if source is not None and source.name == "ENVIRONMENT":
        return param.envvar if isinstance(param.envvar, str) else param.envvar[0]
    return max(param.opts, key=len) if param.param_type_name == "option" else str(param.name)


ODD_PLACES = re.compile(r"(?:^|=)(?:$|~)|file:|://|[^\x00-\x7f]")  # what a word has in it that may need `with_places`
_PLACES = ("model", "init", "source", "url")  # texts that say where something is
_OF_COLLECTIONS = ("list", "delete", "check", "import")  # which people look for in glimpse itself
# What other programs call what there is here. Each row has the names of one thing.
_ALIKE = (
    "--help, help",
    "--version, version",
    "list, collections list, ls, all, albums",
    "delete, remove, forget, collections delete, rm, del, drop, erase",
    "create, add, put, start, index, new, make, init, set",
    "index, add, scan, ingest, update, refresh, sync",
    "show, get, collections list, list, info, cat, describe, view, status, stats, inspect",
    "cancel, stop, kill, abort",
    "search, find, query, similar, grep",
    "label, labels, classify, tag, annotate, autotag, zero-shot",
    "train, finetune, fine-tune, fit, learn",
    "eval, evaluate, test, benchmark, measure",
    "serve, server, start, run, web, ui, gui, up",
    "duplicates, dedupe, dedup, dups, dupes",
    "rename, title, name",
    "rename, move, mv",
    "import, collections import, load",
    "restore, recover",
    "patch, edit, set, update",
    "follow, watch, tail, logs, log, wait",
    "check, collections check, verify, fsck, validate",
    "compact, vacuum, optimize, optimise, rebuild",
)
_OPTIONS = {
    "-k": "--limit --top --top-k --topk -n --num --count",
    "--collection": "--name --album",
    "--out": "--output -o",
    "--json": "--format",
    "--data": "--db --database --data-dir",
    "--model": "-m",
    "--caption-key": "--text-key --caption-column --csv-caption-key",
    "--image-key": "--img-key --image-column --csv-img-key",
    "--lr": "--learning-rate",
    "--labels": "-l --classes",
    "--follow-links": "--follow-symlinks",
    "--exclude": "--ignore",
    "--dry-run": "-n",
}
_ALWAYS = dict.fromkeys(("--recursive", "-r", "-R"), "subfolders are included")
_WORDS = {
    "BadParameter": _bad_value, "MissingParameter": _missing, "NoSuchOption": _no_option, "BadOptionUsage": _no_value,
}  # fmt: skip
