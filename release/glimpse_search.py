"""Writes the project of the distribution glimpse-search, which has no code: it is glimpse-client with its extra search.

    python release/glimpse_search.py build/glimpse-search

Version, names and extras are taken from pyproject.toml and the package, so they are written in one place.
"""

from __future__ import annotations

import ast
import json
import shutil
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "glimpse-search"
DESCRIPTION = "Self-hosted image-text retrieval: train, index, search, classify and label with CLIP-style dual encoders"
SAME = ("readme", "requires-python", "license", "license-files", "keywords", "classifiers")
PROJECT = """\
[build-system]
{build}

[project]
{fields}

[project.optional-dependencies]
{extras}

[tool.setuptools]
packages = []
"""


def version() -> str:
    """`glimpse.__version__`, with nothing imported."""
    tree = ast.parse((ROOT / "glimpse" / "__init__.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    return str(ast.literal_eval(value))


def write_project(folder: Path) -> None:
    """Write what a build backend needs into a new or empty folder."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    client = root["project"]

    def whole(extra: str) -> list[str]:
        return [f"{client['name']}[{extra}]=={version()}"]

    fields = {"name": NAME, "version": version(), "description": DESCRIPTION, "dependencies": whole("search")}
    fields |= {name: client[name] for name in SAME}
    extras = {extra: whole(extra) for extra in client["optional-dependencies"] if extra != "search"}
    folder.mkdir(parents=True, exist_ok=True)
    text = PROJECT.format(build=_toml(root["build-system"]), fields=_toml(fields), extras=_toml(extras))
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    for name in (client["readme"], *client["license-files"]):
        shutil.copy(ROOT / name, folder)


def _toml(fields: dict[str, object]) -> str:
    """Strings and lists of them, which JSON writes as TOML does."""
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())


if __name__ == "__main__":
    write_project(Path(sys.argv[1]))
