"""The commands, a file each: options in, one call, printed results. What is heavy is imported inside a command."""
