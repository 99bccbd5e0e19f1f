"""`report.html` of a run folder: one file that a person reads and shows others. Needs no network and no script.

Made from train_config.json, metrics.json and log.jsonl, of whatever of them is there; what is missing is left out. It
measures nothing, and knows a model by its numbers only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import starmap
from pathlib import Path
from typing import Any

from base.charts import Series, histogram, line_chart
from base.errors import TrainingError
from base.page import figures, page, section, warnings_note
from encoder.image import thumbnail_uri
from training.config import in_effect
from training.evaluation.geometry import BINS
from training.reading.measures import (
    GROUPS,
    HEADLINES,
    NUMBERS,
    Record,
    Table,
    before_and_after,
    group,
    number,
    over_epochs,
    over_steps,
    telling,
    with_smooth,
)
from training.run_folder import METRICS, REPORT, TRAIN_CONFIG, artefact, read_json, read_log

THUMBNAIL = 280  # pixels of the longer side: sharp on a phone, some 10 kB


def write_report(out: Path) -> Path:
    """Write `out/report.html` from what the run folder holds by now; returns its path.

    Raises:
        TrainingError: no such folder.
    """
    if not out.is_dir():
        raise TrainingError(f"{out}: no such run folder; give the --out of a training run")
    config, result, log = read_json(out / TRAIN_CONFIG), read_json(out / METRICS), list(read_log(out))
    epochs: list[Record] = result.get("epochs") or []
    best = next((record for record in epochs if record["epoch"] == result.get("best_epoch")), None)
    steps = [record for record in log if "step" in record]
    name = out.resolve().name
    parts = [
        f'<header><p class="soft">glimpse training run</p><h1>{escape(name)}</h1>',
        f'<p class="verdict">{escape(_verdict(epochs, best, result))}</p>',
        f'<p class="soft">{escape(_scope(config, epochs))}</p></header>',
        warnings_note(result.get("warnings") or []),
        section("Before and after", _numbers(epochs, best), layout="grid"),
        section("Learning", figures(_learning(epochs, steps, best)), layout="grid"),
        section("The space", figures(_space(epochs, steps, best)), SPACE, "grid"),
        section("Mixing with the start", figures(_interpolation(result.get("interpolation"))), MIXING, "grid"),
        section("Most confused", "".join(map(_confusion, result.get("confusions") or [])), CONFUSED, "grid"),
        section("Settings", _settings(in_effect(config))),
    ]
    path = out / REPORT
    with artefact(path) as part:
        part.write_bytes(
            page(f"{name}: training report", parts).encode("utf-8", "replace")
        )  # a path may hold any bytes
    return path


SPACE = (
    "Images and texts as points on a sphere. Pairs that belong together should move closer (alignment falls) while all "
    "the rest spreads out (uniformity falls, the effective rank grows); the histograms show whether the two come apart."
)
MIXING = (
    "Weights between the start (0) and the trained model (1). The mix with the best score is the one in the run folder."
)
CONFUSED = "Held-out images that lie closer to a text of another image than to their own, the worst first."


def _verdict(epochs: Sequence[Record], best: Record | None, result: Record) -> str:
    """What came of the run, in a sentence, and in a second one if the weights were mixed."""
    if not epochs or best is None:
        return "Nothing is measured yet."
    mixed, score = number(result, "interpolation", "alpha"), number(result, "best_score")
    path, what = next((found for found in HEADLINES if number(best, *found[0]) is not None), HEADLINES[-1])
    before, after, last = number(epochs[0], *path), number(best, *path), epochs[-1]["epoch"]
    if before is None or after is None:
        return f"The best epoch is {best['epoch']} of {last}."
    if not last:
        return f"{what} is {before:.2f} before training; no epoch is done yet."
    if not best["epoch"]:
        return f"No epoch was better than the start: {what} stays at {before:.2f}, and the model is as it was."
    rose = "rose" if after > before else "fell"
    course = f"{rose} from {before:.2f} to {after:.2f}" if after != before else f"stayed at {after:.2f}"
    mix = ""
    if mixed is not None and mixed != 1:
        scored = "" if score is None else f", with a score of {score:.2f}"
        mix = f" The run folder holds a mix: {mixed:.0%} trained, the rest as before{scored}."
    return f"{what} {course}; the best epoch was {best['epoch']} of {last}.{mix}"


def _scope(config: Record, epochs: Sequence[Record]) -> str:
    """From what the model was made and on what it was measured."""
    metrics = group(epochs[0].get("metrics")) if epochs else {}
    parts = []
    if config.get("model"):
        parts.append(f"Fine-tuned from {config['model']}")
    elif config.get("init"):
        parts.append(f"From random weights ({Path(str(config['init'])).name})")
    if metrics.get("n_images"):
        texts = f" and {metrics['n_texts']:,} texts" if metrics.get("n_texts") else ""
        parts.append(f"measured on {metrics['n_images']:,} held-out images{texts}")
    seconds = sum(number(record, "seconds") or 0 for record in epochs)
    if seconds:
        parts.append(f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds")
    scope = ", ".join(parts)
    return scope[:1].upper() + scope[1:]


def _numbers(epochs: Sequence[Record], best: Record | None) -> str:
    """Tables of every measure before training and at the best epoch."""
    if not epochs or best is None:
        return ""
    return "".join(_table(table, best["epoch"]) for table in before_and_after(epochs[0], best))


def _table(table: Table, epoch: int) -> str:
    head = f'<tr><td></td><th scope="col">before</th><th scope="col">epoch {epoch}</th><th scope="col">change</th></tr>'
    return (
        f'<div class="card table"><table><caption>{escape(table.title)}</caption><thead>{head}</thead>'
        f"<tbody>{''.join(starmap(_row, table.rows))}</tbody></table></div>\n"
    )


def _row(name: str, before: float | None, after: float | None) -> str:
    digits = 1 if name == NUMBERS["median_rank"] else 3
    change = after - before if before is not None and after is not None else None
    better = change is not None and (-change if digits == 1 else change) > 0.5 * 10**-digits
    look = ' class="better"' if better else ""
    sign = "+" if change is not None and change >= 0 else ""
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{_text(before, digits)}</td><td>{_text(after, digits)}</td>'
        f"<td{look}>{sign}{_text(change, digits)}</td></tr>"
    )


def _learning(epochs: Sequence[Record], steps: Sequence[Record], best: Record | None) -> Iterator[tuple[str, str]]:
    """(caption, chart): how the run went."""
    mark = (float(best["epoch"]), "best") if best is not None else None
    yield "Loss", line_chart("loss by step", with_smooth(steps, "loss"), x_label="step")
    for key, name in GROUPS.items():
        lines = [over_epochs(n, epochs, "metrics", key, n) for n in ("recall@1", "recall@5", "recall@10")]
        yield f"Recall {name}", line_chart(f"recall {name} by epoch", lines, x_label="epoch", from_zero=True, mark=mark)
    known = telling(group(epochs[-1].get("metrics"))) if epochs else {}
    lines = [over_epochs(f"top-{n}", epochs, "metrics", f"top{n}") for n in (1, 5) if f"top{n}" in known]
    yield "Accuracy", line_chart("accuracy by epoch", lines, x_label="epoch", from_zero=True, mark=mark)
    lines = [over_epochs(name, epochs, name) for name in ("score", "probe")]
    yield "Score", line_chart("score by epoch", lines, x_label="epoch", from_zero=True, mark=mark)
    for key, name in (("lr", "Learning rate"), ("logit_scale", "Logit scale (1 / temperature)")):
        yield name, line_chart(f"{name} by step", [over_steps(name, steps, key)], x_label="step")
    norm = "Norm of the gradient"
    yield norm, line_chart(f"{norm} by step", with_smooth(steps, "grad_norm"), x_label="step")


def _space(epochs: Sequence[Record], steps: Sequence[Record], best: Record | None) -> Iterator[tuple[str, str]]:
    """(caption, chart): what the embeddings look like."""
    if best is not None:
        yield from _similarities([epochs[0]] + ([best] if best["epoch"] else []))
    similar = [
        over_steps("positives", steps, "positive_similarity"),
        over_steps("hardest negatives", steps, "hardest_negative_similarity"),
    ]
    yield "Cosine in the batch", line_chart("cosine in the batch by step", similar, x_label="step")
    shared = with_smooth(steps, "mutual_information")
    yield "Information shared, at least (nats)", line_chart("mutual information bound by step", shared, x_label="step")
    for title, keys in (
        ("Alignment", {"alignment": "alignment"}),
        ("Uniformity", {"uniformity_images": "images", "uniformity_texts": "texts"}),
        ("Effective rank", {"effective_rank_images": "images", "effective_rank_texts": "texts"}),
        ("Distance of images from texts", {"modality_gap": "modality gap"}),
    ):
        lines = [over_epochs(name, epochs, "health", key) for key, name in keys.items()]
        yield title, line_chart(f"{title} by epoch", lines, x_label="epoch")


def _similarities(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Histograms of positives against negatives, all over the same cosines so that they can be compared."""
    healths = [group(record.get("health")) for record in records]
    names = {"positive_histogram": "positives", "negative_histogram": "negatives"}
    counts = [[h.get(key) or [0] * BINS for key in names] for h in healths]
    used = [i for i in range(BINS) if any(group[i] for groups in counts for group in groups)]
    if not used:
        return
    first, last = max(0, used[0] - 1), min(BINS, used[-1] + 2)
    low, high = -1 + 2 * first / BINS, -1 + 2 * last / BINS
    for record, groups in zip(records, counts, strict=True):
        when = f"after epoch {record['epoch']}" if record["epoch"] else "before training"
        shown = [(name, group[first:last]) for name, group in zip(names.values(), groups, strict=True)]
        title = f"Cosines {when}"
        yield title, histogram(title, shown, low=low, high=high, x_label="cosine of a pair")


