"""`glimpse` and `python -m glimpse`: runs the command line and turns errors into one line."""

from __future__ import annotations

import atexit
import gc
import os
import sys


def main() -> None:
    """Run a command. Exits with 0 done, 1 failed, 2 wrong input, 130 interrupted, 143 ended by SIGTERM."""
    # Modules are no garbage: they are looked through for some seldom, and not once more when Python ends.
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)
    try:
        from glimpse import interrupts  # a Ctrl-C may come at the first import

        interrupts.heed()
        try:
            message, code = _run()
        except Exception as error:
            if not interrupts.came():
                raise
            message, code = str(error) or type(error).__name__, 1
        if interrupts.came() and code != 130 and message:
            message, code = f"interrupted; {message}", 130
        code = _fail(message, code) if message else code
    except KeyboardInterrupt:  # nothing more is loaded to say so
        print("glimpse: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _run() -> tuple[str, int]:
    """What is left to say, and the exit code."""
    import codecs
    import io

    import typer

    from base.errors import GlimpseError, InputError
    from base.extras import what_is_missing
    from base.files import disk_problem
    from glimpse.cli import perform
    from glimpse.usage import UsageError, said

    codecs.register_error("glimpse", _as_far_as_it_goes)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # who started it has closed it, and the next file would take its number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):  # a file's name need not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "glimpse")
    try:
        code = perform(sys.argv[1:])
        return ("interrupted" if code == 130 else ""), code  # typer makes it of an interrupt, without a word
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return "", 2
        return said(error), 2
    except typer.Abort:  # at a question
        return "left undone", 1
    except GlimpseError as error:
        return str(error), 2 if isinstance(error, InputError) else 1
    except ModuleNotFoundError as error:
        if (missing := what_is_missing(error)) is None:
            raise
        return missing, 2
    except BrokenPipeError:  # `glimpse models | head`
        sys.stderr.close()
        return "", 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return disk_problem(error) or f"{where}{error.strerror or error}", 1


def _as_far_as_it_goes(error: UnicodeError) -> tuple[bytes, int]:
    """What a stream in another encoding gets of a text: what it has no sign for escaped, a name's odd bytes as is."""
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    shown = (
        bytes([ord(c) - 0xDC00]) if "\udc80" <= c <= "\udcff" else c.encode("ascii", "backslashreplace") for c in signs
    )
    return b"".join(shown), error.end


def _fail(message: str, code: int) -> int:
    from glimpse.console import shown_as

    rank = os.environ.get("RANK", "0")  # of several processes of torchrun
    print(
        f"glimpse{f' (process {rank})' if rank != '0' else ''}: {shown_as(message, sys.stderr.isatty())}",
        file=sys.stderr,
    )
    return code


if __name__ == "__main__":
    main()
