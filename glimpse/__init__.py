"""The command line: parse, make one call, print. Heavy imports live inside the commands."""

__version__ = "0.1.0"
