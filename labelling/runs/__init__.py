"""Labelling runs: what was read and decided, what was changed for it, going on after a kill, taking all back."""
