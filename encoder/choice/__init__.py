"""Which model to take: those worth knowing with what is published of them, and one for this machine."""
