"""The truth about a collection, vectors included, in SQLite."""
