"""Do samples look like real data, and how much of the real data do they reach? From balls around nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.metrics.frechet import checked_pair

CHUNK = 2**22  # distances held at once: 32 MiB
# Squared distances come from |a|^2 + |b|^2 - 2 a.b: rounding must not decide whether a copy lies in the ball of its
# original, so what is nearer to the edge than this part of the largest squared norm is inside.
EDGE = 1e-12


@dataclass(frozen=True)
class Manifold:
    """How two feature sets overlap, each set seen as the union of balls that reach to every sample's k-th neighbour.

    Attributes:
        precision: share of the synthetic samples within a ball of the real ones, 0..1: do they look real?
        recall: share of the real samples within a ball of the synthetic ones, 0..1: are real ones reached?
        density: real balls that hold a synthetic sample, over k, mean over the synthetic: as precision but not misled
            by a real outlier's large ball; above 1 where samples crowd in dense places.
        coverage: share of the real balls that hold a synthetic sample, 0..1: as recall but with real balls only.
        k: neighbours.
        n, m: real and synthetic samples; all four depend on them.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    n: int
    m: int


def manifold_overlap(real: ArrayLike, synthetic: ArrayLike, k: int = 5) -> Manifold:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of features.

    A ball around a sample reaches to its k-th nearest neighbour among the others of its set, edge included; the sample
    itself is told apart by its place, so that copies count as neighbours. The two sets are compared as if they were
    independent: a set with itself has precision, recall and coverage 1 and density (k + 1) / k or more, for every
    sample lies in its own ball. Distances are computed in blocks.

    Args:
        real: (N,D).
        synthetic: (M,D).
        k: neighbours.

    Raises:
        UserError: for k samples or fewer a side, unequal D, NaN or infinity.
    """
    real, synthetic = checked_pair(real, synthetic, f"manifold with k = {k}", at_least=k + 1)
    centre = real.mean(0, dtype=np.float64)  # distances stay, their rounding shrinks
    real, synthetic = real - centre, synthetic - centre
    edge = EDGE * max(np.square(real).sum(1).max(), np.square(synthetic).sum(1).max())
    real_reach, synthetic_reach = _reach(real, k) + edge, _reach(synthetic, k) + edge
    holders = np.zeros(len(synthetic), np.int64)  # real balls around each synthetic sample
    reached = covered = 0
    for rows, squared in _squared_distances(real, synthetic):
        inside = squared <= real_reach[rows, None]
        holders += inside.sum(0)
        covered += int(inside.any(1).sum())
        reached += int((squared <= synthetic_reach).any(1).sum())
    return Manifold(
        precision=float((holders > 0).mean()),
        recall=reached / len(real),
        density=float(holders.mean() / k),
        coverage=covered / len(real),
        k=k,
        n=len(real),
        m=len(synthetic),
    )


def _reach(x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Squared distance (N,) of every sample to its k-th nearest other one."""
    reach = np.empty(len(x))
    for rows, squared in _squared_distances(x, x):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        reach[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return reach


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Squared distances of some rows of a (N,D) to all of b (M,D): the rows and (n,M), until all rows are done."""
    a_norms, b_norms = np.square(a).sum(1), np.square(b).sum(1)
    step = max(1, CHUNK // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        yield rows, a_norms[rows, None] + b_norms - 2 * (a[rows] @ b.T)
