"""Augmentation: an image to the pixels of one random view of it. Draws come from the generator that is given."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from encoder.image import Pixels, Preprocess, resize_by_torch
from training.data.grounds import laid

MAX_ASPECT = 4 / 3
DRAWS = 10  # of a crop that fits
GRAYSCALE = 0.2  # how often a jittered view loses its colours (SimCLR, appendix A)


@dataclass(frozen=True)
class Augmentation:
    """What a training image goes through.

    The default is CLIP's only augmentation, a random crop resized to the input (Radford et al. 2021, section
    2.4), that keeps nearly all of the area: what a caption names shall stay in the picture. Flip and colours are
    SimCLR's (Chen et al. 2020, appendix A), for views of images alone; without its hue, which names of colours would
    not survive, and without its blur.

    Attributes:
        min_crop: smallest part of the image's area that a crop keeps, 0 to 1.
        flip: mirror every second view.
        color_jitter: brightness, contrast and saturation are each scaled by 1 - s to 1 + s, and one view in five is
            gray; 0 leaves colours as they are.
        grounds: how often a picture that stands on a plain ground is laid on another instead of cropped, 0 to 1.
    """

    min_crop: float = 0.9
    flip: bool = False
    color_jitter: float = 0.0
    grounds: float = 0.0

    def __call__(
        self,
        picture: Image.Image | Pixels,
        preprocess: Preprocess,
        rng: random.Random,
        other: Callable[[], Pixels | None] = lambda: None,
    ) -> Pixels:
        """One view of an upright RGB picture: (height, width, 3) uint8 of the model.

        Args:
            picture: itself, (h, w, 3) uint8; (h, w, 4) of what stands on a plain ground, its mask the last channel.
            preprocess: of the model.
            rng: of all draws.
            other: another picture, whose inside may be a ground; None: one is drawn.
        """
        array = np.asarray(picture)
        if array.shape[2] == 4:
            if rng.random() < self.grounds:
                height, width = preprocess.height_width
                large = laid(array, other(), (3 * height // 2, 3 * width // 2), rng)
                pixels = resize_by_torch(large, height, width, preprocess.interpolation)
                return self._jitter(pixels, rng) if self.color_jitter else pixels
            array = array[..., :3]
        top, left, height, width = random_crop(array.shape[0], array.shape[1], self.min_crop, rng)
        crop = np.ascontiguousarray(array[top : top + height, left : left + width])
        pixels = resize_by_torch(crop, *preprocess.height_width, preprocess.interpolation)
        if self.flip and rng.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        return self._jitter(pixels, rng) if self.color_jitter else pixels

    def _jitter(self, pixels: Pixels, rng: random.Random) -> Pixels:
        """After the resize, where there are few pixels left to colour."""
        image = Image.fromarray(pixels)
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            factor = rng.uniform(max(0.0, 1 - self.color_jitter), 1 + self.color_jitter)
            image = enhance(image).enhance(factor)
        if rng.random() < GRAYSCALE:
            image = image.convert("L").convert("RGB")
        return np.array(image)


def random_crop(height: int, width: int, min_crop: float, rng: random.Random) -> tuple[int, int, int, int]:
    """A random part of an image: (top, left, height, width) in pixels (Szegedy et al. 2015, section 6).

    Of `min_crop` to 1 of its area, and 3:4 to 4:3. An aspect that does not fit beside its area is drawn anew: cut to
    fit, it would keep less. Where nothing fits, the image is long, and it is a part as large as the aspect allows.
    """
    for _ in range(DRAWS):
        area = height * width * rng.uniform(min_crop, 1.0)
        aspect = math.exp(rng.uniform(-math.log(MAX_ASPECT), math.log(MAX_ASPECT)))  # width to height
        crop_h, crop_w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_h <= height and 0 < crop_w <= width:
            break
    else:
        crop_h, crop_w = min(height, round(width * MAX_ASPECT)), min(width, round(height * MAX_ASPECT))
    return rng.randint(0, height - crop_h), rng.randint(0, width - crop_w), crop_h, crop_w
