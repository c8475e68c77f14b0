"""The loss of PFSegNet: cross entropy of the hardest pixels, and edges learned as a class-balanced mask."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def edge_targets(target: Tensor, rule: Literal["multiclass", "upstream"] = "multiclass", width: int = 2) -> Tensor:
    """Edges of a mask (N, H, W) of integer ids as (N, H, W) uint8: 1 edge, 0 none, 255 where the mask is 255.

    An edge is a line of `width` pixels along each change of label from a pixel to the next in its row or column, as
    thick across; an odd width has its odd pixel above or left. "multiclass" sees every change; "upstream" only those
    between class 0 and the rest, as the authors' code does. A step to or from 255 is no change.
    """
    labelled = target != IGNORE
    regions = target if rule == "multiclass" else target != 0
    edges = _lines(regions, labelled, 1, width) | _lines(regions, labelled, 2, width)
    return torch.where(labelled, edges.to(torch.uint8), IGNORE)


def _lines(regions: Tensor, labelled: Tensor, axis: int, width: int) -> Tensor:
    # ASSUME: widened across the change only; the authors draw contours of the class with OpenCV, round brush and all
    steps = regions.shape[axis] - 1
    change = regions.narrow(axis, 0, steps) != regions.narrow(axis, 1, steps)
    change &= labelled.narrow(axis, 0, steps) & labelled.narrow(axis, 1, steps)
    padded = F.pad(change.movedim(axis, 2).float(), (width // 2, width - width // 2))
    return F.max_pool1d(padded, width, stride=1).movedim(2, axis) > 0


def balanced_edge_loss(logits: Tensor, edges: Tensor) -> Tensor:
    """Binary cross entropy in nats that weighs edge and rest alike, float32; the sum of the levels' means over pixels.

    logits (N, L, H, W) of L levels; edges (N, H, W) of `edge_targets`. Over the batch an edge pixel weighs the share
    of the others among the labelled pixels, and the others weigh its share; 255 weighs nothing but is counted in the
    mean. 0 without edges. lxtGH/PFSegNets, loss.py.
    """
    edge, rest = edges == 1, edges == 0
    n_edge, n_rest = edge.sum(), rest.sum()
    weight = (edge * n_rest + rest * n_edge).float() / (n_edge + n_rest).clamp_min(1)
    goal = edge.float().unsqueeze(1).expand_as(logits)
    loss = F.binary_cross_entropy_with_logits(logits.float(), goal, weight.unsqueeze(1), reduction="none")
    return loss.mean((0, 2, 3)).sum()


def ohem_cross_entropy(
    logits: Tensor, target: Tensor, threshold: float, min_kept: int, class_weights: Tensor | None = None
) -> Tensor:
    """Cross entropy in nats, the mean over the hard pixels of the batch, float32; 0 when no pixel is labelled.

    Hard are the labelled pixels whose own class gets a probability of at most `threshold`, and in any case the
    min_kept with the least. logits (N, K, H, W); target (N, H, W) integer ids 0..K-1 or 255, ignored; class_weights
    (K,) multiply the pixels of their class, after the choice. Shrivastava et al. 2016; lxtGH/PFSegNets, loss.py.
    """
    target = target.long()
    labelled = target != IGNORE
    loss = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="none")
    probability = (-loss.detach()).exp()  # 1 where nothing is labelled: the last to be counted
    easiest_kept = probability.flatten().topk(min(min_kept, target.numel()), largest=False).values.max()
    hard = labelled & (probability <= easiest_kept.clamp_min(threshold))
    if class_weights is not None:  # ASSUME: they scale the loss, not the choice, and the mean stays one over pixels
        loss = loss * class_weights[target.masked_fill(~labelled, 0)]
    return (loss * hard).sum() / hard.sum().clamp_min(1)
