"""Score a trained network on the test split, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from specdm.metrics.segmentation import ConfusionMatrix
from specdm.metrics.shapes import BoundaryScore, ObjectRecall
from specdm.patches import Normaliser, PatchSet
from specdm.stages.augmentation import CHANGED
from specdm.stages.batches import Mixture
from specdm.stages.downstream_fit import predictions


@dataclass(frozen=True)
class Tested:
    """What a network makes of a test split.

    Attributes:
        by_group: (G,K,K) int64 pixels of a group (a city), true class x predicted class.
        groups: (G,) names.
        scores: of the whole split, by name.
        shown: (n,H,W) uint8 predicted ids of the patches of `showcase`.
    """

    by_group: np.ndarray
    groups: list[str]
    scores: dict[str, float]
    shown: np.ndarray


@torch.no_grad()
def score(network, patches: PatchSet, normaliser: Normaliser, device: torch.device, n_shown: int) -> Tested:
    """Predict every test patch once and count."""
    names, dates = patches.meta.labels.names, patches.images.shape[1]
    test, shown_at = patches.ids("test"), showcase(patches, n_shown)
    groups = patches.index["group"].to_numpy()[test]
    counts = {str(group): ConfusionMatrix(len(names)) for group in sorted(set(groups))}
    # A change map has few and thin boundaries; there the size of found objects says more.
    shapes = ObjectRecall(CHANGED) if dates == 2 else BoundaryScore(len(names))
    shown = np.zeros((len(shown_at), *patches.masks.shape[1:]), np.uint8)
    for rows, predicted, batch in predictions(network, Mixture([(patches, test)]), normaliser, device):
        masks = batch.masks.numpy()
        for row, ids, mask in zip(rows, predicted, masks, strict=True):
            counts[str(groups[row])].update(ids, mask)
            shown[shown_at == test[row]] = ids
        shapes.update(predicted, masks)
    whole = ConfusionMatrix(len(names))
    by_group = np.stack([c.matrix for c in counts.values()])
    whole.matrix = by_group.sum(0)
    more = shapes.scores() if isinstance(shapes, ObjectRecall) else shapes.scores(names)
    return Tested(by_group, list(counts), whole.scores(names) | more, shown)


def showcase(patches: PatchSet, n: int) -> np.ndarray:
    """Positions of n test patches to look at, sorted: of many groups, those with most classes first.

    They depend on the patch set alone, so that all networks and regimes show the same ones.
    """
    test = patches.ids("test")
    counts = np.stack(patches.index["class_counts"].to_numpy()[test])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Classes of at least a hundredth count; the evenness of shares, at most 1, decides between equals.
    richness = (share >= 0.01).sum(1) + 1 - (share**2).sum(1)
    order = np.argsort(-richness, kind="stable")
    groups = patches.index["group"].iloc[test[order]]
    turn = groups.groupby(groups).cumcount().to_numpy()  # 0 for the richest patch of each group, then 1, ...
    return np.sort(test[order[np.argsort(turn, kind="stable")[:n]]])
