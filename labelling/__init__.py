"""Labels for images: label sets, rows as a stream with the report of a run, the table they go to. Imports encoder and index."""
