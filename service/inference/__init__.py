"""The model as requests and jobs use it: queues in front of one thread."""
