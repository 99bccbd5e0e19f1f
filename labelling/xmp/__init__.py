"""Keywords of photos as photo programs read and write them: in sidecars, and inside image files."""
