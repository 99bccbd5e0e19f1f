"""Many images to Parquet files of vectors, on one machine or many, and such files into a collection."""
