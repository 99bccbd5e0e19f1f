"""Indexing JPEGs against the model alone and against a plain open_clip loop. `--images DIR` takes your own photos."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import compare, machine, open_clip, photos, random_model
from PIL import Image

from base.read_ahead import batches
from base.walk import walk_images
from encoder.image import read_picture
from encoder.load import load_encoder
from index.ingest.sync import index_folders, open_or_create


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of JPEGs (default: drawn ones of 400x533)")
    parser.add_argument("--model", type=Path, help="run folder (default: ViT-B-32 with random weights)")
    arguments = parser.parse_args()
    folder, model = arguments.images or photos(512), arguments.model or random_model()
    files = [path for path, _ in walk_images(folder)]
    encoder = load_encoder(model)
    size = encoder.batch_size
    pixels = np.stack([read_picture(path, encoder.preprocess).pixels for path in files])

    def model_alone() -> None:
        for start in range(0, len(pixels), size):
            encoder.encode_pixels(pixels[start : start + size])

    def glimpse_index() -> None:
        data = Path(tempfile.mkdtemp())
        with open_or_create(data, "bench", encoder) as collection:
            report = index_folders(collection, encoder, [folder])
        assert report.added == len(files), report
        shutil.rmtree(data)

    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}", device=encoder.device)
    clip.eval()

    @torch.no_grad()
    def plain_open_clip() -> None:
        rows = []
        for batch in batches(files, size):
            images = torch.stack([transform(Image.open(path)) for path in batch]).to(encoder.device)
            rows.append(clip.encode_image(images, normalize=True).cpu().numpy())
        np.concatenate(rows)

    encoder.encode_pixels(pixels[:size])
    seconds = compare(
        {"model alone": model_alone, "glimpse index": glimpse_index, "plain open_clip loop": plain_open_clip}
    )
    rate = {name: len(files) / value for name, value in seconds.items()}
    ours = rate["glimpse index"]
    print(machine())
    print(f"{len(files)} images of {folder}, {encoder.precision}, batches of {size}\n")
    print(f"{'':24}{'images/s':>10}{'glimpse / this':>16}")
    for name, value in rate.items():
        print(f"{name:24}{value:>10.1f}{ours / value:>16.2f}")


if __name__ == "__main__":
    main()
