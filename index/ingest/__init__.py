"""Folders into a collection. The only part of index that meets the encoder."""
