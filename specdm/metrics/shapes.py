"""Scores that a confusion matrix cannot give: how well boundaries are met, and which sizes of objects are found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, iterate_structure, label

from specdm.errors import UserError
from specdm.metrics.segmentation import slug

SIZES = (10, 100)  # pixels; at 10 m: objects below 0.1 ha, up to 1 ha, and larger
EIGHT = generate_binary_structure(2, 2)


# precision_k = |B(prediction_k) within d of B(truth_k)| / |B(prediction_k)|,   recall_k with the two exchanged
class BoundaryScore:
    """Boundary F1 of every class, its counts summed over all patches: int64 (K,) each.

    A class's boundary are its pixels that touch a labelled pixel of another class on a side. One that lies within
    `tolerance_px` (a square's radius) of the other mask's boundary of that class is met. Ignored pixels (255) and the
    patch's rim make no boundary. After Csurka et al., BMVC 2013, with one sum over the set instead of a mean of
    patches, so that patches with little boundary weigh little.
    """

    def __init__(self, classes: int, tolerance_px: int = 2, ignore: int = 255) -> None:
        self.classes, self.ignore = classes, ignore
        self.reach = iterate_structure(EIGHT, tolerance_px)
        self.counts: dict[str, NDArray[np.int64]] = {
            name: np.zeros(classes, np.int64) for name in ("predicted", "predicted_met", "true", "true_met")
        }

    def update(self, prediction: NDArray, target: NDArray) -> None:
        """Add predicted and true ids of some patches, (N, H, W) each. UserError for unequal shapes."""
        _require_pairs(prediction, target)
        for guessed, truth in zip(np.asarray(prediction), np.asarray(target), strict=True):
            labelled = truth != self.ignore
            for k in np.union1d(truth[labelled], guessed[labelled]):
                lines = [_boundary(ids == k, labelled) for ids in (guessed, truth)]
                near = [binary_dilation(line, self.reach) for line in lines]
                self.counts["predicted"][k] += lines[0].sum()
                self.counts["predicted_met"][k] += (lines[0] & near[1]).sum()
                self.counts["true"][k] += lines[1].sum()
                self.counts["true_met"][k] += (lines[1] & near[0]).sum()

    def scores(self, class_names: Sequence[str]) -> dict[str, float]:
        """boundary_f1_macro and boundary_f1_<class>, 0..1; a class without boundary is NaN and left out of the mean."""
        c = self.counts
        # F1 = 2 P R / (P + R); a class that is only predicted, or only true, meets nothing: 0
        precision = c["predicted_met"] / np.maximum(c["predicted"], 1)
        recall = c["true_met"] / np.maximum(c["true"], 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        f1[(c["predicted"] == 0) & (c["true"] == 0)] = np.nan
        mean = float(np.nanmean(f1)) if not np.isnan(f1).all() else math.nan
        return {"boundary_f1_macro": mean} | {
            f"boundary_f1_{slug(name)}": float(v) for name, v in zip(class_names, f1, strict=True)
        }


class ObjectRecall:
    """Recall of the pixels of true objects by the objects' size, counts summed over all patches: int64 (S,) each.

    An object is a connected region (eight neighbours) of labelled pixels of class `of` within a patch: one that a
    patch's rim cuts counts as what is inside. Sizes are split at SIZES pixels.
    """

    def __init__(self, of: int = 1, ignore: int = 255) -> None:
        self.of, self.ignore = of, ignore
        self.counts: dict[str, NDArray[np.int64]] = {
            name: np.zeros(len(SIZES) + 1, np.int64) for name in ("objects", "touched", "pixels", "found")
        }

    def update(self, prediction: NDArray, target: NDArray) -> None:
        """Add predicted and true ids of some patches, (N, H, W) each. UserError for unequal shapes."""
        _require_pairs(prediction, target)
        for guessed, truth in zip(np.asarray(prediction), np.asarray(target), strict=True):
            regions, n = label(truth == self.of, EIGHT)
            pixels = np.bincount(regions.ravel(), minlength=n + 1)[1:]
            found = np.bincount(regions.ravel(), (guessed == self.of).ravel(), minlength=n + 1)[1:].astype(np.int64)
            place = np.searchsorted(SIZES, pixels, side="right")
            for name, values in (("objects", 1), ("touched", found > 0), ("pixels", pixels), ("found", found)):
                np.add.at(self.counts[name], place, values)

    def scores(self) -> dict[str, float]:
        """recall_px_<size>, objects_<size> and touched_<size> (share of objects with any found pixel), NaN if none."""
        names = [f"below_{SIZES[0]}", *(f"{a}_to_{b - 1}" for a, b in pairwise(SIZES)), f"from_{SIZES[-1]}"]
        c, scores = self.counts, {}
        for i, name in enumerate(names):
            objects, pixels = int(c["objects"][i]), int(c["pixels"][i])
            scores[f"objects_{name}"] = objects
            scores[f"recall_px_{name}"] = c["found"][i] / pixels if pixels else math.nan
            scores[f"touched_{name}"] = c["touched"][i] / objects if objects else math.nan
        return scores


def _boundary(mask: NDArray[np.bool_], labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask (H, W) that touch, on a side, a labelled pixel outside of it."""
    inside, outside, line = mask & labelled, ~mask & labelled, np.zeros_like(mask)
    line[1:] |= inside[1:] & outside[:-1]
    line[:-1] |= inside[:-1] & outside[1:]
    line[:, 1:] |= inside[:, 1:] & outside[:, :-1]
    line[:, :-1] |= inside[:, :-1] & outside[:, 1:]
    return line


def _require_pairs(prediction: NDArray, target: NDArray) -> None:
    if np.shape(prediction) != np.shape(target):
        raise UserError(
            f"scores: predictions {np.shape(prediction)} and labels {np.shape(target)} differ in shape; pair by patch."
        )
