"""Writes docs/cli.md from the commands' own --help, so that it cannot say anything else. A test holds it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from glimpse.cli import app_for

PAGE = Path(__file__).with_name("cli.md")
INTRO = """# The command line

Written by `make docs` from `--help`. Results go to standard output, everything else to standard error. Options that
name an environment variable can be set by it.

| exit code | |
|---|---|
| 0 | done |
| 1 | failed, or some of what was asked for could not be done, or what was to be checked is not sound |
| 2 | wrong input: a command line, a file or a value that has to be mended first |
| 130 | interrupted |
| 143 | ended by SIGTERM; a training was saved before |
"""


def render() -> str:
    """The page: --help of glimpse and of each command, 80 columns wide, without colour."""

    def help_of(*command: str) -> str:
        asked = CliRunner().invoke(
            app_for(command), [*command, "--help"], prog_name="glimpse", env={"COLUMNS": "100", "TERM": "dumb"}
        )
        assert asked.exit_code == 0, asked.output
        return asked.output.strip()

    def commands_in(text: str) -> list[str]:
        listed = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        return [line.split()[0] for line in listed if not line.startswith("   ")]

    def sections(*command: str) -> list[str]:
        text = help_of(*command)
        own = f"## glimpse {' '.join(command)}\n\n```\n{text}\n```\n"
        return [own, *(section for name in commands_in(text) for section in sections(*command, name))]

    overview = help_of()
    below = [section for name in commands_in(overview) for section in sections(name)]
    return "\n".join([INTRO, f"```\n{overview}\n```\n", *below])


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
