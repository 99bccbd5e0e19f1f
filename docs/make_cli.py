"""Writes docs/cli.md from the commands' own --help, so that it cannot say anything else. A test holds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
INTRO = """# The command line

Written by `make docs` from `--help`. Results go to standard output, everything else to standard error; the exit code
is 0 for done, 1 for failed, 2 for wrong input. Options that name an environment variable can be set by it.
"""


def render() -> str:
    """The page: --help of glimpse and of each command, 100 columns wide, without colour."""
    program = Path(sys.executable).with_name("glimpse")
    env = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}

    def help_of(*command: str) -> str:
        return subprocess.run(
            [program, *command, "--help"], capture_output=True, text=True, check=True, env=env
        ).stdout.strip()

    overview = help_of()
    listed = overview.split("Commands:\n", 1)[1].splitlines()
    commands = [line.split()[0] for line in listed if line.startswith("  ") and not line.startswith("   ")]
    sections = [f"## glimpse {name}\n\n```\n{help_of(name)}\n```\n" for name in commands]
    return "\n".join([INTRO, f"```\n{overview}\n```\n", *sections])


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
