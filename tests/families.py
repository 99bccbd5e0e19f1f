"""Models of open_clip's families as run folders that need no network, with weights that nobody trained.

And how like open_clip's own vectors ours are. Tokenizers and text towers of Hugging Face are stood in for by small ones
of the same kind, made here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from encoder.encoder import Vectors
from encoder.image import resize_by_pillow, to_pixels
from encoder.model.lean_open_clip import with_timm_for
from encoder.model.load import load_clip, load_encoder
from encoder.model.weights import CONFIG, WEIGHTS
from encoder.towers.encoder import TowersEncoder
from encoder.towers.export import export_towers
from encoder.towers.folder import TowersCard

SIZES = ((640, 480), (480, 640), (300, 300), (97, 61), (900, 120), (1600, 1200), (33, 50))  # of pictures
TEXTS = (
    "a photo of a dog", "", "the street at night in rain, it's 3 o'clock &amp; raining", "word after word " * 60, "a",
    "naïve “quotes” — façade ÉTÉ", "日本の猫は屋根の上 🐈", "кошка на крыше", "SNAKE_case (and) [marks]!?",
)  # fmt: skip
CORPUS = (
    "a photo of a dog on the grass", "two cats sleep in a red box", "a woman rides a blue bicycle",
    "das Haus am See im Herbst", "une façade à Paris en été", "кошка на крыше дома", "قطة على السطح",
    "日本の猫は屋根の上", "naïve “quotes” and snake_case marks", "the street at night in rain",
    "word after word, 3 of 42 boxes: it's raining",
)  # fmt: skip
WORDS = 2000  # of a tokenizer that stands in for one of 30,000 to 250,000


class Family(NamedTuple):
    """What open_clip calls by one architecture's name, and what is changed to make it small."""

    name: str
    architecture: str
    tag: str = ""  # of the weights whose preprocessing it has
    vision: Mapping[str, Any] = {}  # changes of its config
    text: Mapping[str, Any] = {}
    tokenizer: str = ""  # the kind of a stand-in; "": CLIP's own
    tower: str = ""  # the kind of a text tower of transformers


def make_model(family: Family, folder: Path) -> Path:
    """The model in a run folder; skips a test where it takes transformers, which are not installed."""
    config = open_clip.get_model_config(family.architecture)
    published = open_clip.get_pretrained_cfg(family.architecture, family.tag) if family.tag else {}
    if published.get("quick_gelu"):
        config["quick_gelu"] = True
    config["vision_cfg"] |= family.vision
    config["text_cfg"] |= family.text
    folder.mkdir(parents=True)
    if family.tokenizer:
        make_tokenizer(family.tokenizer, folder)
    if family.tower:
        (folder / "tower").mkdir()
        _tower(family.tower).save_pretrained(folder / "tower")
        config["text_cfg"] |= {"hf_model_name": str(folder / "tower"), "hf_model_pretrained": False}
    preprocessing = {key: value for key, value in published.items() if key in ("mean", "std", "interpolation")}
    preprocessing |= {"resize_mode": published.get("resize_mode", "shortest")}
    image_size = config["vision_cfg"]["image_size"]
    content = {"model_cfg": config, "preprocess_cfg": preprocessing | {"size": [image_size, image_size]}}
    (folder / CONFIG).write_text(json.dumps(content))
    with_timm_for(config)
    torch.manual_seed(0)
    clip = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    shake(clip)
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, folder / WEIGHTS)
    return folder


class Likeness(NamedTuple):
    """How like our vectors are to open_clip's."""

    cosine: float  # the least
    share: float  # what lies between ours and theirs, at most, of what usually lies between two vectors

    @classmethod
    def of(cls, found: Vectors, own: Vectors) -> Likeness:
        """Of unit rows."""
        between = np.linalg.norm(own[:, None] - own[None], axis=-1)
        usual = np.median(between[np.triu_indices(len(own), 1)])
        return cls(float((found * own).sum(-1).min()), float(np.linalg.norm(found - own, axis=-1).max() / usual))


@dataclass(frozen=True)
class Parity:
    """How like open_clip's own are the vectors of a model, image and text, by torch in two precisions and by towers."""

    fp32: tuple[Likeness, Likeness]
    bf16: tuple[Likeness, Likeness]
    towers: tuple[Likeness | None, Likeness | None]
    cuts: bool  # texts, behind their end
    card: TowersCard


