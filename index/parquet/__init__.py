"""Parquet: collections as files for other programs, and from vectors that others have made."""
