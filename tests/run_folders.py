"""Run folders as a training leaves them, written by hand: no model was trained for them, and none lies in them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.run_folder import write_json


def run_folder(
    out: Path, scores: list[float], *, measure: str = "recall", held_out: str = "", more: float = 0.0, **settings: Any
) -> Path:
    """A run folder as a training leaves it, without a model; `scores` by epoch, the first before training.

    Its recall is `more` than its score.
    """
    out.mkdir(parents=True)
    config = TrainConfig(pairs="pairs.csv", out=str(out), init="small.json", **settings)
    write_json(out / "train_config.json", asdict(config))

    def metrics(score: float) -> dict[str, Any]:
        if measure == "top1":
            return {"n_images": 9, "top1": score, "top5": score}
        return {
            "n_images": 9,
            "n_texts": 9,
            "text_to_image": {"recall@10": score + more},
            "image_to_text": {"recall@10": score + more},
        }

    epochs = [
        {"epoch": i, "score": score, "seconds": 30.0, "metrics": metrics(score)} for i, score in enumerate(scores)
    ]
    best = max(range(len(scores)), key=lambda i: scores[i], default=0)
    result = {"best_epoch": best, "best_score": max(scores, default=0.0), "epochs": epochs, "warnings": []}
    if scores:
        write_json(out / "metrics.json", result)
    lines = [{"step": i + 1, "loss": 3 / (i + 1), "lr": 1e-3, "samples_per_second": 10.0 * i} for i in range(5)]
    flat = [{"epoch": epoch["epoch"], "score": epoch["score"], **_flat(epoch["metrics"])} for epoch in epochs]
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*lines, *flat)))
    if held_out:
        (out / "held_out.csv").write_text(f"image,title,label\n{held_out},,\n")
    return out


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    """As the diary has them: numbers by their path."""
    flat: dict[str, Any] = {}
    for key, value in metrics.items():
        flat |= {f"{key}/{name}": number for name, number in value.items()} if isinstance(value, dict) else {key: value}
    return flat
