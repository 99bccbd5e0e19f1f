"""The files of an exported model by name, so that a folder can be judged before any model is loaded."""

from __future__ import annotations

from encoder.towers.folder import CARD, TEXTUAL, TOKENIZER, VISUAL
from encoder.unread import READ_TOKENS

README, PREPROCESS = "README.md", "preprocess.json"
CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
VOCABULARY, MERGES, TOKENIZER_CONFIG = "vocab.json", "merges.txt", "tokenizer_config.json"
_GRAPHS = {VISUAL, f"{VISUAL}.data", TEXTUAL, f"{TEXTUAL}.data", CARD, PREPROCESS}
_CLIP_MODEL = {CONFIG, WEIGHTS, PREPROCESSOR, VOCABULARY, MERGES, TOKENIZER_CONFIG}
NAMES = frozenset({README, TOKENIZER, READ_TOKENS} | _GRAPHS | _CLIP_MODEL)  # all that any form may write
