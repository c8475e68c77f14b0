"""Label sets: class ids, names, colours and the codes that raw files use for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.errors import UserError

IGNORE = 255  # a pixel without a label: an all-zero one-hot, no loss, never sampled


@dataclass(frozen=True)
class LabelClass:
    """One class: its id in our masks, its name, its colour and the raw codes that mean it."""

    id: int
    name: str
    colour: tuple[int, int, int]
    raw_codes: tuple[int, ...]


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, ids 0..K-1 in order."""

    name: str
    classes: tuple[LabelClass, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def palette(self) -> np.ndarray:
        """Colours of the 256 possible ids, (256,3) uint8; ids without a class (IGNORE) are black."""
        table = np.zeros((256, 3), np.uint8)
        for c in self.classes:
            table[c.id] = c.colour
        return table

    def remap(self, raw: np.ndarray, where: Path | str) -> np.ndarray:
        """Raw codes -> class ids.

        Args:
            raw: integer codes of any shape.
            where: the file they come from, named in the error.

        Returns:
            uint8 ids of the same shape; raw 255 stays IGNORE.

        Raises:
            UserError: when a code belongs to no class.
        """
        table = np.full(256, -1, np.int16)
        table[IGNORE] = IGNORE
        for c in self.classes:
            table[list(c.raw_codes)] = c.id
        codes = np.unique(raw)
        unknown = [int(v) for v in codes if v != np.floor(v) or not 0 <= v <= 255 or table[int(v)] < 0]
        if unknown:
            known = sorted(code for c in self.classes for code in c.raw_codes)
            raise UserError(
                f"{where} holds the label code {unknown[0]}, which {self.name} does not define: "
                f"its codes are {known}; check that this is the label file."
            )
        return table[raw.astype(np.int64)].astype(np.uint8)

    def to_dict(self) -> dict:
        return {
            "name": self.name,
            "ignore": IGNORE,
            "classes": [
                {"id": c.id, "name": c.name, "colour": list(c.colour), "raw_codes": list(c.raw_codes)}
                for c in self.classes
            ],
        }

    @classmethod
    def from_dict(cls, data: dict) -> LabelSet:
        return cls(
            data["name"],
            tuple(LabelClass(c["id"], c["name"], tuple(c["colour"]), tuple(c["raw_codes"])) for c in data["classes"]),
        )


# Ids as in SpectralGPT's remap of the raw codes; colours follow the CORINE land-cover legend's families.
SEGMUNICH = LabelSet(
    "segmunich",
    (
        LabelClass(0, "background", (40, 40, 40), (0,)),
        LabelClass(1, "arable land", (255, 235, 150), (21,)),
        LabelClass(2, "permanent crops", (230, 150, 60), (22,)),
        LabelClass(3, "pastures", (170, 220, 90), (23,)),
        LabelClass(4, "forests", (30, 120, 40), (31,)),
        LabelClass(5, "surface water", (50, 110, 220), (5,)),
        LabelClass(6, "shrub", (130, 170, 80), (32,)),
        LabelClass(7, "open spaces", (205, 205, 190), (33,)),
        LabelClass(8, "wetlands", (150, 130, 220), (41,)),
        LabelClass(9, "mine dump", (160, 80, 170), (13,)),
        LabelClass(10, "artificial vegetation", (90, 215, 160), (14,)),
        LabelClass(11, "urban fabric", (225, 40, 60), (11,)),
        LabelClass(12, "buildings", (150, 30, 70), (12,)),
    ),
)

# The change maps *-cm.tif hold 1 = no change and 2 = change (the data set's own README says 0/1, which is wrong).
OSCD = LabelSet(
    "oscd",
    (
        LabelClass(0, "no change", (25, 25, 25), (1,)),
        LabelClass(1, "change", (250, 250, 250), (2,)),
    ),
)