def _interpolation(mixing: Record | None) -> Iterator[tuple[str, str]]:
    if not mixing:
        return
    sweep = sorted(mixing.get("sweep") or [], key=lambda point: float(point["alpha"]))
    probed = any(number(point, "probe") is not None for point in sweep)  # without a probe the score is the validation's
    names = ("score", "validation", "probe") if probed else ("score",)
    shown = [Series(name, [(point["alpha"], number(point, name)) for point in sweep]) for name in names]
    alpha = number(mixing, "alpha")
    mark = None if alpha is None else (alpha, f"kept: {alpha:g}")
    label = "share of the trained weights"
    yield "Score of each mix", line_chart("score by share of the trained weights", shown, x_label=label, mark=mark)


def _confusion(pair: Record) -> str:
    """A card: the image with its own text, beside an image of the text that it was taken for."""
    return (
        '<div class="card pair">'
        + _half(str(pair.get("image")), "is", str(pair.get("text")), number(pair, "score"))
        + _half(str(pair.get("wrong_image")), "taken for", str(pair.get("wrong_text")), number(pair, "wrong_score"))
        + "</div>\n"
    )


def _half(path: str, role: str, text: str, score: float | None) -> str:
    source, text = (
        thumbnail_uri(path, THUMBNAIL),
        Path(path).name if text == path else text,
    )  # bare images go by their path
    picture = (
        f'<img src="{source}" alt="{escape(text)}" loading="lazy">'
        if source
        else '<span class="soft">no picture</span>'
    )
    return (
        f'<figure title="{escape(path)}"><div class="frame">{picture}</div><figcaption>'
        f'<span class="soft">{role} · cosine {_text(score, 3)}</span><br>{escape(text)}</figcaption></figure>'
    )


def _settings(config: Record) -> str:
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(_setting(value))}</dd>" for key, value in config.items())
    return f'<dl class="card">{rows}</dl>' if rows else ""


def _setting(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def _text(number: float | None, digits: int) -> str:
    return "–" if number is None or not math.isfinite(number) else f"{number:.{digits}f}".replace("-", "−")
