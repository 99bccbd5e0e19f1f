"""Requests and answers about labels: classification, label sets, labelling runs."""
