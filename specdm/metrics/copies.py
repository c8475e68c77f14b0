"""Are samples copies of training patches? How near real patches come to each other, and whether samples come nearer.

What is normal is measured on real patches: the distance of each to the nearest training patch *on other ground*. A low
quantile of it is the threshold. More samples below it than real data would give, by chance in both, are copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, betabinom, fisher_exact

from specdm.errors import UserError

FALSE_ALARM = 0.05  # probability that a check of a generator that copies nothing finds copies in any test of images
CONFIDENCE = 0.95  # of the interval of a share
FEWEST = 20  # samples, and real patches on ground of their own: fewer tell nothing of a tail
_SAME = 1e-6  # distances below this are rounding


@dataclass(frozen=True)
class Places:
    """Where patches lie, (n,) each: source (a raster), group (what may share ground), first row and column in px."""

    source: NDArray
    group: NDArray
    row: NDArray
    col: NDArray

    def take(self, rows: ArrayLike) -> Places:
        """Some of them."""
        return Places(*(x[np.asarray(rows)] for x in (self.source, self.group, self.row, self.col)))


def share_ground(a: Places, b: Places, reach_px: float) -> NDArray[np.bool_]:
    """Which patches a (n) share ground with which b (m), (n,m): nearer than `reach_px` along both axes.

    Positions are compared within a source. Between two sources they say nothing: patches of one group then count as
    sharing ground (the flipped copies of a benchmark, a place seen in several rasters), those of two groups as not.
    """
    codes = {}
    for key in ("source", "group"):
        both = np.concatenate([getattr(a, key), getattr(b, key)]).astype(str)
        number = np.unique(both, return_inverse=True)[1]
        codes[key] = number[: len(a.row), None] == number[None, len(a.row) :]
    near = np.abs(np.subtract.outer(a.row, b.row)) < reach_px
    near &= np.abs(np.subtract.outer(a.col, b.col)) < reach_px
    return np.where(codes["source"], near, codes["group"])


def n_apart(places: Places, window_px: int) -> int:
    """How many of some patches can be chosen such that no two of the compared windows share ground (a greedy count).

    So many independent distances the patches are worth: those of overlapping windows resemble each other.
    """
    shared = share_ground(places, places, window_px)
    taken = np.zeros(len(shared), bool)
    for i, others in enumerate(shared):
        taken[i] = not (others & taken).any()
    return int(taken.sum())


@dataclass(frozen=True)
class Nearness:
    """How near some patches come to the training patches.

    Attributes:
        nearest: distance (n,) to the nearest of them, 0 (equal but for gain and offset) to 2.
        elsewhere: distance (n,) to the nearest of them that does not share ground with that one.
        apart: how many independent patches they are worth (see `n_apart`).
    """

    nearest: NDArray[np.float64]
    elsewhere: NDArray[np.float64]
    apart: int

    @property
    def ratio(self) -> NDArray[np.float64]:
        """nearest / elsewhere, (n,): near 1 for a patch like many, near 0 for one like a single place."""
        return (self.nearest + _SAME) / (self.elsewhere + _SAME)


@dataclass(frozen=True)
class TailShare:
    """How many samples lie below a low quantile of real patches.

    Attributes:
        threshold: that quantile.
        expected: share of real patches that lie below it.
        share, low, high: that of the samples, with its Clopper-Pearson interval.
        limit: the largest share that samples which are as real patches would give.
        held_out: share of held-out real patches below it; None without any.
        exceeds: whether the samples' share lies above the limit, and above that of the held-out patches if theirs does.
        doubtful: whether the share of the held-out patches lies above their limit, so that the threshold is too high,
            while the samples' share does not lie above theirs.
    """

    threshold: float
    expected: float
    share: float
    low: float
    high: float
    limit: float
    held_out: float | None
    exceeds: bool
    doubtful: bool


# With the k-th smallest of M real values as threshold t, the share p of like values below t is Beta(k, M + 1 - k):
# P(X >= x) of n samples is beta-binomial, whatever the distribution. Of values that are not independent, k and M are
# scaled down to the number of those that are.
def tail_share(
    samples: ArrayLike,
    real: ArrayLike,
    held_out: ArrayLike,
    apart: int,
    held_out_apart: int,
    quantile: float,
    level: float,
) -> TailShare:
    """Compare the lower tail of samples (n,) with that of real patches (M,).

    Args:
        samples, real, held_out: distances, or ratios, of samples, training patches and held-out patches.
        apart, held_out_apart: how many independent values `real` and `held_out` are worth.
        quantile: the threshold's.
        level: probability of a false alarm.

    Raises:
        UserError: for NaN, for too few values, or when real patches equal others too often.
    """
    samples, real, held_out = (np.asarray(x, np.float64) for x in (samples, real, held_out))
    for name, values, worth in (
        ("samples", samples, len(samples)),
        ("training patches", real, apart),
        ("validation patches", held_out, held_out_apart),
    ):
        if not np.isfinite(values).all():
            raise UserError(f"copies: the distances of the {name} hold NaN: check the patches for undefined pixels.")
        if worth < FEWEST and name != "validation patches":
            raise UserError(
                f"copies: only {worth} {name} can be compared that have contrast and ground of their own, "
                f"{FEWEST} are needed: take more, or larger scenes."
            )
    rank = max(1, int(quantile * (len(real) + 1)))
    threshold = float(np.sort(real)[rank - 1])
    if threshold <= 2 * _SAME:
        raise UserError(
            f"copies: {100 * np.mean(real <= 2 * _SAME):.3g} % of the real patches equal one on other ground, so that "
            "equality tells nothing: take larger patches or a larger window_share."
        )
    expected = rank / (len(real) + 1)
    # Of few independent values even the smallest is the threshold's rank 1, however often each occurs.
    hits = max(1.0, expected * (apart + 1))
    prior = (hits, apart + 1 - hits)
    below = int((samples < threshold).sum())
    most = _most(len(samples), prior, level)
    # Overlapping held-out patches are worth fewer: as many as are apart, of which the same share is below.
    control = round(held_out_apart * np.mean(held_out < threshold)) if len(held_out) else 0
    above = True
    if control > _most(held_out_apart, prior, level):
        table = [[below, len(samples) - below], [control, held_out_apart - control]]
        above = fisher_exact(table, alternative="greater").pvalue <= level
    low, high = clopper_pearson(below, len(samples))
    return TailShare(
        threshold,
        expected,
        below / len(samples),
        low,
        high,
        most / len(samples),
        float(np.mean(held_out < threshold)) if len(held_out) else None,
        exceeds=below > most and above,
        doubtful=below > most and not above,
    )


def clopper_pearson(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided interval of a share of which k of n were seen (Clopper and Pearson, Biometrika 1934)."""
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def verdict(distance: TailShare, ratio: TailShare) -> tuple[str, str]:
    """Whether samples are copies ("copies", "none found" or "not computable"), and a sentence why.

    They are when too many are nearer to a training patch than real patches are, or too many are like one place only:
    the first does not see copies with noise, the second none of what lies twice in the training split.
    """
    found = [
        f"{100 * t.share:.3g} % of the samples {what}, real patches give at most {100 * t.limit:.3g} %"
        for t, what in ((distance, "are closer than the threshold"), (ratio, "are like one training patch alone"))
        if t.exceeds
    ]
    if found:
        return "copies", "; ".join(found)
    if distance.doubtful or ratio.doubtful:
        return "not computable", "held-out real patches come as near to the training patches as the samples do"
    blind = min(distance.limit, ratio.limit)
    if blind >= 1:
        return "not computable", "there are too few independent real patches to tell copies from chance"
    return "none found", f"copies that are less than about {100 * blind:.3g} % of the samples would go unnoticed"


def _most(n: int, prior: tuple[float, float], level: float) -> int:
    """The largest count of n that is not yet too large: P(X > count) <= level."""
    chance = betabinom.pmf(np.arange(n + 1), n, *prior)
    more = np.append(np.cumsum(chance[:0:-1])[::-1], 0)  # P(X > 0), ..., P(X > n)
    return int(np.argmax(more <= level))
