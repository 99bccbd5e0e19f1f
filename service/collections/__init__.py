"""Collections as a service keeps them: open, written by one at a time, filled by uploads."""
