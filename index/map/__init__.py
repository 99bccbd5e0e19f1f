"""A collection's images in two dimensions: a place and a cluster for each, made of their vectors."""
