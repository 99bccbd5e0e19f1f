"""Writes a ViT-B/32 with random weights as infinity-emb loads it. A rival of service_speed.py.

`PYTHON_OF_INFINITY infinity_model.py FOLDER`: it needs transformers, with open_clip's list of merges in MERGES.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.tokenization_clip import bytes_to_unicode

SIZE = 49_152 - 256 - 2  # merges that CLIP's vocabulary has


def main(folder: Path, merges: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair.split()) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(architectures=["CLIPModel"]))  # its defaults are those of ViT-B/32
    model.save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)


if __name__ == "__main__":
    lines = gzip.decompress(Path(os.environ["MERGES"]).read_bytes()).decode().split("\n")
    main(Path(sys.argv[1]), lines[1 : SIZE + 1])
