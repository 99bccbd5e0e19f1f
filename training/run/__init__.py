"""One run beside its steps: what it is measured on, what it has read, what to warn of, and how it ends."""
