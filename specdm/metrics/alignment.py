"""Does the mask fit its image? A teacher's agreement with it, beside what shuffled and shifted masks would score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError
from specdm.metrics.segmentation import ConfusionMatrix


def mask_agreement(
    predictions: ArrayLike,
    masks: ArrayLike,
    classes: int,
    seed: int = 0,
    shifts: Sequence[int] = (1, 2, 4, 8),
    ignore: int = 255,
) -> dict[str, float]:
    """Agreement (0..1) of a teacher's predictions (N, H, W) with masks (N, H, W), and with masks that cannot fit.

    Returns miou_* and accuracy_* for: matched (each mask with its own image); shuffled (every mask with another image:
    the lower bound, drawn from seed); shift_<s> (masks moved by s pixels in four directions, overlapping part only:
    a set whose score does not peak at matched has an offset or blur). mIoU is the macro mean over classes that occur.
    Shifts that leave less than half a side are left out. UserError for fewer than 2 images.
    """
    predictions, masks = np.asarray(predictions), np.asarray(masks)
    if len(masks) < 2:
        raise UserError(f"alignment: shuffling masks needs at least 2 images, not {len(masks)}; sample more.")
    scores = _agreement("matched", [(predictions, masks)], classes, ignore)
    scores |= _agreement("shuffled", [(predictions, masks[derangement(len(masks), seed)])], classes, ignore)
    for s in shifts:
        if 2 * s <= min(masks.shape[1:]):
            rows, columns = (predictions[:, s:], masks[:, :-s]), (predictions[:, :, s:], masks[:, :, :-s])
            back = (predictions[:, :-s], masks[:, s:]), (predictions[:, :, :-s], masks[:, :, s:])
            scores |= _agreement(f"shift_{s}", [rows, columns, *back], classes, ignore)
    return scores


# (s_syn - s_shuf) / (s_real - s_shuf)
def normalised_score(synthetic: float, real: float, shuffled: float) -> float:
    """Agreement of synthetic pairs on a scale where shuffled masks score 0 and real pairs 1.

    NaN where real pairs do not beat shuffled ones: such a teacher cannot tell.
    """
    return (synthetic - shuffled) / (real - shuffled) if real > shuffled else float("nan")


def derangement(n: int, seed: int) -> NDArray[np.int64]:
    """Random permutation (n,) that leaves nothing in its place: one cycle through all, for n >= 2."""
    cycle = np.random.default_rng([seed, 2]).permutation(n)
    moved = np.empty(n, dtype=np.int64)
    moved[cycle] = np.roll(cycle, 1)
    return moved


def _agreement(name: str, pairs: list[tuple[NDArray, NDArray]], classes: int, ignore: int) -> dict[str, float]:
    confusion = ConfusionMatrix(classes, ignore)
    for prediction, mask in pairs:
        confusion.update(prediction, mask)
    scores = confusion.scores([str(k) for k in range(classes)])
    return {f"miou_{name}": scores["miou_macro"], f"accuracy_{name}": scores["oa"]}
