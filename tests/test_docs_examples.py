"""The examples of the docs are run: each page's blocks, in order, against a real server; their answers have these keys.

A block is left out, or may be refused, only where a comment in the page's source says so right above it:
`<!-- not run: WHY -->`, `<!-- refused -->`.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from service_world import picture, serving, settings_for, tiny_encoder

from service.app import create_app

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in ("api.md", "catalogue.md", "clients.md", "jobs.md") if (DOCS / page).exists()]
FENCE = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
IMAGES = ("fish", "pet", "boat", "balloon", "car")


class Block(NamedTuple):
    """An example: `kind` is sh or python, `answer` the JSON right below it."""

    line: int
    kind: str
    text: str
    mark: str
    answer: Any


def blocks(page: str) -> Iterator[Block]:
    """The examples of a page, in order."""
    found = list(FENCE.finditer(page))
    for block, following in itertools.zip_longest(found, found[1:]):
        if block["kind"] in ("sh", "python"):
            below = following and following["kind"] == "json" and not page[block.end() : following.start()].strip()
            answer = json.loads(following["text"]) if following and below else None
            line = page.count("\n", 0, block.start()) + 1
            yield Block(line, block["kind"], block["text"], block["mark"] or "", answer)


def run(block: Block, folder: Path) -> str:
    """What a block prints."""
    if block.kind == "python":
        command = [sys.executable, "-c", block.text]
    else:
        fail = "" if block.mark == "refused" else "--fail-with-body"  # an answer that is an error ends the block
        own = f'PATH={Path(sys.executable).parent}:$PATH; curl() {{ command curl {fail} --show-error "$@"; }}\n'
        command = ["bash", "-euo", "pipefail", "-c", own + block.text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def last_document(printed: str) -> Any:
    """The JSON that was printed last; curl ends none with a line break."""
    decoder, at, found = json.JSONDecoder(), 0, None
    while (at := at + len(printed[at:]) - len(printed[at:].lstrip())) < len(printed):
        found, at = decoder.raw_decode(printed, at)
    return found


def shape(value: Any) -> Any:
    """The keys of objects, of lists those of their first item. Metadata are those of whatever is found."""
    if isinstance(value, dict):
        return {key: None if key == "metadata" else shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("name", PAGES)
def test_examples_run_and_answer_as_the_page_says(name: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    for folder in ("pictures", "world/train", "world/unseen"):
        (files / folder).mkdir(parents=True)
    for i, image in enumerate(IMAGES):
        (files / f"{image}.jpg").write_bytes(picture(i, (320, 240), "JPEG"))
        for folder in ("pictures", "world/train", "world/unseen"):
            (files / folder / f"{image}.jpg").write_bytes(picture(i + 100, (320, 240), "JPEG"))
    examples = list(blocks((DOCS / name).read_text(encoding="utf-8")))
    assert examples
    assert sum(block.mark.startswith("not run") for block in examples) <= 2
    settings = settings_for(tmp_path / "data", job_roots=str(files))
    with serving(create_app(settings, tiny_encoder(tmp_path))) as url:
        stand_ins = {"localhost:8000": url.removeprefix("http://"), "/tmp/glimpse-demo": str(files)}
        for block in examples:
            where = f"{name}:{block.line}"
            if block.mark.startswith("not run: "):
                continue
            assert block.mark in ("", "refused"), where
            text = block.text
            for shown, real in stand_ins.items():
                text = text.replace(shown, real)
            printed = run(block._replace(text=text), files)
            if block.answer is not None:
                answer = last_document(printed)
                assert shape(answer) == shape(block.answer), f"{where}: {printed}"
                if isinstance(answer, dict) and isinstance(answer.get("id"), str):
                    stand_ins[block.answer["id"]] = answer["id"]  # it stands for the one that came


def test_no_page_has_examples_that_nobody_runs() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        asks = [block.line for block in blocks(text) if "localhost:8000/v1" in block.text]
        assert page.name in PAGES or not asks, f"{page.name}: {asks}"
