"""Routes of collections: themselves, their entries, and what is told of all that is in one."""
