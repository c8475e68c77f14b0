"""Distances between feature sets of real and synthetic patches, each with its N, and beside its floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specdm.features import Extractor
from specdm.labels import IGNORE
from specdm.metrics.frechet import SizedDistance, equal_size_distance, halves_floor
from specdm.metrics.groups import halves
from specdm.metrics.kernel import kernel_distance
from specdm.metrics.manifold import manifold_overlap
from specdm.metrics.segmentation import slug
from specdm.patches import PatchSet
from specdm.progress import Progress
from specdm.stages.scores import Scores

BATCH = 32
OVERLAP = ("precision", "recall", "density", "coverage")
Features = dict[str, np.ndarray]  # by what they are of: image1, image2, mask


@dataclass(frozen=True)
class Sets:
    """Features of the real training patches, of held-out ones, and of synthetic ones, and the first ones' groups."""

    real: Features
    held_out: Features
    synthetic: Features
    groups: np.ndarray


def extract(
    extractors: Sequence[Extractor], patches: PatchSet, positions: np.ndarray, holes: np.ndarray | None = None
) -> list[Features]:
    """Features (n,D) of some patches, by what they are of, for every extractor; masks are seen with `holes` (n,H,W)."""
    parts: list[dict[str, list[np.ndarray]]] = [{} for _ in extractors]
    progress = Progress(f"features of {patches.meta.name}", len(positions))
    for start in range(0, len(positions), BATCH):
        rows = positions[start : start + BATCH]
        refl, valid, masks = patches.reflectance(rows), patches.valid(rows), patches.masks[rows]
        if holes is not None:
            masks = np.where(holes[start : start + BATCH], IGNORE, masks)
        for extractor, found in zip(extractors, parts, strict=True):
            views = extractor.images(refl, valid)
            several = len(views) > 1
            for view, features in views.items():
                for t in range(features.shape[1]):
                    name = f"{slug(view)}_image{t + 1}" if several else f"image{t + 1}"
                    found.setdefault(name, []).append(features[:, t])
            of_masks = extractor.masks(masks)
            if of_masks is not None:
                found.setdefault("mask", []).append(of_masks)
        progress.update(start + len(rows))
    return [{name: np.concatenate(part) for name, part in found.items()} for found in parts]


def compare(sets: Sets, prefix: str, n_bootstrap: int, seed: int) -> Scores:
    """Scores of every kind of features: Fréchet and kernel distance, precision, recall, density, coverage.

    Those between two real halves that share no group are named *_floor. The Fréchet distance, which falls with N, is
    taken at the size that these halves allow, synthetic patches drawn down to it; so are the overlaps. `*_val` is the
    distance to held-out patches: one much larger than to the training split hints at copies.

    Args:
        sets: the features.
        prefix: of the names, for all extractors but the first.
        n_bootstrap, seed: of the intervals and draws.
    """
    found = Scores()
    for kind, real in sets.real.items():
        _add_frechet(found, prefix + kind, real, sets.held_out[kind], sets.synthetic[kind], sets.groups, seed)
        _add_kernel(found, prefix + kind, real, sets.synthetic[kind], sets.groups, n_bootstrap, seed)
        _add_overlap(found, prefix + kind, real, sets.synthetic[kind], sets.groups, seed)
    return found


def _add_frechet(
    found: Scores,
    kind: str,
    real: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> None:
    key = f"fd_{kind}"
    floor: list[SizedDistance] = []

    def between_halves() -> dict[str, float]:
        floor.append(halves_floor(real, groups, len(synthetic), seed))
        return {f"{key}_floor": floor[0].distance}

    found.add([f"{key}_floor"], between_halves)
    size = floor[0].n if floor else None  # without a floor the distance is taken at the size that both sides have
    for suffix, others in (("", real), ("_val", held_out)):
        names = [f"{key}{suffix}", f"{key}{suffix}_n"]

        def distance(names=names, others=others) -> dict[str, float]:
            return dict(zip(names, equal_size_distance(synthetic, others, size, seed), strict=True))

        found.add(names, distance)


def _add_kernel(
    found: Scores, kind: str, real: np.ndarray, synthetic: np.ndarray, groups: np.ndarray, n_bootstrap: int, seed: int
) -> None:
    key = f"kid_{kind}"
    names = [key, f"{key}_low", f"{key}_high"]

    def to_training() -> dict[str, float]:
        k = kernel_distance(synthetic, real, None, groups, n_bootstrap, seed)
        return dict(zip(names, (k.distance, k.low, k.high), strict=True))

    def floor() -> dict[str, float]:
        first = halves(len(real), groups, seed)
        k = kernel_distance(real[first], real[~first], groups[first], groups[~first], n_bootstrap, seed)
        return {f"{key}_floor": k.distance}

    found.add(names, to_training)
    found.add([f"{key}_floor"], floor)


def _add_overlap(
    found: Scores, kind: str, real: np.ndarray, synthetic: np.ndarray, groups: np.ndarray, seed: int
) -> None:
    """Real patches are the first half, against the synthetic ones and against the second half, equally many."""
    names = [f"{name}_{kind}" for name in OVERLAP]

    def between(suffix: str) -> dict[str, float]:
        first = halves(len(real), groups, seed)
        rng = np.random.default_rng([seed, 6])
        others = synthetic if not suffix else real[~first]
        n = min(first.sum(), (~first).sum(), len(synthetic))
        sides = (side[rng.permutation(len(side))[:n]] for side in (real[first], others))
        overlap = manifold_overlap(*sides)
        return {f"{name}{suffix}": getattr(overlap, part) for name, part in zip(names, OVERLAP, strict=True)}

    for suffix in ("", "_floor"):
        found.add([name + suffix for name in names], lambda s=suffix: between(s))
