"""Edge targets and losses of PFSegNet by loops and NumPy, to compare with."""

import numpy as np
import torch


def slow_edges(target: torch.Tensor, rule: str, width: int) -> np.ndarray:
    mask = target.numpy()
    out = np.zeros(mask.shape, np.uint8)
    n, height, wide = mask.shape

    def region(pixel):
        return pixel if rule == "multiclass" else pixel != 0

    for i, row, col in np.ndindex(n, height, wide):
        for down, right in ((1, 0), (0, 1)):
            if row + down == height or col + right == wide:
                continue
            here, there = int(mask[i, row, col]), int(mask[i, row + down, col + right])
            if 255 in (here, there) or region(here) == region(there):
                continue
            for step in range(width):  # half of the line, rounded up, on this side of the change
                offset = step - (width + 1) // 2 + 1
                y, x = row + down * offset, col + right * offset
                if 0 <= y < height and 0 <= x < wide:
                    out[i, y, x] = 1
    out[mask == 255] = 255
    return out


def slow_edge_loss(logits: torch.Tensor, edges: np.ndarray) -> float:
    n_edge, n_rest = (edges == 1).sum(), (edges == 0).sum()
    total = 0.0
    for level in logits.detach().double().numpy().swapaxes(0, 1):
        p = 1 / (1 + np.exp(-level))
        edge, rest = -np.log(p[edges == 1]).sum(), -np.log(1 - p[edges == 0]).sum()
        total += (edge * n_rest + rest * n_edge) / (n_edge + n_rest) / edges.size
    return total


def slow_ohem(logits, target, threshold, min_kept, weights=None) -> float:
    scores = np.exp(logits.detach().double().numpy())
    probabilities, losses = [], []
    for i, row, col in np.ndindex(*target.shape):
        label = int(target[i, row, col])
        if label != 255:
            p = scores[i, label, row, col] / scores[i, :, row, col].sum()
            probabilities.append(p)
            losses.append(-np.log(p) * (1.0 if weights is None else weights[label].item()))
    probabilities, losses = np.array(probabilities), np.array(losses)
    limit = max(threshold, np.sort(probabilities)[min(min_kept, len(losses)) - 1])
    return losses[probabilities <= limit].mean()
