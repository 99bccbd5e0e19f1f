"""Which columns of a table, or fields of a sample, hold what. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from base.errors import InputError


@dataclass(frozen=True)
class Keys:
    """The names of columns.

    Attributes:
        image: of the image's path.
        captions: of its texts, each a caption of its own; none: images only. In JSON a value may be a list of texts.
        label: rows with the same one are not negatives of each other.
        negatives: of texts that are near and wrong.
    """

    image: str = "image"
    captions: tuple[str, ...] = ("title",)
    label: str | None = None
    negatives: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, image: str = "image", caption: str | None = "title", label: str | None = None, negative: str | None = None
    ) -> Keys:
        """As flags give them: several captions or negatives stand with commas between.

        Raises:
            InputError: a flag without a name in it.
        """
        return cls(image, _split(caption, "--caption-key"), label, _split(negative, "--negative-key"))

    @property
    def labels(self) -> tuple[str, ...]:
        """The column of the label as a list of it."""
        return () if self.label is None else (self.label,)

    def images_only(self) -> Keys:
        """The same without captions and negatives."""
        return replace(self, captions=(), negatives=())

    def flags(self) -> list[tuple[str, str]]:
        """Each column with the flag that chooses it."""
        columns = (("--image-key", (self.image,)), ("--caption-key", self.captions), ("--label-key", self.labels),
                   ("--negative-key", self.negatives))  # fmt: skip
        return [(name, flag) for flag, names in columns for name in names]


def _split(key: str | None, flag: str) -> tuple[str, ...]:
    names = tuple(name for name in map(str.strip, (key or "").split(",")) if name)
    if key is not None and not names:
        raise InputError(f'{flag} "{key}" names no column; give one, or several with commas between')
    return names
