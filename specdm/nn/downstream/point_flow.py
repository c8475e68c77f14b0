"""Point flow (Li et al., CVPR 2021, arXiv 2103.06564): features move between two maps only at a few chosen points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PointFlow(nn.Module):
    """Carries features of a coarse map into a fine one at salient cells and along edges (Sec. 3 of the paper).

    Called with high (N, C, h, w) and low (N, C, r h, r w), r a whole number, it returns low with new features at the
    top-left pixels of at most maxpool^2 + edge_points cells of h x w, and edge logits (N, 1, h, w).

    maxpool and avgpool are sides of the grids that certainty is pooled to. With reference_side these two and
    edge_points hold for a square high map of that side, and other maps get the same fraction of their sides and cells.
    """

    def __init__(
        self,
        width: int = 256,
        match_dim: int = 64,
        maxpool: int = 14,
        avgpool: int = 9,
        edge_points: int = 128,
        reference_side: int | None = None,
    ) -> None:
        super().__init__()
        self.maxpool, self.avgpool, self.edge_points = maxpool, avgpool, edge_points
        self.reference_side = reference_side
        self.reduce_high = nn.Conv2d(width, match_dim, kernel_size=1)
        self.reduce_low = nn.Conv2d(width, match_dim, kernel_size=1)
        self.matcher = nn.Conv2d(2 * match_dim, 1, kernel_size=3, padding=1)
        self.edge = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 1, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        height, width = high.shape[-2:]
        maxpool, avgpool, edge_points = self.budget(height, width)
        certainty = self._certainty(high, low)  # N 1 h w

        edges = self.edge(high - high * resize(F.adaptive_avg_pool2d(certainty, avgpool), (height, width)))
        edge_cells = edges.flatten(1).topk(edge_points, dim=1).indices  # N P
        # what lies in the middle of a cell, although it is written back to the cell's top-left pixel
        centres = F.interpolate(low, size=(height, width), mode="bilinear", align_corners=False)
        along_edges = propagate(_at(high, edge_cells), _at(centres, edge_cells))

        peaks, peak_cells = F.adaptive_max_pool2d(certainty, maxpool, return_indices=True)
        salient_cells = peak_cells.flatten(1)  # N M^2, a cell can occur repeatedly
        stride = low.shape[-2] // height
        corners = low[..., ::stride, ::stride]
        raised = high + high * resize(peaks, (height, width))
        at_salient = propagate(_at(raised, salient_cells), _at(corners, salient_cells))

        cells = torch.cat((edge_cells, salient_cells), dim=1)
        flowed = low.clone()
        flowed[..., ::stride, ::stride] = write_back(corners, cells, torch.cat((along_edges, at_salient), dim=2))
        return flowed, edges

    def budget(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], int]:
        """Sides of the grids of the maximum and of the average, and the number of edge points, for a high map."""
        if self.reference_side is None:
            square = (self.maxpool, self.maxpool), (self.avgpool, self.avgpool)
            return *square, min(self.edge_points, height * width)
        side = self.reference_side
        # ASSUME: the grid of the average scales as well, so that its cells cover the same share of the map
        grids = ((_scaled(pool, height, side), _scaled(pool, width, side)) for pool in (self.maxpool, self.avgpool))
        return *grids, min(_scaled(self.edge_points, height * width, side * side), height * width)

    def _certainty(self, high: Tensor, low: Tensor) -> Tensor:
        low = resize(self.reduce_low(low), high.shape[-2:])
        return self.matcher(torch.cat((self.reduce_high(high), low), dim=1)).sigmoid()


# a_j = softmax_i <low_j, high_i>,   low_j + sum_i a_ji high_i
def propagate(high: Tensor, low: Tensor) -> Tensor:
    """Features low (N, C, P) plus, for each, the mean of high (N, C, P) weighted by affinity; float32 (N, C, P).

    The affinities are plain inner products: their hundreds leave bfloat16 no digit for a softmax.
    """
    with torch.autocast(high.device.type, enabled=False):
        high, low = high.float(), low.float()
        affinity = (low.transpose(1, 2) @ high).softmax(dim=2)  # N P(low) P(high)
        return high @ affinity.transpose(1, 2) + low


def write_back(features: Tensor, cells: Tensor, values: Tensor) -> Tensor:
    """Features (N, C, h, w) with values (N, C, P) at the flat indices cells (N, P); the last of equal cells counts."""
    # ASSUME: only the repetition that counts gets a gradient; the authors' scatter gives each the whole of it, which
    # says nothing at their 896 pixels, where hardly a cell repeats
    n, _, height, width = features.shape
    order = torch.arange(cells.shape[1], device=cells.device).expand_as(cells)
    owner = cells.new_full((n, height * width), -1).scatter_reduce(1, cells, order, "amax")
    written = values.to(features.dtype).gather(2, _channelwise(owner.clamp_min(0), values)).view_as(features)
    return torch.where((owner >= 0).view(n, 1, height, width), written, features)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """x (N, C, h, w) stretched to size (H, W): bilinear, the corners' centres stay in the corners."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _at(features: Tensor, cells: Tensor) -> Tensor:
    return features.flatten(2).gather(2, _channelwise(cells, features))  # N C P


def _channelwise(cells: Tensor, features: Tensor) -> Tensor:
    return cells.unsqueeze(1).expand(-1, features.shape[1], -1)


def _scaled(count: int, part: int, whole: int) -> int:
    return max(1, (2 * count * part + whole) // (2 * whole))  # rounded, in whole numbers for torch.compile
