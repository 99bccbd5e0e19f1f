"""Commands for a service: what serves, its keys, its jobs, and its tools for agents."""
