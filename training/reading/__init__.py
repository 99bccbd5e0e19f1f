"""A run folder as others read it: what the run was asked, how it goes, what came of it. Imports no torch."""
