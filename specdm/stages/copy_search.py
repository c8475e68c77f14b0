"""The search behind the copy check: patches read once, their nearest training patches found, on other ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specdm.labels import IGNORE
from specdm.metrics.copies import Nearness, Places, n_apart, share_ground
from specdm.nn.autoencoder import one_hot
from specdm.nn.matching import Fit, WindowGrid, coarse_scores, nearest, principal_axes, projected, variances
from specdm.patches import Normaliser, PatchSet
from specdm.progress import Progress
from specdm.settings import CopySettings
from specdm.stages.batches import Mixture

BATCH = 32
N_SEEN = 256  # training patches on which principal components are measured
# Share of a band's variance: windows with less (open water) show sensor noise, or the decoder's own pattern.
LEAST_VARIANCE = 0.05**2
LEAST_MIXED = 0.1  # probability that two pixels of a mask's window differ: another class on 5 % of it


@dataclass(frozen=True)
class Kind:
    """What is compared: images, masks, or one date of a sample with every date of the training patches."""

    name: str
    mask: bool = False
    date: int | None = None


@dataclass(frozen=True)
class Side:
    """Images or masks that are compared.

    Attributes:
        patches, positions: a set and which of its patches, (n,).
        mask: whether these are the masks.
        small: (n,T,P,c,c) averaged down; T is 1 for masks.
        variances: (n,T) of the central windows.
        whole: (n,T) whether these hold data, or labels, everywhere.
        places: where the patches lie on the ground; None for samples.
    """

    patches: PatchSet
    positions: np.ndarray
    mask: bool
    small: Tensor
    variances: np.ndarray
    whole: np.ndarray
    places: Places | None

    def take(self, rows: np.ndarray) -> Side:
        """Some of the patches."""
        arrays = (x[rows] for x in (self.small, self.variances, self.whole))
        return Side(self.patches, self.positions[rows], self.mask, *arrays, self.places and self.places.take(rows))


@dataclass(frozen=True)
class Found:
    """The nearest training patch, (n,), of those patches that could be compared, and its date (0 unless alone)."""

    kept: np.ndarray
    training: np.ndarray
    date: np.ndarray
    fit: Fit
    nearness: Nearness


class Search:
    """Finds the nearest training patches; images are compared by principal components of their standardised bands."""

    def __init__(
        self, patches: PatchSet, train: np.ndarray, normaliser: Normaliser, settings: CopySettings, device: torch.device
    ):
        self.settings, self.normaliser, self.device = settings, normaliser, device
        side_px = patches.masks.shape[1]
        self.grid = WindowGrid.of(side_px, settings.window_share)
        self.reach_px = side_px * (1 + settings.guard)
        some = Mixture([(patches, train[:: -(-len(train) // N_SEEN)])])
        images = some.batch(np.arange(len(some)), normaliser).images
        self.axes = principal_axes(images, settings.components).to(device)
        kept, every = (variances(x).sum().item() for x in (projected(images, self.axes.cpu()), images))
        self.variance_kept = kept / every

    def load(self, patches: PatchSet, positions: np.ndarray, mask: bool) -> tuple[Tensor, np.ndarray]:
        """Planes (n,T,P,H,W) that are compared, and where there is data, or a label: (n,T,H,W) bool."""
        if mask:
            ids = patches.masks[positions][:, None]
            hot = one_hot(torch.from_numpy(ids[:, 0]).to(self.device), len(patches.meta.labels))
            return hot[:, None], ids != IGNORE
        batch = Mixture([(patches, positions)]).batch(np.arange(len(positions)), self.normaliser)
        return projected(batch.images.to(self.device), self.axes), batch.valid.numpy()

    def side(self, patches: PatchSet, positions: np.ndarray, mask: bool, places: Places | None) -> Side:
        """Read some patches once."""
        progress = Progress(f"reading {patches.meta.name}", len(positions))
        parts = []
        for start in range(0, len(positions), BATCH):
            planes, there = self.load(patches, positions[start : start + BATCH], mask)
            spread = variances(self.grid.centre(planes)).cpu().numpy()
            parts.append((self.grid.small(planes), spread, self.grid.centre(there).all((-2, -1))))
            progress.update(min(start + BATCH, len(positions)))
        small, spread, whole = zip(*parts, strict=True)
        return Side(patches, positions, mask, torch.cat(small), np.concatenate(spread), np.concatenate(whole), places)

    def find(self, side: Side, pool: Side, kind: Kind) -> Found:
        """The nearest of the pool on other ground than the patch itself, and the nearest on other ground than that."""
        dates = slice(None) if kind.date is None else slice(kind.date, kind.date + 1)
        n_alone = 1 if kind.date is None else pool.small.shape[1]  # entries a training patch
        wide, small = side.small[:, dates], pool.small
        if kind.date is not None:
            small = small.flatten(0, 1)[:, None]
        forbidden = np.zeros((len(wide), len(pool.positions)), bool)
        if side.places is not None:
            forbidden = share_ground(side.places, pool.places, self.reach_px)
        spread = side.variances[:, dates].sum(1)
        least = LEAST_MIXED if kind.mask else LEAST_VARIANCE * self.axes.shape[1] * side.variances[:, dates].shape[1]
        kept = np.flatnonzero((spread >= least) & side.whole[:, dates].all(1) & ~forbidden.all(1))
        if not len(kept):
            empty = torch.empty(0)
            nothing = np.empty(0)
            return Found(kept, kept, kept, Fit(empty, empty, empty, empty), Nearness(nothing, nothing, 0))

        def queries(rows: Tensor) -> Tensor:
            return self.load(side.patches, side.positions[kept[rows.cpu().numpy()]], kind.mask)[0][:, dates]

        def references(entries: Tensor) -> Tensor:
            entries = entries.cpu().numpy()
            planes = self.load(pool.patches, pool.positions[entries // n_alone], kind.mask)[0]
            return planes if kind.date is None else planes[range(len(entries)), entries % n_alone][:, None]

        def best(closed: np.ndarray, candidates: int) -> tuple[np.ndarray, Fit]:
            barred = torch.from_numpy(closed.repeat(n_alone, axis=1)).to(self.device)
            which, how = nearest(queries, references, scores.masked_fill(barred, -2), self.grid, candidates)
            return which.cpu().numpy(), Fit(*(x.cpu() for x in how))

        scores = coarse_scores(wide[kept], small, self.grid)
        which, how = best(forbidden[kept], self.settings.candidates)
        training = which // n_alone
        closed = forbidden[kept] | share_ground(pool.places.take(training), pool.places, self.reach_px)
        _, other = best(closed, self.settings.candidates)
        elsewhere = np.where(closed.all(1), 1.0, other.distance.numpy())  # no other ground: as if uncorrelated
        apart = len(kept) if side.places is None else n_apart(side.places.take(kept), self.grid.window_px)
        closer = np.minimum(how.distance.numpy(), elsewhere)  # candidates are few: the second search may find better
        return Found(kept, training, which % n_alone, how, Nearness(closer, elsewhere, apart))
