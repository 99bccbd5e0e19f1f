"""The models that are worth knowing, with what is published of each. A table and nothing else: it imports no torch.

Sizes, lengths of vectors and work are open_clip's own (its configurations, counted; a test holds them), and for text
towers of Hugging Face those of its `docs/model_profile.csv` and `docs/openclip_results.csv`. A figure without a source
is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Languages = Literal["English", "many", "200"]

OPEN_CLIP = "open_clip, docs/openclip_results.csv"
BIG_VISION = "google-research/big_vision, README_siglip2.md"
PERCEPTION = "facebookresearch/perception_models, apps/pe/README.md"
MOBILE_CLIP = "MobileCLIP2, arXiv 2508.20691"

MIT, APACHE, NON_COMMERCIAL, RESEARCH = "MIT", "Apache 2.0", "CC BY-NC 4.0", "Apple's, for research"


@dataclass(frozen=True)
class KnownModel:
    """One of them.

    Attributes:
        ref: as --model takes it.
        weights: millions, of both towers.
        dim: numbers of a vector.
        tokens: that a text may have.
        gflops: 10^9 operations of the image tower for one image.
        languages: of the texts that it learned from.
        licence: of the weights, by their card.
        zero_shot: top-1 accuracy on ImageNet-1k, percent, without having been trained on it; None: nobody says.
        source: who measured that.
        takes_hf: whether its tokenizer is one of Hugging Face, which takes the extra hf.
        good_for: when to take it.
    """

    ref: str
    weights: float
    dim: int
    tokens: int
    gflops: float
    languages: Languages
    licence: str
    zero_shot: float | None
    source: str
    takes_hf: bool
    good_for: str

    @property
    def speed(self) -> str:
        """The class of its speed with images, by its work: "fast", "medium", "slow", or "GPU", which is to have one."""
        bounds = ((20, "fast"), (60, "medium"), (250, "slow"))
        return next((name for most, name in bounds if self.gflops <= most), "GPU")

    @property
    def is_for_commerce(self) -> bool:
        """Whether its licence lets it be used in a business."""
        return self.licence in (MIT, APACHE)

    @property
    def megabytes(self) -> float:
        """Of its weights in fp32, as they are downloaded; 10^6 bytes."""
        return self.weights * 4

    @property
    def memory_megabytes(self) -> float:
        """What a process takes at most that indexes with it on a processor; 10^6 bytes.

        While weights are read they are there twice: `encoder.measure` saw 1,497 for a ViT-B-32 and 3,709 for a
        ViT-L-14, which is twice their weights and 288 in both cases.
        """
        return 2 * self.megabytes + 288


MODELS = (
    KnownModel(
        "ViT-B-32/laion2b_s34b_b79k", 151.28, 512, 77, 8.82, "English", MIT, 66.56, OPEN_CLIP, False,
        "fine-tuning on pairs of your own",
    ),
    KnownModel(
        "ViT-B-32-256/datacomp_s34b_b86k", 151.29, 512, 77, 11.50, "English", MIT, 72.81, OPEN_CLIP, False,
        "a first look, a laptop",
    ),
    KnownModel(
        "ViT-L-14/datacomp_xl_s13b_b90k", 427.62, 768, 77, 162.03, "English", MIT, 79.21, OPEN_CLIP, False,
        "the best CLIP of its size",
    ),
    KnownModel(
        "ViT-B-16-SigLIP/webli", 203.16, 768, 64, 35.42, "English", APACHE, 76.04, OPEN_CLIP, True,
        "better answers in little memory",
    ),
    KnownModel(
        "ViT-B-32-SigLIP2-256/webli", 376.86, 768, 64, 11.49, "many", APACHE, 74.0, BIG_VISION, True,
        "a slow machine, other languages",
    ),
    KnownModel(
        "ViT-B-16-SigLIP2/webli", 375.19, 768, 64, 35.42, "many", APACHE, 78.2, BIG_VISION, True,
        "better answers; begin here",
    ),
    KnownModel(
        "ViT-L-16-SigLIP2-256/webli", 881.53, 1024, 64, 162.56, "many", APACHE, 82.5, BIG_VISION, True,
        "other languages, on many cores or a GPU",
    ),
    KnownModel(
        "ViT-SO400M-14-SigLIP2/webli", 1135.46, 1152, 64, 220.35, "many", APACHE, 83.2, BIG_VISION, True,
        "the best on a GPU",
    ),
    KnownModel(
        "ViT-SO400M-16-SigLIP2-384/webli", 1136.04, 1152, 64, 518.94, "many", APACHE, 84.1, BIG_VISION, True,
        "small things in pictures, on a GPU",
    ),
    KnownModel(
        "PE-Core-T-16-384/meta", 69.55, 512, 32, 9.45, "English", APACHE, 62.1, PERCEPTION, False,
        "the least memory",
    ),
    KnownModel(
        "PE-Core-B-16/meta", 447.66, 1024, 32, 35.60, "English", APACHE, 78.4, PERCEPTION, False,
        "short texts, nothing beside glimpse",
    ),
    KnownModel(
        "PE-Core-L-14-336/meta", 671.14, 1024, 32, 384.36, "English", APACHE, 83.5, PERCEPTION, False,
        "pictures that are hard to tell, on a GPU",
    ),
    KnownModel(
        "MobileCLIP2-S0/dfndr2b", 74.84, 512, 77, 4.79, "English", RESEARCH, 71.5, MOBILE_CLIP, False,
        "the least work an image; research",
    ),
    KnownModel(
        "MobileCLIP2-S2/dfndr2b", 99.24, 512, 77, 15.69, "English", RESEARCH, 77.2, MOBILE_CLIP, False,
        "the best of the fast; research",
    ),
    KnownModel(
        "xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k", 366.12, 512, 77, 8.82, "many", MIT, 62.36, OPEN_CLIP,
        True, "Chinese, Japanese, Thai on a slow machine",
    ),
    KnownModel(
        "xlm-roberta-large-ViT-H-14/frozen_laion5b_s13b_b90k", 1193.01, 1024, 77, 334.59, "many", MIT, 76.95,
        OPEN_CLIP, True, "the same on a GPU",
    ),
    KnownModel(
        "nllb-clip-base-siglip/v1", 507.47, 768, 77, 112.13, "200", NON_COMMERCIAL, 39.09, OPEN_CLIP, True,
        "languages that few models know",
    ),
    KnownModel(
        "nllb-clip-large-siglip/v1", 1195.50, 1152, 77, 670.35, "200", NON_COMMERCIAL, 51.75, OPEN_CLIP, True,
        "the same on a GPU",
    ),
)  # fmt: skip
