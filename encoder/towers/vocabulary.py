"""open_clip's tokenizers written for the `tokenizers` library: tokenizer.json."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from encoder.model.tokenizer import cleaning_of

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's, in any case
_NOWHERE = "\u0345"  # a sign below Greek letters: the one that to `regex`, in any case, is neither a letter nor none


class NotExportable(Exception):
    """Something of a model that has no form outside of torch; the message says what."""


def tokenizer_of(tokenizer: Any) -> tuple[Tokenizer, str]:
    """The same tokenizer for the `tokenizers` library, and what open_clip does to a text before it.

    Raises:
        NotExportable: it has no such form.
    """
    clean = cleaning_of(tokenizer)
    if clean is None:
        raise NotExportable("its tokenizer cleans texts in a way of its own")
    if hasattr(tokenizer, "bpe_ranks"):
        return _of_clip(tokenizer), clean
    return _of_hugging_face(tokenizer), clean


def blank_of(tokenizer: Any) -> int | None:
    """The id that open_clip turns into 0 after all: of a separator that the model was trained without."""
    return tokenizer.tokenizer.sep_token_id if getattr(tokenizer, "strip_sep_token", False) else None


def _of_clip(tokenizer: Any) -> Tokenizer:
    """CLIP's byte-level pairs (open_clip's SimpleTokenizer)."""
    if tokenizer.reduction_fn is not None:
        raise NotExportable("its tokenizer drops words of long texts")
    vocabulary, start, end = tokenizer.encoder, tokenizer.sot_token_id, tokenizer.eot_token_id
    names = {number: name for name, number in vocabulary.items()}
    made = Tokenizer(models.BPE(vocabulary, list(tokenizer.bpe_ranks), end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_NOWHERE, "removed"),
            pre_tokenizers.Split(Regex(f"(?i){_WORDS}"), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([names[number] for number in tokenizer.all_special_ids])
    made.post_processor = processors.TemplateProcessing(
        single=f"{names[start]} $A {names[end]}",
        special_tokens=[(names[start], start), (names[end], end)],
    )
    made.enable_truncation(tokenizer.context_length)
    made.enable_padding(length=tokenizer.context_length, pad_id=0, pad_token="")
    return made


def _of_hugging_face(tokenizer: Any) -> Tokenizer:
    """One of transformers that is made of `tokenizers` itself."""
    inner = tokenizer.tokenizer
    if tokenizer.tokenizer_mode or not hasattr(inner, "backend_tokenizer"):
        raise NotExportable("its tokenizer has steps of its own outside of the tokenizers library")
    made = Tokenizer.from_str(inner.backend_tokenizer.to_str())
    made.enable_truncation(tokenizer.context_length)
    made.enable_padding(
        length=tokenizer.context_length,
        pad_id=inner.pad_token_id,
        pad_token=inner.pad_token,
        direction=inner.padding_side,
    )
    return made
