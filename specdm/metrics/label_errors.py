"""Where labels look wrong: from maps of information to a suspicion of each cell and of each patch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

LABELLED_SHARE = 0.5  # of a cell's pixels, below which it is not judged


def labelled_cells(labelled: NDArray[np.bool_], side_px: int) -> NDArray[np.bool_]:
    """Which cells (N,h,w) of side_px x side_px pixels are labelled at least by half, of pixels (N,H,W)."""
    n, height, width = labelled.shape
    blocks = labelled.reshape(n, height // side_px, side_px, width // side_px, side_px)
    return blocks.mean((2, 4)) >= LABELLED_SHARE


def smoothed(bits: NDArray[np.float32], judged: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """Mean of the judged cells in the square of `side` cells around each, (N,h,w); NaN where a cell is not judged.

    One cell alone is noisy, and an object seldom ends with it. Outside the patch there is nothing to count.
    """
    weight, total = (
        uniform_filter(np.where(judged, of, 0).astype(np.float64), side, mode="constant", axes=(1, 2))
        for of in (1, bits)
    )
    return np.where(judged, total / np.maximum(weight, 1e-12), np.nan).astype(np.float32)


def lowest_cells(smooth: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of each patch its lowest cell, (N,) bits, NaN without any, and where that lies: rows and columns (N,2)."""
    n, _, width = smooth.shape
    flat = np.where(np.isnan(smooth), np.inf, smooth).reshape(n, -1)
    place = flat.argmin(1)
    lowest = flat[np.arange(n), place].astype(np.float64)
    return np.where(np.isinf(lowest), np.nan, lowest), np.stack(np.divmod(place, width), 1)
