"""glimpse's wheels, and environments to install them into: of links to what is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from test_layers import PACKAGES, ROOT

PIP = ("-m", "pip", "--disable-pip-version-check")
INSTALL = (*PIP, "install", "--quiet", "--no-index")


def built(folder: Path) -> Path:
    """The wheel, built in a folder."""
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return wheel_of(source, folder)


def wheel_of(source: Path, folder: Path) -> Path:
    """The wheel of a project, built in a folder that has none."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment_with(folder: Path, libraries: Iterable[Distribution]) -> Path:
    """The Python of a new environment that has these libraries and pip, as links to what is installed here."""
    environment = folder / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    (packages,) = environment.glob("lib/python*/site-packages")
    for library in (distribution("pip"), *libraries):
        for top in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(library.locate_file(top))))
    return python


def run_clean(*command: str | Path, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program, in a folder, that knows nothing of the environment that the tests run in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env = kept | environment
    return subprocess.run(command, check=False, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
