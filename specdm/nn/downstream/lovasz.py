"""The Lovasz-softmax loss (Berman, Rannen Triki and Blaschko, CVPR 2018): a smooth stand-in for 1 - IoU."""

from __future__ import annotations

import torch
from torch import Tensor


# Loss of a class with G true pixels, errors sorted e_1 >= e_2 >= ...:  sum_i e_i (J_i - J_i-1),  J_i = 1 - I_i / U_i,
# where pixels 1..i are the wrong ones:  I_i = G - (true among them),  U_i = G + (others among them)
def lovasz_softmax(logits: Tensor, target: Tensor, ignore: int = 255) -> Tensor:
    """Lovasz extension of 1 - IoU, the mean over the classes present in the batch: a float32 scalar, 0..1.

    logits (N, K, H, W); target (N, H, W) integer ids 0..K-1 or `ignore`. A class is present if a labelled pixel of the
    batch has it; 0 with zero gradients when nothing is labelled. Hard predictions cost 1 - IoU exactly. Berman et al.,
    CVPR 2018, Sec. 3 (arXiv 1705.08790).
    """
    labelled = target != ignore
    target = target[labelled].long()  # P
    probabilities = logits.float().softmax(dim=1).movedim(1, -1)[labelled]  # P K
    if len(target) == 0:
        return probabilities.sum()  # zero, and still part of the graph
    present = target.unique()
    truth = target[:, None] == present  # P classes
    errors, order = (truth.float() - probabilities[:, present]).abs().sort(dim=0, descending=True)
    slopes = _jaccard_slopes(truth.gather(0, order))
    return (errors * slopes).sum(dim=0).mean()


def _jaccard_slopes(truth: Tensor) -> Tensor:
    """J_i - J_i-1 down each column of truth (P, classes) bool, sorted by error; float32.

    In closed form: in float32 the difference of two neighbours among millions of J is mostly rounding.
    """
    total = truth.sum(dim=0)  # at least 1
    intersection = total - truth.cumsum(dim=0)
    union = total + (~truth).cumsum(dim=0)
    return torch.where(truth, 1 / union, intersection / (union * (union - 1)))
