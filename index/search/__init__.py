"""What a search is, in words and numpy; knows no store."""
