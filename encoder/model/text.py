"""The text tower, fed no further than it needs to be.

In a tower with a causal mask that pools at the end-of-text token, no later position can influence the result. Such a
tower is run only up to the longest end-of-text of the batch: the same vectors, for a short query about a tenth of the
work of the padded 77 positions. Every other tower (SigLIP's, CoCa's, Hugging Face ones) gets its full context length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from base.read_ahead import batches
from encoder.cut import TEXTS

Tokenizer = Callable[..., Tensor]  # of a list of texts; open_clip's take `context_length` too


def as_read(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str | bytes]:
    """The bytes of each text's tokens: the same for texts that a model cannot tell apart."""
    return [row.tobytes() for part in batches(texts, TEXTS) for row in tokenizer(part).numpy()]


class TextTower:
    """The text half of an open_clip model with its tokenizer: texts -> tokens (n, L) -> unnormalised (n, dim).

    Attributes:
        context_length: tokens that it reads of a text at most, L.
    """

    def __init__(self, clip: nn.Module, tokenizer: Tokenizer) -> None:
        self._clip: Any = clip
        self._tokenizer = tokenizer
        self.context_length = tokenizer([""]).shape[1]
        # open_clip's CLIP keeps the parts of the tower on itself, CustomTextCLIP in `.text`, under two sets of names.
        self._tower: Any = getattr(clip, "text", clip)
        self._pool = str(getattr(self._tower, "text_pool_type", getattr(self._tower, "pool_type", "")))
        self._eos_id: int | None = getattr(self._tower, "text_eos_id", getattr(self._tower, "eos_id", None))
        self.can_cut = (
            getattr(self._tower, "attn_mask", None) is not None
            and getattr(self._tower, "cls_emb", None) is None
            and self._pool in ("argmax", "eos")
        )
        if self.can_cut:
            self._positions_first()

    def tokenize(self, texts: Sequence[str], **length: int) -> Tensor:
        """Token ids (n, context_length) int64, padded; texts that are too long are cut."""
        return self._tokenizer(list(texts), **length)

    def vocabulary(self) -> Mapping[str, int]:
        """As `vocabulary_of` its tokenizer."""
        return vocabulary_of(self._tokenizer)

    def lengths(self, tokens: Tensor) -> Tensor:
        """Positions (n,) that each row needs: through its end-of-text, or the full width where the tower cannot cut."""
        if not self.can_cut:
            return torch.full((len(tokens),), tokens.shape[1])
        return self._end(tokens) + 1

    def __call__(self, tokens: Tensor) -> Tensor:
        """Encode token ids (n, L) from the CPU, already cut or not, to (n, dim) on the model's device, unnormalised."""
        device = self._clip.logit_scale.device
        if not self.can_cut:
            return self._clip.encode_text(tokens.to(device))  # type: ignore[no-any-return]
        end = self._end(tokens)
        length = int(end.max()) + 1
        return self._run(tokens[:, :length].to(device), end.to(device))

    def traced(self, tokens: Tensor) -> Tensor:
        """The same in operations of torch alone, for an exporter; tokens (n, L), already cut or not."""
        if not self.can_cut:
            return self._clip.encode_text(tokens)  # type: ignore[no-any-return]
        found = tokens if self._pool == "argmax" else tokens.eq(self._eos_id or 0).int()
        return self._run(tokens, found.argmax(dim=-1))

    def _run(self, tokens: Tensor, end: Tensor) -> Tensor:
        """A tower that can cut: tokens (n, L) and the index (n,) of each row's end-of-text, to (n, dim)."""
        tower, length = self._tower, tokens.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)  # (n, L, width)
        x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length].to(dtype))
        x = tower.ln_final(x[torch.arange(x.shape[0], device=x.device), end])  # pooling first spares L-1 norms
        projection = tower.text_projection
        if projection is None:
            return x  # type: ignore[no-any-return]
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection  # type: ignore[no-any-return]

    def _positions_first(self) -> None:
        """Have the blocks run on (L, n, width) instead of (n, L, width); the sums are the same.

        torch's attention turns the latter round, and for an input that lies so its matmul copies the weights L times:
        on a CPU that took longer than the model.
        """
        transformer = self._tower.transformer
        attentions = [block.attn for block in transformer.resblocks]
        if all(isinstance(attention, nn.MultiheadAttention) for attention in attentions):
            for part in (transformer, *attentions):
                part.batch_first = False

    def _end(self, tokens: Tensor) -> Tensor:
        """Index (n,) of the token that the tower pools at: CLIP's end-of-text is its highest id."""
        ids = tokens.numpy()  # torch's argmax takes half a millisecond for one row, numpy's none
        return torch.from_numpy((ids == self._eos_id if self._pool == "eos" else ids).argmax(axis=-1))


def vocabulary_of(tokenizer: Tokenizer) -> Mapping[str, int]:
    """A tokenizer's tokens with their ids; empty for one of another kind than open_clip's."""
    if hasattr(tokenizer, "bpe_ranks"):  # CLIP's
        return tokenizer.encoder  # type: ignore[attr-defined, no-any-return]
    inner: Any = getattr(tokenizer, "tokenizer", None)  # transformers'
    return inner.get_vocab() if hasattr(inner, "get_vocab") else {}
