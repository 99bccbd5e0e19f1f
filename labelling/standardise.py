"""Scores that mean the same for each label and each image: standardised twice (SPARC, arXiv 2502.16911). Numpy alone.

Some images are near to all texts, and some labels near to all images. So a cosine is first held against what the image
has with texts at large, then against what the label has with images at large; one threshold will do for all labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

TEXTS = 16.0  # labels: as many of them count as much as the texts at large
IMAGES = 16.0  # images: as many of them count as much as the belief that all labels are alike


@dataclass(frozen=True, eq=False)
class Standard:
    """What labels and images have with others.

    Attributes:
        labels: (n_labels, dim) unit vectors.
        centre: (dim,) mean of the texts at large.
        covariance: (dim, dim) of them.
        mean, spread: (n_labels,) of each label's z over images.
    """

    labels: Vectors
    centre: Vectors
    covariance: Vectors
    mean: Vectors
    spread: Vectors

    @classmethod
    def of(cls, labels: Vectors, texts: Vectors, images: Vectors) -> Standard:
        """Of unit vectors: labels (n_labels, dim), texts at large (m, dim), a sample of images (n, dim), maybe none."""
        centre = texts.mean(axis=0)
        centred = texts - centre
        covariance = centred.T @ centred / np.float32(len(texts))
        plain = cls(labels, centre, covariance, np.zeros(len(labels), np.float32), np.ones(len(labels), np.float32))
        if not len(images):
            return plain
        z = plain.z(images)
        share = np.float32(len(images) / (len(images) + IMAGES))
        return replace(plain, mean=share * z.mean(axis=0), spread=np.sqrt(share * z.var(axis=0) + 1 - share))

    def z(self, images: Vectors) -> Vectors:
        """How far each label stands out of each image (n, dim): (n, n_labels) float32, in standard deviations.

        What an image has with texts is known from the texts at large, and the better from the labels themselves the
        more there are: they are what it is told apart by.
        """
        mean, middle, weights, covariance = self._terms
        at_middle, at_large = images @ middle, images @ self.centre
        variance = np.einsum("ij,ij->i", images @ covariance, images)
        share = self._share
        variance += share * np.square(images @ mean - at_middle) + (1 - share) * np.square(at_large - at_middle)
        of_image = images / np.sqrt(variance.clip(1e-12))[:, None]
        z: Vectors = of_image @ weights.T
        z -= self.mean / self.spread
        return z

    @property
    def _share(self) -> np.float32:
        """How much the labels themselves count, beside the texts at large."""
        return np.float32(len(self.labels) / (len(self.labels) + TEXTS))

    @cached_property
    def _terms(self) -> tuple[Vectors, Vectors, Vectors, Vectors]:
        """What is the same for all images, so that of each there is but a product: mean label, middle of labels and
        texts, labels from there in their spreads, and the covariance of labels and texts.
        """
        share, mean = self._share, self.labels.mean(axis=0)
        middle = share * mean + (1 - share) * self.centre
        apart = self.labels - mean
        covariance = share / np.float32(len(apart)) * (apart.T @ apart) + (1 - share) * self.covariance
        return mean, middle, (self.labels - middle) / self.spread[:, None], covariance
