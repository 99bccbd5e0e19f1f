"""A classic CLIP as transformers' CLIPModel: config, weights under its names, preprocessing, tokenizer.

Written without transformers. Classic is what OpenAI made: a ViT with a class token and norms before its blocks, a
causal text tower that pools at the end-of-text, one matrix behind each. Of anything else CLIPModel would give other
vectors without a word, so it is refused, by the names of its weights and by what the towers say of themselves.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from base.errors import ModelError
from encoder.export import clip_processor
from encoder.export.card import name_of, scores_in_words
from encoder.export.names import CONFIG, README, WEIGHTS
from encoder.known import ModelCard
from encoder.model.dual_encoder import logit_bias_of, logit_scale_of
from encoder.model.load import ClipParts, fingerprint
from encoder.model.text import vocabulary_of
from encoder.unread import READ_TOKENS

_OF_A_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_ALONE = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TURNED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
_IN_PROJ = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")

_PAGE = """# {name}

A classic CLIP as transformers loads it: `CLIPModel.from_pretrained(FOLDER)`, `CLIPProcessor.from_pretrained(FOLDER)`.
Exported by glimpse. The weights are under the licence of the model that they come from: see the model's own.

{scores}
{read}"""
_READ = """
read_tokens.json lists the tokens that training fed to the model: of a word with any other it makes noise.
"""


def write(parts: ClipParts, ref: str, folder: Path) -> tuple[None, tuple[str, ...]]:
    """Write a model into an empty folder; gives what of it has no place there. It is not run.

    Raises:
        ModelError: it is no classic CLIP, or none that transformers can express, with the reason.
        OSError: it cannot be written.
    """
    clip: Any = parts.clip.eval()
    if reason := _why_not(clip, parts):
        raise ModelError(f"{ref}: cannot be a CLIPModel of transformers: {reason}; take --to onnx")
    weights = renamed({name: tensor.detach() for name, tensor in clip.state_dict().items()})
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(_config(clip, weights, parts), indent=2), encoding="utf-8")
    clip_processor.write(parts, folder)
    if (read := parts.read_tokens) is not None:
        (folder / READ_TOKENS).write_text(read.as_text(vocabulary_of(parts.tokenizer)), encoding="utf-8")
    scale, bias = logit_scale_of(clip), logit_bias_of(clip)
    card = ModelCard(fingerprint(parts), int(parts.model_cfg["embed_dim"]), scale, bias, parts.preprocess)
    lost = f"CLIPModel has no place for this model's logit_bias {bias}: add it to the logits that it gives"
    page = _PAGE.format(name=name_of(ref), scores=scores_in_words(card), read="" if read is None else _READ)
    (folder / README).write_text(page, encoding="utf-8")
    return None, () if bias is None else (lost,)


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's weights of a classic CLIP under the names of CLIPModel, contiguous float32.

    Raises:
        KeyError: one that a classic CLIP has not.
    """
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name == "logit_bias":
            continue
        if match := _IN_PROJ.fullmatch(name):
            for each, third in zip("qkv", weight.chunk(3), strict=True):
                found[f"{_layer(match[1], match[2])}.self_attn.{each}_proj.{match[3]}"] = third
        elif match := _BLOCK.fullmatch(name):
            found[f"{_layer(match[1], match[2])}.{_OF_A_BLOCK[match[3]]}.{match[4]}"] = weight
        elif name in _TURNED:
            found[_TURNED[name]] = weight.T
        else:
            found[_ALONE[name]] = weight.reshape(()) if name == "logit_scale" else weight
    return {name: weight.float().contiguous().clone() for name, weight in found.items()}


def _layer(visual: str | None, number: str) -> str:
    return f"{'vision' if visual else 'text'}_model.encoder.layers.{number}"


