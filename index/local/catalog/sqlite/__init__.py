"""SQLite as the catalog needs it. It knows no table of ours, and nothing else of the index imports sqlite3."""
