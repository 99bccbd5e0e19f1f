"""A whole collection at a glance: its pictures as columns, filters as bitmaps over them, and its map."""