def _why_not(clip: Any, parts: ClipParts) -> str | None:
    """Why a model is no classic CLIP; None if it is."""
    names = set(clip.state_dict())
    if type(clip).__name__ != "CLIP":
        return f"it is not built as CLIP but as {type(clip).__name__}, as SigLIP, CoCa and others are"
    if any(name.startswith("visual.trunk.") for name in names):
        return "its image tower is one of timm"
    if "visual.layer1.0.conv1.weight" in names:
        return "its image tower is a ResNet"
    try:
        made = renamed(clip.state_dict())
    except KeyError as error:
        return f"it has weights that a classic CLIP has not ({error.args[0]})"
    lacks = {*_ALONE, *_TURNED} - names
    if lacks or len(made) != len(names - {"logit_bias"}) + 2 * sum(bool(_IN_PROJ.fullmatch(name)) for name in names):
        return f"it lacks weights that a classic CLIP has ({min(lacks, default='of its blocks')})"
    return _other_sums(clip, parts)


def _other_sums(clip: Any, parts: ClipParts) -> str | None:
    """What a model with the weights of a classic CLIP computes in another way; None for nothing."""
    visual = clip.visual
    if len(set(visual.image_size)) > 1 or len(set(visual.patch_size)) > 1:
        return "its pictures or patches are not square"
    if visual.pool_type != "tok":
        return f"its image tower pools by {visual.pool_type}, not at the class token"
    if getattr(clip, "attn_mask", None) is None:
        return "its text tower has no causal mask"
    if reason := clip_processor.why_not(parts):
        return reason
    tokenizer: Any = parts.tokenizer
    end = tokenizer.eot_token_id
    highest = clip.text_pool_type == "argmax" and end == max(tokenizer.encoder.values())
    if not highest and not (clip.text_pool_type == "eos" and clip.text_eos_id == end):
        return f"its text tower pools by {clip.text_pool_type}, not at the end-of-text"
    for blocks in (visual.transformer.resblocks, clip.transformer.resblocks):
        for block in blocks:
            if type(block).__name__ != "ResidualAttentionBlock" or type(block.attn) is not nn.MultiheadAttention:
                return "its attention is one of its own"
            if _activation(block.mlp.gelu) is None:
                return f"its blocks have {type(block.mlp.gelu).__name__}, not GELU or QuickGELU"
    return None


def _activation(module: Any) -> str | None:
    """What transformers calls an activation; None for one that it has not."""
    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else "gelu_pytorch_tanh"
    return "quick_gelu" if type(module).__name__ == "QuickGELU" else None


def _config(clip: Any, weights: dict[str, Tensor], parts: ClipParts) -> dict[str, Any]:
    """config.json. The id of the end-of-text is said, or transformers would pool at the highest id, or at id 2."""
    tokenizer: Any = parts.tokenizer
    dim = weights["text_projection.weight"].shape[0]
    vocabulary, text_width = weights["text_model.embeddings.token_embedding.weight"].shape
    text = _tower(clip.transformer, clip.ln_final, text_width, dim) | {
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "max_position_embeddings": len(weights["text_model.embeddings.position_embedding.weight"]),
        "bos_token_id": tokenizer.sot_token_id,
        "eos_token_id": tokenizer.eot_token_id,
        "pad_token_id": tokenizer.eot_token_id,
    }
    vision = _tower(clip.visual.transformer, clip.visual.ln_post, len(clip.visual.class_embedding), dim) | {
        "model_type": "clip_vision_model",
        "image_size": clip.visual.image_size[0],
        "patch_size": clip.visual.patch_size[0],
        "num_channels": 3,
    }
    bias = logit_bias_of(clip)
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": dim,
        "logit_scale_init_value": float(weights["logit_scale"]),
        "torch_dtype": "float32",
        "text_config": text,
        "vision_config": vision,
    } | ({} if bias is None else {"logit_bias": bias})


def _tower(transformer: Any, norm: Any, width: int, dim: int) -> dict[str, Any]:
    """What the configs of both towers have."""
    block = transformer.resblocks[0]
    return {
        "hidden_size": width,
        "intermediate_size": block.mlp.c_fc.out_features,
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": _activation(block.mlp.gelu),
        "layer_norm_eps": norm.eps,
        "attention_dropout": 0.0,
        "projection_dim": dim,
    }
