"""The nearest of many patches: windows compared in all flips and rotations, at every shift, whatever gain and offset.

Two steps. Small pictures of all patches are compared by matrix products of unit vectors; the few best candidates are
then compared at full size. Patches are stacks (N,T,P,H,W) of T dates and P planes (bands, their principal components,
or the one-hot planes of a mask), square, and hold no NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specdm.errors import UserError
from specdm.nn.views import view

COARSE_PX = 16  # side of the small pictures: large enough that few patches look alike, small enough for one product
_BLOCK = 1 << 24  # numbers of a block of products, 64 MiB
_AT_ONCE = 32  # patches compared at full size together
_NOTHING = 1e-6  # of the squared norm of a window (in standardised units) that has no contrast at all


@dataclass(frozen=True)
class WindowGrid:
    """How square patches are compared: the central window of one at every place in another.

    Attributes:
        factor: full pixels averaged to one coarse pixel, along each axis.
        coarse_px: side of the averaged patch.
        window: side of the compared window, in coarse pixels.
    """

    factor: int
    coarse_px: int
    window: int

    @classmethod
    def of(cls, side_px: int, window_share: float) -> WindowGrid:
        """The grid of patches of `side_px` whose windows have about that share of their side.

        Raises:
            UserError: when the window would be too small to tell anything, or leave no room to shift.
        """
        factor = max(1, side_px // COARSE_PX)
        coarse = side_px // factor
        window = round(window_share * coarse)
        window += (coarse - window) % 2  # its margins are equal on all sides: views of it stay in the middle
        if not 4 <= window <= coarse - 2:
            raise UserError(
                f"window_share {window_share:g} makes windows of {window} of {coarse} averaged pixels of a patch of "
                f"{side_px} px: choose a share for which they have 4 to {coarse - 2}."
            )
        return cls(factor, coarse, window)

    @property
    def used_px(self) -> int:
        """Side of the part of a patch that is compared: the whole, but for a rest at the far edges."""
        return self.factor * self.coarse_px

    @property
    def window_px(self) -> int:
        return self.factor * self.window

    @property
    def margin_px(self) -> int:
        """First row and column of the central window."""
        return self.factor * (self.coarse_px - self.window) // 2

    def small(self, x: Tensor) -> Tensor:
        """Patches (N,T,P,H,W) averaged down to (N,T,P,c,c)."""
        used = x[..., : self.used_px, : self.used_px]
        return F.avg_pool2d(used.flatten(1, 2), self.factor).unflatten(1, x.shape[1:3])

    def centre(self, x: Tensor) -> Tensor:
        """The central windows (N,T,P,w,w) of patches (N,T,P,H,W)."""
        here = slice(self.margin_px, self.margin_px + self.window_px)
        return x[..., here, here]


class Fit(NamedTuple):
    """How pairs of patches fit best, (n,) each: the first one's central window, turned, lies in the second one.

    Attributes:
        distance: 1 - normalised cross correlation, float64, 0 (equal but for gain and offset) to 2.
        variant: see `variants`.
        row, col: first pixel of the window in the second patch.
    """

    distance: Tensor
    variant: Tensor
    row: Tensor
    col: Tensor


def variances(windows: Tensor) -> Tensor:
    """Variance of every date of windows (N,T,P,w,w) about the means of their planes, summed over planes: (N,T) float64.

    A constant window has 0: it points in no direction. Of one-hot planes it is the probability that two pixels differ.
    """
    return windows.double().var((-2, -1), correction=0).sum(2)


def variant(x: Tensor, k: int) -> Tensor:
    """Variant k of patches (...,T,P,H,W): view k % 8 (see `specdm.nn.views`), from 8 on with its two dates swapped."""
    return view(x if k < 8 else x.flip(-4), k % 8)


def restored(x: Tensor, k: int) -> Tensor:
    """The patches (...,T,P,H,W) of which x is variant k."""
    turned = view(x, (4 - k) % 4 if k % 8 < 4 else k % 8)  # mirrored views are their own inverse
    return turned if k < 8 else turned.flip(-4)


def variants(x: Tensor) -> Tensor:
    """Every variant of patches (N,T,P,H,W): (N,V,T,P,H,W), V = 8 for one date and 16 for two."""
    return torch.stack([variant(x, k) for k in range(8 * min(x.shape[1], 2))], 1)


def principal_axes(x: Tensor, n: int) -> Tensor:
    """The n directions (n,C) of largest variance of pixels (N,T,C,H,W) about the mean of their patch and date.

    All C when there are no more: then distances are those of the bands themselves.
    """
    pixels = (x - x.mean((-2, -1), keepdim=True)).double().movedim(2, -1).flatten(0, -2)
    _, axes = torch.linalg.eigh(pixels.T @ pixels)
    return axes.T.flip(0)[:n].float()


def projected(x: Tensor, axes: Tensor) -> Tensor:
    """Bands (N,T,C,H,W) onto axes (P,C): (N,T,P,H,W)."""
    return torch.einsum("ntchw,pc->ntphw", x, axes)


# score(q, r) = max over views v and places s of <u(v q), u(r at s)>,   u(w) = (w - mean w) / |w - mean w|
def coarse_scores(queries: Tensor, references: Tensor, grid: WindowGrid) -> Tensor:
    """Largest correlation of the windows of small queries (n,T,P,c,c) with small references (R,T,P,c,c): (n,R).

    A window without contrast correlates with nothing (0). Memory is bounded whatever n and R: products are made in
    blocks.
    """
    wanted = _windows(queries, grid)  # n V d
    n, v, d = wanted.shape
    scores = torch.empty(n, len(references), device=queries.device)
    places = (grid.coarse_px - grid.window + 1) ** 2
    at_once = max(1, _BLOCK // max(places * d, n * v * places))
    for start in range(0, len(references), at_once):
        some = _places(references[start : start + at_once], grid).flatten(0, 1)  # R*S d
        products = wanted.flatten(0, 1) @ some.T
        scores[:, start : start + at_once] = products.view(n, v, -1, places).amax((1, 3))
    return scores


def fit(queries: Tensor, references: Tensor, grid: WindowGrid) -> Fit:
    """How patch i of the queries (n,T,P,H,W) fits best into patch i of the references (n,T,P,H,W), at full size.

    The best variant and place of the small pictures is refined by all shifts of up to one coarse pixel around it.
    """
    places = _places(grid.small(references), grid)
    products = _windows(grid.small(queries), grid) @ places.mT  # n V S
    best = products.flatten(1).argmax(1)
    chosen, place = best // places.shape[1], best % places.shape[1]
    across = grid.coarse_px - grid.window + 1
    latest = grid.used_px - grid.window_px - 2 * grid.factor  # the last start that leaves room for all shifts
    row, col = ((grid.factor * (at - 1)).clamp(0, max(latest, 0)) for at in (place // across, place % across))
    window = torch.stack([variant(q, k) for q, k in zip(grid.centre(queries), chosen.tolist(), strict=True)])
    side = min(grid.window_px + 2 * grid.factor, grid.used_px)
    around = torch.stack(
        [r[..., y : y + side, x : x + side] for r, y, x in zip(references, row.tolist(), col.tolist(), strict=True)]
    )
    correlation = _correlation(window.flatten(1, 2), around.flatten(1, 2))  # n s s
    shift = correlation.flatten(1).argmax(1)
    wide = correlation.shape[-1]
    distance = (1 - correlation.flatten(1).amax(1)).clamp_min(0)  # rounding may leave -1e-16
    return Fit(distance, chosen, row + shift // wide, col + shift % wide)


def nearest(
    queries: Callable[[Tensor], Tensor],
    references: Callable[[Tensor], Tensor],
    scores: Tensor,
    grid: WindowGrid,
    candidates: int,
) -> tuple[Tensor, Fit]:
    """The best of the few references with the largest coarse scores, compared at full size.

    Args:
        queries: loads patches at some places (n,), (n,T,P,H,W); so does `references`.
        scores: (n,R) from `coarse_scores`; -2 or less for references that may not be taken.
        grid: how they are compared.
        candidates: how many references are compared at full size for each query.

    Returns:
        Place (n,) of the best reference, and how it fits.
    """
    which, fits = [], []
    for rows in torch.arange(len(scores), device=scores.device).split(_AT_ONCE):
        window = queries(rows)
        ranked = scores[rows].topk(min(candidates, scores.shape[1]), 1).indices
        k = ranked.shape[1]
        tried = fit(window.repeat_interleave(k, 0), references(ranked.flatten()), grid)
        barred = scores[rows].gather(1, ranked) <= -2
        best = tried.distance.view(-1, k).masked_fill(barred, torch.inf).argmin(1)
        which.append(ranked.gather(1, best[:, None])[:, 0])
        fits.append(Fit(*(x.view(-1, k).gather(1, best[:, None])[:, 0] for x in tried)))
    return torch.cat(which), Fit(*map(torch.cat, zip(*fits, strict=True)))


def _windows(small: Tensor, grid: WindowGrid) -> Tensor:
    """Unit vectors (n,V,d) of the central windows of small patches in all variants."""
    margin = (grid.coarse_px - grid.window) // 2
    here = slice(margin, margin + grid.window)
    return _unit(variants(small[..., here, here])).flatten(2)


def _places(small: Tensor, grid: WindowGrid) -> Tensor:
    """Unit vectors (n,S,d) of all windows of small patches (n,T,P,c,c), row by row."""
    every = small.unfold(-2, grid.window, 1).unfold(-2, grid.window, 1)  # n T P s s w w
    return _unit(every.movedim((1, 2), (3, 4)).flatten(1, 2)).flatten(2)


def _unit(windows: Tensor) -> Tensor:
    """Windows (...,T,P,w,w) less the mean of each plane, divided by their common norm; without contrast zero."""
    centred = windows - windows.mean((-2, -1), keepdim=True)
    norm = centred.flatten(-4).norm(dim=-1)[..., None, None, None, None]
    return torch.where(norm**2 > _NOTHING, centred / norm.clamp_min(1e-12), 0)


# c(s) = sum_p <w_p, r_p(s)> / (|w| sqrt(sum_p |r_p(s) - mean r_p(s)|^2)),   w without the means of its planes
def _correlation(window: Tensor, around: Tensor) -> Tensor:
    """Normalised cross correlation (n,s,s) of windows (n,P,w,w) with larger ones (n,P,w+s-1,w+s-1), float64."""
    w, side = window.shape[-1], around.shape[-1]
    window, around = window.double(), around.double()
    window = window - window.mean((-2, -1), keepdim=True)
    around = around - around.mean((-2, -1), keepdim=True)  # sums of squares below lose no digits to a common offset
    shifts = side - w + 1
    spectrum = (torch.fft.rfft2(window, s=(side, side)).conj() * torch.fft.rfft2(around)).sum(1)
    product = torch.fft.irfft2(spectrum, s=(side, side))[..., :shifts, :shifts]
    mean, square = _box_mean(around, w), _box_mean((around**2).sum(1, keepdim=True), w)
    there = w * w * (square[:, 0] - (mean**2).sum(1))
    norm = (window.flatten(1) ** 2).sum(1)[:, None, None] * there
    return torch.where(there > _NOTHING, product / norm.clamp_min(1e-24).sqrt(), 0)


def _box_mean(x: Tensor, w: int) -> Tensor:
    """Means of all w x w windows of x (n,P,h,h): along columns first, then along rows, which costs 2 w and not w^2."""
    return F.avg_pool2d(F.avg_pool2d(x, (w, 1), stride=1), (1, w), stride=1)
