"""Do synthetic masks look like real ones? Classes, their presence, sizes of areas and lengths of boundaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import label
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from specdm.errors import UserError
from specdm.metrics.groups import bootstrap_weights

MIN_AREAS = 20  # a class with fewer areas in either set has no distribution of sizes worth comparing
FOUR = np.zeros((3, 3, 3), bool)  # neighbours of a pixel in a stack of masks: four in its own, none in others
FOUR[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


@dataclass(frozen=True)
class MaskStatistics:
    """What N masks of K classes hold, compactly.

    An area is a connected region (four neighbours) of one class within a patch: one that the patch's rim cuts counts as
    what is inside.

    Attributes:
        pixels: (N,K) int64 labelled pixels of each class.
        areas: (N,K) int64 number of areas of each class.
        boundary_px: (N,) int64 sides between two labelled pixels of different classes.
        area_px, area_class, area_patch: (M,) int64 size, class and patch (position) of all areas.
    """

    pixels: NDArray[np.int64]
    areas: NDArray[np.int64]
    boundary_px: NDArray[np.int64]
    area_px: NDArray[np.int64]
    area_class: NDArray[np.int64]
    area_patch: NDArray[np.int64]

    @classmethod
    def of(cls, masks: ArrayLike, classes: int, ignore: int = 255) -> MaskStatistics:
        """Of masks (N,H,W) of ids. UserError for an id outside the classes."""
        masks = np.asarray(masks)
        labelled = masks != ignore
        present = np.unique(masks[labelled])
        if present.size and (present.min() < 0 or present.max() >= classes):
            raise UserError(f"masks: one holds an id outside 0..{classes - 1}; use its own label set.")
        pixels = np.stack([(masks == k).sum((1, 2)) for k in range(classes)], axis=1)
        sizes, kinds, patches = [], [], []
        for k in present:
            regions, number = label(masks == k, FOUR)
            patch_of = np.zeros(number + 1, np.int64)
            patch_of[regions] = np.arange(len(masks))[:, None, None]
            sizes.append(np.bincount(regions.ravel(), minlength=number + 1)[1:])
            kinds.append(np.full(number, k, np.int64))
            patches.append(patch_of[1:])
        none = [np.zeros(0, np.int64)]
        px, kind, patch = (np.concatenate(none + parts) for parts in (sizes, kinds, patches))
        areas = np.bincount(patch * classes + kind, minlength=len(masks) * classes).reshape(-1, classes)
        return cls(pixels, areas, _boundary_px(masks, labelled), px, kind, patch)

    @classmethod
    def joined(cls, parts: Iterable[MaskStatistics]) -> MaskStatistics:
        """The patches of all parts, in order."""
        parts = list(parts)
        starts = np.cumsum([0, *(len(p) for p in parts)])
        moved = [
            dataclasses.replace(p, area_patch=p.area_patch + start) for p, start in zip(parts, starts, strict=False)
        ]
        return cls(*(np.concatenate([getattr(p, f.name) for p in moved]) for f in dataclasses.fields(cls)))

    def __getitem__(self, chosen: NDArray[np.bool_]) -> MaskStatistics:
        """Those patches where `chosen` (N,) is true, for halves."""
        kept = chosen[self.area_patch]
        place = np.cumsum(chosen) - 1
        return MaskStatistics(
            self.pixels[chosen],
            self.areas[chosen],
            self.boundary_px[chosen],
            self.area_px[kept],
            self.area_class[kept],
            place[self.area_patch[kept]],
        )

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class ShareDistances:
    """Distances (0..1) between the class shares of two sets.

    Attributes:
        total_variation: half the sum of absolute differences: the share of the pixels that would have to change class.
        jensen_shannon: root of the Jensen-Shannon divergence in bits; rare classes weigh more in it.
    """

    total_variation: float
    jensen_shannon: float


# TV = sum |p - q| / 2,    JS = sqrt(H((p + q) / 2) - (H(p) + H(q)) / 2)
def share_distances(a: MaskStatistics, b: MaskStatistics) -> ShareDistances:
    """How far apart the classes' shares of all labelled pixels are. UserError where a set has no labelled pixel."""
    _require_alike(a, b)
    p, q = (s.pixels.sum(0) / s.pixels.sum() for s in (a, b))
    return ShareDistances(float(np.abs(p - q).sum() / 2), float(jensenshannon(p, q, base=2)))


@dataclass(frozen=True)
class ByClass:
    """A score of each of J classes, and their mean.

    Attributes:
        mean: over the classes.
        classes: ids of the J classes.
        values: (J,) their scores.
        excluded: ids of the classes without a score.
    """

    mean: float
    classes: tuple[int, ...]
    values: NDArray[np.float64]
    excluded: tuple[int, ...]


