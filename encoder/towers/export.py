"""The towers of an open_clip model out of torch: ONNX graphs with their weights beside them, checked against torch.

Graphs are traced by torch's older exporter: a second a tower, where the newer one takes five. It is given no weights;
they are written here, once and where they can be mapped, those already turned that a graph would turn at each run.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx.external_data_helper import set_external_data
from torch import Tensor, nn

from encoder.encoder import Vectors
from encoder.known import ModelCard
from encoder.model.attention import attend
from encoder.model.dual_encoder import logit_bias_of, logit_scale_of
from encoder.model.last_block import run_last_block_for_class_token
from encoder.model.text import TextTower
from encoder.towers.encoder import TowersEncoder
from encoder.towers.folder import TEXTUAL, TOKENIZER, VISUAL, TextCard, Tower, TowersCard, write_card
from encoder.towers.tokenizer import TowerTokenizer
from encoder.towers.vocabulary import NotExportable, blank_of, tokenizer_of
from encoder.unread import READ_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder.model.load import ClipParts

LEAST_COSINE = 0.9999  # of a vector to torch's, in float32 both
_OPSET = 18
_PAGE = 4096  # weights begin at one, so that they can be mapped
_PROBES = (  # texts on which both must agree: lengths, case, what is mended, what is no word, what ends a text
    "a photo of a dog", "", "it's 3 o'clock &amp; RAINING, isn't it?", "Straße à la façade, ÉTÉ — naïve", "word " * 100,
    "a <end_of_text> within", "tabs\tand\nlines", "snake_case (and) [marks]!?", "ﬁne “quotes” â€“ x", "42 0x7f 1,234.5",
    "日本の猫 🐈‍⬛ ½", "кошка на крыше", "قطة على السطح",
)  # fmt: skip


def export_towers(parts: ClipParts, fingerprint: str, folder: Path, *, images: bool = True) -> TowersCard:
    """Write the towers of a model, in fp32 on the CPU, into an empty folder; without `images` only that for texts.

    One that cannot be exported, or gives other vectors than torch, is left out, and the card says why.

    Raises:
        OSError: they cannot be written.
    """
    clip: Any = parts.clip.eval().requires_grad_(False)
    dim = int(parts.model_cfg["embed_dim"])
    model = ModelCard(fingerprint, dim, logit_scale_of(clip), logit_bias_of(clip), parts.preprocess)
    work = _Work(parts, model, folder)
    text = work.attempt("text", work.textual, TEXTUAL)
    visual = bool(work.attempt("image", work.visual, VISUAL)) if images else None
    card = TowersCard(model, text, visual, tuple(work.why_not), work.cosines)
    encoder = TowersEncoder(folder, card)
    there: dict[Tower, bool] = {"text": text is not None, "image": bool(visual)}
    card = replace(card, glances={tower: encoder.glance(tower) for tower, is_there in there.items() if is_there})
    write_card(folder, card)
    return card


@dataclass
class _Work:
    """One export."""

    parts: ClipParts
    model: ModelCard
    folder: Path
    why_not: list[str] = field(default_factory=list)
    cosines: dict[Tower, float] = field(default_factory=dict)

    def attempt(self, name: str, export: Callable[[], Any], file: str) -> Any:
        """What an export gives, or None and a line of why."""
        try:
            return export()
        except (OSError, MemoryError):  # of this machine, not of the model
            raise
        except Exception as error:  # of torch's exporter, of ONNX Runtime, of a model nobody thought of
            for left in self.folder.glob(f"{file}*"):
                left.unlink()
            reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
            self.why_not.append(f"its {name} tower cannot be exported: {reason}")
            return None

    def textual(self) -> TextCard:
        """The text tower with its tokenizer."""
        tower = TextTower(self.parts.clip, self.parts.tokenizer)
        made, clean = tokenizer_of(self.parts.tokenizer)
        made.save(str(self.folder / TOKENIZER))
        if (read := self.parts.read_tokens) is not None:
            (self.folder / READ_TOKENS).write_text(read.as_text(tower.vocabulary()), encoding="utf-8")
        end = getattr(self.parts.tokenizer, "eot_token_id", None) if tower.can_cut else None
        card = TextCard(tower.context_length, clean, end, blank_of(self.parts.tokenizer))
        tokenizer = TowerTokenizer(made, card)
        expected = tower.tokenize(_PROBES)
        if not np.array_equal(tokenizer(_PROBES), expected.numpy()):
            raise NotExportable("its tokenizer gives other tokens outside of torch")
        length = {1: "length"} if card.cut_at is not None else {}
        example = torch.from_numpy(tokenizer.cut(expected[:1].numpy()))
        _write(_Traced(self.parts.clip, tower.traced), example, self.folder / TEXTUAL, ("tokens", {0: "n", **length}))
        with torch.inference_mode():
            vectors = F.normalize(tower(expected), dim=-1).numpy()
        encoder = TowersEncoder(self.folder, TowersCard(self.model, card))
        alone = np.concatenate([encoder.encode_texts([text]) for text in _PROBES[:4]])
        self.cosines["text"] = _least(np.concatenate([encoder.encode_texts(_PROBES), alone]), [*vectors, *vectors[:4]])
        return card

    def visual(self) -> bool:
        """The image tower."""
        height, width = self.model.preprocess.height_width
        example = torch.zeros(1, 3, height, width)
        axes = ("pixels", {0: "n"})
        clip: Any = self.parts.clip
        pixels = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
        encoder = TowersEncoder(self.folder, TowersCard(self.model, visual=True))
        with torch.inference_mode():
            images = clip.encode_image(torch.from_numpy(encoder.normalise(pixels)))
            vectors = F.normalize(images, dim=-1).numpy()
        run_last_block_for_class_token(clip)
        _write(_Traced(clip, clip.encode_image), example, self.folder / VISUAL, axes)
        alone = encoder.encode_pixels(pixels[:1])
        self.cosines["image"] = _least(np.concatenate([encoder.encode_pixels(pixels), alone]), [*vectors, vectors[0]])
        return True


def _least(found: Vectors, expected: Sequence[Vectors]) -> float:
    """The least cosine of a row to the one expected; NotExportable if it is too low."""
    least = float((found * np.stack(expected)).sum(axis=1).min())
    if not least >= LEAST_COSINE:
        raise NotExportable(f"its vectors have a cosine of {least:.4f} to torch's")
    return least


class _Traced(nn.Module):
    """A tower as a module with one input, to unit rows."""

    def __init__(self, clip: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.clip, self._run = clip, run
        self.eval()  # the exporter puts back, in all of it, the mode that it finds here

    def forward(self, given: Tensor) -> Tensor:
        return F.normalize(self._run(given), dim=-1)


def _write(tower: nn.Module, example: Tensor, file: Path, axes: tuple[str, dict[int, str]]) -> None:
    """Trace a tower and write its graph, with the weights in a file beside it."""
    name, free = axes
    with _tracing(), torch.inference_mode():
        torch.onnx.export(
            tower,
            (example,),
            str(file),
            input_names=[name],
            output_names=["vectors"],
            dynamic_axes={name: free, "vectors": {0: "n"}},
            opset_version=_OPSET,
            export_params=False,
            do_constant_folding=False,
            dynamo=False,
        )
    model = onnx.load(str(file))
    weights = {key: tensor.detach().numpy() for key, tensor in [*tower.named_parameters(), *tower.named_buffers()]}
    _turn(model.graph, weights)
    _place(model.graph, weights, file)
    file.write_bytes(model.SerializeToString())


def _turn(graph: onnx.GraphProto, weights: dict[str, np.ndarray[Any, Any]]) -> None:
    """Put weights in for what the graph would transpose at each run."""
    kept = []
    for node in graph.node:
        if node.op_type == "Transpose" and node.input[0] in weights:
            [order] = [attribute.ints for attribute in node.attribute if attribute.name == "perm"]
            weights[node.output[0]] = weights[node.input[0]].transpose(order)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _place(graph: onnx.GraphProto, weights: dict[str, np.ndarray[Any, Any]], file: Path) -> None:
    """Write the weights that the graph uses, and say in it where they lie."""
    used = {name for node in graph.node for name in node.input}
    used -= {name for node in graph.node for name in node.output}  # of equal weights one, and the others are it
    beside = file.with_name(f"{file.name}.data")
    with beside.open("wb") as data:
        for name in sorted(used & weights.keys()):
            array = np.ascontiguousarray(weights[name])
            data.write(b"\0" * (-data.tell() % _PAGE))
            tensor = graph.initializer.add(
                name=name, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape
            )
            tensor.raw_data = b""
            set_external_data(tensor, beside.name, data.tell(), array.nbytes)
            data.write(array.data)
    inputs = [given for given in graph.input if given.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """A trace as an exporter needs it, and without its words: the check against torch is what counts."""
    logger = logging.getLogger("torch.onnx")
    level, fused = logger.level, torch.backends.mha.get_fastpath_enabled()
    logger.setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # one operation for a whole block, which ONNX has not
    try:
        with (
            _instead(nn.MultiheadAttention, "forward", attend),
            # copies all weights, twice, to note shapes that nobody asks for: a third of the time
            _instead(torch._C, "_jit_pass_onnx_graph_shape_type_inference", lambda *_: None),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(None),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        logger.setLevel(level)


@contextlib.contextmanager
def _instead(owner: Any, name: str, by: Any) -> Iterator[None]:
    """Something of torch replaced, where this torch has it."""
    was = getattr(owner, name, None)
    if was is None:
        yield
        return
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, was)
