"""A model that torch runs here: found, built of its weights, and its towers made fast."""
