from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from specdm.nn.downstream.pfsegnet import PFSegNet
from specdm.nn.downstream.point_flow import PointFlow, propagate, write_back


def _small_flow(**options) -> PointFlow:
    torch.manual_seed(1)
    flow = PointFlow(**{"width": 6, "match_dim": 4, "maxpool": 4, "avgpool": 3, "edge_points": 9, **options})
    norm = flow.edge[1]
    for values in (norm.running_mean, norm.weight.data, norm.bias.data):
        values.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    flow.matcher.weight.data.mul_(5)
    return flow.eval()


def _slow_conv(x: np.ndarray, conv: nn.Conv2d) -> np.ndarray:
    kernel = conv.weight.detach().double().numpy()
    margin = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    out = np.zeros((kernel.shape[0], *x.shape[1:]))
    for row, col in np.ndindex(*x.shape[1:]):
        window = padded[:, row : row + 2 * margin + 1, col : col + 2 * margin + 1]
        out[:, row, col] = (kernel * window).sum((1, 2, 3))
    return out if conv.bias is None else out + conv.bias.detach().double().numpy()[:, None, None]


def _slow_stretch(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    out = np.zeros((x.shape[0], *size))
    for row, col in np.ndindex(*size):
        at = [i * (n - 1) / max(m - 1, 1) for i, n, m in zip((row, col), x.shape[1:], size, strict=True)]
        for i, j in np.ndindex(*x.shape[1:]):
            out[:, row, col] += x[:, i, j] * max(0, 1 - abs(at[0] - i)) * max(0, 1 - abs(at[1] - j))
    return out


def _slow_sample(x: np.ndarray, y01: float, x01: float) -> np.ndarray:
    """Bilinear sample at relative coordinates, pixel centres at (i + 0.5) / n, nothing outside."""
    row, col = y01 * x.shape[1] - 0.5, x01 * x.shape[2] - 0.5
    out = np.zeros(x.shape[0])
    for i, j in np.ndindex(*x.shape[1:]):
        out += x[:, i, j] * max(0, 1 - abs(row - i)) * max(0, 1 - abs(col - j))
    return out


def _slow_cells(n: int, bins: int) -> list[slice]:
    return [slice(int(np.floor(i * n / bins)), int(np.ceil((i + 1) * n / bins))) for i in range(bins)]


def _slow_propagate(high: list[np.ndarray], low: list[np.ndarray]) -> list[np.ndarray]:
    results = []
    for query in low:
        weights = np.exp([query @ key for key in high])
        results.append(query + sum(w * key for w, key in zip(weights / weights.sum(), high, strict=True)))
    return results


def _slow_flow(flow: PointFlow, high: np.ndarray, low: np.ndarray, grids=((4, 4), (3, 3)), points=9):
    """Flowed low map, edge logits, and the cells written along edges and at salient points, of one image."""
    _, h, w = high.shape
    r = low.shape[1] // h
    reduced = [_slow_conv(high, flow.reduce_high), _slow_stretch(_slow_conv(low, flow.reduce_low), (h, w))]
    certainty = 1 / (1 + np.exp(-_slow_conv(np.concatenate(reduced), flow.matcher)))

    def pool(grid, reduce):
        rows, cols = (_slow_cells(n, bins) for n, bins in zip((h, w), grid, strict=True))
        return np.array([[[reduce(certainty[0, i, j]) for j in cols] for i in rows]])

    high_e = high - high * _slow_stretch(pool(grids[1], np.mean), (h, w))
    first, norm, _, second = flow.edge
    mean, var, weight, bias = (
        v.detach().double().numpy()[:, None, None]
        for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    hidden = (_slow_conv(high_e, first) - mean) / np.sqrt(var + norm.eps) * weight + bias
    edges = _slow_conv(np.maximum(hidden, 0), second)

    out = low.copy()
    edge_cells = [divmod(int(i), w) for i in np.argsort(-edges.ravel())[:points]]
    centres = [((row + 0.5) / h, (col + 0.5) / w) for row, col in edge_cells]
    flowed = _slow_propagate([_slow_sample(high, *c) for c in centres], [_slow_sample(low, *c) for c in centres])
    for (row, col), value in zip(edge_cells, flowed, strict=True):
        out[:, row * r, col * r] = value

    high_s = high + high * _slow_stretch(pool(grids[0], np.max), (h, w))
    salient_cells = []
    for i in _slow_cells(h, grids[0][0]):
        for j in _slow_cells(w, grids[0][1]):
            window = certainty[0, i, j]
            row, col = np.unravel_index(window.argmax(), window.shape)
            salient_cells.append((row + i.start, col + j.start))
    flowed = _slow_propagate(
        [high_s[:, row, col] for row, col in salient_cells], [low[:, row * r, col * r] for row, col in salient_cells]
    )
    for (row, col), value in zip(salient_cells, flowed, strict=True):
        out[:, row * r, col * r] = value
    return out, edges, set(edge_cells), [(int(row), int(col)) for row, col in salient_cells]


@pytest.mark.parametrize(
    "ratio, options, grids, points",
    [
        (2, {}, ((4, 4), (3, 3)), 9),
        (3, {}, ((4, 4), (3, 3)), 9),
        (2, {"maxpool": 20, "avgpool": 8, "reference_side": 40}, ((3, 4), (1, 1)), 1),
        (2, {"maxpool": 7, "avgpool": 5, "edge_points": 30, "reference_side": 10}, ((4, 5), (3, 4)), 11),
    ],
)
@torch.no_grad()
def test_point_flow_agrees_with_loops(ratio, options, grids, points):
    flow = _small_flow(**options)
    high, low = torch.randn(2, 6, 5, 7), torch.randn(2, 6, 5 * ratio, 7 * ratio)
    flowed, edges = flow(high, low)
    for i in range(2):
        expected, expected_edges, along_edges, salient = _slow_flow(
            flow, high[i].double().numpy(), low[i].double().numpy(), grids, points
        )
        np.testing.assert_allclose(edges[i].numpy(), expected_edges, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(flowed[i].numpy(), expected, rtol=1e-4, atol=1e-5)
        if not options:  # the example shows the order of overwriting, and repeated cells
            assert along_edges & set(salient) and len(set(salient)) < len(salient)


@pytest.mark.parametrize("edge_points, changed_most", [(9, 9 + 16), (2, 2 + 16), (500, 200)])
@torch.no_grad()
def test_point_flow_leaves_all_other_positions_alone(edge_points, changed_most):
    flow = _small_flow(edge_points=edge_points)
    low = torch.randn(3, 6, 20, 40)
    given = low.clone()
    flowed, _ = flow(torch.randn(3, 6, 10, 20), low)
    changed = (flowed != low).any(1)
    counts = changed.sum((1, 2))
    assert (counts <= changed_most).all() and (counts >= min(edge_points, 200)).all()
    assert torch.equal(low, given)
    changed[:, ::2, ::2] = False
    assert not changed.any()


@torch.no_grad()
def test_without_a_matcher_certainty_is_a_half_everywhere():
    flow = _small_flow()
    nn.init.zeros_(flow.matcher.weight)
    nn.init.zeros_(flow.matcher.bias)
    high = torch.randn(1, 6, 8, 8)
    _, edges = flow(high, torch.randn(1, 6, 16, 16))
    torch.testing.assert_close(edges, flow.edge(high / 2))


def test_budgets_of_the_levels():
    with torch.device("meta"):
        absolute = PFSegNet(4, 3)
        relative = PFSegNet(4, 3, point_budget="relative")
    for flow, side in zip(relative.flows, (112, 56, 28), strict=True):  # fine to coarse
        assert flow.budget(side, side) == ((14, 14), (9, 9), 128)
        assert flow.budget(side // 7, side // 7) == ((2, 2), (1, 1), 3)
        assert flow.budget(side // 2, side) == ((7, 14), (5, 9), 64)
        assert flow.budget(1, 1) == ((1, 1), (1, 1), 1)
    for flow in absolute.flows:
        assert flow.budget(28, 28) == flow.budget(16, 8) == ((14, 14), (9, 9), 128)
        assert flow.budget(4, 4) == ((14, 14), (9, 9), 16)
    assert _small_flow(edge_points=50, reference_side=5).budget(5, 5)[2] == 25


def test_point_flow_compiles_into_one_graph_and_stays_precise_in_bfloat16():
    flow = _small_flow()
    torch.manual_seed(2)
    high, low = (10 * torch.randn(2, 6, side, side).bfloat16().float() for side in (8, 16))
    compiled = torch.compile(flow, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(high, low), flow(high, low))
    with torch.autocast("cpu", torch.bfloat16):
        flowed, edges = compiled(high.bfloat16(), low.bfloat16())
        affine = propagate(high.bfloat16().flatten(2), low.bfloat16().flatten(2))
    assert flowed.dtype == edges.dtype == torch.bfloat16
    expected = propagate(high.bfloat16().float().flatten(2), low.bfloat16().float().flatten(2))
    assert affine.dtype == torch.float32 and torch.equal(affine, expected)


def test_repeated_cells_share_no_gradient():
    features = torch.zeros(1, 1, 2, 3)
    values = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], requires_grad=True)
    written = write_back(features, torch.tensor([[4, 0, 4, 5]]), values)
    assert written.flatten().tolist() == [2, 0, 0, 0, 3, 4]
    assert write_back(features.bfloat16(), torch.tensor([[4, 0, 4, 5]]), values).dtype == torch.bfloat16
    written.sum().backward()
    assert values.grad.flatten().tolist() == [0, 1, 1, 1]


# the loss
