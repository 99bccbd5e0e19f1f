"""What transformers' CLIPProcessor does before a CLIPModel: pictures to pixels, texts to tokens. Written without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from encoder.export.names import MERGES, PREPROCESSOR, TOKENIZER_CONFIG, VOCABULARY
from encoder.image import Preprocess
from encoder.model.load import ClipParts
from encoder.model.tokenizer import cleaning_of
from encoder.towers.folder import TOKENIZER

START, END = "<|startoftext|>", "<|endoftext|>"  # what open_clip calls <start_of_text> and <end_of_text>
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_RESAMPLING = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers


def why_not(parts: ClipParts) -> str | None:
    """Why a model's pictures or texts cannot be prepared by a CLIPProcessor; None if they can."""
    mode, tokenizer = parts.preprocess.resize_mode, parts.tokenizer
    if mode not in ("shortest", "squash"):
        return f"its pictures are resized by the {mode} side, for which CLIPImageProcessor has no word"
    if cleaning_of(tokenizer) != "lower" or getattr(tokenizer, "reduction_fn", True) is not None:
        return "its texts are not tokenised as CLIP's are"
    return None


def write(parts: ClipParts, folder: Path) -> None:
    """Write its files into a folder, for a model that `why_not` has nothing against. OSError."""
    contents = {PREPROCESSOR: _preprocessing(parts.preprocess), TOKENIZER_CONFIG: _tokenizer_config(parts.tokenizer)}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    _write_vocabulary(parts.tokenizer, folder)


def _preprocessing(preprocess: Preprocess) -> dict[str, Any]:
    """preprocessor_config.json."""
    height, width = preprocess.height_width
    shortest = preprocess.resize_mode == "shortest"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "feature_extractor_type": "CLIPFeatureExtractor",
        "processor_class": "CLIPProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": height} if shortest else {"height": height, "width": width},
        "resample": _RESAMPLING.get(preprocess.interpolation, _RESAMPLING["bicubic"]),
        "do_center_crop": shortest,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def _tokenizer_config(tokenizer: Any) -> dict[str, Any]:
    """tokenizer_config.json."""
    special = {"lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": True}
    ends = {tokenizer.sot_token_id: START, tokenizer.eot_token_id: END}
    return {
        "tokenizer_class": "CLIPTokenizer",
        "processor_class": "CLIPProcessor",
        "added_tokens_decoder": {str(number): {"content": name, **special} for number, name in ends.items()},
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": tokenizer.context_length,
    }


def _write_vocabulary(tokenizer: Any, folder: Path) -> None:
    """The vocabulary under OpenAI's names of its two special tokens, in both forms that there are."""
    ends = {tokenizer.sot_token_id: START, tokenizer.eot_token_id: END}
    vocabulary = {ends.get(number, word): number for word, number in tokenizer.encoder.items()}
    merges = list(tokenizer.bpe_ranks)
    (folder / VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / MERGES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token=END, end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(
        (END, tokenizer.eot_token_id), (START, tokenizer.sot_token_id), trim_offsets=False, add_prefix_space=False
    )
    made.add_special_tokens([START, END])
    made.save(str(folder / TOKENIZER))
