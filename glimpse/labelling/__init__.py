"""Labelling from the command line: a run, or a stream of rows where nothing is kept, and what a person sees of them."""
