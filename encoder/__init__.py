"""The dual encoder: images and texts to unit float32 vectors. Knows no index, no server and no loss.

Start at `encoder.model.load.load_encoder`. This file imports nothing, so that `base.errors` costs nothing to import.
"""
