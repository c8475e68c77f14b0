"""Errors planted into masks, to measure how well they are found: an object dropped, one added, the mask shifted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, label

IGNORE = 255
LEAST_PX = 16  # of an object: smaller ones are often errors themselves
EIGHT = generate_binary_structure(2, 2)
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Planted(NamedTuple):
    """A mask (H,W) uint8 with an error, and where it is wrong, (H,W) bool."""

    mask: NDArray[np.uint8]
    wrong: NDArray[np.bool_]


def objects(mask: NDArray[np.uint8], least_px: int = LEAST_PX) -> list[NDArray[np.bool_]]:
    """Connected regions (eight neighbours) of all classes but the mask's commonest, each (H,W) bool."""
    counts = np.bincount(mask[mask != IGNORE], minlength=1)
    found = []
    for k in np.flatnonzero(counts):
        if k != counts.argmax():
            regions, n = label(mask == k, EIGHT)
            sizes = np.bincount(regions.ravel(), minlength=n + 1)[1:]
            found += [regions == i + 1 for i in np.flatnonzero(sizes >= least_px)]
    return found


def dropped_object(mask: NDArray[np.uint8], rng: np.random.Generator) -> Planted | None:
    """The mask without one of its objects, which gets the class that surrounds it most; None without an object."""
    found = objects(mask)
    if not found:
        return None
    region = found[rng.integers(len(found))]
    around = mask[binary_dilation(region, EIGHT) & ~region & (mask != IGNORE)]
    if not around.size:
        return None
    return _changed(mask, np.where(region, np.bincount(around).argmax(), mask))


def added_object(mask: NDArray[np.uint8], donor: NDArray[np.uint8], rng: np.random.Generator) -> Planted | None:
    """The mask with an object of another patch's mask, where that lay there.

    None where the donor has no object, or where fewer than LEAST_PX labelled pixels of the mask would change.
    """
    found = objects(donor)
    if not found:
        return None
    region = found[rng.integers(len(found))]
    planted = _changed(mask, np.where(region & (mask != IGNORE), donor, mask))
    return planted if planted.wrong.sum() >= LEAST_PX else None


def shifted_mask(mask: NDArray[np.uint8], by_px: int, rng: np.random.Generator) -> Planted | None:
    """The mask moved by some pixels up, down, left or right; its rim is repeated, and pixels without a label stay.

    None where fewer than LEAST_PX pixels would change.
    """
    down, right = DIRECTIONS[rng.integers(len(DIRECTIONS))]
    start = by_px * (1 - down), by_px * (1 - right)
    padded = np.pad(mask, by_px, mode="edge")
    moved = padded[start[0] : start[0] + mask.shape[0], start[1] : start[1] + mask.shape[1]]
    planted = _changed(mask, np.where((mask == IGNORE) | (moved == IGNORE), mask, moved))
    return planted if planted.wrong.sum() >= LEAST_PX else None


def _changed(mask: NDArray[np.uint8], new: NDArray) -> Planted:
    return Planted(new.astype(np.uint8), new != mask)
