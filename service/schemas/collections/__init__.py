"""Requests and answers about collections and their entries."""
