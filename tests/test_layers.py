"""The table of layers in docs/architecture.md, held: who may import whom, and who alone touches which library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("base", "encoder", "index", "labelling", "training", "service", "glimpse")
MAY_IMPORT = {
    "base": set(),
    "encoder": {"base"},
    "index": {"base", "encoder"},
    "labelling": {"base", "encoder", "index"},
    "training": {"base", "encoder"},
    "service": {"base", "encoder", "index", "labelling"},
    "glimpse": {"base", "encoder", "index", "labelling", "training", "service"},
}
ONLY_IN = {
    "open_clip": {"encoder/load.py", "encoder/weights.py"},
    "huggingface_hub": {"encoder/weights.py"},
    "PIL": {
        "encoder/image.py",
        "encoder/encoder.py",
        "training/data/augment.py",
        "service/inference/images.py",
        "glimpse/demo/postcards/",
    },
    "pillow_heif": {"encoder/image.py"},
    "faiss": {"index/local/vectors/ann.py"},
    "sqlite3": {"index/local/catalog/database.py"},
    "watchfiles": {"index/ingest/watch.py"},
    "pyarrow": {"index/parquet.py"},
    "fastapi": {"service/"},
    "starlette": {"service/"},
    "uvicorn": {"service/"},
    "pydantic_settings": {"service/settings.py"},
    "prometheus_client": {"service/telemetry/metrics.py"},
    "opentelemetry": {"service/telemetry/tracing.py"},
    "httpx": {"service/inference/fetch.py", "glimpse/client/connection.py"},
    "mcp": {"glimpse/mcp_tools.py"},
    "webdataset": {"training/data/shards.py"},
    "tensorboardX": {"training/journal.py"},
    "typer": {"glimpse/"},
    "rich": {"glimpse/"},
    "torch": {"encoder/", "training/", "glimpse/demo/run.py"},
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    package = name.split("/")[0]
    for module in imports(path):
        top = module.split(".")[0]
        if top in PACKAGES and top != package:
            assert top in MAY_IMPORT[package], f"{name} imports {module}"
        if top == "encoder":
            assert package != "index" or name.startswith("index/ingest/"), f"{name} imports {module}"
        if name.startswith("glimpse/client/") and top in PACKAGES:
            light = module == "base.errors" or module == "glimpse" or module.startswith("glimpse.client")
            assert light, f"{name} imports {module}"
        if top in ONLY_IN:
            allowed = ONLY_IN[top]
            assert any(name == place or (place.endswith("/") and name.startswith(place)) for place in allowed), (
                f"{name} imports {module}; only {', '.join(sorted(allowed))} may"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_first_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
