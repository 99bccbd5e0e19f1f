"""Labels and texts in words: prompts, a classifier of them, and a model's own words, which tell what fits nothing."""
