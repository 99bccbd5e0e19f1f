"""Scores that mean the same for each label and each image: standardised twice (SPARC, arXiv 2502.16911). Numpy alone.

Some images are near to all texts, and some labels near to all images. So a cosine is first held against what the image
has with texts at large, then against what the label has with images at large; one threshold will do for all labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        cosines = images @ self.labels.T
        share = np.float32(len(self.labels) / (len(self.labels) + TEXTS))
        at_large = images @ self.centre
        spread = np.einsum("ij,ij->i", images @ self.covariance, images)
        middle = share * cosines.mean(axis=1) + (1 - share) * at_large
        variance = share * np.square(cosines - middle[:, None]).mean(axis=1)
        variance += (1 - share) * (spread + np.square(at_large - middle))
        of_image = (cosines - middle[:, None]) / np.sqrt(variance.clip(1e-12))[:, None]
        return ((of_image - self.mean) / self.spread).astype(np.float32)  # type: ignore[no-any-return]
