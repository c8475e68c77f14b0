"""Patches on their way to a network: gathered, converted to standardised reflectance, moved to the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from specdm.errors import UserError
from specdm.nn.views import VIEWS, each_view
from specdm.patches import Normaliser, PatchMeta, PatchSet, require_labels, to_reflectance, valid_pixels
from specdm.randomness import batch_positions, numpy_generator
from specdm.settings import StrongAugmentation
from specdm.stages import augmentation
from specdm.training import Part


@dataclass(frozen=True)
class Batch:
    """Standardised images (N,T,C,H,W) float32, masks (N,H,W) int64 with 255 = ignore, valid (N,T,H,W) bool."""

    images: torch.Tensor
    masks: torch.Tensor
    valid: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(x.to(device, non_blocking=True) for x in (self.images, self.masks, self.valid)))


class Mixture:
    """Chosen patches of some patch sets as one list: no copies, only positions.

    Args:
        parts: pairs of a patch set and the positions taken from it.
        last_share: share of a batch that comes from all parts but the first; None: as many as they have of the list.

    Raises:
        UserError: when the sets differ in bands, level, scale, classes or patch size.
    """

    def __init__(self, parts: Sequence[tuple[PatchSet, np.ndarray]], last_share: float | None = None):
        self._n_first, self._last_share = len(parts[0][1]), last_share
        self.sets = [patches for patches, _ in parts]
        self.part = np.repeat(np.arange(len(parts)), [len(positions) for _, positions in parts])
        self.positions = np.concatenate([np.asarray(positions, np.int64) for _, positions in parts])
        for other in self.sets[1:]:
            require_alike(self.sets[0], other)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def n_classes(self) -> int:
        return len(self.sets[0].meta.labels)

    def ids(self) -> list[str]:
        """Patch ids in order."""
        return [self.sets[k].index["id"].iloc[p] for k, p in zip(self.part, self.positions, strict=True)]

    def root_class_weights(self) -> torch.Tensor:
        """Weights 1 / sqrt(frequency), (K,) float32 of mean 1 over the pixels: rare classes count, none dominates.

        A class without pixels has the largest weight, which no pixel ever meets; without any label all weights are 1.
        """
        counts = [
            np.stack(s.index["class_counts"].to_numpy()[self.positions[self.part == k]]).sum(0)
            for k, s in enumerate(self.sets)
        ]
        if not np.any(counts):
            return torch.ones(len(self.sets[0].meta.labels))
        share = np.sum(counts, axis=0) / np.sum(counts)
        weights = 1 / np.sqrt(np.maximum(share, 1e-4))
        return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)

    def batch(self, rows: np.ndarray, normaliser: Normaliser, views: np.ndarray | None = None) -> Batch:
        """Load some rows onto the CPU; `views` (n,) turns each one (see specdm.nn.views)."""
        t, c, h, w = self.sets[0].images.shape[1:]
        images = np.empty((len(rows), t, c, h, w), np.float32)
        masks = np.empty((len(rows), h, w), np.int64)
        valid = np.empty((len(rows), t, h, w), bool)
        for k, patches in enumerate(self.sets):
            here = self.part[rows] == k
            if here.any():
                dn = patches.images[self.positions[rows][here]]
                held = valid_pixels(dn, patches.meta.nodata)
                # No data looks like the mean of every band: its number may lie far from all others (-32768).
                images[here] = normaliser.apply(to_reflectance(dn, patches.meta)) * held[:, :, None]
                masks[here] = patches.masks[self.positions[rows][here]]
                valid[here] = held
        tensors = [torch.from_numpy(a) for a in (images, masks, valid)]
        if views is not None:
            tensors = [each_view(x, torch.from_numpy(views)) for x in tensors]
        return Batch(*tensors)

    def training_batch(
        self,
        part: Part,
        size: int,
        augment: str,
        normaliser: Normaliser,
        *keys: int | str,
        strong: StrongAugmentation | None = None,
    ) -> Batch:
        """A part of the batch of a training step: shuffled epochs, random views, both functions of (keys, step).

        With `strong` each patch is also changed as `specdm.stages.augmentation.strong` says; the other patch that it
        takes something from is any of the list.
        """
        rows = self._rows_at(part.step, size, *keys)
        draws = numpy_generator(*keys, "views", part.step)
        views = draws.choice(VIEWS[augment], size)
        batch = self.batch(part.take(rows), normaliser, part.take(views))
        if strong is None:
            return batch
        others = self.batch(
            part.take(draws.integers(len(self), size=size)), normaliser, part.take(draws.choice(VIEWS[augment], size))
        )
        seeds = part.take(draws.integers(2**63, size=size))
        return strengthened(batch, others, seeds, np.divide(normaliser.mean, normaliser.std), strong)

    def training_ids(self, part: Part, size: int, *keys: int | str) -> list[str]:
        """Ids of the patches that `training_batch` gives for a part."""
        rows = part.take(self._rows_at(part.step, size, *keys))
        return [self.sets[self.part[r]].index["id"].iloc[self.positions[r]] for r in rows]

    def _rows_at(self, step: int, size: int, *keys: int | str) -> np.ndarray:
        if self._last_share is None:
            return batch_positions(len(self), size, step, *keys)
        return shared_positions(self._n_first, len(self) - self._n_first, self._last_share, size, step, *keys)


def shared_positions(
    n_first: int, n_last: int, last_share: float, batch: int, step: int, *keys: int | str
) -> np.ndarray:
    """Positions (batch,) of a step in a list of two parts, each in shuffled epochs of its own, evenly interleaved.

    Of the batch `last_share` is from the last part, at least one from each; all from the first where the last is empty
    or the batch is of one.
    Evenly, since a batch is split in its order over processes and accumulation: the mask's loss is a mean over labelled
    pixels, and a split without any would halve it.
    """
    n = min(max(round(last_share * batch), 1), batch - 1) if n_last else 0
    if not n:
        return batch_positions(n_first, batch, step, *keys)
    first = batch_positions(n_first, batch - n, step, *keys)
    last = n_first + batch_positions(n_last, n, step, *keys, "last")
    places = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in (first, last)])
    return np.concatenate([first, last])[np.argsort(places, kind="stable")]


def strengthened(
    batch: Batch, others: Batch, seeds: np.ndarray, mean_over_std: np.ndarray, strong: StrongAugmentation
) -> Batch:
    """Strong augmentation of each patch of a batch, with the randomness of its own seed."""

    def patch(of: Batch, i: int) -> augmentation.Patch:
        return augmentation.Patch(of.images[i].numpy(), of.masks[i].numpy(), of.valid[i].numpy())

    changed = [
        augmentation.strong(patch(batch, i), patch(others, i), np.random.default_rng(seed), mean_over_std, strong)
        for i, seed in enumerate(seeds)
    ]
    return Batch(*(torch.from_numpy(np.stack(arrays)) for arrays in zip(*changed, strict=True)))


def some_of(positions: np.ndarray, n: int, *keys: int | str) -> np.ndarray:
    """At most n of some positions, in an order that is a function of the keys."""
    return numpy_generator(*keys).permutation(positions)[:n]


def stratified_subset(patches: PatchSet, n: int, seed: int) -> np.ndarray:
    """Positions of n training patches, each group (a city, a block) in proportion to its size, sorted.

    Raises:
        UserError: when the training split holds fewer than n.
    """
    positions = patches.ids("train")
    if len(positions) < n:
        raise UserError(
            f"{patches.folder}: n_real asks for {n} training patches, the split holds {len(positions)}: lower n_real."
        )
    rng = numpy_generator(seed, "subset")
    groups = patches.index["group"].to_numpy()[positions]
    names, sizes = np.unique(groups, return_counts=True)
    # Spread each group's patches evenly over 0..1: the n smallest places hold each group in proportion.
    place = np.empty(len(positions))
    for name, size in zip(names, sizes, strict=True):
        place[groups == name] = (rng.permutation(size) + rng.random()) / size
    return np.sort(positions[np.argsort(place, kind="stable")[:n]])


def seen_patches(patches: PatchSet, subset: list[int] | tuple[int, int] | None) -> np.ndarray:
    """Positions of the training patches that a generator sees: all, or those of a subset (n, seed)."""
    require_labels(patches)
    return stratified_subset(patches, *subset) if subset else patches.ids("train")


def require_alike(a: PatchSet, b: PatchSet, classes: bool = True) -> None:
    """Refuse two sets that differ in bands, level, scale, patch size or, where they matter, classes (UserError)."""
    compared: dict[str, tuple] = {
        "bands": (a.meta.bands, b.meta.bands),
        "processing level": (a.meta.level, b.meta.level),
        "scale and offset": ((a.meta.scale, a.meta.offset), (b.meta.scale, b.meta.offset)),
        "classes": (a.meta.labels.names, b.meta.labels.names),
        "patch shape": (a.images.shape[1:], b.images.shape[1:]),
    }
    for what, (x, y) in compared.items():
        if x != y and (classes or what != "classes"):
            raise UserError(f"{a.folder} and {b.folder} differ in {what} ({x} and {y}): they cannot be mixed.")


def described(meta: PatchMeta, dtype: np.dtype, shape: tuple[int, ...], normaliser: Normaliser) -> dict:
    """What a model must remember of the data it was trained on, as plain JSON; shape is (T,C,H,W)."""
    return {
        "meta": meta.to_dict() | {"provenance": {}, "checksums": {}, "warnings": []},
        "dtype": str(dtype),
        "shape": list(shape),
        "normaliser": {"mean": list(normaliser.mean), "std": list(normaliser.std)},
    }
