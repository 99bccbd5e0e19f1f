"""What is wrong with a command line, in one line like every other error. The words of typer and pydantic end here."""

from __future__ import annotations

import difflib
from typing import Any

import typer

from base.words import words_of

UsageError: type[Any] = typer.BadParameter.__mro__[1]  # of click, which newer typers carry inside


def said(error: Any) -> str:
    """What to say of a `UsageError`."""
    context = error.ctx
    message = _WORDS.get(type(error).__name__, _other)(error)
    return f"{message}; see {context.command_path} --help" if context is not None else message


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
    near = difflib.get_close_matches(name, [opt for param in command.params for opt in param.opts], n=1)
    return f"there is no option {name}" + (f"; is {near[0]} meant?" if near else "")


def _no_value(error: Any) -> str:
    return f"{error.option_name} needs a value behind it" if "requires" in error.message else _other(error)


def _other(error: Any) -> str:
    message = error.format_message().removesuffix(".")
    if "extra argument" in message:
        words = message.partition("(")[2].partition("(")[2].removesuffix(")")
        return f"too many words: {words}; what belongs together stands in quotes"
    return f"{message[:1].lower()}{message[1:]}"


def _name_of(error: Any) -> str:
    """Of an option or argument; of a variable, if its value came from there."""
    param = error.param
    if param is None:
        return str(error.param_hint or "a value")
    source = error.ctx.get_parameter_source(param.name) if error.ctx else None
    if source is not None and source.name == "ENVIRONMENT":
        return param.envvar if isinstance(param.envvar, str) else param.envvar[0]
    return max(param.opts, key=len) if param.param_type_name == "option" else str(param.name)


_WORDS = {
    "BadParameter": _bad_value, "MissingParameter": _missing, "NoSuchOption": _no_option, "BadOptionUsage": _no_value,
}  # fmt: skip
