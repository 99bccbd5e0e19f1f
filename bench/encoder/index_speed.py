"""Indexing JPEGs against the model alone and against a plain open_clip loop. `--images DIR` takes your own photos."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from base.read_ahead import batches
from base.sources.walk import walk_images
from bench.common import compare, machine, open_clip, photos, random_model
from encoder.image import read_picture
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_encoder
from index.ingest.sync import index_folders, open_or_create

OURS = "glimpse index"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of JPEGs (default: drawn ones of 400x533)")
    parser.add_argument("--model", type=Path, help="run folder (default: ViT-B-32 with random weights)")
    arguments = parser.parse_args()
    folder, model = arguments.images or photos(512), arguments.model or random_model()
    encoder = load_encoder(model)
    files = [path for path, _ in walk_images(folder)]
    rates = index_rates(folder, encoder, plain=len(files))
    print(machine())
    print(f"{len(files)} images of {folder}, {encoder.precision}, batches of {encoder.batch_size}\n")
    print(f"{'':24}{'images/s':>10}{'glimpse / this':>16}")
    for name, value in rates.items():
        print(f"{name:24}{value:>10.1f}{rates[OURS] / value:>16.2f}")


def index_rates(folder: Path, encoder: DualEncoder, *, plain: int, rounds: int = 3) -> dict[str, float]:
    """Images a second of the model alone on pixels in memory, of indexing, and of a plain loop, in turns.

    Args:
        folder: JPEGs.
        encoder: a run folder's.
        plain: images that the loop gets, the first ones; 0 leaves it out.
        rounds: of which the best counts.
    """
    files = [path for path, _ in walk_images(folder)]
    size = encoder.batch_size
    pixels = np.stack([read_picture(path, encoder.preprocess).pixels for path in files[: 8 * size]])

    def model_alone() -> None:
        for start in range(0, len(pixels), size):
            encoder.encode_pixels(pixels[start : start + size])

    def glimpse_index() -> None:
        data = Path(tempfile.mkdtemp())
        with open_or_create(data, "bench", encoder) as collection:
            report = index_folders(collection, encoder, [folder])
        assert report.added == len(files), report
        shutil.rmtree(data)

    encoder.encode_pixels(pixels[:size])
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "model alone": (model_alone, len(pixels)),
        OURS: (glimpse_index, len(files)),
    }
    if plain:
        ways["plain open_clip loop"] = (plain_loop(files[:plain], encoder), min(plain, len(files)))
    seconds = compare({name: way for name, (way, _) in ways.items()}, rounds)
    return {name: n / seconds[name] for name, (_, n) in ways.items()}


def plain_loop(files: Sequence[Path], encoder: DualEncoder) -> Callable[[], object]:
    """What most tutorials write: open_clip in fp32, its own transform, one thing after the other."""
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{encoder.ref}", device=encoder.device)
    clip.eval()

    @torch.no_grad()
    def loop() -> None:
        rows = []
        for batch in batches(files, encoder.batch_size):
            images = torch.stack([transform(Image.open(path)) for path in batch]).to(encoder.device)
            rows.append(clip.encode_image(images, normalize=True).cpu().numpy())
        np.concatenate(rows)

    return loop


if __name__ == "__main__":
    main()
