"""The wheel holds every module and every file of the page, and its modules import from there alone.

glimpse-search adds what they need to run a model, and no file: so one is installed and removed without the other.
"""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distributions
from pathlib import Path

from test_layers import FILES, PACKAGES, ROOT
from wheels import INSTALL, PIP, environment_with, run_clean, wheel_of

from base.extras import DISTRIBUTION
from glimpse import __version__

IMPORT_ALL = """
import importlib, sys
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.argv[1]), f"{name} is from {module.__file__}"
"""

PROGRAM = """
from glimpse.client import Client, ServiceError

with Client(timeout=5) as client:
    try:
        hits = client.search("photos", "a red boat")
    except ServiceError as error:
        raise SystemExit(error.status)
    for hit in hits:
        reveal_type(hit.score)
        reveal_type(hit.metadata)
"""


def test_the_wheel_is_whole(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(unpacked)
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    static = {path.relative_to(ROOT).as_posix() for path in (ROOT / "service" / "static").rglob("*") if path.is_file()}
    modules = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert held == modules | static | {f"{package}/py.typed" for package in PACKAGES}

    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sorted(modules)]
    names = [name for name in names if not name.endswith("__main__")]
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-P", "-c", IMPORT_ALL, str(unpacked), *names]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)


def test_an_empty_environment_has_the_command_and_the_way_to_its_extras(wheel: Path, tmp_path: Path) -> None:
    python = environment_with(tmp_path, ())

    def said(*command: str | Path) -> str:
        done = run_clean(*command, folder=tmp_path)  # where no package of ours lies
        assert done.returncode == 0, done.stderr
        return done.stdout

    said(python, *INSTALL, "--no-deps", wheel)
    (packages,) = tmp_path.glob("environment/lib/python*/site-packages")
    (packages / "its_dependencies.pth").write_text(sysconfig.get_path("purelib"))  # which an index would give
    assert said(python.with_name("glimpse"), "--version").split() == ["glimpse", __version__]
    (tmp_path / "program.py").write_text(PROGRAM)
    typed = said(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "program.py")
    assert [line.partition(" note: ")[2] for line in typed.splitlines()[:-1]] == [
        'Revealed type is "float"', 'Revealed type is "dict[str, Any]"'
    ]  # fmt: skip
    way = said(python, "-c", "from base.extras import install; print(install('mcp'))").strip()
    assert shlex.split(way)[0] == str(python)
    assert f"{DISTRIBUTION}-{__version__}" in said(
        *shlex.split(way), "--dry-run", "--no-deps", "--no-index", "--force-reinstall"
    )
    licence = next(packages.glob("glimpse_client-*.dist-info/licenses/LICENSE"))
    assert licence.read_text().startswith("MIT License")


def test_glimpse_search_is_the_client_and_what_runs_models(wheel: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    shutil.copy(wheel, wheels)
    write_project = runpy.run_path(str(ROOT / "release" / "glimpse_search.py"))["write_project"]
    write_project(tmp_path / "search")
    search = wheel_of(tmp_path / "search", tmp_path / "search")
    with zipfile.ZipFile(search) as file:
        assert not [name for name in file.namelist() if ".dist-info/" not in name]
    shutil.copy(search, wheels)

    others = [one for one in distributions() if one.name not in ("pip", "glimpse-search", DISTRIBUTION)]
    python = environment_with(tmp_path, others)

    def done(*command: str | Path) -> str:
        said = run_clean(python, *command)
        assert said.returncode == 0, said.stderr
        return said.stdout

    done(*INSTALL, "--find-links", wheels, "glimpse-search[parquet]")  # all that it needs is there
    assert done("-m", "glimpse", "--version").split() == ["glimpse", __version__]
    assert f"glimpse-client[search]=={__version__}" in done(
        "-c", "from importlib.metadata import requires; print(*requires('glimpse-search'))"
    )
    done(*PIP, "uninstall", "--quiet", "--yes", "glimpse-search")
    done("-m", "glimpse", "models", "--json")  # needs open_clip, and each file of the client
