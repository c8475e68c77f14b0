"""Area under the ROC curve by ranks: how well a score tells positives from negatives, 0.5 by chance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from specdm.errors import UserError


# AUC = (sum of the positives' ranks - n+ (n+ + 1) / 2) / (n+ n-)        (Mann-Whitney)
def area_under_curve(scores: ArrayLike, positive: ArrayLike) -> float:
    """Chance that a positive scores higher than a negative, ties counting half, 0..1; NaN where one kind is missing.

    Args:
        scores: (n,) larger for what is held to be positive, finite.
        positive: (n,) bool.

    Raises:
        UserError: for scores that are NaN, which have no rank.
    """
    values, truth = np.asarray(scores, np.float64).ravel(), np.asarray(positive, bool).ravel()
    if np.isnan(values).any():
        raise UserError("ranking: some scores are NaN; leave them out.")
    n_positive = int(truth.sum())
    pairs = n_positive * (len(truth) - n_positive)
    if not pairs:
        return math.nan
    return float((rankdata(values)[truth].sum() - n_positive * (n_positive + 1) / 2) / pairs)
