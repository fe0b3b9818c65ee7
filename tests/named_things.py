"""An encoder that knows names: crosses are red, bars blue, and of grass there are only photos."""

from __future__ import annotations

import numpy as np
from PIL import Image

from encoders import ColourEncoder
from galleries import photo
from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import as_pixels
from msedge.models.bank import Bank, Name, Vectors, identity_of
from msedge.models.card import Card
from msedge.models.shipped import describe_model

CROSS = [([0, 10], [0, 10]), ([0, 10], [10, 0])]
BAR = [([0, 10], [5, 5])]
RING = [([0, 5, 10, 5, 0], [5, 0, 5, 10, 5])]
PICTURES = {
    "red.png": photo("red"), "green.png": photo("green"), "more/blue.png": photo("blue"),
    "tall.png": photo("yellow", (40, 60)),
}  # fmt: skip
NAMES = (
    Name(name="red cross", synonyms=("plus sign", "times")),
    Name(name="Blue_bar", synonyms=("times",)),
    Name(name="grass"),
    Name(name="ring"),
)


def drawn(strokes: object) -> Vectors:
    """The vector of a drawing."""
    pixels = drawing_pixels(open_drawing(strokes), ColourEncoder.image_size)
    return ColourEncoder().sketches(pixels[None])[0].astype(np.float16)


def taken(picture: Image.Image) -> Vectors:
    """The vector of a photo."""
    pixels = as_pixels(picture.convert("RGB").resize((ColourEncoder.image_size,) * 2))
    return ColourEncoder().photos(pixels[None])[0].astype(np.float16)


def card() -> Card:
    """A card that fits the encoder."""
    return describe_model("msedge-lite").card.model_copy(update={"dim": ColourEncoder.dim})


class NamedEncoder(ColourEncoder):
    """The quick encoder, with a card and a bank."""

    def __init__(self, *names: str) -> None:
        """Take other names than :data:`NAMES`, at most four."""
        super().__init__()
        called = tuple(Name(name=name) for name in names) or NAMES
        self.card = card()
        none = np.zeros(self.dim, np.float16)
        self.bank = Bank(
            identity_of(self.card),
            np.empty((0, self.dim), np.float16),
            called,
            np.array([drawn(CROSS), drawn(BAR), none, drawn(RING)])[: len(called)],
            np.array([*(taken(photo(colour)) for colour in ("red", "blue", "green")), none])[
                : len(called)
            ],
        )
