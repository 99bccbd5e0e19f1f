"""How well the models worth knowing find photos by captions in 36 languages. Data and its look-up; imports no torch.

Source: immich, `docs/docs/features/searching.md`: zero-shot image retrieval on Crossmodal-3600, the mean of recall@1,
recall@5 and recall@10, percent, in fp32. It lists no model below 20 in a language.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from base.errors import InputError

SOURCE = "immich, on Crossmodal-3600"

_MODELS = (
    "ViT-B-32/laion2b_s34b_b79k", "ViT-B-16-SigLIP/webli", "ViT-B-32-SigLIP2-256/webli", "ViT-B-16-SigLIP2/webli",
    "ViT-L-16-SigLIP2-256/webli", "ViT-SO400M-14-SigLIP2/webli", "ViT-SO400M-16-SigLIP2-384/webli",
    "xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k", "xlm-roberta-large-ViT-H-14/frozen_laion5b_s13b_b90k",
    "nllb-clip-base-siglip/v1", "nllb-clip-large-siglip/v1",
)  # fmt: skip
# code, name, and for each of these models in their order its recall; "-": below 20
_ROWS = """
en  English     68.78 71.64 73.15 75.19 74.26 74.77 75.09 68.33 71.45 68.41 71.19
ar  Arabic      -     -     60.70 61.71 66.89 68.23 69.31 59.66 66.52 73.19 76.44
bn  Bengali     -     -     -     -     20.94 26.56 26.19 -     -     73.34 76.16
zh  Chinese     -     -     62.56 64.39 66.10 65.56 67.33 72.52 77.19 72.65 77.49
hr  Croatian    -     -     53.30 54.31 69.97 72.85 73.20 72.69 81.93 82.92 87.19
quz Quechua     -     -     -     -     -     -     -     -     -     33.06 37.87
cs  Czech       -     22.89 54.31 54.81 61.74 62.73 62.98 61.01 67.49 67.15 71.57
da  Danish      -     30.87 67.20 67.68 79.08 81.44 82.30 75.07 83.32 84.03 87.16
nl  Dutch       29.54 65.29 72.72 75.33 78.00 78.48 79.72 70.81 75.60 75.04 79.31
fil Filipino    -     -     22.69 23.37 30.05 34.14 34.27 -     -     59.42 65.64
fi  Finnish     -     -     40.06 40.26 57.05 61.76 62.28 63.08 75.49 78.94 83.93
fr  French      56.08 76.30 82.27 84.30 86.08 86.44 87.60 79.65 84.49 82.14 86.11
de  German      36.60 75.19 84.44 86.44 88.82 89.35 89.81 81.63 87.19 84.81 88.42
el  Greek       -     -     53.24 53.42 59.43 60.06 60.63 64.69 71.28 68.21 73.28
he  Hebrew      -     -     58.49 60.33 69.34 72.06 72.15 72.73 80.78 83.93 88.04
hi  Hindi       -     -     27.08 27.87 34.91 33.56 34.94 32.06 38.54 58.54 61.67
hu  Hungarian   -     24.29 56.74 58.31 70.57 73.12 73.90 72.50 81.74 80.14 85.25
id  Indonesian  -     57.52 77.02 79.84 83.69 83.61 84.99 74.15 80.93 82.31 85.46
it  Italian     33.80 73.57 81.81 83.78 86.68 86.88 87.97 77.31 83.00 81.77 85.55
ja  Japanese    -     -     55.31 58.10 66.85 65.77 68.29 81.19 86.97 81.77 85.15
ko  Korean      -     -     67.54 70.25 71.73 74.09 75.06 65.44 71.12 72.79 76.89
mi  Maori       -     -     -     -     -     -     -     -     -     40.85 46.12
no  Norwegian   -     35.01 60.94 62.56 71.71 74.37 75.00 67.81 75.44 76.39 80.96
fa  Persian     -     -     65.16 68.26 71.90 73.42 76.30 68.55 74.92 74.86 78.99
pl  Polish      -     39.13 70.34 73.44 78.23 79.14 80.04 73.69 79.80 74.63 79.21
pt  Portuguese  32.62 69.32 74.82 77.54 80.02 79.93 81.69 73.02 79.12 74.47 78.85
ro  Romanian    -     20.56 56.54 58.28 71.93 73.27 73.94 77.92 85.37 84.92 89.38
ru  Russian     -     -     81.59 84.29 85.98 86.26 87.65 80.56 85.54 79.99 84.24
es  Spanish     42.50 74.60 78.99 82.22 82.50 82.91 83.78 75.01 80.18 76.36 80.14
sw  Swahili     -     -     -     -     -     -     -     -     -     63.98 68.44
sv  Swedish     -     48.38 64.86 66.37 71.23 71.45 72.06 66.93 72.83 71.51 76.37
te  Telugu      -     -     -     -     -     -     -     -     -     58.80 62.34
th  Thai        -     -     35.28 37.35 43.91 43.99 45.52 66.03 74.04 75.23 79.07
tr  Turkish     -     20.08 64.76 66.72 73.83 75.69 77.01 69.19 77.24 77.36 80.89
uk  Ukrainian   -     -     63.95 65.28 75.10 77.49 78.33 76.31 83.20 79.31 83.92
vi  Vietnamese  -     -     77.73 80.88 83.93 84.34 85.86 75.18 81.88 79.38 83.19
"""


def _read() -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    names, recalls = {}, {}
    for line in _ROWS.strip().splitlines():
        code, name, *values = line.split()
        names[code] = name
        found = zip(_MODELS, values, strict=True)
        recalls[code] = {model: float(value) for model, value in found if value != "-"}
    return names, recalls


LANGUAGES, RECALL = _read()  # a language's name by its code; for each code, recall by model


def language_code(given: str) -> str:
    """The code of a language that was given by it ("de", "de-AT") or by its English name. InputError: none of them."""
    word = given.strip().lower()
    by_name = {name.lower(): code for code, name in LANGUAGES.items()}
    for known in (word, word.replace("_", "-").partition("-")[0]):
        if known in LANGUAGES or known in by_name:
            return by_name.get(known, known)
    near = difflib.get_close_matches(word, by_name, n=1)
    meant = f"did you mean {LANGUAGES[by_name[near[0]]]}? " if near else ""
    there = ", ".join(f"{name} ({code})" for code, name in sorted(LANGUAGES.items(), key=lambda pair: pair[1]))
    raise InputError(f"nobody has measured models in {given!r}; {meant}there are {there}")


def recall(ref: str, languages: Sequence[str]) -> float | None:
    """The mean of a model's recall in languages, by their codes; None: one of them it does not know, or nobody says."""
    found = [RECALL[code].get(ref) for code in languages]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None
