"""Does the mask fit its image? Scores of pairs as they are, beside those of masks that were moved or exchanged.

A scorer looks at images once and gives maps; with a mask they become sums that add up over pairs. So every score has an
interval (a bootstrap over pairs or places), a curve over shifts of the mask, and bounds: real pairs above, exchanged
masks below. Scorers are listed in specdm.metrics.scorers; one more is one more row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.metrics.groups import bootstrap_weights

IGNORE = 255
LEVEL = 0.95  # of the intervals
OWN = "information"  # the row in which a generator judges itself: never alone a proof
GAIN = 0.02  # of what the masks score above exchanged ones: a move that gains less is chance, not an offset


@dataclass(frozen=True)
class Seen:
    """What scorers look at.

    Attributes:
        refl: (N,T,C,H,W) reflectance.
        images: (N,T,C,H,W) standardised bands, 0 where a pixel holds no data.
        valid: (N,T,H,W) bool.
        readings: by reader, (N,R,H,W) class ids that R models of this kind read from the images.
    """

    refl: NDArray[np.float32]
    images: NDArray[np.float32]
    valid: NDArray[np.bool_]
    readings: Mapping[str, NDArray[np.uint8]]


class Scorer(Protocol):
    """A measure of how masks fit images.

    Attributes:
        name: in tables.
        title: in words, with its range.
    """

    name: str
    title: str

    def look(self, seen: Seen) -> NDArray:
        """Maps (N,M,H,W) of the images; they do not know the masks."""

    def sums(self, maps: NDArray, masks: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What the score needs of each pair, (N,P), to be added up; pixels of masks (N,H,W) that are 255 drop."""

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores (...) of sums (...,P), larger is better; NaN where they do not tell."""


@dataclass(frozen=True)
class Move:
    """A shift of masks against their images by some pixels: up, down, left or right; and the score they get there."""

    px: int
    direction: str
    score: float


class Tally:
    """Sums of every scorer over pairs: as they are, with masks moved by some pixels, with other pairs' masks."""

    def __init__(self, scorers: Sequence[Scorer], shifts_px: Sequence[int] = ()) -> None:
        self.scorers = tuple(scorers)
        self.shifts_px = tuple(shifts_px)
        self._parts: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
        self._moved: dict[tuple[str, int, str], NDArray[np.float64]] = {}

    def add(self, seen: Seen, masks: NDArray[np.uint8], others: NDArray[np.uint8] | None = None) -> None:
        """Add pairs: images and their masks (N,H,W); `others` are masks of other images.

        Masks move in four directions, and only what overlaps counts.
        """
        held = seen.valid.all(1)
        side = min(masks.shape[1:])
        for scorer in self.scorers:
            maps = scorer.look(seen)
            self._keep(scorer, "matched", scorer.sums(maps, np.where(held, masks, IGNORE)))
            if others is not None:
                self._keep(scorer, "exchanged", scorer.sums(maps, np.where(held, others, IGNORE)))
            for s in self.shifts_px:
                for direction, (here, there) in _moves(s).items() if 2 * s <= side else ():
                    total = scorer.sums(maps[here], np.where(held[here], masks[there], IGNORE)).sum(0)
                    key = (scorer.name, s, direction)
                    self._moved[key] = self._moved.get(key, 0) + total

    def sums(self, scorer: Scorer, control: str = "matched") -> NDArray[np.float64] | None:
        """(N,P) of pairs as they are, "matched", or with others' masks, "exchanged"; None where nothing was added."""
        parts = self._parts.get((scorer.name, control))
        return None if parts is None else np.concatenate(parts).astype(np.float64)

    def curve(self, scorer: Scorer) -> dict[int, float]:
        """Score by shift in pixels, from 0; those of the four directions together."""
        totals = {0: self._total(scorer)}
        for (name, s, _), total in self._moved.items():
            if name == scorer.name:
                totals[s] = totals.get(s, 0) + total
        return {s: float(scorer.score(total)) for s, total in totals.items()}

    def best(self, scorer: Scorer) -> Move | None:
        """Where the masks would have to move to fit best, by 0 px unless another place is better beyond chance.

        None without shifts or exchanged masks, or where no score is defined.
        """
        others = self.sums(scorer, "exchanged")
        if others is None:
            return None
        here = Move(0, "", float(scorer.score(self._total(scorer))))
        moves = [
            Move(s, direction, float(scorer.score(total)))
            for (name, s, direction), total in self._moved.items()
            if name == scorer.name
        ]
        known = [move for move in moves if not np.isnan(move.score)]
        if not known or np.isnan(here.score):
            return None
        best = max(known, key=lambda move: move.score)
        enough = GAIN * abs(here.score - float(scorer.score(others.sum(0))))
        return best if best.score > here.score + enough else here

    def _total(self, scorer: Scorer) -> NDArray[np.float64]:
        return self.sums(scorer).sum(0)

    def _keep(self, scorer: Scorer, control: str, sums: NDArray) -> None:
        self._parts.setdefault((scorer.name, control), []).append(sums.astype(np.float32))


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its bootstrap interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Alignment:
    """How well the masks of a set fit by one scorer.

    Attributes:
        synthetic: score of the synthetic pairs.
        exchanged: of the same images with other pairs' masks, the lower bound.
        real: of real pairs that no model of the scorer has seen, the upper bound.
        seen: of real pairs that they have seen.
        scaled: (synthetic - exchanged) / (real - exchanged): 0 like exchanged masks, 1 like real pairs.
        curve, real_curve: score by shift of the masks in pixels, over four directions.
        peak: the single move with the best score: by 0 px where masks lie where they belong; None without a curve.
        because: why `scaled` cannot be computed, else empty.
    """

    synthetic: Interval
    exchanged: float
    real: Interval
    seen: float
    scaled: Interval
    curve: Mapping[int, float]
    real_curve: Mapping[int, float]
    peak: Move | None = None
    because: str = ""


