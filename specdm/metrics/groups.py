"""Parts of a set that keep its groups whole: folds for cross-fitting, halves for a floor, draws for a bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from specdm.errors import UserError


def units(n: int, groups: Sequence[object] | None = None) -> NDArray[np.int64]:
    """What n patches are drawn by, ids (N,) from 0: their groups (N,), or each patch where there is but one group.

    UserError where there are not n groups.
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise UserError(f"groups: {len(groups)} groups for {n} patches; give the group of every patch, in their order.")
    _, ids = np.unique(np.asarray(groups), return_inverse=True)
    return ids if ids.max(initial=0) > 0 else np.arange(n)


def folds(groups: Sequence[object], n: int, seed: int = 0) -> NDArray[np.int64]:
    """Part 0..n-1 of each patch (N,) when whole groups (N,) go, largest first, to the smallest of n parts.

    The seed decides between groups of equal size. With fewer groups than parts some parts stay empty; a single group
    belongs to none of them: -1.
    """
    _, ids = np.unique(np.asarray(groups), return_inverse=True)
    return _parts(ids, n, seed) if ids.max(initial=0) > 0 else np.full(len(ids), -1)


def halves(n: int, groups: Sequence[object] | None = None, seed: int = 0) -> NDArray[np.bool_]:
    """Which of n patches are in the first of two disjoint halves, (N,); no group (N,) stands in both.

    As `folds`, but with one group, or none given, patches are split. UserError for fewer than 2 patches.
    """
    if n < 2:
        raise UserError(f"floor: {n} patches have no two halves; add more patches.")
    return _parts(units(n, groups), 2, seed) == 0


def bootstrap_weights(
    n: int, groups: Sequence[object] | None = None, draws: int = 500, seed: int = 0, stream: int = 0
) -> NDArray[np.float64]:
    """How often each of n patches is taken when as many groups (N,) as there are are drawn with replacement: (draws,N).

    With one group, or none given, patches are drawn. Sets that are drawn beside each other take different streams.
    UserError for fewer than 2 patches.
    """
    if n < 2:
        raise UserError(f"interval: {n} patches cannot be drawn anew; add more patches.")
    ids = units(n, groups)
    number = int(ids.max()) + 1
    taken = np.random.default_rng([seed, 3, stream]).multinomial(number, np.full(number, 1 / number), size=draws)
    return taken[:, ids].astype(np.float64)


def _parts(ids: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    sizes = np.bincount(ids)
    order = np.random.default_rng([seed, 1]).permutation(len(sizes))
    part, filled = np.empty(len(sizes), np.int64), np.zeros(n, np.int64)
    for unit in order[np.argsort(-sizes[order], kind="stable")]:
        part[unit] = np.argmin(filled)
        filled[part[unit]] += sizes[unit]
    return part[ids]
