"""Labels for images: label sets, the stream of rows, and the report of a run. Imports encoder and index."""
