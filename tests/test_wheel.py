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
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from test_layers import FILES, PACKAGES, ROOT

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
    """The Python of a new environment that has these libraries: links to what is installed here."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run_clean(python, *PIP, "uninstall", "--quiet", "--yes", "setuptools")  # an old one, which Python 3.11 brings
    (packages,) = environment.glob("lib/python*/site-packages")
    for library in libraries:
        for top in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(library.locate_file(top))))
    return python


def run_clean(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of the environment that the tests run in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env = kept | environment
    return subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=120)


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    wheel, unpacked = built(tmp_path), tmp_path / "unpacked"
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


def test_an_empty_environment_has_the_command_and_the_way_to_its_extras(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, *INSTALL, "--no-deps", wheel], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "its_dependencies.pth").write_text(sysconfig.get_path("purelib"))  # which an index would give

    def said(*command: str | Path) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return subprocess.run(command, check=True, cwd=tmp_path, env=clean, capture_output=True, text=True).stdout

    assert said(environment / "bin" / "glimpse", "--version").split() == ["glimpse", __version__]
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


def test_glimpse_search_is_the_client_and_what_runs_models(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    shutil.copy(built(tmp_path), wheels)
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
