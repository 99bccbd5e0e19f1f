"""Augmentation: an image to the pixels of one random view of it. Draws come from the generator that is given."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from encoder.image import Pixels, Preprocess, resize

GRAYSCALE = 0.2  # how often a jittered view loses its colours (SimCLR, appendix A)


@dataclass(frozen=True)
class Augmentation:
    """What a training image goes through.

    The default is CLIP's only augmentation, a random square crop resized to the input (Radford et al. 2021, section
    2.4), that keeps nearly all of the area: what a caption names shall stay in the picture. Flip and colours are
    SimCLR's (Chen et al. 2020, appendix A), for views of images alone; without its hue, which names of colours would
    not survive, and without its blur.

    Attributes:
        min_crop: smallest part of the image's area that a crop keeps, 0 to 1.
        flip: mirror every second view.
        color_jitter: brightness, contrast and saturation are each scaled by 1 - s to 1 + s, and one view in five is
            gray; 0 leaves colours as they are.
    """

    min_crop: float = 0.9
    flip: bool = False
    color_jitter: float = 0.0

    def __call__(self, image: Image.Image, preprocess: Preprocess, rng: random.Random) -> Pixels:
        """One view of an upright RGB image: (height, width, 3) uint8 of the model."""
        pixels = self._crop(np.asarray(image), preprocess, rng)
        if self.flip and rng.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        return self._jitter(pixels, rng) if self.color_jitter else pixels

    def _crop(self, array: Pixels, preprocess: Preprocess, rng: random.Random) -> Pixels:
        height, width = array.shape[:2]
        scale = rng.uniform(self.min_crop, 1.0) ** 0.5
        ratio = rng.uniform(3 / 4, 4 / 3) ** 0.5 if self.min_crop < 1 else 1.0
        side = min(height, width) if preprocess.resize_mode == "shortest" else None
        crop_h = min(height, max(1, round((side or height) * scale / ratio)))
        crop_w = min(width, max(1, round((side or width) * scale * ratio)))
        top, left = rng.randint(0, height - crop_h), rng.randint(0, width - crop_w)
        crop = np.ascontiguousarray(array[top : top + crop_h, left : left + crop_w])
        return resize(crop, *preprocess.height_width, preprocess.interpolation)

    def _jitter(self, pixels: Pixels, rng: random.Random) -> Pixels:
        """After the resize, where there are few pixels left to colour."""
        image = Image.fromarray(pixels)
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            factor = rng.uniform(max(0.0, 1 - self.color_jitter), 1 + self.color_jitter)
            image = enhance(image).enhance(factor)
        if rng.random() < GRAYSCALE:
            image = image.convert("L").convert("RGB")
        return np.array(image)
