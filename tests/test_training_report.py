"""The page: whole, safe with any text, and there whatever of the run is missing; the charts in it are right."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_world import plain_picture

from base.charts import HEIGHT, WIDTH, Series, histogram, line_chart
from base.errors import TrainingError
from training.records.report import write_report

EVIL = "<script>alert('x')</script> & \"quoted\""
EMPTY_TAGS = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page, and fails where a tag is not closed by its own."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in EMPTY_TAGS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data + " "


def recalls(value: float) -> dict[str, float]:
    return {"recall@1": value / 3, "recall@5": value / 2, "recall@10": value, "median_rank": 9.0}


def retrieval(value: float) -> dict[str, Any]:
    return {"n_images": 120, "n_texts": 90, "text_to_image": recalls(value), "image_to_text": recalls(value / 2)}


def accuracy(value: float) -> dict[str, Any]:
    classes = {f"class {EVIL} {i}": value / (10 - i) for i in range(9)} | {"the best one": 1.0}
    return {"n_images": 50, "top1": value, "top5": min(1.0, value * 1.5), "per_class": classes}


def views(value: float) -> dict[str, Any]:
    return {"n_images": 50, "view_to_view": recalls(value)}


def an_epoch(epoch: int, metrics: dict[str, Any], score: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "loss": 3 - epoch / 3 if epoch else None,
        "metrics": metrics,
        "score": score,
        "probe": 0.9 - 0.01 * epoch,
        "best": True,
        "seconds": 12.0,
        "health": {
            "alignment": 1.5 - epoch / 10,
            "uniformity_images": -0.1 - epoch / 5,
            "uniformity_texts": -0.2 - epoch / 5,
            "effective_rank_images": 10.0 + epoch,
            "effective_rank_texts": 12.0 + epoch,
            "modality_gap": 0.8,
            "positive_histogram": [0] * 20 + [5] + [0] * 9 + [epoch] + [0] * 9,
            "negative_histogram": [0] * 18 + [50, 90, 40] + [0] * 19,
        },
    }


def write_run(out: Path, metrics: Any = retrieval, epochs: int = 3) -> dict[str, Any]:
    """A run folder as the trainer leaves it; returns what is in its metrics.json."""
    out.mkdir(parents=True, exist_ok=True)
    plain_picture("red", size=(400, 300)).save(out / "red.png")
    plain_picture("blue", size=(30, 40)).save(out / "blue.png")
    pair = {
        "image": str(out / "red.png"),
        "text": EVIL,
        "wrong_text": "a blue thing",
        "wrong_image": str(out / "blue.png"),
        "score": 0.2,
        "wrong_score": 0.4,
    }
    result = {
        "best_epoch": epochs,
        "best_score": 0.5,
        "warnings": [f"Forgetting: {EVIL}; do less."],
        "confusions": [pair, pair | {"image": str(out / "gone.png")}],
        "interpolation": {
            "alpha": 0.5,
            "sweep": [{"alpha": a / 4, "score": 0.4, "validation": a / 5, "probe": 0.8} for a in range(5)],
        },
        "epochs": [an_epoch(e, metrics(0.12 + 0.1 * e), 0.1 + 0.1 * e) for e in range(epochs + 1)],
    }
    (out / "metrics.json").write_text(json.dumps(result))
    config = {"pairs": f"/data/{EVIL}.csv", "model": "ViT-B-32/openai", "lr": None, "templates": ["a {}", "b {}"]}
    (out / "train_config.json").write_text(json.dumps(config))
    with (out / "log.jsonl").open("w") as log:
        for step in range(1, 1001):
            line = {"step": step, "loss": 4 / step, "lr": 1e-5 / step, "logit_scale": 20.0, "grad_norm": 1.0}
            log.write(json.dumps(line | {"positive_similarity": 0.3, "mutual_information": None}) + "\n")
        log.write('{"step": 1001, "lo')
    return result


def test_a_page_tells_the_run_and_needs_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / f"run {EVIL.replace('/', '')}"
    write_run(out)
    path = write_report(out)
    assert path == out / "report.html"
    page = Page(path)
    assert "Recall@10 from text to image rose from 0.12 to 0.42; the best epoch was 3 of 3." in page.text
    assert "50% trained" in page.text
    assert f"Forgetting: {EVIL}; do less." in page.text
    assert "Fine-tuned from ViT-B-32/openai, measured on 120 held-out images and 90 texts" in page.text
    assert "run <script>" in page.text
    assert "+0.300" in page.text  # recall@10, before and after
    for title in ("Loss", "Learning rate", "Uniformity", "Cosines before training", "Cosines after epoch 3"):
        assert title in page.text
    assert "script" not in page.tags
    assert "link" not in page.tags
    pictures = [link for link in page.links if link.startswith("data:image/jpeg;base64,")]
    assert len(pictures) == len(page.links) == 3  # the fourth is gone from the disk
    assert "no picture" in page.text
    assert path.stat().st_size < 200_000  # a thousand steps are not a thousand points
    assert not [file for file in out.iterdir() if file.name.startswith(".")]
    before = path.read_bytes()
    assert write_report(out).read_bytes() == before


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (accuracy, "Top-1 accuracy rose from 0.12 to 0.42"),
        (views, "Recall@1 from one view of an image to the other rose from 0.04 to 0.14"),
    ],
)
def test_a_run_on_classes_or_on_bare_images(tmp_path: Path, metrics: Any, words: str) -> None:
    write_run(tmp_path, metrics)
    page = Page(write_report(tmp_path))
    assert words in page.text
    if metrics is accuracy:
        assert "the worst of 10 classes" in page.text
        assert f"class {EVIL} 0" in page.text
        assert "the best one" not in page.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"best_epoch": 0}, "No epoch was better than the start: Recall@10 from text to image stays at 0.12"),
        ({"interpolation": None}, "rose from 0.12 to 0.42; the best epoch was 3 of 3."),
        ({"epochs": []}, "Nothing is measured yet."),
        ({"best_epoch": None}, "Nothing is measured yet."),
    ],
)
def test_the_verdict_is_what_happened(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    result = write_run(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(result | changes))
    assert words in Page(write_report(tmp_path)).text


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=0)
    (tmp_path / "log.jsonl").unlink()
    page = Page(write_report(tmp_path))
    assert "is 0.12 before training; no epoch is done yet." in page.text
    assert "Cosines before training" in page.text


@pytest.mark.parametrize("missing", ["metrics.json", "train_config.json", "log.jsonl"])
@pytest.mark.parametrize("content", [None, b"", b"[1, 2]", b'{"epochs": nul'])
def test_a_file_that_is_missing_or_broken_leaves_out_its_part(
    tmp_path: Path, missing: str, content: bytes | None
) -> None:
    write_run(tmp_path)
    (tmp_path / missing).unlink()
    if content is not None:
        (tmp_path / missing).write_bytes(content)
    Page(write_report(tmp_path))


def test_an_empty_folder_has_a_page_and_no_folder_an_error(tmp_path: Path) -> None:
    assert "Nothing is measured yet." in Page(write_report(tmp_path)).text
    with pytest.raises(TrainingError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that is inside a JSON value, but for the epochs' numbers, which are always there."""
    inside = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    found = [(*path, key) for key, _ in inside if key != "epoch"]
    return found + [deeper for key, inner in inside if key != "per_class" for deeper in leaves(inner, (*path, key))]