def compare(model: Path, out: Path) -> Parity:
    """Vectors of a run folder by open_clip alone, and by us from end to end; towers are written to `out`."""
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}", precision="fp32", device="cpu")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{model}")
    pixels = torch.stack([transform(picture) for picture in pictures()])
    with torch.inference_mode():
        images, texts = clip.eval().encode_image(pixels), clip.encode_text(tokenizer(list(TEXTS)))
    own = F.normalize(images, dim=-1).numpy(), F.normalize(texts, dim=-1).numpy()
    del clip
    torches = []
    for precision in ("fp32", "bf16"):
        encoder = load_encoder(model, "cpu", precision)
        torches.append(tuple(map(Likeness.of, (encoder.encode_images(pictures()), encoder.encode_texts(TEXTS)), own)))
        cuts = encoder.text.can_cut
        del encoder
    out.mkdir()
    towers = TowersEncoder(out, card := export_towers(load_clip(model), "of no interest", out))
    seen = np.stack([to_pixels(picture, towers.preprocess, resize_by_pillow) for picture in pictures()])
    assert np.abs(towers.normalise(seen) - pixels.numpy()).max() < 1e-5  # nothing lost, nothing left out
    exported = (
        Likeness.of(towers.encode_images(pictures()), own[0]) if card.visual else None,
        Likeness.of(towers.encode_texts(TEXTS), own[1]) if card.text else None,
    )
    return Parity(*torches, exported, cuts, card)


def pictures() -> Sequence[Image.Image]:
    """Pictures of several sizes, of soft patches of colour."""
    chance = np.random.default_rng(0)
    return [
        Image.fromarray(chance.integers(0, 256, (max(2, h // 24), max(2, w // 24), 3), np.uint8)).resize((w, h))
        for w, h in SIZES
    ]


def shake(clip: nn.Module) -> None:
    """Move what starts as zeros, ones and all but nothing, so that no weight could be left out unseen."""
    with torch.no_grad():
        for name, tensor in [*clip.named_parameters(), *clip.named_buffers()]:
            if tensor.dim() == 1 and tensor.is_floating_point() and tensor.numel() > 1:
                noise = torch.randn_like(tensor)
                tensor.mul_((0.1 * noise).exp()) if "var" in name else tensor.add_(0.1 * noise)


def make_tokenizer(kind: str, folder: Path) -> None:
    """A tokenizer as models of a kind have it, with few words."""
    transformers = pytest.importorskip("transformers", reason="make test-hf installs it")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    corpus = [text for text in CORPUS for _ in range(3)]
    special = {
        "t5": ["<pad>", "</s>", "<unk>"], "gemma": ["<pad>", "<eos>", "<bos>", "<unk>"],
        "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "xlm": ["<s>", "<pad>", "</s>", "<unk>"],
        "roberta": ["<s>", "<pad>", "</s>", "<unk>"], "nllb": ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn"],
    }[kind]  # fmt: skip
    trainer: Any
    if kind in ("t5", "xlm", "nllb"):
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=WORDS, special_tokens=special, unk_token="<unk>")
    elif kind == "gemma":
        special += [f"<0x{byte:02X}>" for byte in range(256)]
        made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        made.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
        trainer = trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special)
    elif kind == "bert":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=special)
    else:
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special)
    made.train_from_iterator(corpus, trainer)
    form = {
        "t5": "$A </s>", "gemma": "$A <eos>", "bert": "[CLS] $A [SEP]", "nllb": "eng_Latn $A </s>",
        "xlm": "<s> $A </s>", "roberta": "<s> $A </s>",
    }[kind]  # fmt: skip
    used = [word for word in form.split() if word != "$A"]
    made.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[(word, made.token_to_id(word)) for word in used]
    )
    names = {"pad_token": special[0] if kind in ("t5", "gemma", "bert") else special[1]}
    names |= {"sep_token": "[SEP]", "cls_token": "[CLS]"} if kind == "bert" else {}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)


def _tower(kind: str) -> Any:
    transformers = pytest.importorskip("transformers", reason="make test-hf installs it")
    size: dict[str, Any] = {"d_model": 64, "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 128}
    size |= {f"{part}_{of}": 2 for part in ("encoder", "decoder") for of in ("layers", "attention_heads")}
    size |= {f"{part}_ffn_dim": 128 for part in ("encoder", "decoder")}
    if "roberta" in kind:
        size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    ids = {"pad_token_id": 0 if kind == "mt5" else 1, "bos_token_id": 0, "eos_token_id": 2}
    return transformers.AutoConfig.for_model(kind, vocab_size=WORDS, **size, **ids)
