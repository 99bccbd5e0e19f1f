"""The docs say what is: the command line's page, the layout, the files that are named."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from test_layers import PACKAGES

from base import errors

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_the_command_line_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == script["render"](), "run make docs"


def test_the_picture_of_the_house_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_house.py"))
    assert (ROOT / "docs" / "house.svg").read_text(encoding="utf-8") == script["render"](), "run make docs"


def test_the_layout_in_the_architecture_page_is_the_layout() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("```text\n", 1)[1].split("```", 1)[0]
    named: dict[str, set[str]] = {}
    for line in tree.splitlines():
        if folder := re.match(r"([\w/]+)/(\s|$)", line):
            assert folder[1] not in named, "named twice"
            named[folder[1]] = set()
        elif file := re.match(r"    (\w+)\s", line):
            named[list(named)[-1]].add(file[1])
    there: dict[str, set[str]] = {}
    for package in PACKAGES:
        for init in (ROOT / package).rglob("__init__.py"):
            files = {path.stem for path in init.parent.glob("*.py")} - {"__init__", "__main__"}
            there[init.parent.relative_to(ROOT).as_posix()] = files
    assert named == there


def test_the_tree_of_errors_is_the_tree() -> None:
    tree = re.findall(r"^    ([│ ]*)[├└]── (\w+)", str(errors.__doc__), re.M)
    path, named = ["GlimpseError"], dict[str, str]()
    for bars, name in tree:
        depth = len(bars) // 4 + 1
        path[depth:] = [name]
        named[name] = path[depth - 1]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GlimpseError)]
    assert named == {kind.__name__: kind.__base__.__name__ for kind in kinds if kind is not errors.GlimpseError}


def test_of_each_dependency_is_said_why_it_is_there() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = *about["project"]["optional-dependencies"].values(), *about["dependency-groups"].values()
    wanted = {re.split(r"[\[<>=]", one)[0] for group in (about["project"]["dependencies"], *groups) for one in group}
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \|", page.partition("\n## Libraries, and why\n")[2], re.M)
    assert wanted - set(re.findall(r"[\w-]+", " ".join(rows))) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
