"""The wheel holds every module and every file of the page, and its modules import from there alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from test_layers import FILES, PACKAGES, ROOT

IMPORT_ALL = """
import importlib, sys
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.argv[1]), f"{name} is from {module.__file__}"
"""


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    source, unpacked = tmp_path / "source", tmp_path / "unpacked"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(unpacked)
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    static = {path.relative_to(ROOT).as_posix() for path in (ROOT / "service" / "static").rglob("*") if path.is_file()}
    modules = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert held == modules | static

    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sorted(modules)]
    names = [name for name in names if not name.endswith("__main__")]
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-P", "-c", IMPORT_ALL, str(unpacked), *names]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
