"""Labels for images: label sets, rows as a stream with the report of a run, and the table they go to."""
