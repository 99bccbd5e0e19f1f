"""Scores that mean the same for each label and each image: standardised twice (SPARC, arXiv 2502.16911). Numpy alone.

Some images are near to all texts, and some labels near to all images. So a cosine is first held against what the image
has with texts at large, then against what the label has with images at large; one threshold will do for all labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

PRIOR = 16.0  # images: so much more is it believed that a label is no nearer to images than another


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
        weight = len(images) / (len(images) + PRIOR)
        variance = weight * z.var(axis=0) + (1 - weight)
        return cls(labels, centre, covariance, weight * z.mean(axis=0), np.sqrt(variance))

    def z(self, images: Vectors) -> Vectors:
        """How far each label stands out of each image (n, dim): (n, n_labels) float32, in standard deviations."""
        middle = images @ self.centre
        variance = np.einsum("ij,ij->i", images @ self.covariance, images)
        of_image = (images @ self.labels.T - middle[:, None]) / np.sqrt(variance.clip(1e-12))[:, None]
        return ((of_image - self.mean) / self.spread).astype(np.float32)  # type: ignore[no-any-return]
