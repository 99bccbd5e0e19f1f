"""What a run leaves behind: its events, its files, its report."""
