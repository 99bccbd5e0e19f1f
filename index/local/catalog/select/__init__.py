"""Which entries a filter selects, and what is counted among entries: by SELECTs out of covering indexes."""