def test_any_number_may_be_missing_or_not_a_number(tmp_path: Path) -> None:
    result = write_run(tmp_path, epochs=1)
    result["confusions"] = []
    (tmp_path / "log.jsonl").unlink()
    paths = [path for path in leaves(result) if isinstance(path[-1], str) and path[-1] not in ("alpha", "epochs")]
    assert len(paths) > 50
    for i, (*above, key) in enumerate(paths):
        broken = copy.deepcopy(result)
        holder: Any = broken
        for step in above:
            holder = holder[step]
        if i % 3 == 0:
            del holder[key]
        else:
            holder[key] = None if i % 3 == 1 else math.nan if isinstance(holder[key], float) else None
        (tmp_path / "metrics.json").write_text(json.dumps(broken))
        text = Page(write_report(tmp_path)).text
        assert "nan" not in text
        assert "None" not in text


def test_a_path_may_hold_any_bytes(tmp_path: Path) -> None:
    result = write_run(tmp_path)
    name = os.fsdecode(b"caf\xe9.png")
    plain_picture("red").save(tmp_path / name)
    result["confusions"] = [result["confusions"][0] | {"image": str(tmp_path / name)}]
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    assert len(Page(write_report(tmp_path)).links) == 2


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)


finite = st.floats(-1e9, 1e9)
points = st.lists(
    st.tuples(finite, st.one_of(st.none(), finite, st.just(math.nan), st.just(math.inf))), max_size=60
).map(lambda many: sorted(many, key=lambda point: point[0]))


