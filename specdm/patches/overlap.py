"""Which patches show ground that other patches show as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_TOUCH_PX = 0.01  # an overlap narrower than this is two neighbours and the rounding of their coordinates


def on_shared_ground(index: pd.DataFrame, height: int, width: int, split: str, training: str = "train") -> np.ndarray:
    """Which patches of a split overlap a patch of the training split on the ground.

    Patches with a location are compared within their coordinate reference system, all others by row and column within
    their source. Exact where the patches of a reference system have one orientation; patches turned against the first
    one are compared by the box around them.

    Args:
        index: the index of a patch set.
        height, width: size of a patch in pixels.
        split, training: names of two splits.

    Returns:
        (n,) bool, one for each patch of `split` in the order of the index.
    """
    splits = index["split"].to_numpy()
    members: dict[str, tuple[list[int], list[int]]] = {}
    for i, (crs, source) in enumerate(zip(index["crs"], index["source"], strict=True)):
        if splits[i] in (split, training):
            place = f"crs {crs}" if crs else f"source {source}"
            members.setdefault(place, ([], []))[int(splits[i] == training)].append(i)
    shared = np.zeros(len(index), bool)
    for place, (ours, others) in members.items():
        if ours and others:
            rows = np.array(ours + others)
            if place.startswith("crs "):
                boxes = _boxes_of_transforms(np.stack(index["transform"].to_numpy()[rows]), height, width)
            else:
                corners = index[["col", "row"]].to_numpy(float)[rows]
                boxes = np.hstack([corners, corners + np.array([width, height])])
            shared[ours] = overlaps(boxes[: len(ours)], boxes[len(ours) :])
    return shared[splits == split]


def _boxes_of_transforms(transforms: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes (n,4) of patches by their affine coefficients (n,6), in pixels of the last one from its corner."""
    a, b, c, d, e, f = transforms.T
    corners = np.stack(
        [
            np.stack([a * x + b * y + (c - c[-1]), d * x + e * y + (f - f[-1])], axis=-1)
            for x, y in ((0, 0), (width, 0), (0, height), (width, height))
        ],
        axis=1,
    )  # n 4 2, on the ground
    pixels = corners @ np.linalg.inv([[a[-1], b[-1]], [d[-1], e[-1]]]).T
    return np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which boxes (n,4) overlap any of the others (m,4), as (n,) bool; both begin with their smaller corner."""
    from scipy.spatial import cKDTree

    found = np.zeros(len(boxes), bool)
    sizes, other_sizes = (np.round(b[:, 2:] - b[:, :2], 2) for b in (boxes, others))
    centres, other_centres = ((b[:, 2:] + b[:, :2]) / 2 for b in (boxes, others))
    # Two boxes overlap where their centres are nearer than half the sum of their sizes, along both axes: for one pair
    # of sizes that is a distance to the nearest centre, in units of that half sum.
    for other_size in np.unique(other_sizes, axis=0):
        same = (other_sizes == other_size).all(axis=1)
        for size in np.unique(sizes, axis=0):
            ours = (sizes == size).all(axis=1) & ~found
            reach = (size + other_size) / 2 - _TOUCH_PX
            distance, _ = cKDTree(other_centres[same] / reach).query(centres[ours] / reach, p=np.inf)
            found[ours] = distance < 1
    return found
