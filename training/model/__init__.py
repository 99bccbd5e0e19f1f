"""The model that learns: where it starts, what of it learns, and how it lies on the processes of a run."""
