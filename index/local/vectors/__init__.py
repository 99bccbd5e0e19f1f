"""The index over a collection's vectors: derived from the catalog, rebuilt when lost. numpy and FAISS."""
