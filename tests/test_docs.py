"""The docs say what is: the command line's page, the layout, the files that are named."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_the_command_line_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == script["render"](), "run make docs"


def test_the_layout_in_the_architecture_page_is_the_layout() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("```text\n", 1)[1].split("```", 1)[0]
    for package in ("encoder", "index", "training", "service", "glimpse"):
        line = next(line for line in tree.splitlines() if line.startswith(f"{package}/"))
        block = tree.split(line, 1)[1].split("\n\n", 1)[0]
        named = set(re.findall(r"^    (\w+)\s", line[len(package) + 1 :] + block, flags=re.MULTILINE))
        there = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
        assert named == there, f"{package}: the page lacks {there - named}, and names {named - there}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
