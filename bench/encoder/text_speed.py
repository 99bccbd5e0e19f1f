"""Latency of one text query against open_clip's own fp32 encode_text, padded to the full context length."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from bench.common import machine, open_clip, random_model
from encoder.model.load import load_encoder

QUERIES = {
    "2 words": "red shirt {}",
    "8 words": "two small dogs playing on the beach {}",
    "25 words": "a long and careful description of a photo with many people who stand in front of an old "
    "house by the sea in summer {}",
}
ROUNDS = 5


def main() -> None:
    model = random_model()
    encoder = load_encoder(model)
    clip = open_clip.create_model(f"local-dir:{model}", device=encoder.device).eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{model}")

    @torch.no_grad()
    def padded(text: str) -> object:
        return clip.encode_text(tokenizer([text]).to(encoder.device), normalize=True).cpu().numpy()

    def ours(text: str) -> object:
        return encoder.encode_texts([text])

    print(machine())
    print(f"ViT-B-32, one text at a time, each text new; ours in {encoder.precision}\n")
    print(f"{'':12}{'open_clip ms':>14}{'glimpse ms':>12}{'ratio':>8}")
    for name, query in QUERIES.items():
        times: dict[Callable[[str], object], list[float]] = {padded: [], ours: []}
        for i in range(ROUNDS):
            for (
                way,
                taken,
            ) in times.items():  # in turns of ten: call by call, each would find the other's weights cached
                for j in range(10):
                    started = time.perf_counter()
                    way(query.format(10 * i + j))
                    taken.append(time.perf_counter() - started)
        theirs_ms, ours_ms = (statistics.median(taken) * 1e3 for taken in times.values())
        print(f"{name:12}{theirs_ms:>14.1f}{ours_ms:>12.1f}{theirs_ms / ours_ms:>8.1f}")


if __name__ == "__main__":
    main()
