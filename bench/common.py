"""What the benchmarks share: the machine's line, a full-size model with random weights, photos, and fair timing."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import faiss
import numpy as np
import torch
from PIL import Image

from encoder.model.lean_open_clip import open_clip
from encoder.model.load import build_clip
from encoder.model.weights import CONFIG
from training.records.checkpoint import save_model

__all__ = ["compare", "draw", "embeddings", "machine", "open_clip", "photos", "random_model"]

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("GLIMPSE_BENCH", "~/.cache/glimpse-bench")).expanduser()


def machine() -> str:
    """Processor, threads and versions, for the head of a table."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {torch.get_num_threads()} threads{gpu}; torch {torch.__version__}, faiss {faiss.__version__}"


def random_model(architecture: str = "ViT-B-32") -> Path:
    """A run folder of an architecture, or of a JSON file of one, with random weights: speed needs no trained ones."""
    folder = CACHE / Path(architecture).name.removesuffix(".json")
    if not (folder / CONFIG).exists():
        torch.manual_seed(0)
        save_model(folder, build_clip(Path(architecture) if architecture.endswith(".json") else architecture))
    return folder


def photos(n: int, size: tuple[int, int] = (400, 533)) -> Path:
    """A folder of `n` drawn photos, as `draw` makes them."""
    return draw(CACHE / f"photos-{n}-{size[0]}x{size[1]}", n, [size])


def draw(folder: Path, n: int, sizes: Sequence[tuple[int, int]]) -> Path:
    """A folder of `n` JPEGs with the detail of a photo, smooth shapes and some grain: of each size in turn."""
    if folder.exists():
        return folder
    unfinished = folder.with_suffix(".new")
    unfinished.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        width, height = sizes[i % len(sizes)]
        coarse = Image.fromarray(rng.integers(0, 255, (24, 18, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 6, (height, width, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(
            unfinished / f"{i:04}.jpg", quality=88
        )
    unfinished.rename(folder)
    return folder


def embeddings(n: int, dim: int = 512, seed: int = 0) -> np.ndarray:
    """Unit rows (n, dim) float32 that lie as a CLIP model's do, as far as an index can tell.

    All in one cone (two have a cosine of 0.36), in 20,000 concepts of unlike frequency, with variances that fall as
    1 / rank: so some 30 of the dimensions matter much.
    """
    world = np.random.default_rng(7)
    turned, _ = np.linalg.qr(world.normal(size=(dim, dim)))
    basis = (turned * np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    concepts = world.standard_normal((20_000, dim), dtype=np.float32)
    frequency = np.arange(1, len(concepts) + 1) ** -0.7
    cone = world.normal(size=dim).astype(np.float32)
    cone /= np.linalg.norm(cone)
    rng = np.random.default_rng(seed)
    x = np.empty((n, dim), np.float32)
    for start in range(0, n, 50_000):
        m = min(50_000, n - start)
        which = rng.choice(len(concepts), m, p=frequency / frequency.sum())
        rows = (0.75 * concepts[which] + 0.66 * rng.standard_normal((m, dim), dtype=np.float32)) @ basis.T
        rows = 0.8 * rows / np.linalg.norm(rows, axis=1, keepdims=True) + 0.6 * cone
        x[start : start + m] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return x


def compare(ways: Mapping[str, Callable[[], object]], rounds: int = 3) -> dict[str, float]:
    """Best seconds of each way; the ways take turns, so that a slow moment of the machine meets all of them."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - started)
    return best
