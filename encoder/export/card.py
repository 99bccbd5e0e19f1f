"""The README.md of an exported model: what it is, what goes in and comes out, and a program that runs it."""

from __future__ import annotations

from pathlib import Path

from encoder.image import Preprocess
from encoder.known import ModelCard
from encoder.towers.folder import TowersCard

_GRAPHS = """# {name}

A dual encoder: pictures and texts become unit vectors of {dim} numbers in one space, and the nearer, the better they
fit. Exported by glimpse as two ONNX graphs; neither torch nor glimpse is needed to run them. The weights are under the
licence of the model that they come from: see the model's own.

| file | what it is | in | out |
|---|---|---|---|
| visual.onnx | pictures | `pixels` (n, 3, {height}, {width}) float32 | `vectors` (n, {dim}) float32, of length one |
| textual.onnx | texts | `tokens` (n, {length}) int64 | `vectors` (n, {dim}) float32, of length one |
| tokenizer.json | for the `tokenizers` library: texts to `tokens`, cut and padded to {context_length} | | |
{read}| preprocess.json | how a picture becomes `pixels`, in open_clip's names | | |
| towers.json | logit_scale and the other numbers of this page | | |

The weights lie beside each graph in a file that ends in `.data`: keep them together. The least cosine of a vector to
torch's, when this was written, was {image:.6f} for pictures and {text:.6f} for texts.
{shorter}
## How scores are made

{scores}

A fingerprint of weights and preprocessing, by which glimpse knows the model: `{fingerprint}`.

## Classify a picture

`pip install onnxruntime tokenizers pillow numpy`, and with this as `classify.py` in the same folder
`python classify.py PICTURE dog,cat,boat`:

```python
{code}```

Of texts with broken encodings or HTML entities open_clip mends these first (`ftfy.fix_text`, `html.unescape`). Of
pictures glimpse lays what is transparent on white, and heeds colour profiles; these lines do neither.
"""

_READ = (
    "| read_tokens.json | the tokens that training fed to the model: of a word with any other it makes noise | | |\n"
)

_CODE = """import json, sys
import numpy as np
from onnxruntime import InferenceSession
from PIL import Image, ImageOps
from tokenizers import Tokenizer

prep, labels = json.load(open("preprocess.json")), sys.argv[2].split(",")
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
{fit}
pixels = ((np.asarray(image) / 255 - prep["mean"]) / prep["std"]).astype(np.float32).transpose(2, 0, 1)[None]
texts = Tokenizer.from_file("tokenizer.json").encode_batch([f"a photo of a {{label}}." for label in labels])
tokens = np.array([text.ids for text in texts], np.int64)
cpu = ["CPUExecutionProvider"]  # what else there may be computes in half precision, or not all of a graph
[images] = InferenceSession("visual.onnx", providers=cpu).run(None, {{"pixels": pixels}})
[texts] = InferenceSession("textual.onnx", providers=cpu).run(None, {{"tokens": tokens}})
{scores}
for label, score in sorted(zip(labels, scores), key=lambda each: -each[1]):
    print(f"{{score:.4f}} {{label}}")
"""

_SHORTEST = """width, height = image.size  # the shorter side fits, the longer is cut
size = ({width}, int({width} * height / width)) if width <= height else (int({height} * width / height), {height})
image = image.resize(size, Image.Resampling.{how})
{crop}"""

_SHORTEST_OF_TWO = """ratio = min(image.width / {width}, image.height / {height})  # one side fits, the other is cut
image = image.resize((round(image.width / ratio), round(image.height / ratio)), Image.Resampling.{how})
{crop}"""

_CROP = """left, top = round((image.width - {width}) / 2), round((image.height - {height}) / 2)
image = image.crop((left, top, left + {width}, top + {height}))"""

_LONGEST = """ratio = max(image.width / {width}, image.height / {height})  # the longer side fits, the rest is filled
image = image.resize((round(image.width / ratio), round(image.height / ratio)), Image.Resampling.{how})
laid = Image.new("RGB", ({width}, {height}), ({fill}, {fill}, {fill}))
laid.paste(image, (({width} - image.width) // 2, ({height} - image.height) // 2))
image = laid"""

_SQUASH = "image = image.resize(({width}, {height}), Image.Resampling.{how})"


def graphs_card(ref: str, card: TowersCard, *, read_tokens: bool) -> str:
    """The page of a folder of graphs; `read_tokens`: it is known what the model has read."""
    assert card.text is not None
    model, text = card.model, card.text
    height, width = model.preprocess.height_width
    shorter = (
        f"\nA batch of texts may end behind the first {text.cut_at} of its longest one; the vectors are the same.\n"
        if text.cut_at is not None
        else ""
    )
    return _GRAPHS.format(
        name=name_of(ref),
        dim=model.dim,
        height=height,
        width=width,
        length=f"up to {text.context_length}" if text.cut_at is not None else text.context_length,
        context_length=text.context_length,
        shorter=shorter,
        read=_READ if read_tokens else "",
        scores=scores_in_words(model),
        fingerprint=model.fingerprint,
        code=_CODE.format(fit=_fit(model.preprocess), scores=_scores(model)),
        **card.cosines,
    )


def name_of(ref: str) -> str:
    """What a page calls a model: never the place of a folder on this machine."""
    path = Path(ref.removeprefix("local-dir:")).expanduser()
    return path.resolve().name if path.exists() else ref


def scores_in_words(model: ModelCard) -> str:
    """How cosines become probabilities."""
    if model.logit_bias is None:
        return (
            f"logit_scale is {model.logit_scale:.6g}. The probabilities of labels are softmax(logit_scale * cosine) "
            "over them: they compete, and sum to one."
        )
    return (
        f"logit_scale is {model.logit_scale:.6g} and logit_bias {model.logit_bias:.6g}. The probability of a label is "
        "sigmoid(logit_scale * cosine + logit_bias): each on its own, and where none fits none is likely."
    )


def _fit(preprocess: Preprocess) -> str:
    """Lines that make `image` as large as the model wants it."""
    height, width = preprocess.height_width
    shortest = _SHORTEST if height == width else _SHORTEST_OF_TWO
    form = {"shortest": shortest, "longest": _LONGEST}.get(preprocess.resize_mode, _SQUASH)
    return form.format(
        height=height,
        width=width,
        how="BILINEAR" if preprocess.interpolation == "bilinear" else "BICUBIC",
        crop=_CROP.format(height=height, width=width),
        fill=preprocess.fill_color,
    )


def _scores(model: ModelCard) -> str:
    """Lines that make `scores` of `images` and `texts`."""
    logits = f"logits = {model.logit_scale!r} * texts @ images[0]"
    if model.logit_bias is None:
        return f"{logits}\nscores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()"
    return f"{logits} + {model.logit_bias!r}\nscores = 1 / (1 + np.exp(-logits))"
