"""Commands for training: what learns, what it learns from, and how good it is."""
