"""The whole path on a drawn world."""
