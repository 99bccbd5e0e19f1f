"""A small collection that tests of collections fill: pets, whose vectors and paths follow from a number."""

import numpy as np

from index.collection import create_collection
from index.entry import Entry

DIM = 16


def create(data, name="pets"):
    return create_collection(data, name, model="ViT-B-32/x", fingerprint="abc", dim=DIM)


def unit(seed):
    x = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return x / np.linalg.norm(x)


def images(*seeds):
    return [Entry(unit(seed), "image", f"/photos/{seed}.jpg", metadata={"seed": seed}) for seed in seeds]
