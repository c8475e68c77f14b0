"""Segmentation and change scores from one confusion matrix summed over the whole set, never averaged over batches."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError


def slug(name: str) -> str:
    """Lower-case name with every run of other characters as one underscore: "No change" -> "no_change"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


class ConfusionMatrix:
    """Counts of pixels, int64 (K, K): rows are the true class, columns the predicted one; `ignore` labels drop out."""

    def __init__(self, classes: int, ignore: int = 255) -> None:
        self.classes = classes
        self.ignore = ignore
        self.matrix: NDArray[np.int64] = np.zeros((classes, classes), dtype=np.int64)

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Add integer class ids of equal shape. UserError for unequal shapes or, where labelled, ids outside 0..K-1."""
        prediction, target = np.asarray(prediction), np.asarray(target)
        if prediction.shape != target.shape:
            raise UserError(
                f"scores: predictions {prediction.shape} and labels {target.shape} differ in shape; pair them by patch."
            )
        labelled = target != self.ignore
        pairs = []
        for what, ids in (("label", target), ("prediction", prediction)):
            ids = ids[labelled].astype(np.int64)
            if ids.size and (ids.min() < 0 or ids.max() >= self.classes):
                raise UserError(
                    f"scores: a {what} holds an id outside 0..{self.classes - 1}; use the label set it was made with."
                )
            pairs.append(ids)
        flat = pairs[0] * self.classes + pairs[1]
        self.matrix += np.bincount(flat, minlength=self.classes**2).reshape(self.classes, self.classes)

    # IoU = tp / (tp + fp + fn)    F1 = 2 tp / (2 tp + fp + fn)    kappa = (oa - pe) / (1 - pe)
    def scores(self, class_names: Sequence[str]) -> dict[str, float]:
        """Scores in 0..1 (kappa -1..1) by name; class names enter as slugs, e.g. iou_change.

        miou_macro, mf1_macro: unweighted means over all classes, as the paper's numbers (its two-class change scores
        only solve consistently under this reading); miou_fg, mf1_fg: without class 0; oa, kappa;
        iou_<c>, f1_<c>, precision_<c>, recall_<c>. A class in neither labels nor predictions is NaN and left out of
        the means (classes_absent counts them); so is a precision without predictions or a recall without labels.
        UserError where the names do not match the classes one to one.
        """
        keys = [slug(name) for name in class_names]
        if len(keys) != self.classes or len(set(keys)) != self.classes:
            raise UserError(
                f"scores: {self.classes} classes need as many different names, not {list(class_names)}; "
                "mend the label set."
            )
        counts = self.matrix.astype(np.float64)
        hit, true, predicted, total = np.diag(counts), counts.sum(1), counts.sum(0), counts.sum()
        iou = _ratio(hit, true + predicted - hit)
        f1 = _ratio(2 * hit, true + predicted)
        oa, chance = _ratio(hit.sum(), total), _ratio((true * predicted).sum(), total**2)
        scores = {
            "miou_macro": _mean(iou),
            "mf1_macro": _mean(f1),
            "miou_fg": _mean(iou[1:]),
            "mf1_fg": _mean(f1[1:]),
            "oa": float(oa),
            "kappa": float(_ratio(oa - chance, 1 - chance)),
            "classes_absent": int(np.isnan(iou).sum()),
            "pixels": int(self.matrix.sum()),
        }
        by_class = {"iou": iou, "f1": f1, "precision": _ratio(hit, predicted), "recall": _ratio(hit, true)}
        for name, values in by_class.items():
            scores |= {f"{name}_{key}": float(value) for key, value in zip(keys, values, strict=True)}
        return scores


def _ratio(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)


def _mean(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
