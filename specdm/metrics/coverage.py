"""Which classes samples hold, how often, and whether class fractions that were asked for are met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LOST = 0.1  # a class is lost when its share of the pixels falls below this part of its real share


@dataclass(frozen=True)
class Coverage:
    """Classes in some masks.

    Attributes:
        share: (K,) of the labelled pixels.
        presence: (K,) share of the patches that hold the class at all.
    """

    share: NDArray[np.float64]
    presence: NDArray[np.float64]


def coverage(class_counts: ArrayLike) -> Coverage:
    """Coverage of patches with the given labelled pixel counts (N,K); NaN shares where nothing is labelled."""
    counts = np.asarray(class_counts, np.float64)
    total = counts.sum()
    share = counts.sum(0) / total if total else np.full(counts.shape[1], np.nan)
    return Coverage(share, (counts > 0).mean(0))


def lost_classes(real: Coverage, synthetic: Coverage, at_least: float = 0.01) -> list[int]:
    """Classes that hold at least `at_least` of the real pixels and less than a tenth of that share in the samples."""
    return [
        k
        for k, (a, b) in enumerate(zip(real.share, synthetic.share, strict=True))
        if a >= at_least and not b >= LOST * a
    ]


def fraction_errors(asked: ArrayLike, got: ArrayLike) -> NDArray[np.float64]:
    """Mean absolute difference over the classes of fractions asked for and got (N,K), of rows that asked: (M,)."""
    asked, got = np.asarray(asked, np.float64), np.asarray(got, np.float64)
    known = ~np.isnan(asked).any(1)
    return np.abs(asked[known] - got[known]).mean(1)
