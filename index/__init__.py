"""Vectors and their catalog: numpy in, hits out. Knows no torch and no model; only `index.ingest` meets the encoder."""
