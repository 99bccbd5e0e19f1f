"""Word dropout: a caption without some of its words, so that a title cannot be learned by heart as a whole.

Does not look at what words mean, nor leave out a part of a word.
"""

from __future__ import annotations

import random

KEPT = 0.5  # how likely each word is to stay


def without_words(caption: str, rng: random.Random) -> str:
    """A caption of each word or not, by a throw of a coin, in their order; of one drawn word where none would stay.

    Word dropout (Iyyer et al. 2015, section 2.2) on whole words between spaces. A caption in a script without spaces
    is one word, and stays as it is.
    """
    words = caption.split()
    kept = [word for word in words if rng.random() < KEPT]
    return " ".join(kept or [rng.choice(words)]) if words else caption
