"""The classes of the user's own scenes and their colours."""

from __future__ import annotations

from collections.abc import Sequence

from specdm.errors import UserError
from specdm.labels import LabelClass, LabelSet
from specdm.settings import SceneClass
from specdm.sources.class_words import DENIED, TREES, WATER, words_of

# Distinct on screen and in print, also for the colour-blind in their first eight (Okabe and Ito).
PALETTE = (
    (230, 159, 0), (204, 121, 167), (86, 180, 233), (0, 158, 115), (213, 94, 0), (240, 228, 66), (0, 114, 178),
    (110, 110, 110), (140, 86, 75), (148, 103, 189), (44, 90, 40), (188, 189, 34), (127, 0, 85), (23, 190, 207),
    (255, 187, 120), (197, 176, 213), (60, 60, 150), (152, 223, 138), (255, 152, 150), (199, 199, 199),
)  # fmt: skip

# What a map reader expects; words of class names, each colour for the first class that asks for it.
_NATURAL = {
    (50, 110, 220): WATER,
    (30, 120, 40): TREES,
    (170, 220, 90): {"grass", "grassland", "meadow", "meadows", "pasture", "pastures"},
    (130, 170, 80): {"shrub", "shrubs", "shrubland", "scrub"},
    (255, 235, 150): {"crop", "crops", "cropland", "arable", "cultivated", "field", "fields"},
    (190, 140, 80): {"soil", "bare", "sand", "rock"},
    (225, 40, 60): {"urban", "town", "city", "built", "building", "buildings", "artificial", "settlement"},
    (150, 130, 220): {"wetland", "wetlands"},
    (225, 240, 250): {"snow", "ice"},
}


# A patch set needs a class: without labels and declared classes this one stands there, and no pixel has it.
NO_CLASS = SceneClass(name="unlabelled", colour=(110, 110, 110))


def label_set(name: str, classes: Sequence[SceneClass]) -> LabelSet:
    """The classes of the settings with ids in their order.

    Those without a colour get that of what they are called (water is blue), or one of the palette. Scenes without
    labels may have no classes: the set then has the single class "unlabelled", which occurs in no mask.

    Raises:
        UserError: for more than 255 classes.
    """
    if len(classes) > 255:
        raise UserError(f"{len(classes)} classes do not fit into masks of 255: merge some.")
    used = {c.colour for c in classes}
    found = []
    for i, c in enumerate(classes or (NO_CLASS,)):
        wished = [_natural_colour(c.name), *PALETTE]
        free = [colour for colour in wished if colour and colour not in used]
        colour = c.colour or (free[0] if free else PALETTE[i % len(PALETTE)])
        used.add(colour)
        found.append(LabelClass(i, c.name, colour, c.codes))
    return LabelSet(name, tuple(found))


def _natural_colour(name: str) -> tuple[int, int, int] | None:
    words = words_of(name)
    return next((c for c, known in _NATURAL.items() if words & known and not words & DENIED), None)
