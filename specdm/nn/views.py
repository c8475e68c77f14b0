"""Flips and rotations of a patch: the eight symmetries of the square, of images, masks and latents alike."""

from __future__ import annotations

import torch

VIEWS = {"none": (0,), "flips": (0, 2, 4, 6), "d4": tuple(range(8))}  # k % 4 quarter turns, mirrored from k = 4 on


def view(x: torch.Tensor, k: int) -> torch.Tensor:
    """View k of x (..., H, W): k % 4 quarter turns counter-clockwise, then mirrored left-right when k >= 4.

    Odd k need H = W. Views 0, 2, 4 and 6 are the flips: none, both, left-right, up-down.
    """
    turned = torch.rot90(x, k % 4, (-2, -1))
    return torch.flip(turned, (-1,)) if k >= 4 else turned


def each_view(x: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    """View views[i] of sample i: x (N, ..., H, W), views (N,) -> (N, ..., H, W)."""
    out = torch.empty_like(x)
    for k in views.unique().tolist():
        out[views == k] = view(x[views == k], k)
    return out
