"""Pairs of images and texts: read, split, augmented, batched."""
