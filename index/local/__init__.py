"""Collections on this machine's disk: SQLite holds the truth, FAISS finds."""