@settings(deadline=None)
@example([], [(1.1e-308, 0.0)])
@example([(0, 1e9), (1, 1e9 + 1e-6)], [])
@given(points, points)
def test_a_line_stays_inside_its_chart(first: list[Any], second: list[Any]) -> None:
    svg = line_chart("a <title>", [Series("a & b", first), Series("c", second)], x_label="step")
    if not any(y is not None and math.isfinite(y) for _, y in first + second):
        assert svg == ""
        return
    root = drawn(svg)
    assert root[0].text == "a <title>"
    for path in root.iter("path"):
        numbers = re.findall(r"[MLHV]([\d.-]+) ?([\d.-]+)?", path.get("d", ""))
        assert all(-1 <= float(x) <= max(WIDTH, HEIGHT) + 1 for pair in numbers for x in pair if x)
    assert all(
        0 < float(dot.get("cx", "")) <= WIDTH and 0 < float(dot.get("cy", "")) < HEIGHT for dot in root.iter("circle")
    )


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([5.0, 5.0], ["4.6", "4.8", "5.0", "5.2", "5.4"]),
        ([0.0, 1e-5], ["0", "2e−6", "4e−6", "6e−6", "8e−6", "1e−5"]),
        ([0.0, 50_000.0], ["0", "10k", "20k", "30k", "40k", "50k"]),
        ([-2.0, 0.0], ["−2.0", "−1.5", "−1.0", "−0.5", "0"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], ticks: list[str]) -> None:
    root = drawn(line_chart("x", [Series("a", list(enumerate(values)))], x_label="epoch"))
    assert [text.text for text in root.iter("text") if text.get("text-anchor") == "end"] == ticks


def test_a_gap_breaks_the_line_and_epochs_are_whole() -> None:
    svg = line_chart("x", [Series("a", [(0, 1), (1, None), (2, 2), (3, 3)])], x_label="epoch", mark=(2, "best"))
    root = drawn(svg)
    line = next(path for path in root.iter("path") if path.get("stroke") == "var(--series-1)")
    assert line.get("d", "").count("M") == 2
    assert [text.text for text in root.iter("text") if text.get("text-anchor") == "middle"] == [
        "0",
        "1",
        "2",
        "3",
        "epoch",
    ]
    assert "best" in svg


def test_of_very_many_values_a_faint_line_shows_the_spread_and_another_the_means() -> None:
    rng = random.Random(0)
    values = [(step, rng.random()) for step in range(9000)]
    svg = line_chart("x", [Series("each", values, faint=True), Series("all", values)], x_label="step")
    assert len(svg) < 20_000
    faint, bold = (path.get("d", "") for path in drawn(svg).iter("path") if path.get("stroke") == "var(--series-1)")
    spread = [max(ys) - min(ys) for ys in ([float(y) for y in re.findall(r" ([\d.]+)", d)] for d in (faint, bold))]
    assert spread[0] > 2 * spread[1] > 0


def test_a_histogram_shows_shares_so_that_few_can_be_set_against_many() -> None:
    svg = histogram(
        "x", [("few", [0, 4, 0]), ("many", [500, 0, 500]), ("none", [0, 0, 0])], low=-1, high=1, x_label="c"
    )
    few, many = (path for path in drawn(svg).iter("path") if path.get("fill-opacity"))
    tops = [min(float(y) for y in re.findall(r"V([\d.]+)", path.get("d", ""))) for path in (few, many)]
    floor = max(float(y) for y in re.findall(r"V([\d.]+)", few.get("d", "")))
    assert floor - tops[0] == pytest.approx(2 * (floor - tops[1]), abs=0.2)  # all of it in one bin, half of it in each
    assert "none" not in svg
    assert histogram("x", [("none", [0, 0])], low=0, high=1, x_label="c") == ""
