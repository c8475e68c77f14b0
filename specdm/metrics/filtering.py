"""Which samples of a pool to keep: the best of every kind of patch, so that what is rare does not go missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError

MIN_SHARE = 0.01  # of a patch's labelled pixels, for a class to count as in it
PARTS = 3  # of the patches of one rarest class, by how much they hold of it


def strata(class_counts: ArrayLike, real_counts: ArrayLike) -> NDArray[np.int64]:
    """Kind of each patch (N,): its rarest class, and whether it holds little, some or much of it.

    Scores favour easy patches, such as those without change: taken from every kind in proportion, the best keep the
    class fractions of the pool.

    Args:
        class_counts: (N,K) labelled pixels of the patches.
        real_counts: (K,) of real patches, which say how rare a class is.
    """
    counts = np.asarray(class_counts, np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    order = np.argsort(np.argsort(np.asarray(real_counts), kind="stable"), kind="stable")  # 0: the rarest
    rank = np.where(shares >= MIN_SHARE, order, len(order))
    rarest = rank.argmin(1)
    kinds = np.full(len(counts), -1)
    for k in np.unique(rarest):
        here = np.flatnonzero(rarest == k)
        place = np.argsort(np.argsort(shares[here, k], kind="stable"), kind="stable")
        kinds[here] = k * PARTS + place * PARTS // len(here)
    return kinds


def keep_best(badness: ArrayLike, kinds: ArrayLike, n: int) -> NDArray[np.int64]:
    """Positions (n,), ascending, of the patches with the smallest badness (N,), from every kind (N,) in proportion.

    Numbers that do not divide are rounded by largest remainder; badness that is NaN goes last.

    Raises:
        UserError: for fewer than n patches.
    """
    badness, kinds = np.asarray(badness, np.float64), np.asarray(kinds)
    if n > len(badness):
        raise UserError(f"filter: {n} patches cannot be kept of {len(badness)}; draw a larger pool.")
    names, sizes = np.unique(kinds, return_counts=True)
    exact = sizes * (n / len(badness))
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: n - quota.sum()]] += 1
    kept = []
    for name, size in zip(names, quota, strict=True):
        here = np.flatnonzero(kinds == name)
        kept.append(here[np.argsort(badness[here], kind="stable")[:size]])
    return np.sort(np.concatenate(kept))