def align(
    scorer: Scorer,
    synthetic: Tally,
    real: Tally,
    groups: ArrayLike,
    seen: Tally | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Alignment:
    """Compare synthetic pairs with real ones by one scorer.

    Draws of the bootstrap take synthetic pairs, and independently whole groups (N_real,) of real ones.
    """
    ours, other, theirs = synthetic.sums(scorer), synthetic.sums(scorer, "exchanged"), real.sums(scorer)
    weights = bootstrap_weights(len(ours), None, n_bootstrap, seed, stream=0)
    drawn = {
        "synthetic": scorer.score(weights @ ours),
        "exchanged": scorer.score(weights @ other),
        "real": scorer.score(bootstrap_weights(len(theirs), groups, n_bootstrap, seed, stream=1) @ theirs),
    }
    whole = {
        "synthetic": float(scorer.score(ours.sum(0))),
        "exchanged": float(scorer.score(other.sum(0))),
        "real": float(scorer.score(theirs.sum(0))),
    }
    known = float(scorer.score(seen.sums(scorer).sum(0))) if seen is not None else np.nan
    return between_bounds(whole, drawn, known, synthetic.curve(scorer), real.curve(scorer), synthetic.best(scorer))


def between_bounds(
    whole: Mapping[str, float],
    drawn: Mapping[str, NDArray[np.float64]],
    seen: float = np.nan,
    curve: Mapping[int, float] | None = None,
    real_curve: Mapping[int, float] | None = None,
    peak: Move | None = None,
) -> Alignment:
    """Place the score "synthetic" between "exchanged" and "real": whole sets (), and draws of a bootstrap (B,)."""
    because = _reason(whole, drawn)
    undefined = Interval(np.nan, np.nan, np.nan)
    return Alignment(
        synthetic=interval(whole["synthetic"], drawn["synthetic"]),
        exchanged=whole["exchanged"],
        real=interval(whole["real"], drawn["real"]),
        seen=seen,
        scaled=undefined if because else interval(float(_scaled(whole)), _scaled(drawn)),
        curve=curve or {},
        real_curve=real_curve or {},
        peak=peak,
        because=because,
    )


def interval(value: float, draws: NDArray[np.float64]) -> Interval:
    """A value with the percentile interval of its draws; draws that are NaN are left out."""
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if known.size else (np.nan, np.nan)
    return Interval(value, float(low), float(high))


def derangement(n: int, seed: int) -> NDArray[np.int64]:
    """Random permutation (n,) that leaves nothing in its place: one cycle through all, for n >= 2."""
    cycle = np.random.default_rng([seed, 2]).permutation(n)
    moved = np.empty(n, dtype=np.int64)
    moved[cycle] = np.roll(cycle, 1)
    return moved


# (s_synthetic - s_exchanged) / (s_real - s_exchanged)
def _scaled(scores: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    ours, low, high = (np.asarray(scores[k], np.float64) for k in ("synthetic", "exchanged", "real"))
    return np.divide(ours - low, high - low, out=np.full(np.shape(ours), np.nan), where=high > low)


def _reason(whole: Mapping[str, float], drawn: Mapping[str, NDArray[np.float64]]) -> str:
    """Why a score has no scale, or nothing."""
    for key, what in (("synthetic", "the synthetic pairs"), ("real", "the real pairs")):
        if np.isnan(whole[key]):
            return f"{what} hold too few labelled pixels of its classes"
    if np.isnan(whole["exchanged"]) or not interval(0, drawn["real"] - drawn["exchanged"]).low > 0:
        return "real pairs do not score above exchanged masks beyond chance: this scorer cannot tell here"
    return ""


def _moves(s: int) -> dict[str, tuple[tuple, tuple]]:
    """Parts of the image and of the mask that meet when a mask moves by s px, by direction."""
    everything, head, tail = slice(None), slice(None, -s), slice(s, None)
    top, bottom = (..., head, everything), (..., tail, everything)
    left, right = (..., everything, head), (..., everything, tail)
    return {"down": (bottom, top), "up": (top, bottom), "right": (right, left), "left": (left, right)}
