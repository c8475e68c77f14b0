"""Label sets: class ids, names, colours and the codes that raw files use for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from specdm.errors import UserError

IGNORE = 255  # a pixel without a label: an all-zero one-hot, no loss, never sampled


@dataclass(frozen=True)
class LabelClass:
    """One class: its id in our masks, its name, its colour and the raw codes that mean it."""

    id: int
    name: str
    colour: tuple[int, int, int]
    raw_codes: tuple[int | str, ...]


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

    def remap(
        self,
        raw: np.ndarray,
        where: Path | str,
        ignore: Sequence[int] = (IGNORE,),
        unlisted: Literal["error", "ignore"] = "error",
    ) -> np.ndarray:
        """Raw codes -> class ids.

        Args:
            raw: integer codes of any shape and type; floating-point numbers must be whole, NaN is ignored.
            where: the file they come from, named in the error.
            ignore: codes that become IGNORE, unless a class has them.
            unlisted: what codes of no class are: an error, or IGNORE.

        Returns:
            uint8 ids of the same shape.

        Raises:
            UserError: when a code belongs to no class.
        """
        known = {code: IGNORE for code in ignore} | {
            code: c.id for c in self.classes for code in c.raw_codes if not isinstance(code, str)
        }
        codes, place = _distinct(raw)
        unknown = [c for c in codes.tolist() if c not in known and c == c]
        if unknown and unlisted == "error":
            own = [code for c in self.classes for code in c.raw_codes]
            raise UserError(
                f"{where} holds the label code {unknown[0]:.15g}, which {self.name} does not define: "
                f"its codes are {own}; check that this is the label file."
            )
        return np.array([known.get(c, IGNORE) for c in codes.tolist()], np.uint8)[place].reshape(raw.shape)

    def ids_of(self, values: Sequence[object], where: Path | str, ignore: Sequence = (), unlisted: str = "error"):
        """Values of an attribute, numbers or texts -> uint8 ids (n,); errors and options as in `remap`."""
        codes = [(v, IGNORE) for v in ignore] + [(v, c.id) for c in self.classes for v in c.raw_codes]
        # "1.1" and "1.10" may be two classes: a text is looked up as a number only when it is no code itself.
        texts = {v: i for v, i in codes if isinstance(v, str)}
        known = {_plain(v): i for v, i in codes}
        ids = [texts[v] if isinstance(v, str) and v in texts else known.get(_plain(v)) for v in values]
        unknown = [v for v, i in zip(values, ids, strict=True) if i is None]
        if unknown and unlisted == "error":
            raise UserError(
                f"{where} holds the attribute value {unknown[0]!r}, which belongs to no class: "
                "add it to the codes of a class or to ignore_codes, or set unlisted_codes: ignore."
            )
        return np.array([IGNORE if i is None else i for i in ids], np.uint8)

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


def _distinct(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of an array, and for each element the position of its value (flat)."""
    flat = raw.ravel()
    if np.issubdtype(raw.dtype, np.integer) and flat.size:
        low, high = int(flat.min()), int(flat.max())
        if high - low < 1 << 16 and high < 1 << 63:  # a table is far faster than sorting
            shifted = flat.astype(np.int64) - low
            codes = np.flatnonzero(np.bincount(shifted))
            table = np.zeros(codes[-1] + 1, np.int64)
            table[codes] = np.arange(len(codes))
            return codes + low, table[shifted]
    return np.unique(flat, return_inverse=True)


def _plain(value: object) -> object:
    """A value as a key: whole numbers and their texts are one ("3", 3 and 3.0)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return int(number) if number.is_integer() else number


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