def presence_difference(a: MaskStatistics, b: MaskStatistics) -> ByClass:
    """Absolute difference (0..1) of the shares of patches that hold a class; without classes that no patch holds."""
    classes = _present(a, b)
    held = [(s.pixels[:, classes] > 0).mean(0) for s in (a, b)]
    return _by_class(classes, np.abs(held[0] - held[1]), a.pixels.shape[1])


def area_size_distance(a: MaskStatistics, b: MaskStatistics, min_areas: int = MIN_AREAS) -> ByClass:
    """Wasserstein-1 distance of log2(size in px) of the areas of each class: 1 where areas are twice as large.

    Classes with fewer than min_areas in either set are excluded. UserError where that leaves none.
    """
    _require_alike(a, b)
    number = np.minimum(a.areas.sum(0), b.areas.sum(0))
    classes = np.flatnonzero(number >= max(min_areas, 1)).tolist()
    if not classes:
        raise UserError(f"sizes of areas: no class has {min_areas} areas in both sets; add patches.")
    logs = [[np.log2(s.area_px[s.area_class == k]) for k in classes] for s in (a, b)]
    distances = [wasserstein_distance(x, y) for x, y in zip(*logs, strict=True)]
    return _by_class(classes, np.array(distances), a.pixels.shape[1])


def area_number_distance(a: MaskStatistics, b: MaskStatistics) -> ByClass:
    """Wasserstein-1 distance of the number of areas of a class per patch; without classes that no patch holds."""
    classes = _present(a, b)
    distances = [wasserstein_distance(a.areas[:, k], b.areas[:, k]) for k in classes]
    return _by_class(classes, np.array(distances), a.pixels.shape[1])


def boundary_distance_px(a: MaskStatistics, b: MaskStatistics) -> float:
    """Wasserstein-1 distance of the length of boundaries per patch, in px; only for patches of the same size.

    Pixels without a label have no boundary: give synthetic masks the holes of real ones before, if these have many.
    """
    _require_alike(a, b)
    return float(wasserstein_distance(a.boundary_px, b.boundary_px))


@dataclass(frozen=True)
class ClassShares:
    """Shares (K,) of the labelled pixels of a set, and those of bootstrap draws of its groups (B,K)."""

    share: NDArray[np.float64]
    draws: NDArray[np.float64]


def class_shares(
    pixels: ArrayLike, groups: Sequence[object] | None = None, n_bootstrap: int = 500, seed: int = 0, stream: int = 0
) -> ClassShares:
    """Class shares of patches with the given labelled pixels (N,K), groups (or patches) drawn with replacement.

    Sets that are drawn beside each other take different streams. UserError for fewer than 2 patches or no labelled
    pixel.
    """
    pixels = np.asarray(pixels, np.float64)
    if not pixels.sum():
        raise UserError("class shares: no pixel has a label; give masks with labels.")
    drawn = bootstrap_weights(len(pixels), groups, n_bootstrap, seed, stream) @ pixels
    total = drawn.sum(1, keepdims=True)
    labelled = total[:, 0] > 0  # groups without any label may be all that is drawn
    return ClassShares(pixels.sum(0) / pixels.sum(), drawn[labelled] / total[labelled])


def _boundary_px(masks: NDArray, labelled: NDArray[np.bool_]) -> NDArray[np.int64]:
    below = (masks[:, 1:] != masks[:, :-1]) & labelled[:, 1:] & labelled[:, :-1]
    beside = (masks[:, :, 1:] != masks[:, :, :-1]) & labelled[:, :, 1:] & labelled[:, :, :-1]
    return below.sum((1, 2)) + beside.sum((1, 2))


def _require_alike(a: MaskStatistics, b: MaskStatistics) -> None:
    if a.pixels.shape[1] != b.pixels.shape[1]:
        raise UserError(f"masks: {a.pixels.shape[1]} and {b.pixels.shape[1]} classes; compare sets of one label set.")
    if not a.pixels.sum() or not b.pixels.sum():
        raise UserError("masks: a set has no labelled pixel; give masks with labels.")


def _present(a: MaskStatistics, b: MaskStatistics) -> list[int]:
    _require_alike(a, b)
    return np.flatnonzero(a.pixels.sum(0) + b.pixels.sum(0)).tolist()


def _by_class(classes: list[int], values: NDArray[np.float64], number: int) -> ByClass:
    excluded = tuple(k for k in range(number) if k not in classes)
    return ByClass(float(values.mean()), tuple(classes), values, excluded)
